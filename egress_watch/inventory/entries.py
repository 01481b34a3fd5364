"""The parts of an inventory: entries as they were written, mistakes in them, and the known classes of segments.

In: nothing. Out: types. Never: a mistake without its line and a remedy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

CLASSES = {
    "mobility": "", "home": "", "healthcare": "", "energy": "", "water": "", "waste": "", "retail": "",
    "governance": "", "building": "", "security": "", "education": "",
    "street lighting": "energy", "traffic lights": "mobility", "parking": "mobility", "cameras": "security",
    "wifi trackers": "mobility", "e-gates": "security",
}  # fmt: skip
"""Known classes of segments, and what a city's own things belong to."""

SITE, SEGMENT, NETWORK, VLAN, MAC, DEVICE = KINDS = ("site", "segment", "network", "vlan", "mac", "device")
SAID = ("site", "segment", "class", "role", "supplier", "zone", "contact", "notes")
"""What can be said of anything, and is inherited from the most general to the most specific."""

Prefix = tuple[int, int]
"""Bits and the leading bits themselves, of an address of 128 bits or a MAC of 48."""


class Mistake(NamedTuple):
    """Something that cannot be meant."""

    line: int
    """Counted from 1; 0 where it is of the whole file."""
    what: str
    remedy: str
    origin: str = ""
    """The file it stands in."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing the inventory names."""

    kind: str
    """One of KINDS."""
    name: str
    line: int
    said: dict[str, str] = field(default_factory=dict)
    """SAID, as far as the entry says it."""
    networks: tuple[Prefix, ...] = ()
    """Prefixes as addresses of 128 bits (see `model`); the addresses of a device are of 128 bits."""
    vlans: tuple[int, ...] = ()
    macs: tuple[Prefix, ...] = ()
    router: bool = False
    """A device whose MAC stands before others: it is known by its addresses only."""
    origin: str = ""
    """The file it stands in."""


class Listing(NamedTuple):
    """What the inventory says of a device; "" is nothing."""

    device_name: str = ""
    site: str = ""
    segment: str = ""
    segment_class: str = ""
    role: str = ""
    supplier: str = ""
    zone: str = ""
    contact: str = ""
    notes: str = ""
    listed: int = 0
    """1 where the device itself is listed, 0 where only what it stands in is."""
    supplier_group: str = ""
    """The supplier as the table of owners calls it, where it lists it; else as it is written."""
