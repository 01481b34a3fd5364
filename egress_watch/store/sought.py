"""What a search of single flows asks: the terms of a filter, the cheapest first, with texts looked up once.

In: a filter. Out: conditions on the rows of flows. Never: a text that is compared flow by flow.

A search looks at an hour of flows after the other. What is asked of places, devices, remotes and names would be looked
up for each of them; so the numbers that are meant go into temporary tables first.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from egress_watch.store.fields import NEEDS
from egress_watch.store.scope import conditions
from egress_watch.store.terms import Clause, Filter

NUMBERS = {
    "place": "SELECT id AS place, verdict FROM place", "device": "SELECT id AS device FROM device",
    "remote": "SELECT id AS remote FROM remote", "name": "SELECT id AS name FROM name",
}  # fmt: skip
"""Where the numbers of a column stand; a verdict is that of a place."""
MANY = ("remote", "name")
"""Of these a term that is turned round leaves too many to list."""
ON_THE_ROW = ("bytes", "port", "protocol", "recording", "flow")
_BOUND = re.compile(r"\((?:bytes_\w+ >=? :\w+(?: OR )?)+\)")


class Sought(NamedTuple):
    """One condition on the columns of flows."""

    sql: str
    columns: frozenset[str]
    """What it asks, so that it can be put to sums that have all of them."""

    @property
    def bound(self) -> bool:
        """Whether it asks for more bytes than a number: sums that count such a flow are not smaller."""
        return bool(_BOUND.fullmatch(self.sql))


def sought(db: Any, filter_: Filter) -> list[Sought]:
    """Return conditions, all of which must hold; raises FilterError for what only alerts can be asked."""
    conditions(filter_.clauses, leave=())
    lists: dict[str, list[str]] = {}
    row: list[Sought] = []
    rest: list[Sought] = []
    for clause in filter_.clauses:
        column = _listed(clause)
        if column:
            lists.setdefault(column, []).append(clause.flows)
            continue
        asked = Sought(clause.flows, frozenset(NEEDS.get(clause.column, (clause.column,))))
        (row if clause.column in ON_THE_ROW else rest).append(asked)
    return [*row, *(_looked_up(db, column, asked, filter_) for column, asked in lists.items()), *rest]


def _listed(clause: Clause) -> str:
    """Return the column whose numbers are to be listed for a term, "" for none."""
    column = "place" if clause.column == "verdict" else clause.column
    return column if column in NUMBERS and not (column in MANY and clause.flows.startswith("NOT ")) else ""


def _looked_up(db: Any, column: str, asked: list[str], filter_: Filter) -> Sought:
    """Put the numbers of which all that is asked holds into a temporary table, and return the condition."""
    db.execute(f"DROP TABLE IF EXISTS temp.sought_{column}")
    db.execute(f"CREATE TEMP TABLE sought_{column}(number INTEGER PRIMARY KEY)")
    query = f"INSERT INTO temp.sought_{column} SELECT {column} FROM ({NUMBERS[column]}) WHERE {' AND '.join(asked)}"  # noqa: S608 - ours
    db.execute(query, filter_.values())
    return Sought(f"{column} IN temp.sought_{column}", frozenset((column,)))
