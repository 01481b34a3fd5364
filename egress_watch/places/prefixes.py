"""Prefixes in memory: the most specific one that holds an address.

In: prefixes in CIDR notation, each with a value. Out: values, for one address or a column. Never: a scan of the list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import Generic, TypeVar

import numpy as np

from egress_watch.model import Ints, Words

Value = TypeVar("Value")

MAPPED = 0xFFFF << 32
ADDRESS_BITS = 128


class Prefixes(Generic[Value]):
    """Nested prefixes laid flat: where each stretch of addresses begins, and which prefix is the narrowest there."""

    def __init__(self, rows: Iterable[tuple[str, Value]] = ()) -> None:
        self.rows = list(rows)
        starts = dict(_stretches([span(prefix) for prefix, _ in self.rows]))
        begins = sorted(starts)
        self._begins = np.array([begin.to_bytes(16, "big") for begin in begins], "S16")
        self._numbers = np.array([starts[begin] for begin in begins], np.int64)

    def numbers(self, addresses: Words) -> Ints:
        """Return for addresses of shape (n, 2) which of ``rows`` holds each, counted from 1; 0 where none does."""
        # Bytes of one width, highest first, are in the order of the addresses they stand for.
        keys = np.ascontiguousarray(addresses).astype(">u8").view("S16").reshape(-1)
        return self._numbers[np.searchsorted(self._begins, keys, side="right") - 1]

    def find(self, high: int, low: int) -> tuple[str, Value] | None:
        """Return the longest prefix that holds the address, with its value."""
        number = int(self.numbers(np.array([[high, low]], np.uint64))[0])
        return self.rows[number - 1] if number else None


def span(prefix: str) -> tuple[int, int]:
    """Return the first address of a prefix and the one behind its last, IPv4 as mapped into IPv6."""
    network = ip_network(prefix)
    mapped = MAPPED * (network.version == 4)
    return int(network.network_address) + mapped, int(network.broadcast_address) + mapped + 1


def _stretches(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield where a stretch begins and the number of the narrowest span there; at one beginning the last counts."""
    yield 0, 0
    around: list[tuple[int, int]] = []
    order = sorted(range(len(spans)), key=lambda row: (spans[row][0], -spans[row][1]))
    for row in order:
        first, end = spans[row]
        yield from _closed(around, first)
        yield first, row + 1
        around.append((end, row + 1))
    yield from _closed(around, 1 << ADDRESS_BITS)


def _closed(around: list[tuple[int, int]], before: int) -> Iterator[tuple[int, int]]:
    """Take the spans that end by then off the pile; behind each, the one around it goes on."""
    while around and around[-1][0] <= before:
        end, _ = around.pop()
        if end < 1 << ADDRESS_BITS:
            yield end, around[-1][1] if around else 0
