"""What judges: the answers of data files, the curated tables and the zone, as plain values.

In: nothing. Out: types. Never: a look-up of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from egress_watch.model import Ints, Words
from egress_watch.places.owners import Group, Owners
from egress_watch.places.prefixes import Prefixes
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


class Source(NamedTuple):
    """A data file: its name, the date of its data (ISO), and how to ask it."""

    name: str
    built: str
    numbers: Callable[[Words], Ints]
    """For addresses of shape (n, 2): which of ``records`` holds each, 0 where the file lists none."""
    records: Sequence[Found]
    """Every different answer so far, without its prefix; the first is NOTHING. It only grows."""
    find: Callable[[str], Found]
    """The answer for one address in text, with its prefix."""


class Special(NamedTuple):
    """A prefix or network that no country database can answer for."""

    status: str
    """local, anycast, edge, or unknown for what no network should carry."""
    name: str
    group: str = ""


class Override(NamedTuple):
    """What the user says of a prefix; it wins over all evidence, field by field."""

    prefix: str
    country: str = ""
    """ISO 3166-1 alpha-2; "" leaves the location to the evidence."""
    provider: Group | None = None
    """Who runs the network; None leaves it to the evidence."""
    owner: Group | None = None
    """Whose service it is; None leaves it to the evidence."""
    note: str = ""


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
    overrides: Prefixes[Override] = field(default_factory=Prefixes)
    """The user's own words, from the file that the settings name."""
    zones: Sequence[Zone] = ()
    """The other zones, for what the answer would be under them."""
