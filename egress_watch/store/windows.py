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
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from egress_watch.fast import distinct, table
from egress_watch.model import Count, Crossing, Ints

SLOTS = 12
MORE = -1
"""The item of a row that holds all values beyond those that are counted."""
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


GROUP, SLOT, ITEM, AMOUNT, HITS, OUT, IN, FIRST_NS, LAST_NS, FIRST, LAST, TOLD, TOLD_OUT, TOLD_IN = range(
    len(Row._fields)
)
"""The columns of a matrix of rows, (n, 14), in which group and item are numbers."""


def blank(rows: int) -> Ints:
    """Return a matrix of rows, all 0, in which a column lies in one piece: nearly all that is done goes by columns."""
    return np.zeros((len(Row._fields), rows), np.int64).T


class Found(NamedTuple):
    """The slots of one group that hold something untold, and all slots of windows that reached the limit."""

    grouped: str
    rows: Ints
    """(n, 14)"""
    hot: Ints
    amount: int
    more: bool
    """Whether values were too many to tell all apart."""
    first_flow: int
    last_flow: int

    def crossing(self, newest: dict[str, Any]) -> Crossing:
        """Return the sums of what is untold, with the newest flow."""
        rows = self.rows
        pairs = (HITS, TOLD), (OUT, TOLD_OUT), (IN, TOLD_IN)
        hits, bytes_out, bytes_in = (int((rows[:, here] - rows[:, told]).sum()) for here, told in pairs)
        return Crossing(
            tuple(json.loads(self.grouped)), self.amount, newest, int(rows[:, FIRST_NS].min()),
            int(rows[:, LAST_NS].max()), hits, bytes_out, bytes_in, self.first_flow, self.last_flow, self.more,
        )  # fmt: skip


def slot_ns(count: Count) -> int:
    """Return how long a slot is."""
    return count.timespan_s * 1_000_000_000 // SLOTS


def reached(rows: Ints, texts: Sequence[str], count: Count, first: int) -> list[Found]:
    """Return what is new of the groups that reached the limit, by their texts; rows are a matrix.

    ``first`` is the id of the first flow that is new.
    """
    if not len(rows):
        return []
    rows = rows[np.lexsort((rows[:, SLOT], rows[:, GROUP]))]
    by_group = np.split(rows, np.flatnonzero(np.diff(rows[:, GROUP])) + 1)
    by_group.sort(key=lambda some: texts[some[0, GROUP]])
    return [new for some in by_group if (new := _new(some, texts, count, first))]


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
        rows, texts = _matrix(db.conn.execute(_counting(predicate, count), values))
        return crossings(db, reached(rows, texts, count, flows[0]))


def _counting(predicate: str, count: Count) -> str:
    """Return the query that counts flows by group, slot and value; a flow without the value does not count."""
    wanted = f"({predicate}) AND {count.field} IS NOT NULL" if count.field else predicate
    item = f"CAST({count.field} AS TEXT)" if count.kind == "value_count" else "''"
    amount = f"CAST({_AMOUNT[count.kind].format(field=count.field)} AS INTEGER)"
    return _COUNTED.format(group=", ".join(count.group_by), item=item, amount=amount, predicate=wanted)


def _matrix(found: Iterable[tuple[Any, ...]]) -> tuple[Ints, list[str]]:
    """Return rows as a matrix, and the texts of its groups."""
    groups: dict[str, int] = {}
    items: dict[str, int] = {}
    rows = [
        (groups.setdefault(group, len(groups)), slot, items.setdefault(item, len(items)), *numbers)
        for group, slot, item, *numbers in found
    ]
    return np.array(rows, np.int64).reshape(-1, len(Row._fields)), list(groups)


def _new(rows: Ints, texts: Sequence[str], count: Count, since: int) -> Found | None:
    """Return what is new of one group, if it came to the limit within a window."""
    if _amount(rows, count) < count.least:  # no window has more than all of them
        return None
    hot, amount = _hot(rows, count)
    new = rows[hot & (rows[:, HITS] > rows[:, TOLD])]
    if not len(new):
        return None
    # The flows before this batch are new to an alert, unless it has begun: then they may lie before its newest.
    first = new[:, FIRST]
    if rows[:, TOLD].any():
        first = first[first >= since]
    last_flow = int(new[:, LAST].max())
    first_flow = int(first.min(initial=last_flow))
    more = bool((rows[hot, ITEM] == MORE).any())
    return Found(texts[rows[0, GROUP]], new, np.unique(rows[hot, SLOT]), amount, more, first_flow, last_flow)


def _hot(rows: Ints, count: Count) -> tuple[NDArray[np.bool_], int]:
    """Return which rows are of windows that reach the limit, and the most that one came to; rows come by slot."""
    slots, most = rows[:, SLOT], 0
    hot = np.zeros(len(rows), bool)
    for end in (np.flatnonzero(np.diff(slots, append=slots[-1] + 1)) + 1).tolist():
        window = slice(int(np.searchsorted(slots, slots[end - 1] - SLOTS, "right")), end)
        if (amount := _amount(rows[window], count)) >= count.least:
            hot[window] = True
            most = max(most, amount)
    return hot, most


def _amount(window: Ints, count: Count) -> int:
    if count.kind == "value_count":
        items = window[window[:, ITEM] != MORE, ITEM]
        return len(distinct(table([items], len(items))).first)
    return int(window[:, AMOUNT].sum())
