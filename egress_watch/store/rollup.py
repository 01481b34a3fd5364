"""Counts over time for the correlation rules of one recording: a few slots a group, in place of the flows of an hour.

In: the rows of a committed batch that a rule's predicate holds for. Out: the groups that reached the limit, and rows of
the table rollup. Never: a look at older flows, or more than `LIMIT` counts in memory.

The counts live in memory: nobody else reads them, and a recording that was killed comes again as a whole. They go to
the table when they are too many; from then on a group is read back when it is touched again. What makes a window, and
what is told of it, is in `windows`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
from sqlite_utils import Database

from egress_watch.fast import distinct, table
from egress_watch.model import Count, Crossing, Ints, Judged
from egress_watch.store.kinds import PASSING, ROW_OF, Codes
from egress_watch.store.windows import SLOTS, Row, crossings, reached, slot_ns

LIMIT = 1_000_000
KEPT = 3 * SLOTS
"""Slots behind the newest that are kept: flows end out of order, by the time-outs at most."""

_COLUMNS = ", ".join(Row._fields)
_READ = f"""SELECT {_COLUMNS} FROM rollup
WHERE recording = ? AND rule = ? AND grouped IN (SELECT value FROM json_each(?))"""  # noqa: S608 - constants
_WRITE = f"INSERT OR REPLACE INTO rollup(recording, rule, {_COLUMNS}) VALUES (?, ?{', ?' * len(Row._fields)})"  # noqa: S608 - constants
_FORGET = "DELETE FROM rollup WHERE recording = ? AND rule = ? AND slot < ?"
_END = "DELETE FROM rollup WHERE recording = ?"
GROUP, SLOT, ITEM, AMOUNT, HITS, OUT, IN, FIRST_NS, LAST_NS, FIRST, LAST, TOLD, TOLD_OUT, TOLD_IN = range(
    len(Row._fields)
)


class Asked(Protocol):
    """A committed batch, as far as counting needs it; see `batch.Batch`."""

    judged: Judged
    ids: Ints

    def numbers(self, names: Sequence[str]) -> Mapping[str, Ints]:
        """Return numbers of the flows by name, (n,) each."""

    def ask(self, expressions: Sequence[str], ids: Ints) -> Sequence[tuple[Any, ...]]:
        """Return what SQL expressions say of flows."""


class _Fresh(NamedTuple):
    """What a batch adds to the counts of a rule."""

    rows: Ints
    """(n, 14) As `Row`, group and item as numbers."""
    told: Sequence[tuple[int, int]]
    """Groups and slots that are told with it."""


class _Counts:
    """The counts of one rule: a matrix of rows, as `Row` with numbers for its texts."""

    def __init__(self, count: Count) -> None:
        self.count = count
        self.size = 0
        self.texts: list[str] = []
        """The group's values as a JSON list, by its number."""
        self.read: set[int] = set()
        """Groups whose rows of the table are here, where there are any."""
        self._rows = np.zeros((256, len(Row._fields)), np.int64)
        self._groups: dict[tuple[int, ...], int] = {}
        self._totals = np.zeros(256, np.int64)
        self._forgotten: int | None = None

    @property
    def rows(self) -> Ints:
        """(size, 14) The rows."""
        return self._rows[: self.size]

    def groups(self, columns: Sequence[Ints], texts: Sequence[Codes]) -> Ints:
        """Return the number of each row's group, by the codes of its values, a column for each value."""
        numbers = columns[0]
        if len(columns) > 1:
            first, which = distinct(table(columns, len(numbers)))
            codes = zip(*(column[first].tolist() for column in columns), strict=True)
            groups = self._groups
            numbers = np.array([groups.setdefault(one, len(groups)) for one in codes], np.int64)[which]
        known, count = len(self.texts), len(self._groups) if len(columns) > 1 else len(texts[0].told)
        fresh = islice(self._groups, known, None) if len(columns) > 1 else ((code,) for code in range(known, count))
        for one in fresh:
            words = (str(text.told[code][0]) for code, text in zip(one, texts, strict=True))
            self.texts.append(f"[{','.join(words)}]")
        return numbers

    def likely(self, fresh: Ints) -> Ints:
        """Return the groups that may have reached the limit with some more rows: all together they come to it."""
        kinds = distinct(table((fresh[:, GROUP],), len(fresh)))
        groups, more = fresh[kinds.first, GROUP], kinds.sums(fresh[:, AMOUNT])
        self._room(int(groups.max(initial=0)))
        likely: Ints = groups[more + self._totals[groups] >= self.count.least]
        return likely

    def add(self, fresh: Ints) -> None:
        """Put rows beside those that are there; where values are counted, a value is there once."""
        self._room(int(fresh[:, GROUP].max(initial=0)))
        if self.count.kind == "value_count":
            self._rows = _merged(np.concatenate((self.rows, fresh)))
            self.size = len(self._rows)
            self._total()
            return
        if (size := self.size + len(fresh)) > len(self._rows):
            self._rows = np.concatenate((self._rows, np.zeros((size, len(Row._fields)), np.int64)))
        self._rows[self.size : size] = fresh
        self.size = size
        np.add.at(self._totals, fresh[:, GROUP], fresh[:, AMOUNT])

    def merge(self) -> None:
        """Make one row of those of the same group, slot and item."""
        rows = _merged(self.rows)
        self._rows[: len(rows)], self.size = rows, len(rows)

    def of(self, groups: Ints, rows: Ints) -> Ints:
        """Return the rows of some groups."""
        if not len(groups):
            return rows[:0]
        wanted = np.zeros(len(self._totals), bool)
        wanted[groups] = True
        found: Ints = rows[wanted[rows[:, GROUP]]]
        return found

    def tell(self, told: Sequence[tuple[int, int]]) -> None:
        """Note that all of these groups and slots was told."""
        if not told:
            return
        pairs = np.array(sorted(told), np.int64)
        for group in np.unique(pairs[:, 0]).tolist():
            slots = pairs[pairs[:, 0] == group, 1]
            rows = np.flatnonzero(self.rows[:, GROUP] == group)
            rows = rows[np.isin(self._rows[rows, SLOT], slots)]
            self._rows[rows[:, None], [TOLD, TOLD_OUT, TOLD_IN]] = self._rows[rows[:, None], [HITS, OUT, IN]]

    def forget(self) -> None:
        """Drop what lies far behind the newest slot, once in a timespan."""
        newest = int(self.rows[:, SLOT].max(initial=0))
        if self._forgotten is not None and newest - self._forgotten < SLOTS:
            return
        self._forgotten = newest
        rows = _merged(self.rows[self.rows[:, SLOT] >= newest - KEPT])
        self._rows[: len(rows)], self.size = rows, len(rows)
        self._total()

    def _total(self) -> None:
        """Sum up what the rows of each group come to."""
        rows = self.rows
        self._totals[:] = 0
        np.add.at(self._totals, rows[:, GROUP], 1 if self.count.kind == "value_count" else rows[:, AMOUNT])

    def _room(self, group: int) -> None:
        if group >= len(self._totals):
            self._totals = np.concatenate((self._totals, np.zeros(group + 1, np.int64)))


class Rollup:
    """The counts of one recording; what a batch adds is kept once its alerts are."""

    def __init__(self, db: Database, recording: int, limit: int = LIMIT) -> None:
        self._db, self._recording, self._limit = db, recording, limit
        self._rules: dict[str, _Counts] = {}
        self._codes: dict[str, Codes] = {}
        self._fresh: dict[str, _Fresh] = {}
        self._newest: dict[str, int] = {}
        self._spilled: set[str] = set()

    def begin(self) -> None:
        """Start with a new batch: what was counted of one before and never kept is dropped."""
        self._fresh = {}

    def counted(self, rule: str, count: Count, rows: Ints, batch: Asked) -> list[Crossing]:
        """Return the groups that ``rows`` of a batch took to the limit."""
        counts = self._rules.setdefault(rule, _Counts(count))
        fresh = self._summed(counts, rows, batch)
        if not len(fresh):
            return []
        self._read_back(rule, counts, fresh)
        low, high = int(fresh[:, SLOT].min()), int(fresh[:, SLOT].max())
        self._newest[rule] = max(high, self._newest.get(rule, high))
        likely = counts.likely(fresh)
        before, new = counts.of(likely, counts.rows), counts.of(likely, fresh)
        before = before[(before[:, SLOT] > low - SLOTS) & (before[:, SLOT] < high + SLOTS)]
        found = reached(sorted(self._told(counts, np.concatenate((before, new)))), count, int(batch.ids[0]))
        group = {counts.texts[one]: one for one in likely.tolist()}
        told = [(group[one.rows[0].grouped], slot) for one in found for slot in one.hot]
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
        return self._held() > self._limit

    def _held(self) -> int:
        return sum(counts.size + len(counts.texts) for counts in self._rules.values())

    def write(self) -> None:
        """Write all counts to the table; called within a transaction."""
        for rule, counts in self._rules.items():
            counts.merge()
            rows = ((self._recording, rule, *row) for row in self._told(counts, counts.rows))
            self._db.conn.executemany(_WRITE, rows)
            if rule in self._newest:
                self._db.conn.execute(_FORGET, (self._recording, rule, self._newest[rule] - KEPT))

    def clear(self) -> None:
        """Forget what `write` wrote, once that is committed; it is read back where it is needed."""
        self._spilled |= set(self._rules)
        self._rules, self._codes = {}, {}

    def end(self) -> None:
        """Take the table's rows away: nobody asks for the counts of a recording that ended. In a transaction."""
        if self._spilled:
            self._db.conn.execute(_END, (self._recording,))

    def _summed(self, counts: _Counts, rows: Ints, batch: Asked) -> Ints:
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
        return _sums((self._groups(counts, rows, batch), slots, items), rows, batch, count)

    def _groups(self, counts: _Counts, rows: Ints, batch: Asked) -> Ints:
        """Return the number of the group of each row."""
        coded = [self._coded(f"json_quote({column})", column, rows, batch) for column in counts.count.group_by]
        return counts.groups([codes for _, codes in coded], [text for text, _ in coded])

    def _coded(self, expression: str, column: str, rows: Ints, batch: Asked) -> tuple[Codes, Ints]:
        """Return the codes of what an expression says of each row."""
        of = ROW_OF.get(column, column)
        codes = self._codes.setdefault(expression, Codes([expression], passing=of in PASSING))
        return codes, codes.of(batch.numbers([of])[of][rows], batch.ids[rows], batch.ask)

    def _read_back(self, rule: str, counts: _Counts, fresh: Ints) -> None:
        """Take in what the table has of groups that were written there and are touched again."""
        missing = set(fresh[:, GROUP].tolist()) - counts.read if rule in self._spilled else set()
        if not missing:
            return
        counts.read |= missing
        group = {counts.texts[one]: one for one in missing}
        items = self._codes.get(f"CAST({counts.count.field} AS TEXT)")
        found = self._db.conn.execute(_READ, (self._recording, rule, json.dumps(list(group))))
        rows = [
            (group[row[GROUP]], row[SLOT], items.number((row[ITEM],)) if items else 0, *row[AMOUNT:]) for row in found
        ]
        if rows:
            counts.add(np.array(rows, np.int64))

    def _told(self, counts: _Counts, rows: Ints) -> Iterator[Row]:
        """Yield rows with their texts."""
        items = self._codes.get(f"CAST({counts.count.field} AS TEXT)") if counts.count.kind == "value_count" else None
        for group, slot, item, *numbers in rows.tolist():
            yield Row(counts.texts[group], slot, items.told[item][0] if items else "", *numbers)


def _sums(keys: tuple[Ints, Ints, Ints], rows: Ints, batch: Asked, count: Count) -> Ints:
    """Return a row for each group, slot and item that is there."""
    kinds, flows = distinct(table(keys, len(rows))), batch.judged.flows
    found = np.zeros((len(kinds.first), len(Row._fields)), np.int64)
    found[:, GROUP], found[:, SLOT], found[:, ITEM] = (key[kinds.first] for key in keys)
    found[:, HITS] = kinds.counts()
    found[:, OUT], found[:, IN] = (kinds.sums(one[rows]) for one in (flows.bytes_out, flows.bytes_in))
    found[:, FIRST_NS], found[:, LAST_NS] = kinds.least(flows.first_ns[rows]), kinds.most(flows.last_ns[rows])
    found[:, FIRST], found[:, LAST] = kinds.least(batch.ids[rows]), kinds.most(batch.ids[rows])
    if count.kind == "value_sum":
        found[:, AMOUNT] = kinds.sums(getattr(flows, count.field)[rows])
    else:
        found[:, AMOUNT] = found[:, HITS] if count.kind == "event_count" else 1
    return found


def _merged(rows: Ints) -> Ints:
    """Return rows with those of the same group, slot and item as one."""
    if not len(rows):
        return rows
    kinds = distinct(table((rows[:, GROUP], rows[:, SLOT], rows[:, ITEM]), len(rows)))
    found = rows[kinds.first]
    for column in (AMOUNT, HITS, OUT, IN, TOLD, TOLD_OUT, TOLD_IN):
        found[:, column] = kinds.sums(rows[:, column])
    for column in (FIRST_NS, FIRST):
        found[:, column] = kinds.least(rows[:, column])
    for column in (LAST_NS, LAST):
        found[:, column] = kinds.most(rows[:, column])
    return found
