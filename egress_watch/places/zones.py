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


def own_zone(
    name: str, countries: Iterable[str], tables: Mapping[str, Any], day: date | None = None, *,
    based_on: str = "", without: Iterable[str] = (),
) -> Zone:  # fmt: skip
    """Return a zone of the user's own, with the parts of its countries.

    They are those listed, which hold for any day, and those of a shipped zone as of ``day``, by default the day the
    file was checked, but for the ones it is to be without.
    """
    day, parts, left_out = day or tables["checked"], tables.get("parts", {}), frozenset(without)
    base = zones(tables, day)[based_on.lower()] if based_on else Zone("", "", "", frozenset())
    held = base.countries - _with_parts(left_out, parts)
    found = (held | _with_parts(countries, parts)) - left_out
    limits = {country: limit for country, limit in base.limits.items() if country in held}
    return Zone(name.lower(), f"your zone {name}", day.isoformat(), found, limits)


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
