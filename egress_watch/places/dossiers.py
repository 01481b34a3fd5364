"""Everything the data holds about a group, for who asks by name.

In: the tables of the owners and laws files, and a word. Out: `Dossier` rows. Never: a group that was not asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from egress_watch.places.owners import Group, group_of


class Dossier(NamedTuple):
    """A group with all that it is known by."""

    group: Group
    parent: str
    """The ultimate parent, with who stands behind it."""
    aliases: tuple[str, ...]
    clouds: tuple[str, ...]
    """Names in the cloud table."""
    asns: tuple[int, ...]
    names: tuple[str, ...]
    """Domains; all below them count."""
    vendors: tuple[str, ...]
    """Beginnings of its names in the IEEE registry of MAC addresses."""
    tied_by: tuple[str, ...]
    """Ties that other groups have to this one and it has not to them, in words."""


def dossiers(rows: Iterable[Mapping[str, Any]], laws: Mapping[str, list[str]]) -> list[Dossier]:
    """Return a dossier for each group of the owners file."""
    kept = list(rows)
    names = {row["id"]: row["name"] for row in kept}
    return [_dossier(row, kept, laws, names) for row in kept]


def asked_for(found: Sequence[Dossier], word: str) -> list[Dossier]:
    """Return the groups a person means.

    By id, name or alias, by ``AS1136``, by a domain below one of theirs, or, where that gives nobody, by the name under
    which the IEEE registered blocks of MAC addresses: the longest beginning of it that is listed.
    """
    wanted = word.casefold().strip()
    return [dossier for dossier in found if wanted in _called(dossier) or _holds(dossier, wanted)] or [
        dossier for dossier in found if _maker(found, wanted) in dossier.vendors
    ]


def maker(found: Sequence[Dossier], registered: str) -> Dossier | None:
    """Return the group behind a name under which the IEEE registered blocks of MAC addresses, None for no listed one.

    Groups share no vendor name: it is the longest beginning of the registered one that is listed.
    """
    vendor = _maker(found, registered.casefold()) if registered else None
    return next((dossier for dossier in found if vendor in dossier.vendors), None) if vendor else None


def called(found: Sequence[Dossier], word: str) -> list[Dossier]:
    """Return the groups that go by a word: by id, name or alias, in any case."""
    wanted = word.casefold().strip()
    return [dossier for dossier in found if wanted in _called(dossier)]


def near(found: Sequence[Dossier], word: str) -> list[str]:
    """Return names and aliases that look like the word."""
    known = {name.casefold(): name for dossier in found for name in (dossier.group.name, *dossier.aliases)}
    return [known[name] for name in get_close_matches(word.casefold(), known, n=3, cutoff=0.6)]


def _called(dossier: Dossier) -> set[str]:
    return {name.casefold() for name in (dossier.group.id, dossier.group.name, *dossier.aliases)}


def _holds(dossier: Dossier, wanted: str) -> bool:
    if wanted.startswith("as") and wanted[2:].isdecimal():
        return int(wanted[2:]) in dossier.asns
    return any(wanted == name or wanted.endswith("." + name) for name in dossier.names)


def _maker(found: Sequence[Dossier], wanted: str) -> str | None:
    """Return the longest vendor name that begins a registered one, and ends there where a word does."""
    vendors = [vendor for dossier in found for vendor in dossier.vendors if _begins(wanted, vendor.casefold())]
    return max(vendors, key=len, default=None)


def _begins(wanted: str, vendor: str) -> bool:
    """Return whether a vendor name begins a registered one; one of several words may end within a word.

    The registry runs words together: ``TECHNOLOGYCO.,LTD``.
    """
    return wanted.startswith(vendor) and (" " in vendor or not wanted[len(vendor) : len(vendor) + 1].isalnum())


def _dossier(
    row: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], laws: Mapping[str, list[str]], names: Mapping[str, str]
) -> Dossier:
    mutual = {tie["to"] for tie in row.get("ties", ())}
    tied_by = tuple(
        f"{other['name']}: {tie['relation']} ({tie['date']}; {tie['source']})"
        for other in rows
        for tie in other.get("ties", ())
        if tie["to"] == row["id"] and other["id"] not in mutual
    )
    return Dossier(
        group_of(row, laws, names), row["parent"], aliases=tuple(row.get("aliases", ())),
        clouds=tuple(row.get("providers", ())), asns=tuple(row.get("asns", ())), names=tuple(row.get("names", ())),
        vendors=tuple(row.get("vendors", ())), tied_by=tied_by,
    )  # fmt: skip
