"""What the groups of one correlation rule have come to: a matrix of rows, a few slots a group.

In: rows that a batch adds. Out: the rows of groups that may have reached the limit. Never: more values of a group and
slot told apart than `MOST_VALUES`, unless the rule asks for more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, overload

import numpy as np

from egress_watch.fast import distinct, table
from egress_watch.model import Count, Ints, Judged
from egress_watch.store.kinds import Codes, narrow
from egress_watch.store.spilled import Spilled
from egress_watch.store.windows import (
    AMOUNT,
    FIRST,
    FIRST_NS,
    GROUP,
    HITS,
    IN,
    ITEM,
    LAST,
    LAST_NS,
    MORE,
    OUT,
    SLOT,
    SLOTS,
    TOLD,
    TOLD_IN,
    TOLD_OUT,
    blank,
)  # fmt: skip

MOST_VALUES = 4096
"""Values of one group and slot that are told apart, where a rule does not ask for more."""
MERGE_FROM = 1 << 16
"""Rows of a rule that are worth looking for like ones among them, and again at twice as many as were left."""
KEPT = 3 * SLOTS
"""Slots behind the newest that are kept: flows end out of order, by the time-outs at most."""


class Asked(Protocol):
    """A committed batch, as far as counting needs it; see `batch.Batch`."""

    judged: Judged
    ids: Ints

    def numbers(self, names: Sequence[str]) -> Mapping[str, Ints]:
        """Return numbers of the flows by name, (n,) each."""

    def ask(self, expressions: Sequence[str], ids: Ints, source: str) -> Sequence[tuple[Any, ...]]:
        """Return what SQL expressions say of the rows of a source."""


class GroupTexts(Sequence[str]):
    """The values of each group as a JSON list; few are ever asked for, so each is made when it is."""

    def __init__(self) -> None:
        self.codes: list[bytes] = []
        """The codes of each group's values, eight bytes each."""
        self.told: Sequence[Codes] = ()
        """What the codes of each value stand for."""
        self._made: dict[int, str] = {}

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.codes) if len(self.told) > 1 else len(self.told[0].told) if self.told else 0

    @overload
    def __getitem__(self, group: int) -> str: ...
    @overload
    def __getitem__(self, group: slice) -> list[str]: ...
    def __getitem__(self, group: int | slice) -> str | list[str]:
        """Return the text of a group, or of some."""
        if isinstance(group, slice):
            return [self[one] for one in range(len(self))[group]]
        if (text := self._made.get(group)) is None:
            codes = np.frombuffer(self.codes[group], np.int64).tolist() if len(self.told) > 1 else (group,)
            words = (str(of.told[code][0]) for code, of in zip(codes, self.told, strict=True))
            text = self._made[group] = f"[{','.join(words)}]"
        return text


class Counts:
    """The counts of one rule: a matrix of rows, as `Row` with numbers for its texts."""

    def __init__(self, count: Count) -> None:
        self.count = count
        self.size = 0
        self.texts = GroupTexts()
        """The group's values as a JSON list, by its number."""
        self.read: set[int] = set()
        """Groups whose rows of the table are here too, where there are any."""
        self._rows = blank(256)
        self._groups: dict[bytes, int] = {}
        self._totals = np.zeros(256, np.int64)
        self._forgotten: int | None = None
        self._merge_from = MERGE_FROM

    @property
    def rows(self) -> Ints:
        """(size, 14) The rows."""
        return self._rows[: self.size]

    def groups(self, columns: Sequence[Ints], texts: Sequence[Codes]) -> Ints:
        """Return the number of each row's group, by the codes of its values, a column for each value."""
        self.texts.told = texts
        if len(columns) == 1:
            return columns[0]
        first, which = distinct(table(narrow(columns), len(columns[0])))
        codes = table([column[first] for column in columns], len(first)).view(f"V{8 * len(columns)}")[:, 0].tolist()
        groups, known = self._groups, self.texts.codes
        for one in codes:
            if one not in groups:
                groups[one] = len(known)
                known.append(one)
        numbers: Ints = np.array(list(map(groups.__getitem__, codes)), np.int64)[which]
        return numbers

    @property
    def amounts(self) -> Ints:
        """(size,) What each row adds to what its group comes to."""
        return np.ones(self.size, np.int64) if self.count.kind == "value_count" else self.rows[:, AMOUNT]

    def likely(self, fresh: Ints, spilled: Spilled | None = None) -> Ints:
        """Return the groups that may have reached the limit with some more rows: all together they come to it."""
        kinds = distinct(table((fresh[:, GROUP],), len(fresh)))
        groups, more = fresh[kinds.first, GROUP], kinds.sums(fresh[:, AMOUNT])
        self._room(int(groups.max(initial=0)))
        most = more + self._totals[groups]
        if spilled:
            most += spilled.most([self.texts[group] for group in groups.tolist()])
        likely: Ints = groups[most >= self.count.least]
        return likely

    def bounded(self, fresh: Ints) -> Ints:
        """Return rows with one in place of those whose values are too many in their group and slot to be told apart."""
        if self.count.kind != "value_count":
            return fresh
        self._room(int(fresh[:, GROUP].max(initial=0)))
        most = max(MOST_VALUES, self.count.least)
        groups = distinct(table((fresh[:, GROUP],), len(fresh)))
        crowded = groups.counts() + self._totals[fresh[groups.first, GROUP]] > most
        if not crowded.any():
            return fresh
        before = self.of(fresh[groups.first[crowded], GROUP], self.rows)
        both = np.concatenate((before, fresh))
        pairs = distinct(table((both[:, GROUP], both[:, SLOT]), len(both)))
        order = pairs.order()
        rank = np.empty(len(both), np.int64)
        counts = pairs.counts()
        rank[order] = np.arange(len(both)) - np.repeat(np.cumsum(counts) - counts, counts)
        beyond = rank[len(before) :] >= most
        fresh[beyond, ITEM], fresh[beyond, AMOUNT] = MORE, 0
        return _merged(fresh)

    def add(self, fresh: Ints) -> None:
        """Put rows beside those that are there; where values are counted, a value is there once."""
        self._room(int(fresh[:, GROUP].max(initial=0)))
        if self.count.kind == "value_count":
            self._rows = _merged(np.concatenate((self.rows, fresh)))
            self.size = len(self._rows)
            self._total()
            return
        if (size := self.size + len(fresh)) > len(self._rows):
            rows, self._rows = self.rows, blank(2 * size)
            self._rows[: len(rows)] = rows
        self._rows[self.size : size] = fresh
        self.size = size
        np.add.at(self._totals, fresh[:, GROUP], fresh[:, AMOUNT])

    def order(self) -> Ints:
        """Return (size,) the rows by the texts of their groups, as a table keeps them: each page of it is met once."""
        by_text = np.array(sorted(range(len(self.texts)), key=self.texts.__getitem__), np.int64)
        rank = np.empty(len(by_text), np.int64)
        rank[by_text] = np.arange(len(by_text))
        return np.lexsort((self.rows[:, SLOT], rank[self.rows[:, GROUP]]))

    def merge(self) -> None:
        """Make one row of those of the same group, slot and item."""
        rows = _merged(self.rows)
        self._rows[: len(rows)], self.size = rows, len(rows)
        self._merge_from = max(MERGE_FROM, 2 * self.size)

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
        late = self.rows[:, SLOT] >= newest - KEPT
        if not late.all():
            rows = self.rows[late]
            self._rows[: len(rows)], self.size = rows, len(rows)
            self._total()
        if self.size > self._merge_from:
            self.merge()

    def _total(self) -> None:
        """Sum up what the rows of each group come to."""
        self._totals[:] = 0
        np.add.at(self._totals, self.rows[:, GROUP], self.amounts)

    def _room(self, group: int) -> None:
        if group >= len(self._totals):
            self._totals = np.concatenate((self._totals, np.zeros(group + 1, np.int64)))


def sums(keys: tuple[Ints, Ints, Ints], rows: Ints, batch: Asked, count: Count) -> Ints:
    """Return a row for each group, slot and item that is there."""
    kinds, flows = distinct(table(narrow(keys), len(rows))), batch.judged.flows
    found = blank(len(kinds.first))
    found[:, GROUP], found[:, SLOT], found[:, ITEM] = (key[kinds.first] for key in keys)
    found[:, HITS] = kinds.counts()
    found[:, OUT], found[:, IN] = (kinds.sums(one[rows]) for one in (flows.bytes_out, flows.bytes_in))
    found[:, FIRST_NS], found[:, LAST_NS] = kinds.least(flows.first_ns[rows]), kinds.most(flows.last_ns[rows])
    found[:, FIRST], found[:, LAST] = batch.ids[rows[kinds.first]], kinds.most(batch.ids[rows])
    summed = {"bytes_out": OUT, "bytes_in": IN}.get(count.field)
    if count.kind == "value_sum":
        found[:, AMOUNT] = found[:, summed] if summed else kinds.sums(getattr(flows, count.field)[rows])
    else:
        found[:, AMOUNT] = found[:, HITS] if count.kind == "event_count" else 1
    return found


def _merged(rows: Ints) -> Ints:
    """Return rows with those of the same group, slot and item as one."""
    if not len(rows):
        return rows
    keys = (GROUP, SLOT, ITEM)
    kinds = distinct(table(narrow([rows[:, key] for key in keys]), len(rows)))
    found = blank(len(kinds.first))
    for key in keys:
        found[:, key] = rows[kinds.first, key]
    for column in (AMOUNT, HITS, OUT, IN, TOLD, TOLD_OUT, TOLD_IN):
        found[:, column] = kinds.sums(rows[:, column])
    for column in (FIRST_NS, FIRST):
        found[:, column] = kinds.least(rows[:, column])
    for column in (LAST_NS, LAST):
        found[:, column] = kinds.most(rows[:, column])
    return found
