"""Whose hands: groups, found by name on the wire, by cloud, or by origin AS.

In: the tables of the owners and laws files. Out: `Group` rows and look-ups. Never: a guess from a company's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Group:
    """A group of companies under one ultimate parent."""

    id: str
    name: str
    seat: str
    """Country the group is run from, ISO 3166-1 alpha-2."""
    laws: tuple[str, ...]
    ties: tuple[str, ...]
    """Links to groups of other seats, in words, with date and source."""
    source: str
    checked: str
    """ISO date."""


NOBODY = Group("", "", "", (), (), "", "")
"""The group of what is not listed."""


class Owners:
    """Look-ups from evidence to group; an unlisted answer is NOBODY."""

    def __init__(self, groups: Iterable[Mapping[str, Any]], laws: Mapping[str, list[str]]) -> None:
        self.by_id: dict[str, Group] = {}
        self._by_name: dict[str, Group] = {}
        self._by_provider: dict[str, Group] = {}
        self._by_asn: dict[int, Group] = {}
        rows = list(groups)
        names = {row["id"]: row["name"] for row in rows}
        for row in rows:
            group = group_of(row, laws, names)
            self.by_id[group.id] = group
            self._by_name.update(dict.fromkeys(row.get("names", ()), group))
            self._by_provider.update(dict.fromkeys(row.get("providers", ()), group))
            self._by_asn.update(dict.fromkeys(row.get("asns", ()), group))

    def by_name(self, name: str) -> Group:
        """Return the group whose domain this is or lies below; the longest listed suffix wins."""
        for suffix in _suffixes(name):
            if suffix in self._by_name:
                return self._by_name[suffix]
        return NOBODY

    def by_provider(self, provider: str) -> Group:
        """Return the group behind a cloud of the cloud table."""
        return self._by_provider.get(provider, NOBODY)

    def by_asn(self, asn: int) -> Group:
        """Return the group behind an origin AS number."""
        return self._by_asn.get(asn, NOBODY)


def group_of(row: Mapping[str, Any], laws: Mapping[str, list[str]], names: Mapping[str, str]) -> Group:
    """Return the group of a row of the owners file; ``names`` gives the name of each group by id, for its ties."""
    reach = (*laws.get(row["seat"], ()), *row.get("laws", ()))
    ties = tuple(
        f"{names.get(tie['to'], tie['to'])}: {tie['relation']} ({tie['date']}; {tie['source']})"
        for tie in row.get("ties", ())
    )
    return Group(row["id"], row["name"], row["seat"], reach, ties, row["source"], str(row["checked"]))


def _suffixes(name: str) -> Iterator[str]:
    while name:
        yield name
        _, _, name = name.partition(".")
