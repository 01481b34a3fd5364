"""Prefixes in memory: the most specific one that holds an address.

In: prefixes in CIDR notation, each with a value. Out: the value for an address. Never: a scan of the list.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Prefixes(Generic[Value]):
    """A table by prefix length: one dictionary look-up for each length that occurs."""

    def __init__(self, rows: Iterable[tuple[str, Value]] = ()) -> None:
        self._tables: dict[int, dict[int, tuple[str, Value]]] = {}
        for prefix, value in rows:
            network = ip_network(prefix)
            mapped = network.version == 4
            length = network.prefixlen + 96 * mapped
            first = int(network.network_address) | (0xFFFF << 32) * mapped
            self._tables.setdefault(128 - length, {})[first >> (128 - length)] = (prefix, value)
        self._shifts = sorted(self._tables)

    def find(self, high: int, low: int) -> tuple[str, Value] | None:
        """Return the longest prefix that holds the address, with its value."""
        number = high << 64 | low
        for shift in self._shifts:
            found = self._tables[shift].get(number >> shift)
            if found:
                return found
        return None
