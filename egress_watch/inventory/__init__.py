"""The inventory: what the user says of networks, VLANs, MACs and devices, and which of it holds for a device.

In: entries. Out: a `Listing` for an address, MAC and VLAN. Never: a device taken for another behind the same router.

What is said is inherited from the most general to the most specific: site, segment, networks from wide to narrow, VLAN,
MAC patterns from short to long, the device itself. The last word counts, key by key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from egress_watch.inventory.entries import (
    CLASSES,
    DEVICE,
    MAC,
    NETWORK,
    SEGMENT,
    SITE,
    VLAN,
    Entry,
    Listing,
    Mistake,
    Prefix,
)
from egress_watch.inventory.values import network_text, segment_class
from egress_watch.model import Flows, Ints

__all__ = ["CLASSES", "Entry", "Inventory", "Listed", "Listing", "Mistake", "faults"]

MOST_REMEMBERED = 200_000
ADDRESS_BITS, MAC_BITS = 128, 48

_Key = tuple[int, int, int, int]
"""Address as two words, MAC, VLAN."""


class Listed(NamedTuple):
    """What the inventory says of flows: ``rows`` (n,) index ``listings``, which only ever grow."""

    rows: Ints
    listings: list[Listing]

    def zones(self) -> list[str]:
        """Return the zone of each flow, "" where none is set."""
        zones = [listing.zone for listing in self.listings]
        return [zones[row] for row in self.rows.tolist()]


class Inventory:
    """Entries, found by address, MAC and VLAN."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._sites: dict[str, Entry] = {}
        self._segments: dict[str, Entry] = {}
        self._networks: dict[Prefix, list[Entry]] = {}
        self._vlans: dict[int, list[Entry]] = {}
        self._macs: dict[Prefix, list[Entry]] = {}
        for entry in entries:
            self._add(entry)
        self._bits = sorted({bits for bits, _ in self._networks})
        self._mac_bits = sorted({bits for bits, _ in self._macs})
        self._rows: dict[_Key, int] = {}
        self._numbers: dict[Listing, int] = {}
        self.listings: list[Listing] = []

    def __len__(self) -> int:
        """Return the number of networks, VLANs and MACs that are named."""
        return len(self._networks) + len(self._vlans) + len(self._macs)

    @property
    def networks(self) -> list[str]:
        """The networks named, for what is ours; single addresses left out."""
        return [network_text(*prefix) for prefix in self._networks if prefix[0] < ADDRESS_BITS]

    def of(self, flows: Flows) -> Listed:
        """Return what is said of the flows' devices."""
        if len(self._rows) > MOST_REMEMBERED:
            self._rows.clear()
        columns = (*flows.device.T, flows.device_mac, flows.vlan)
        keys = list(zip(*(column.tolist() for column in columns), strict=True))
        for key in dict.fromkeys(keys):
            if key not in self._rows:
                self._rows[key] = self._number(self.listing(key[0] << 64 | key[1], key[2], key[3]))
        return Listed(np.array([self._rows[key] for key in keys], np.int64), self.listings)

    def listing(self, address: int, mac: int, vlan: int) -> Listing:
        """Return what is said of a device by its address (128 bits), MAC and VLAN, 0 for none."""
        layers = list(self._layers(address, mac, vlan))
        segment = _last(layers, "segment")
        named = self._segments.get(segment)
        general = [entry for entry in layers if entry.kind == SEGMENT and entry is not named]
        special = [entry for entry in layers if entry.kind != SEGMENT]
        layers = [*general, *([named] if named else []), *special]
        site = self._sites.get(_last(layers, "site"))
        said = {key: _last([*([site] if site else []), *layers], key) for key in _INHERITED}
        devices = [entry for entry in layers if entry.kind == DEVICE]
        known = said["class"] or segment_class(segment)
        name = devices[-1].name if devices else ""
        return Listing(
            name, _last(layers, "site"), segment, known, said["role"], said["supplier"], said["zone"].lower(),
            said["contact"], said["notes"], int(bool(devices)), said["supplier_group"],
        )  # fmt: skip

    def _layers(self, address: int, mac: int, vlan: int) -> Iterator[Entry]:
        """Yield the entries that hold, from the most general to the most specific."""
        found: list[Entry] = []
        for bits in self._bits:
            found += self._networks.get((bits, address >> (ADDRESS_BITS - bits)), ())
        by_vlan = self._vlans.get(vlan, ()) if vlan else ()
        by_mac = [one for bits in self._mac_bits if mac for one in self._macs.get((bits, mac >> (MAC_BITS - bits)), ())]
        yield from (entry for entry in found if entry.kind != DEVICE)
        yield from by_vlan
        yield from (entry for entry in by_mac if entry.kind != DEVICE)
        yield from (entry for entry in by_mac if entry.kind == DEVICE and not entry.router)
        yield from (entry for entry in found if entry.kind == DEVICE)

    def _add(self, entry: Entry) -> None:
        if entry.kind in (SITE, SEGMENT):
            (self._sites if entry.kind == SITE else self._segments).setdefault(entry.name, entry)
        for prefix in entry.networks:
            self._networks.setdefault(prefix, []).append(entry)
        for vlan in entry.vlans if entry.kind != NETWORK else ():
            self._vlans.setdefault(vlan, []).append(entry)
        for mac in entry.macs:
            self._macs.setdefault(mac, []).append(entry)

    def _number(self, listing: Listing) -> int:
        number = self._numbers.setdefault(listing, len(self.listings))
        if number == len(self.listings):
            self.listings.append(listing)
        return number


_INHERITED = ("class", "role", "supplier", "supplier_group", "zone", "contact", "notes")


def _last(layers: Sequence[Entry], key: str) -> str:
    """Return the last word said on a key; a segment says its own name."""
    for entry in reversed(layers):
        word = entry.name if key == "segment" and entry.kind == SEGMENT else entry.said.get(key, "")
        if word:
            return word
    return ""


def faults(entries: Sequence[Entry], zones: Iterable[str]) -> Iterator[Mistake]:
    """Yield what is wrong between entries: names that lead nowhere, and two that claim the same."""
    known = {SITE: {entry.name for entry in entries if entry.kind == SITE},
             SEGMENT: {entry.name for entry in entries if entry.kind == SEGMENT}}  # fmt: skip
    zones = list(zones)
    for entry in entries:
        for kind, names in known.items():
            if names and (word := entry.said.get(kind, "")) and word not in names:
                yield _wrong(entry, f"no {kind} is called {word!r}", f"add [[{kind}]], or mend the name")
        if (zone := entry.said.get("zone", "")) and zone.lower() not in zones:
            yield _wrong(entry, f"unknown zone {zone!r}", f"one of: {', '.join(zones)}")
        if (word := entry.said.get("class", "")) and not segment_class(word):
            yield _wrong(entry, f"unknown class {word!r}", f"one of: {', '.join(CLASSES)}")
    yield from _twice(entries)


def _wrong(entry: Entry, what: str, remedy: str) -> Mistake:
    called = f"{entry.kind} {entry.name}".rstrip()
    return Mistake(entry.line, f"{called}: {what}", remedy, entry.origin)


def _twice(entries: Sequence[Entry]) -> Iterator[Mistake]:
    first: dict[tuple[str, object], Entry] = {}
    for entry in entries:
        for claim in _claims(entry):
            other = first.setdefault(claim, entry)
            if other is not entry:
                there = f"line {other.line}" if other.origin == entry.origin else f"{other.origin}:{other.line}"
                yield _wrong(entry, f"the same {claim[0]} as on {there}", "keep one of them")


def _claims(entry: Entry) -> Iterator[tuple[str, object]]:
    """Yield what only one entry may claim."""
    if entry.kind in (SITE, SEGMENT):
        yield f"name of a {entry.kind}", entry.name
    yield from (
        ("address" if entry.kind == DEVICE else "network", (entry.kind == DEVICE, one)) for one in entry.networks
    )
    yield from (("VLAN", vlan) for vlan in entry.vlans if entry.kind in (VLAN, SEGMENT))
    yield from (
        ("MAC pattern" if entry.kind == MAC else "MAC", (entry.kind, one)) for one in entry.macs if not entry.router
    )
