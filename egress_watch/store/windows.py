"""When a group has reached the limit of a correlation rule: sums by slot, and the windows over them.

In: what groups came to in each slot of time, or flows that are stored. Out: `Crossing` rows. Never: a hit told twice.

A timespan is `SLOTS` slots long, each a twelfth of it: 5 minutes for an hour. A flow counts in the slot of its last
packet. A window is the slot of a flow and the eleven before it, so it spans eleven to twelve twelfths of the timespan:
never more. What is told are the flows of every slot within a window that reached the limit, each once; so the sum does
not depend on how the flows were cut into batches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import Any, NamedTuple

from sqlite_utils import Database

from egress_watch.model import Count, Crossing

SLOTS = 12
_AMOUNT = {"value_sum": "total({field})", "event_count": "count(*)", "value_count": "1"}
_COUNTED = """
SELECT grouped, slot, item, amount, hits, bytes_out, bytes_in, first_ns, last_ns, first_flow, last_flow, 0, 0, 0
FROM (SELECT *, sum(amount) OVER (PARTITION BY grouped) AS most FROM (
  SELECT json_array({group}) AS grouped, last_ns / :slot_ns AS slot, {item} AS item, {amount} AS amount,
    count(*) AS hits, sum(bytes_out) AS bytes_out, sum(bytes_in) AS bytes_in, min(first_ns) AS first_ns,
    max(last_ns) AS last_ns, min(id) AS first_flow, max(id) AS last_flow
  FROM flows WHERE id BETWEEN :first AND :last AND ({predicate}) GROUP BY 1, 2, 3))
WHERE most >= :least ORDER BY grouped, slot
"""
_NEWEST = "SELECT * FROM flows WHERE id IN (SELECT value FROM json_each(?))"


class Row(NamedTuple):
    """What one group came to in one slot, for one value where values are counted."""

    grouped: str
    """The group's values, as a JSON list."""
    slot: int
    item: str
    amount: int
    hits: int
    bytes_out: int
    bytes_in: int
    first_ns: int
    last_ns: int
    first_flow: int
    last_flow: int
    told: int
    told_out: int
    told_in: int


class Found(NamedTuple):
    """The slots of one group that hold something untold, and all slots of windows that reached the limit."""

    rows: Sequence[Row]
    hot: set[int]
    amount: int
    first_flow: int
    last_flow: int

    def crossing(self, newest: dict[str, Any]) -> Crossing:
        """Return the sums of what is untold, with the newest flow."""
        rows = self.rows
        return Crossing(
            tuple(json.loads(rows[0].grouped)), self.amount, newest, min(row.first_ns for row in rows),
            max(row.last_ns for row in rows), sum(row.hits - row.told for row in rows),
            sum(row.bytes_out - row.told_out for row in rows), sum(row.bytes_in - row.told_in for row in rows),
            self.first_flow, self.last_flow,
        )  # fmt: skip


def slot_ns(count: Count) -> int:
    """Return how long a slot is."""
    return count.timespan_s * 1_000_000_000 // SLOTS


def reached(rows: Iterable[Row], count: Count, first: int) -> list[Found]:
    """Return what is new of the groups that reached the limit; rows come by group and slot.

    ``first`` is the id of the first flow that is new.
    """
    by_group = [list(some) for _, some in groupby(rows, lambda row: row.grouped)]
    return [new for some in by_group if (new := _new(some, count, first))]


def crossings(db: Database, some: Sequence[Found]) -> list[Crossing]:
    """Return them with their newest flows, as rows of the view ``flows``."""
    cursor = db.conn.execute(_NEWEST, (json.dumps([one.last_flow for one in some]),)) if some else None
    names = [column[0] for column in cursor.description] if cursor else []
    newest = {row["id"]: row for row in (dict(zip(names, row, strict=True)) for row in cursor or ())}
    return [one.crossing(newest[one.last_flow]) for one in some]


def stored(
    db: Database, predicate: str, count: Count, flows: tuple[int, int],
    limited: Callable[[], AbstractContextManager[None]],
) -> list[Crossing]:  # fmt: skip
    """Return what a rule finds among stored flows, from one id to another; raises what ``limited`` does."""
    values = {"first": flows[0], "last": flows[1], "least": count.least, "slot_ns": slot_ns(count)}
    with limited():
        rows = map(Row._make, db.conn.execute(_counting(predicate, count), values))
        return crossings(db, reached(rows, count, flows[0]))


def _counting(predicate: str, count: Count) -> str:
    """Return the query that counts flows by group, slot and value; a flow without the value does not count."""
    wanted = f"({predicate}) AND {count.field} IS NOT NULL" if count.field else predicate
    item = f"CAST({count.field} AS TEXT)" if count.kind == "value_count" else "''"
    amount = f"CAST({_AMOUNT[count.kind].format(field=count.field)} AS INTEGER)"
    return _COUNTED.format(group=", ".join(count.group_by), item=item, amount=amount, predicate=wanted)


def _new(rows: Sequence[Row], count: Count, since: int) -> Found | None:
    """Return what is new of one group, if it came to the limit within a window."""
    hot, amount = _hot(rows, count)
    new = [row for row in rows if row.slot in hot and row.hits > row.told]
    if not new:
        return None
    # The flows before this batch are new to an alert, unless it has begun: then they may lie before its newest.
    before = any(row.told for row in rows)
    first = [row.first_flow for row in new if not before or row.first_flow >= since]
    last_flow = max(row.last_flow for row in new)
    return Found(new, hot, amount, min(first, default=last_flow), last_flow)


def _hot(rows: Sequence[Row], count: Count) -> tuple[set[int], int]:
    """Return the slots of windows that reach the limit, and the most that one came to; rows come by slot."""
    hot: set[int] = set()
    most = begin = 0
    for end, row in enumerate(rows):
        if end + 1 < len(rows) and rows[end + 1].slot == row.slot:
            continue
        while rows[begin].slot <= row.slot - SLOTS:
            begin += 1
        window = rows[begin : end + 1]
        if (amount := _amount(window, count)) >= count.least:
            hot |= {one.slot for one in window}
            most = max(most, amount)
    return hot, most


def _amount(window: Sequence[Row], count: Count) -> int:
    return len({row.item for row in window}) if count.kind == "value_count" else sum(row.amount for row in window)
