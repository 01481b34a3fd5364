"""Zones are law: named sets of countries with a date.

In: the tables of a zones file. Out: `Zone` rows. Never: geography.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Zone:
    """A set of countries within which data may travel, as of a date."""

    id: str
    name: str
    as_of: str
    """ISO date."""
    countries: frozenset[str]
    """ISO 3166-1 alpha-2, parts of members that have a code of their own included."""

    @property
    def short(self) -> str:
        """The zone in a sentence: ``the EEA``."""
        return f"the {self.id.upper()}" if self.id in ("eea", "eu27") else self.name


def zones(tables: Mapping[str, Any]) -> dict[str, Zone]:
    """Return the zones of a parsed zones file by id; a part of a member belongs to every zone of that member."""
    parts: Mapping[str, str] = tables.get("parts", {})
    return {row["id"]: _zone(row, parts) for row in tables["zone"]}


def _zone(row: Mapping[str, Any], parts: Mapping[str, str]) -> Zone:
    countries = set(row["countries"])
    countries |= {part for part, member in parts.items() if member in countries}
    return Zone(row["id"], row["name"], str(row["as_of"]), frozenset(countries))
