"""Counts over time for correlation rules: a few slots a group, in place of the flows of an hour.

In: a committed batch, a predicate and what to count. Out: the groups that reached the limit, and rows of the table
rollup. Never: a look at older flows, or a hit told twice.

A timespan is `SLOTS` slots long, each a twelfth of it: 5 minutes for an hour. A flow counts in the slot of its last
packet. A window is the slot of a flow and the eleven before it, so it spans eleven to twelve twelfths of the timespan:
never more. What is told are the flows of every slot within a window that reached the limit, each once; so the sum does
not depend on how the flows were cut into batches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import Any, NamedTuple

from sqlite_utils import Database

from egress_watch.model import Count, Crossing

SLOTS = 12
KEPT = 3 * SLOTS
"""Slots behind the newest that are kept: flows end out of order, by the time-outs at most."""

_KEY, _SUMS = "grouped, slot, item", "amount, hits, bytes_out, bytes_in, first_ns, last_ns, first_flow, last_flow"
_TABLE = f"""
CREATE TEMP TABLE IF NOT EXISTS counted(rule TEXT, grouped TEXT, slot INTEGER, item TEXT,
  {", ".join(f"{name} INTEGER" for name in _SUMS.split(", "))}, PRIMARY KEY(rule, grouped, slot, item)) WITHOUT ROWID
"""
_COUNT = """
INSERT INTO temp.counted SELECT :rule, json_array({group}), last_ns / :slot_ns, {item}, {amount}, count(*),
  sum(bytes_out), sum(bytes_in), min(first_ns), max(last_ns), min(id), max(id)
FROM flows WHERE id BETWEEN :first AND :last AND ({predicate}) GROUP BY 2, 3, 4
"""
_RANGE = "SELECT min(slot), max(slot) FROM temp.counted WHERE rule = ?"
_GROUPS = """
SELECT grouped FROM (
  SELECT grouped, item, amount FROM temp.counted WHERE rule = :rule
  UNION ALL SELECT rollup.grouped, rollup.item, rollup.amount
  FROM (SELECT DISTINCT grouped FROM temp.counted WHERE rule = :rule) AS touched CROSS JOIN rollup
    ON rollup.recording = :recording AND rollup.rule = :rule AND rollup.grouped = touched.grouped
      AND rollup.slot BETWEEN :since AND :until)
GROUP BY grouped HAVING {metric} >= :least
"""
_ROWS = f"""
SELECT {_KEY}, {_SUMS}, 0, 0, 0 FROM temp.counted
WHERE rule = :rule AND grouped IN (SELECT value FROM json_each(:groups))
UNION ALL SELECT {_KEY}, {_SUMS}, told, told_out, told_in FROM rollup
WHERE recording = :recording AND rule = :rule AND grouped IN (SELECT value FROM json_each(:groups))
  AND slot BETWEEN :since AND :until
ORDER BY grouped, slot
"""  # noqa: S608 - constants
_KEEP = f"""
INSERT INTO rollup(recording, rule, {_KEY}, {_SUMS}) SELECT ?, rule, {_KEY}, {_SUMS} FROM temp.counted WHERE true
ON CONFLICT DO UPDATE SET amount = amount + excluded.amount, hits = hits + excluded.hits,
  bytes_out = bytes_out + excluded.bytes_out, bytes_in = bytes_in + excluded.bytes_in,
  first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns), last_flow = excluded.last_flow
"""  # noqa: S608 - constants
_TOLD = """
UPDATE rollup SET told = hits, told_out = bytes_out, told_in = bytes_in
WHERE recording = ? AND rule = ? AND grouped = ? AND slot = ?
"""
_FORGET = "DELETE FROM rollup WHERE recording = ? AND rule = ? AND slot < ?"
_METRIC = {"value_count": "count(DISTINCT item)"}
_AMOUNT = {"value_sum": "total({field})", "event_count": "count(*)", "value_count": "1"}
_NEWEST = "SELECT * FROM flows WHERE id IN (SELECT value FROM json_each(?))"


class _Row(NamedTuple):
    """What one group came to in one slot, for one value where values are counted."""

    grouped: str
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


class Rollup:
    """The counts of one recording; what a batch adds is kept once its alerts are."""

    def __init__(self, db: Database, recording: int) -> None:
        self._db, self._recording = db, recording
        self._told: list[tuple[int, str, str, int]] = []
        self._newest: dict[str, int] = {}
        self._forgotten: dict[str, int] = {}
        self._begun = False

    def begin(self) -> None:
        """Start with a new batch: what was counted of one before and never kept is dropped."""
        self._told = []
        if self._begun:
            self._db.conn.execute("DELETE FROM temp.counted")

    def counted(
        self, rule: str, predicate: str, count: Count, flows: tuple[int, int],
        limited: Callable[[], AbstractContextManager[None]],
    ) -> list[Crossing]:  # fmt: skip
        """Return the groups that ``flows``, from one id to another, took to the limit; raises what ``limited`` does."""
        self._begun = self._begun or bool(self._db.conn.execute(_TABLE))
        values = {
            "rule": rule, "recording": self._recording, "first": flows[0], "last": flows[1], "least": count.least,
            "slot_ns": count.timespan_s * 1_000_000_000 // SLOTS,
        }  # fmt: skip
        with limited():
            self._db.conn.execute(_counting(predicate, count), values)
            low, high = self._db.conn.execute(_RANGE, (rule,)).fetchone()
            if low is None:
                return []
            self._newest[rule] = max(high, self._newest.get(rule, high))
            values |= {"since": low - SLOTS + 1, "until": high + SLOTS - 1}
            query = _GROUPS.format(metric=_METRIC.get(count.kind, "sum(amount)"))
            groups = [row[0] for row in self._db.conn.execute(query, values)]
            rows = map(_Row._make, self._db.conn.execute(_ROWS, {**values, "groups": json.dumps(groups)}).fetchall())
            by_group = [list(some) for _, some in groupby(rows, lambda row: row.grouped)]
            found = [new for some in by_group if (new := self._new(some, values, count))]
            newest = self._flows([new.last_flow for new in found])
            return [new.crossing(newest[new.last_flow]) for new in found]

    def keep(self) -> None:
        """Add what the batch came to; called in the transaction that stores its alerts."""
        if not self._begun:
            return
        self._db.conn.execute(_KEEP, (self._recording,))
        self._db.conn.executemany(_TOLD, self._told)
        for rule, newest in self._newest.items():
            if newest - self._forgotten.get(rule, newest - SLOTS) >= SLOTS:
                self._db.conn.execute(_FORGET, (self._recording, rule, newest - KEPT))
                self._forgotten[rule] = newest
        self._db.conn.execute("DELETE FROM temp.counted")
        self._told = []

    def _new(self, rows: Sequence[_Row], values: Mapping[str, Any], count: Count) -> _New | None:
        """Return what is new of one group, if it came to the limit within a window."""
        hot, amount = _hot(rows, count)
        new = [row for row in rows if row.slot in hot and row.hits > row.told]
        if not new:
            return None
        self._told += [(self._recording, values["rule"], rows[0].grouped, slot) for slot in hot]
        # The flows before this batch are new to an alert, unless it has begun: then they may lie before its newest.
        before = any(row.told for row in rows)
        first = [row.first_flow for row in new if not before or row.first_flow >= values["first"]]
        last_flow = max(row.last_flow for row in new)
        return _New(new, amount, min(first, default=last_flow), last_flow)

    def _flows(self, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
        cursor = self._db.conn.execute(_NEWEST, (json.dumps(numbers),))
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
        return {row["id"]: row for row in rows}


class _New(NamedTuple):
    """The slots of one group that hold something untold."""

    rows: Sequence[_Row]
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


def _counting(predicate: str, count: Count) -> str:
    """Return the query that counts a batch by group, slot and value; a flow without the value does not count."""
    wanted = f"({predicate}) AND {count.field} IS NOT NULL" if count.field else predicate
    item = f"CAST({count.field} AS TEXT)" if count.kind == "value_count" else "''"
    amount = f"CAST({_AMOUNT[count.kind].format(field=count.field)} AS INTEGER)"
    return _COUNT.format(group=", ".join(count.group_by), item=item, amount=amount, predicate=wanted)


def _hot(rows: Sequence[_Row], count: Count) -> tuple[set[int], int]:
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


def _amount(window: Sequence[_Row], count: Count) -> int:
    return len({row.item for row in window}) if count.kind == "value_count" else sum(row.amount for row in window)
