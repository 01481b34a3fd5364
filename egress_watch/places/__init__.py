"""Flows find their place: where the remote is, whose hands it is in, and the verdict under a zone.

In: flows with names; look-ups over the data files. Out: `Judged`. Never: a file, a clock, or a country code alone.

Location, most trusted first: the user's own networks and the special-purpose registries (local), known anycast, the
operator's published region, networks that are content edges, and then two country databases side by side. Owner: the
name on the wire, the cloud, the origin AS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import NamedTuple

import numpy as np

from egress_watch.model import Flows, Judged, Place, Verdict, address_text
from egress_watch.places.carried import carried
from egress_watch.places.owners import NOBODY, Group, Owners
from egress_watch.places.prefixes import Prefixes
from egress_watch.places.verdicts import REGISTRY, verdict
from egress_watch.places.zones import Zone


class Found(NamedTuple):
    """What one data file says of an address."""

    prefix: str
    """The prefix that holds the address, "" where the file lists none."""
    country: str = ""
    asn: int = 0
    as_name: str = ""
    provider: str = ""
    region: str = ""


NOTHING = Found("")
Lookup = Callable[[str], Found]


class Source(NamedTuple):
    """A data file: its name, the date of its data (ISO), and how to ask it."""

    name: str
    built: str
    find: Lookup


class Special(NamedTuple):
    """A prefix or network that no country database can answer for."""

    status: str
    """local, anycast, edge, or unknown for what no network should carry."""
    name: str
    group: str = ""


class Evidence(NamedTuple):
    """One line of the evidence sheet: which source, of which date, said what."""

    source: str
    built: str
    prefix: str
    said: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything known about one address, and the answer."""

    address: str
    name: str
    place: Place
    verdict: Verdict
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The data that judges: sources, curated tables and the zone."""

    countries: Sequence[Source]
    """Most trusted first; the first two that answer are compared."""
    networks: Source
    clouds: Source
    regions: dict[tuple[str, str], str]
    """(provider, region) to country."""
    nowhere: frozenset[tuple[str, str]]
    """(provider, region) that the provider itself calls global: no single place."""
    special: Prefixes[Special]
    edges: dict[int, Special]
    owners: Owners
    zone: Zone
    checked: str
    """ISO date on which regions and special addresses were last gone over."""


class _Spot(NamedTuple):
    """What an address alone tells, before any name."""

    status: str
    countries: tuple[str, ...]
    region: str
    asn: int
    as_name: str
    operator: Group
    evidence: str


class Atlas:
    """Judges flows. Answers are kept once and numbered; ``limit`` bounds the addresses remembered in between."""

    def __init__(self, knowledge: Knowledge, limit: int = 500_000) -> None:
        self._know = knowledge
        self._limit = limit
        self._spots: dict[tuple[int, int], _Spot] = {}
        self._owners: dict[str, Group] = {}
        self._rows: dict[tuple[int, int, str], int] = {}
        self._numbers: dict[tuple[Place, Verdict], int] = {}
        self.places: list[Place] = []
        self.verdicts: list[Verdict] = []

    def judge(self, flows: Flows) -> Judged:
        """Return the flows with their answers."""
        names = flows.name or ("",) * len(flows)
        rows = zip(flows.remote[:, 0].tolist(), flows.remote[:, 1].tolist(), names, strict=True)
        known = self._rows
        numbers = [known.get(row) if row in known else self._number(*row) for row in rows]
        return Judged(flows, np.array(numbers, np.int64), self.places, self.verdicts)

    def sheet(self, address: tuple[int, int], name: str = "") -> Sheet:
        """Return the evidence sheet of one address, as spoken of by ``name``."""
        place, answer = self._answer(*address, name)
        text = address_text(*address)
        return Sheet(text, name, place, answer, tuple(self._inner_evidence(address, name)))

    def _number(self, high: int, low: int, name: str) -> int:
        answer = self._answer(high, low, name)
        number = self._numbers.setdefault(answer, len(self.places))
        if number == len(self.places):
            self.places.append(answer[0])
            self.verdicts.append(answer[1])
        if len(self._rows) >= self._limit:
            self._rows.clear()
        self._rows[high, low, name] = number
        return number

    def _answer(self, high: int, low: int, name: str) -> tuple[Place, Verdict]:
        if len(self._spots) >= self._limit:
            self._spots.clear()
        spot = self._spots.get((high, low)) or self._spots.setdefault((high, low), self._locate(high, low))
        somewhere = spot.status != "local" and spot.evidence != REGISTRY
        owner = self._owner(name) if name and somewhere else NOBODY
        place = _place(spot, owner)
        hands = tuple(dict.fromkeys(group for group in (owner, spot.operator) if group.id))
        return place, verdict(place, self._know.zone, hands)

    def _owner(self, name: str) -> Group:
        if len(self._owners) >= self._limit:
            self._owners.clear()
        return self._owners.get(name) or self._owners.setdefault(name, self._know.owners.by_name(name))

    def _locate(self, high: int, low: int) -> _Spot:
        if inner := carried(high, low):
            return _unpacked(self._locate(*inner.address), inner.mechanism)
        know = self._know
        special = know.special.find(high, low)
        if special and special[1].status in ("local", "unknown"):
            evidence = REGISTRY if special[1].status == "unknown" else ""
            return _Spot(special[1].status, (), special[1].name, 0, "", NOBODY, evidence)
        text = address_text(high, low)
        network, cloud = know.networks.find(text), know.clouds.find(text)
        operator, evidence = self._operator(special, cloud, network)
        status, countries = self._where(text, special, cloud, network)
        return _Spot(status, countries, cloud.region, network.asn, network.as_name, operator, evidence)

    def _operator(self, special: tuple[str, Special] | None, cloud: Found, network: Found) -> tuple[Group, str]:
        owners = self._know.owners
        if special and special[1].group in owners.by_id:
            return owners.by_id[special[1].group], "prefix"
        group = owners.by_provider(cloud.provider)
        if group.id:
            return group, "cloud"
        group = owners.by_asn(network.asn)
        return group, "asn" if group.id else ""

    def _where(
        self, text: str, special: tuple[str, Special] | None, cloud: Found, network: Found
    ) -> tuple[str, tuple[str, ...]]:
        know, region = self._know, (cloud.provider, cloud.region)
        if special:
            return special[1].status, ()
        if region in know.regions:
            return "declared", (know.regions[region],)
        if region in know.nowhere or network.asn in know.edges:
            return "edge", ()
        said = [source.find(text).country for source in know.countries]
        countries = tuple(country for country in said if country)[:2]
        return _status(countries), tuple(dict.fromkeys(countries))

    def _inner_evidence(self, address: tuple[int, int], name: str) -> list[Evidence]:
        """Return the evidence, that of the IPv4 address where one is carried."""
        if not (inner := carried(*address)):
            return self._evidence(address, address_text(*address), name)
        text = address_text(*inner.address)
        carries = Evidence(inner.mechanism, "", inner.prefix, f"carries {text}: what follows is about that")
        return [carries, *self._evidence(inner.address, text, name)]

    def _evidence(self, address: tuple[int, int], text: str, name: str) -> list[Evidence]:
        know = self._know
        sheet = []
        if special := know.special.find(*address):
            sheet.append(
                Evidence("special addresses", know.checked, special[0], f"{special[1].status}: {special[1].name}")
            )
        for source in (know.clouds, know.networks, *know.countries):
            found = source.find(text)
            sheet.append(Evidence(source.name, source.built, _network(found.prefix), _words(found)))
        if edge := know.edges.get(know.networks.find(text).asn):
            sheet.append(Evidence("edge networks", know.checked, "", f"{edge.status}: {edge.name}"))
        cloud = know.clouds.find(text)
        if country := know.regions.get((cloud.provider, cloud.region)):
            sheet.append(Evidence("regions", know.checked, "", f"{cloud.provider} {cloud.region} lies in {country}"))
        for kind, group in self._groups(text, name):
            said = f"{kind}: {group.name}, seat {group.seat}" if group.id else f"{kind}: not listed"
            sheet.append(Evidence("owners", group.checked, "", said))
        return sheet

    def _groups(self, text: str, name: str) -> list[tuple[str, Group]]:
        owners = self._know.owners
        asn, provider = self._know.networks.find(text).asn, self._know.clouds.find(text).provider
        asked = [(f"AS{asn}", owners.by_asn(asn))] if asn else []
        if provider:
            asked.insert(0, (f"cloud {provider}", owners.by_provider(provider)))
        if name:
            asked.insert(0, (f"name {name}", owners.by_name(name)))
        return asked


def _unpacked(inner: _Spot, mechanism: str) -> _Spot:
    """Return the spot of a carried address; a private one in a tunnel's address proves nothing: anyone can write it."""
    if inner.status == "local" and not mechanism.startswith("NAT64"):
        return inner._replace(status="unknown", region=f"{inner.region} in {mechanism}", evidence=REGISTRY)
    return inner


def _place(spot: _Spot, owner: Group) -> Place:
    operator = spot.operator
    hands = owner if owner.id else operator
    return Place(
        country=spot.countries[0] if len(spot.countries) == 1 else "",
        location_status=spot.status, countries=spot.countries, asn=spot.asn, as_name=spot.as_name,
        provider=operator.name, region=spot.region, owner=hands.name, owner_seat=hands.seat,
        laws=tuple(dict.fromkeys((*hands.laws, *operator.laws))),
        evidence="name" if owner.id else spot.evidence, ties=hands.ties,
    )  # fmt: skip


def _status(countries: tuple[str, ...]) -> str:
    if not countries:
        return "unknown"
    if len(countries) == 1:
        return "single"
    return "agreed" if countries[0] == countries[1] else "disputed"


def _network(prefix: str) -> str:
    """Return the prefix without the bits of the address that was asked for."""
    return str(ip_network(prefix, strict=False)) if prefix else ""


def _words(found: Found) -> str:
    if not found.prefix:
        return "not listed"
    network = f"AS{found.asn} {found.as_name}" if found.asn else ""
    return ", ".join(part for part in (found.country, network, found.provider, found.region) if part)
