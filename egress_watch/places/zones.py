"""Zones are law: named sets of countries, computed for a day.

In: the tables of a zones file, and a day. Out: `Zone` rows. Never: geography, or today's law for yesterday's traffic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any


@dataclass(frozen=True, slots=True)
class Zone:
    """A set of countries within which data may travel, as of a day."""

    id: str
    name: str
    as_of: str
    """ISO date of the day it was computed for."""
    countries: frozenset[str]
    """ISO 3166-1 alpha-2, parts of members that have a code of their own included."""
    limits: Mapping[str, str] = field(default_factory=dict)
    """What a decision leaves out, by country: it is in the zone, but not for everything."""

    @property
    def short(self) -> str:
        """The zone in a sentence: ``the EEA``."""
        return f"the {self.id.upper()}" if self.id in ("eea", "eu27") else self.name


def zones(tables: Mapping[str, Any], day: date | None = None) -> dict[str, Zone]:
    """Return the zones of a parsed zones file by id, as of ``day``, by default the day the file was checked."""
    day = day or tables["checked"]
    rows = {row["id"]: row for row in tables["zone"]}
    return {name: _zone(name, rows, day, tables.get("parts", {})) for name in rows}


def own_zone(name: str, countries: Iterable[str], tables: Mapping[str, Any]) -> Zone:
    """Return a zone of the user's own: just these countries, and their parts."""
    return Zone(name, name, str(tables["checked"]), _with_parts(countries, tables.get("parts", {})))


def _zone(name: str, rows: Mapping[str, Any], day: date, parts: Mapping[str, str]) -> Zone:
    row = rows[name]
    decisions = [decision for decision in row.get("decision", ()) if _holds(decision, day)]
    decided = [decision["country"] for decision in decisions if not decision.get("certified_only")]
    limits = {decision["country"]: decision["limits"] for decision in decisions if decision["limits"]}
    countries = _with_parts([*_members(name, rows, day), *decided], parts)
    return Zone(name, row["name"], day.isoformat(), countries, limits)


def _members(name: str, rows: Mapping[str, Any], day: date) -> Iterator[str]:
    """Yield the members of a zone on a day, those of the zone it builds on included."""
    row = rows[name]
    if "members_of" in row:
        yield from _members(row["members_of"], rows, day)
    for joined in row.get("members", ()):
        if _holds(joined, day):
            yield from joined["countries"]


def _holds(row: Mapping[str, Any], day: date) -> bool:
    return bool(row["since"] <= day and not ("until" in row and row["until"] <= day))


def _with_parts(countries: Iterable[str], parts: Mapping[str, str]) -> frozenset[str]:
    found = set(countries)
    return frozenset(found | {part for part, member in parts.items() if member in found})
