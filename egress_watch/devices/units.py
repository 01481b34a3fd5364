"""Devices as people count them: sightings and facts put together, by MAC where the segment shows it.

In: rows of sightings and of facts. Out: `Unit` rows. Never: all that lies behind a router taken for the router.

A device is known by its MAC. A MAC that stands before addresses of different subnets at the same time, or before more
than MOST_ADDRESSES, is a router's: what is seen with it is known by address and VLAN instead, and the router is a
device of its own. Addresses of the link are always the MAC's own: nobody forwards them (RFC 3927, section 2.7;
RFC 4291, sections 2.5.2 and 2.5.6).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from itertools import groupby
from typing import Any

from egress_watch.devices.facts import ADDRESS, HOST, KINDS, ROLE

MOST_ADDRESSES = 16
"""IPv4 addresses of one device; a phone that roams for months in one subnet has fewer, a router soon more."""
MOST_PREFIXES = 4
"""IPv6 /64s at one time: link-local, unique local, global, and one being renumbered."""
SUBNET_BITS = {4: 24, 6: 64}
NO_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104 - what a host sends from before it has one, nothing is bound
OWN_WORD = ("lldp", "dhcp")
"""Sources that speak of the MAC itself, never of what lies behind it."""

Row = Mapping[str, Any]


@dataclass(slots=True)
class Unit:
    """One device."""

    mac: str
    """Its own, "" where only an address is known."""
    vlan: int = 0
    """0 where it is known by its MAC."""
    behind: str = ""
    """MAC of the router before it, where it is known by its address."""
    before: bool = False
    """Whether its MAC stands before other devices."""
    sightings: list[Row] = field(default_factory=list)
    facts: list[Row] = field(default_factory=list)
    passing: list[Row] = field(default_factory=list)
    """What was seen behind it, where it is a router."""

    @property
    def addresses(self) -> list[str]:
        """Its addresses, the one last seen first."""
        newest: dict[str, int] = {}
        for row in self.sightings:
            newest[row["ip"]] = max(row["last_ns"], newest.get(row["ip"], row["last_ns"]))
        for fact in self.facts:
            if fact["kind"] == ADDRESS:
                newest.setdefault(fact["value"], fact["last_ns"])
            elif fact["ip"]:
                newest.setdefault(fact["ip"], fact["last_ns"])
        for nowhere in NO_ADDRESSES:
            newest.pop(nowhere, None)
        return sorted(newest, key=lambda ip: (-newest[ip], ip))

    @property
    def seen(self) -> list[dict[str, Any]]:
        """When it had which address in which VLAN, by its packets, the earliest first."""
        spans: dict[tuple[str, int], tuple[int, int]] = {}
        for row in self.sightings:
            first_ns, last_ns = spans.get((row["ip"], row["vlan"]), (row["first_ns"], row["last_ns"]))
            spans[row["ip"], row["vlan"]] = min(first_ns, row["first_ns"]), max(last_ns, row["last_ns"])
        rows = [{"ip": ip, "vlan": vlan, "first_ns": a, "last_ns": b} for (ip, vlan), (a, b) in spans.items()]
        return sorted(rows, key=lambda row: (row["first_ns"], row["ip"], row["vlan"]))

    @property
    def first_ns(self) -> int:
        """When it was first seen or heard."""
        return min(int(row["first_ns"]) for row in (*self.sightings, *self.facts, *self.passing))

    @property
    def last_ns(self) -> int:
        """When it was last seen or heard."""
        return max(int(row["last_ns"]) for row in (*self.sightings, *self.facts, *self.passing))

    def total(self, column: str) -> int:
        """Return a sum over its sightings."""
        return sum(row[column] for row in self.sightings)

    def told(self, kind: str) -> list[str]:
        """Return the values of one kind of fact, each once, the one heard last first."""
        rows = sorted((fact for fact in self.facts if fact["kind"] == kind), key=lambda fact: -fact["last_ns"])
        return list(dict.fromkeys(fact["value"] for fact in rows))

    @property
    def router(self) -> bool:
        """Whether its MAC stands before others, or LLDP calls it a router."""
        return self.before or any("router" in role.split(", ") for role in self.told(ROLE))


def units(sightings: Sequence[Row], facts: Sequence[Row]) -> list[Unit]:
    """Return the devices behind sightings and facts, the one that sends most first.

    A sighting has ``ip``, ``mac``, ``vlan``, ``first_ns``, ``last_ns`` and sums; a fact ``mac``, ``ip``, ``vlan``,
    ``source``, ``kind``, ``value``, ``first_ns`` and ``last_ns``; nothing is "" and 0.
    """
    leased = {row["value"]: row["mac"] for row in facts if row["kind"] == ADDRESS}
    before = routers(row for row in sightings if leased.get(row["ip"]) != row["mac"])
    found: dict[tuple[str, str, int], Unit] = {}
    for row in sightings:
        _unit(found, row, before, leased).sightings.append(row)
        if row["mac"] in before and leased.get(row["ip"]) != row["mac"] and not _of_the_link(row["ip"]):
            found.setdefault((row["mac"], "", 0), Unit(row["mac"])).passing.append(row)
    for row in (fact for fact in facts if fact["mac"] or fact["ip"]):
        _unit(found, row, () if row["source"] in OWN_WORD else before, leased).facts.append(row)
    for unit in found.values():
        unit.facts.sort(key=lambda row: (KINDS.index(row["kind"]), -row["last_ns"], row["value"]))
        unit.before = unit.mac in before
    return sorted(found.values(), key=lambda unit: (-unit.total("bytes_out"), unit.mac, unit.addresses[:1]))


def _unit(
    found: dict[tuple[str, str, int], Unit], row: Row, before: Iterable[str], leased: Mapping[str, str]
) -> Unit:  # fmt: skip
    """Return the unit a row belongs to, new where it must."""
    mac, behind = row["mac"], ""
    if (mac in before and not _of_the_link(row["ip"])) or not mac:
        behind, mac = mac, leased.get(row["ip"], "") if mac else ""
    key = (mac, "", 0) if mac else ("", row["ip"], row["vlan"])
    return found.setdefault(key, Unit(mac, 0 if mac else row["vlan"], "" if mac else behind))


def _of_the_link(ip: str) -> bool:
    return ip in NO_ADDRESSES or bool(ip and ip_address(ip).is_link_local)


def routers(sightings: Iterable[Row]) -> set[str]:
    """Return the MACs that stand before several devices."""
    rows = sorted((row for row in sightings if row["mac"]), key=lambda row: str(row["mac"]))
    return {str(mac) for mac, seen in groupby(rows, key=lambda row: row["mac"]) if _stands_before(list(seen))}


def _stands_before(rows: Sequence[Row]) -> bool:
    """Return whether a MAC has too many addresses to be one device.

    One that asks for an address, from 0.0.0.0 (RFC 2131, section 4.1), may keep the one it left the factory with: two
    addresses make no router of it.
    """
    spans = [(ip_address(row["ip"]), row["first_ns"], row["last_ns"]) for row in rows]
    routed = [one for one in spans if not (one[0].is_link_local or one[0].is_unspecified or one[0].is_multicast)]
    four = {one[0] for one in routed if one[0].version == 4}
    if len(four) > MOST_ADDRESSES:
        return True
    asks = any(row["ip"] == NO_ADDRESSES[0] for row in rows)
    return _at_once(routed, 4) > (2 if asks and len(four) == 2 else 1) or _at_once(routed, 6) > MOST_PREFIXES


def _at_once(spans: Iterable[tuple[Any, int, int]], version: int) -> int:
    """Return the most subnets that were in use at one moment."""
    subnets: dict[Any, tuple[int, int]] = {}
    for address, first, last in spans:
        if address.version == version:
            subnet = ip_network((address, SUBNET_BITS[version]), strict=False)
            low, high = subnets.get(subnet, (first, last))
            subnets[subnet] = min(low, first), max(high, last)
    marks = sorted(mark for low, high in subnets.values() for mark in ((low, 0), (high, 1)))
    most = now = 0
    for _, ended in marks:
        now += -1 if ended else 1
        most = max(most, now)
    return most


def how(unit: Unit) -> Iterator[str]:
    """Yield what a device is known by, in words."""
    if unit.before:
        yield "MAC of a router"
    elif unit.mac:
        yield "MAC"
    else:
        yield "address behind a router" if unit.behind else "address"
    yield from dict.fromkeys(fact["source"] for fact in unit.facts)


def name(unit: Unit) -> str:
    """Return the host name last heard, "" for none."""
    return next(iter(unit.told(HOST)), "")
