"""Counts over time for the correlation rules of one recording: a few slots a group, in place of the flows of an hour.

In: the rows of a committed batch that a rule's predicate holds for. Out: the groups that reached the limit, and rows of
the table rollup. Never: a look at older flows, or more than `LIMIT` counts in memory.

The counts live in memory: nobody else reads them, and a recording that was killed comes again as a whole. They go to
the table when they are too many. A group is read back when, with what it may have there (`spilled`), it can have
reached the limit. What makes a window, and what is told of it, is in `windows`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from sqlite_utils import Database

from egress_watch.model import Count, Crossing, Ints
from egress_watch.store.counts import KEPT, Asked, Counts, sums
from egress_watch.store.kinds import ROW_OF, Codes
from egress_watch.store.spilled import Spilled
from egress_watch.store.windows import AMOUNT, GROUP, ITEM, MORE, SLOT, SLOTS, Row, crossings, reached, slot_ns

LIMIT = 1_000_000
TOGETHER = 4096
"""Rows that are made objects of at once."""

_COLUMNS = ", ".join(Row._fields)
_READ = f"""SELECT {_COLUMNS} FROM rollup
WHERE recording = ? AND rule = ? AND grouped IN (SELECT value FROM json_each(?))"""  # noqa: S608 - constants
_MERGED = ", ".join(
    f"{name} = min({name}, excluded.{name})" if name in {"first_ns", "first_flow"} else
    f"{name} = max({name}, excluded.{name})" if name in {"last_ns", "last_flow"} else
    f"{name} = {name} + excluded.{name}" for name in Row._fields[AMOUNT:]
)  # fmt: skip
_WRITE = f"""INSERT INTO rollup(recording, rule, {_COLUMNS}) VALUES (?, ?{", ?" * len(Row._fields)})
ON CONFLICT DO UPDATE SET {_MERGED}"""  # noqa: S608 - constants
_TAKE = "DELETE FROM rollup WHERE recording = ? AND rule = ? AND grouped IN (SELECT value FROM json_each(?))"
_FORGET = "DELETE FROM rollup WHERE recording = ? AND rule = ? AND slot < ?"
_END = "DELETE FROM rollup WHERE recording = ?"


class _Fresh(NamedTuple):
    """What a batch adds to the counts of a rule."""

    rows: Ints
    """(n, 14) As `Row`, group and item as numbers."""
    told: Sequence[tuple[int, int]]
    """Groups and slots that are told with it."""


class Rollup:
    """The counts of one recording; what a batch adds is kept once its alerts are."""

    def __init__(self, db: Database, recording: int, limit: int = LIMIT) -> None:
        self._db, self._recording, self._limit = db, recording, limit
        self._rules: dict[str, Counts] = {}
        self._codes: dict[str, Codes] = {}
        self._fresh: dict[str, _Fresh] = {}
        self._newest: dict[str, int] = {}
        self._forgotten: dict[str, int] = {}
        self._spilled: dict[str, Spilled] = {}

    def begin(self) -> None:
        """Start with a new batch: what was counted of one before and never kept is dropped."""
        self._fresh = {}

    def counted(self, rule: str, count: Count, rows: Ints, batch: Asked) -> list[Crossing]:
        """Return the groups that ``rows`` of a batch took to the limit."""
        counts = self._rules.setdefault(rule, Counts(count))
        fresh = self._summed(counts, rows, batch)
        if not len(fresh):
            return []
        if spilled := self._spilled.get(rule):
            self._read_back(rule, counts, counts.likely(fresh, spilled))
        fresh = counts.bounded(fresh)
        low, high = int(fresh[:, SLOT].min()), int(fresh[:, SLOT].max())
        self._newest[rule] = max(high, self._newest.get(rule, high))
        likely = counts.likely(fresh)
        before, new = counts.of(likely, counts.rows), counts.of(likely, fresh)
        before = before[(before[:, SLOT] > low - SLOTS) & (before[:, SLOT] < high + SLOTS)]
        found = reached(np.concatenate((before, new)), counts.texts, count, int(batch.ids[0]))
        told = [(int(one.rows[0, GROUP]), slot) for one in found for slot in one.hot.tolist()]
        self._fresh[rule] = _Fresh(fresh, told)
        return crossings(self._db, found)

    def keep(self) -> None:
        """Keep what the batch came to: its alerts are committed."""
        for rule, fresh in self._fresh.items():
            counts = self._rules[rule]
            counts.add(fresh.rows)
            counts.tell(fresh.told)
        for counts in self._rules.values():
            counts.forget()
        self._fresh = {}

    @property
    def full(self) -> bool:
        """Whether `write` and then `clear` are due, also once like rows are one."""
        if self._held() > self._limit:
            for counts in self._rules.values():
                counts.merge()
        return self._held() > self._limit or self._texts() > self._limit

    def _held(self) -> int:
        return sum(counts.size + len(counts.texts) for counts in self._rules.values())

    def _texts(self) -> int:
        return sum(len(codes.told) for codes in self._codes.values())

    def write(self) -> None:
        """Write all counts to the table, beside what it has of groups that were not read; in a transaction."""
        for rule, counts in self._rules.items():
            counts.merge()
            read = json.dumps([counts.texts[group] for group in counts.read])
            self._db.conn.execute(_TAKE, (self._recording, rule, read))
            rows = ((self._recording, rule, *row) for row in self._told(counts))
            self._db.conn.executemany(_WRITE, rows)
            self._forget(rule)

    def _forget(self, rule: str) -> None:
        """Take out of the table what is over, once in a timespan: it is gone through as a whole for that."""
        newest = self._newest.get(rule)
        if newest is not None and newest - self._forgotten.setdefault(rule, newest) >= SLOTS:
            self._db.conn.execute(_FORGET, (self._recording, rule, newest - KEPT))
            self._forgotten[rule] = newest

    def clear(self) -> None:
        """Forget what `write` wrote, once that is committed, but for an upper bound of it."""
        for rule, counts in self._rules.items():
            spilled = self._spilled.setdefault(rule, Spilled())
            groups = counts.rows[:, GROUP].tolist()
            spilled.add([counts.texts[group] for group in groups], counts.rows[:, SLOT], counts.amounts)
            spilled.forget(self._newest.get(rule, 0) - KEPT)
        self._rules, self._codes = {}, {}

    def end(self) -> None:
        """Take the table's rows away: nobody asks for the counts of a recording that ended. In a transaction."""
        if self._spilled:
            self._db.conn.execute(_END, (self._recording,))

    def _summed(self, counts: Counts, rows: Ints, batch: Asked) -> Ints:
        """Return what rows of a batch come to by group, slot and item."""
        count = counts.count
        items = np.zeros(len(rows), np.int64)
        if count.kind == "value_count" and len(rows):
            texts, items = self._coded(f"CAST({count.field} AS TEXT)", count.field, rows, batch)
            known = np.array([told[0] is not None for told in texts.told])[items]
            rows, items = rows[known], items[known]
        if not len(rows):
            return np.zeros((0, len(Row._fields)), np.int64)
        slots = np.abs(batch.judged.flows.last_ns[rows]) // slot_ns(count) * np.sign(batch.judged.flows.last_ns[rows])
        return sums((self._groups(counts, rows, batch), slots, items), rows, batch, count)

    def _groups(self, counts: Counts, rows: Ints, batch: Asked) -> Ints:
        """Return the number of the group of each row."""
        coded = [self._coded(f"json_quote({column})", column, rows, batch) for column in counts.count.group_by]
        return counts.groups([codes for _, codes in coded], [text for text, _ in coded])

    def _coded(self, expression: str, column: str, rows: Ints, batch: Asked) -> tuple[Codes, Ints]:
        """Return the codes of what an expression says of each row."""
        of = ROW_OF.get(column, column)
        codes = self._codes.setdefault(expression, Codes([expression], of))
        return codes, codes.of(batch.numbers([of])[of][rows], batch.ids[rows], batch.ask)

    def _read_back(self, rule: str, counts: Counts, likely: Ints) -> None:
        """Take in what the table has of groups that may have reached the limit with it."""
        missing = set(likely.tolist()) - counts.read
        if not missing:
            return
        counts.read |= missing
        group = {counts.texts[one]: one for one in missing}
        items = self._items(counts.count)
        found = self._db.conn.execute(_READ, (self._recording, rule, json.dumps(list(group))))
        rows = [(group[row[GROUP]], row[SLOT], _item(items, row), *row[AMOUNT:]) for row in found]
        if rows:
            counts.add(np.array(rows, np.int64))

    def _told(self, counts: Counts) -> Iterator[Row]:
        """Yield all rows with their texts, in the order of the table; a few at a time become objects."""
        items, rows, order = self._items(counts.count), counts.rows, counts.order()
        some = (row for at in range(0, len(order), TOGETHER) for row in rows[order[at : at + TOGETHER]].tolist())
        for group, slot, item, *numbers in some:
            yield Row(counts.texts[group], slot, items.told[item][0] if items and item != MORE else "", *numbers)

    def _items(self, count: Count) -> Codes | None:
        """Return the codes of the values that a rule counts, None where it counts none."""
        return self._codes.get(f"CAST({count.field} AS TEXT)") if count.kind == "value_count" else None


def _item(items: Codes | None, row: Sequence[Any]) -> int:
    """Return the number of a row's value; the row of all values beyond the bound has the amount 0."""
    if not items:
        return 0
    return items.number((row[ITEM],)) if row[AMOUNT] else MORE
