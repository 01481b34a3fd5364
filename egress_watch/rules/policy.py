"""A policy by observation: what each segment or device was seen to need, put as narrowly as it can be said.

In: sightings of a period. Out: `Need` rows. Never: a destination wider than what was seen asks for, a whole AS, or a
name that a rule could not hold.

By name before by network: a name outlives the addresses behind it. A whole domain is proposed only where three or more
names below it were seen and it is a listed group's own, on somebody else's network: below a cloud's own domain
anybody can rent a name. Without a name it is the address, or the /24 (IPv6: /64) of three or more of them. What was
judged differently is never put together.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Protocol

ENOUGH = 3
"""Names below a domain, or addresses in a network, from which on the whole is proposed."""
NETWORK_BITS = {4: 24, 6: 64}
MOST_SERVICES = 8
"""Ports of one protocol towards one destination from which on any is proposed: they are chosen as it comes."""
MOST_NEEDS = 5_000
"""Proposals nobody could review more of; what is beyond is counted."""
HOST_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)+")
LONGEST_SECOND = 3
"""Letters of a label such as co (uk) or com (cn), which countries give out names below."""
GRAVITY = ("OUT", "UNKNOWN", "OWN", "IN")

Word = tuple[str, str]
"""Of what kind, and which: ("segment", "cams"), ("name", "*.hik-connect.com"), ("network", "192.0.2.0/24")."""


class Sighting(Protocol):
    """What one device had to do with one destination on one day, as the store sums it up; "" is nothing known."""

    @property
    def segment(self) -> str:
        """From the inventory."""

    @property
    def device(self) -> str:
        """MAC or address."""

    @property
    def name(self) -> str:
        """Heard for the remote."""

    @property
    def remote_ip(self) -> str:
        """Its address."""

    @property
    def protocol(self) -> str:
        """By name."""

    @property
    def port(self) -> int:
        """The remote's, below 0 the device's own, 0 for none."""

    @property
    def provider(self) -> str:
        """Who runs the network."""

    @property
    def owner(self) -> str:
        """Whose service it is."""

    @property
    def evidence(self) -> str:
        """What the owner rests on."""

    @property
    def country(self) -> str:
        """Where it stands."""

    @property
    def verdict(self) -> str:
        """Under the zone."""

    @property
    def day(self) -> int:
        """Since 1970."""

    @property
    def flows(self) -> int:
        """How many."""

    @property
    def bytes_out(self) -> int:
        """Sent by the device."""

    @property
    def first_ns(self) -> int:
        """The first packet."""

    @property
    def last_ns(self) -> int:
        """The last packet."""


@dataclass(slots=True)
class Need:
    """One proposal, with its breadth and its evidence."""

    subject: Word
    what: Word
    services: set[str] = field(default_factory=set)
    """``tcp/443`` of the remote, ``own tcp/443`` of the device, ``tcp`` any port, ``icmp``."""
    names: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)
    countries: set[str] = field(default_factory=set)
    owners: set[str] = field(default_factory=set)
    verdicts: set[str] = field(default_factory=set)
    devices: set[str] = field(default_factory=set)
    days: set[int] = field(default_factory=set)
    flows: int = 0
    bytes_out: int = 0
    first_ns: int = 0
    last_ns: int = 0
    rented: bool = True
    """It may share its domain with strangers, as far as is known."""

    @property
    def verdict(self) -> str:
        """The gravest verdict of its flows."""
        return next((word for word in GRAVITY if word in self.verdicts), "UNKNOWN")

    def add(self, seen: Sighting) -> None:
        """Take in a sighting."""
        self.first_ns = min(self.first_ns or seen.first_ns, seen.first_ns)
        self.last_ns = max(self.last_ns, seen.last_ns)
        self.flows, self.bytes_out = self.flows + seen.flows, self.bytes_out + seen.bytes_out
        self.services.add(service(seen.protocol, seen.port))
        self.names |= {seen.name} - {""}
        self.addresses.add(seen.remote_ip)
        self.countries |= {seen.country} - {""}
        self.owners |= {seen.owner} - {""}
        self.verdicts.add(seen.verdict)
        self.devices.add(seen.device)
        self.days.add(seen.day)
        self.rented = not (seen.evidence == "name" and seen.owner and seen.owner != seen.provider)

    def join(self, other: Need) -> None:
        """Take in another need of the same subject."""
        self.first_ns = min(self.first_ns or other.first_ns, other.first_ns)
        self.last_ns = max(self.last_ns, other.last_ns)
        self.flows, self.bytes_out = self.flows + other.flows, self.bytes_out + other.bytes_out
        for name in ("services", "names", "addresses", "countries", "owners", "verdicts", "devices", "days"):
            getattr(self, name).update(getattr(other, name))


def service(protocol: str, port: int) -> str:
    """Return a service in the words of a policy."""
    return f"{'own ' if port < 0 else ''}{protocol}/{abs(port)}" if port else protocol


def needs(sightings: Iterable[Sighting], *, by_device: bool = False) -> tuple[list[Need], int]:
    """Return what was needed, the gravest first within each subject, and how many needs are left out as too many."""
    exact: dict[tuple[Word, Word], Need] = {}
    left_out: set[int] = set()
    for seen in sightings:
        subject = ("segment", seen.segment) if seen.segment and not by_device else ("device", seen.device)
        key = subject, _what(seen)
        if key not in exact and len(exact) >= 20 * MOST_NEEDS:
            left_out.add(hash(key))
            continue
        exact.setdefault(key, Need(*key)).add(seen)
    found = sorted(_widened(exact.values()), key=_order)
    for need in found:
        need.services = _services(need.services)
    return found[:MOST_NEEDS], len(left_out) + max(0, len(found) - MOST_NEEDS)


def _what(seen: Sighting) -> Word:
    name = seen.name.lower().rstrip(".")
    return ("name", name) if HOST_NAME.fullmatch(name) else ("network", seen.remote_ip)


def _order(need: Need) -> tuple[Word, int, int, Word]:
    return need.subject, GRAVITY.index(need.verdict), -need.flows, need.what


def _widened(exact: Iterable[Need]) -> Iterator[Need]:
    """Yield the needs, many names or addresses that belong together as one."""
    groups: dict[tuple[Word, str, str], list[Need]] = defaultdict(list)
    for need in exact:
        groups[(need.subject, need.what[0], _around(need))].append(need)
    for (subject, kind, around), members in groups.items():
        if not around or len(members) < ENOUGH or len({member.verdict for member in members}) > 1:
            yield from members
        else:
            yield _joined(Need(subject, (kind, around)), members)


def _joined(whole: Need, members: Sequence[Need]) -> Need:
    for member in members:
        whole.join(member)
    return whole


def _around(need: Need) -> str:
    """Return the next wider thing that may be proposed in place of a need, "" for none."""
    kind, what = need.what
    if kind == "network":
        address = ip_address(what)
        return str(ip_network((address, NETWORK_BITS[address.version]), strict=False))
    parent = what.partition(".")[2]
    labels = parent.split(".")
    below_a_country = len(labels) == 2 and len(labels[0]) <= LONGEST_SECOND
    return "" if need.rented or len(labels) < 2 or below_a_country else f"*.{parent}"


def _services(found: set[str]) -> set[str]:
    """Return services, any port of a protocol in place of many."""
    by_protocol: dict[str, set[str]] = defaultdict(set)
    for one in found:
        by_protocol[one.partition("/")[0].removeprefix("own ")].add(one)
    return {
        one for protocol, some in by_protocol.items() for one in ({protocol} if len(some) > MOST_SERVICES else some)
    }


def opens(what: Word) -> str:
    """Return in words how much a destination opens."""
    kind, value = what
    if kind == "name":
        return f"every name below {value[2:]}" if value.startswith("*.") else "1 name"
    if kind == "network":
        network = ip_network(value)
        bits = network.max_prefixlen - network.prefixlen
        return "1 address" if not bits else f"{2**bits:,} addresses" if bits < 64 else f"2^{bits} addresses"
    return f"all of this {kind}"
