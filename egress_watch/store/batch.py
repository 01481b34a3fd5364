"""A committed batch of flows that rules can ask.

In: the rows as they were written, and predicates. Out: the rows for which each holds. Never: a change to the
database, or an endless query.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from sqlite_utils import Database

from egress_watch.errors import RuleError
from egress_watch.fast import distinct, table
from egress_watch.model import Count, Crossing, Ints, Judged
from egress_watch.store.facts import FIRST_COUNTRY, FIRST_OWNER, FIRST_PROVIDER
from egress_watch.store.kinds import KNOWN, Kinds
from egress_watch.store.reading import reads
from egress_watch.store.rollup import Rollup

RULE_LIMIT_S = 2.0
"""Seconds of the processor that a rule may take over one batch: a machine that is busy is no fault of a rule."""
TOGETHER_LIMIT_S = 5.0
"""Seconds of all rules together; then each is asked alone, so that the slow one is known and the loop goes on."""
STEPS_BETWEEN_LOOKS = 10_000
RULES_TOGETHER = 32
"""Predicates of one statement: a bit each of SQLite's 64."""
SECOND_NS = 1_000_000_000
NEIGHBOURS = 8
"""Rows of devices to go through for each that is asked for, at most."""
_FIRST_SEEN = "SELECT id, coalesce(first_ns, 0) FROM device WHERE id BETWEEN ? AND ? ORDER BY id"
_SOME_FIRST_SEEN = """
SELECT id, coalesce(first_ns, 0) FROM device WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id
"""
_LISTED = "SELECT 1 FROM listing WHERE recording = ? LIMIT 1"
_FACTS = {"first_country": FIRST_COUNTRY, "first_owner": FIRST_OWNER, "first_provider": FIRST_PROVIDER}


class Numbers(NamedTuple):
    """The integers of the rows of a batch, (n,) each, beside those of its flows."""

    device: Ints
    remote: Ints
    name: Ints
    """0 where none was heard."""
    name_source: Ints
    alias: Ints
    """Rows of the table alias, 0 where there are no other names."""
    place: Ints
    facts: Ints
    habit_times: Ints
    """NO_HABIT where it is not known."""


class Matcher:
    """Answers predicates for one batch after the other, and remembers what they said of flows of a kind."""

    def __init__(self) -> None:
        self._predicates: Sequence[str] = ()
        self._kinds = Kinds((), ())
        self._known: list[int] = []

    def matching(self, batch: Batch, predicates: Sequence[str]) -> list[Ints | RuleError]:
        """Return for each predicate the rows for which it holds, or why it failed or took too long."""
        self._prepare(predicates)
        found: dict[int, Ints | RuleError] = {}
        known = [predicates[at] for at in self._known]
        try:
            with limited(batch.db, min(RULE_LIMIT_S * max(1, len(known)), TOGETHER_LIMIT_S)), _at_one_moment(batch.db):
                numbers = batch.numbers(self._kinds.numbers())
                answers: Sequence[Ints | RuleError] = self._kinds.matching(numbers, batch.ids, batch.ask)
        except RuleError:
            answers = batch.each(known, together=1)
        found |= dict(zip(self._known, answers, strict=True))
        others = [at for at in range(len(predicates)) if at not in found]
        found |= dict(zip(others, batch.each([predicates[at] for at in others]), strict=True))
        return [found[at] for at in range(len(predicates))]

    def _prepare(self, predicates: Sequence[str]) -> None:
        """Begin anew where other predicates are asked: a rule was set aside, or this is the first batch."""
        if predicates != self._predicates:
            asked = [reads(predicate, KNOWN) for predicate in predicates]
            self._known = [at for at, one in enumerate(asked) if one is not None]
            self._kinds = Kinds([predicates[at] for at in self._known], [one for one in asked if one is not None])
            self._predicates = list(predicates)


class Batch:
    """Flows that were committed together; the rows of a recording are numbered as in ``judged.flows``."""

    def __init__(
        self, db: Database, recording: int, judged: Judged, ids: Ints, rows: Numbers, newest: int, matcher: Matcher,
        rollup: Rollup,
    ) -> None:  # fmt: skip
        self.db, self._recording, self._rows, self._matcher, self._rollup = db, recording, rows, matcher, rollup
        self._rollup.begin()
        self.judged = judged
        self.ids = ids
        """(n,) The flows' ids, rising."""
        self.devices = rows.device
        """(n,) Rows of the device table."""
        self.first, self.last = (int(ids[0]), int(ids[-1])) if len(ids) else (newest + 1, newest)

    def matching(self, predicates: Sequence[str]) -> Sequence[Ints | RuleError]:
        """Return for each predicate the rows for which it holds, or why it failed or took too long."""
        return self._matcher.matching(self, list(predicates))

    def counted(self, rule: str, rows: Ints, count: Count) -> Sequence[Crossing] | RuleError:
        """Return the groups that some rows took to the limit of a correlation rule, or why they cannot be counted."""
        try:
            with limited(self.db, RULE_LIMIT_S):
                return self._rollup.counted(rule, count, rows, self)
        except RuleError as error:
            return error

    def numbers(self, names: Sequence[str]) -> Mapping[str, Ints]:
        """Return numbers of the flows by name (see `kinds`), (n,) each."""
        return {name: self._number(name) for name in names}

    def ask(self, expressions: Sequence[str], ids: Ints, source: str) -> list[tuple[Any, ...]]:
        """Return what SQL expressions say of the rows of a source, a row for each id."""
        wanted = ids.tolist()
        if not expressions:
            return [()] * len(wanted)
        select = f"SELECT id, {', '.join(expressions)} FROM ({source})"  # noqa: S608 - ours
        found = {row[0]: row[1:] for row in self.db.conn.execute(select, (json.dumps(wanted),))}
        return [found[one] for one in wanted]

    def each(self, predicates: Sequence[str], together: int = RULES_TOGETHER) -> list[Ints | RuleError]:
        """Return the rows for which each predicate holds, by asking it of every single flow."""
        starts = range(0, len(predicates), together)
        return [found for at in starts for found in self._each(predicates[at : at + together])]

    def _number(self, name: str) -> Ints:
        if name in Numbers._fields:
            found: Ints = getattr(self._rows, name)
        elif name in _FACTS:
            found = (self._rows.facts & _FACTS[name] > 0).astype(np.int64)
        elif name == "device_age_s":
            found = self._ages_s()
        elif name == "listing":
            listed = self.db.conn.execute(_LISTED, (self._recording,)).fetchone()
            found = self.devices << 16 | self.judged.flows.vlan if listed else np.zeros(len(self.ids), np.int64)
        elif name == "dealing":
            listing = self._number("listing")
            dealing = table((listing, self._rows.place), len(self.ids))
            found = distinct(dealing).which if listing.any() else listing
        else:
            found = getattr(self.judged.flows, name).astype(np.int64)
        return found

    def _ages_s(self) -> Ints:
        """Return the seconds since each flow's device was first seen."""
        first, which = distinct(table((self.devices,), len(self.devices)))
        some = self.devices[first]
        low, high = int(some.min(initial=0)), int(some.max(initial=0))
        if high - low < NEIGHBOURS * len(some):  # to go through all of them is quicker than to look up most
            found = self.db.conn.execute(_FIRST_SEEN, (low, high))
        else:
            found = self.db.conn.execute(_SOME_FIRST_SEEN, (json.dumps(some.tolist()),))
        seen = np.fromiter(chain.from_iterable(found), np.int64).reshape(-1, 2)
        since = seen[np.searchsorted(seen[:, 0], some), 1]
        ages: Ints = np.maximum(0, self.judged.flows.first_ns - since[which]) // SECOND_NS
        return ages

    def _each(self, predicates: Sequence[str]) -> Sequence[Ints | RuleError]:
        """Ask all together, so that flows are joined with their texts once; where that fails, one by one."""
        try:
            return self._ask(predicates)
        except RuleError as error:
            if len(predicates) == 1:
                return [error]
            return [found for predicate in predicates for found in self._each([predicate])]

    def _ask(self, predicates: Sequence[str]) -> list[Ints]:
        # A WHEN leaves the rest of a condition alone once it is decided; the same condition as a value does not.
        bits = " | ".join(f"CASE WHEN ({predicate}) THEN {1 << n} ELSE 0 END" for n, predicate in enumerate(predicates))
        select = f"SELECT id, {bits} FROM flows WHERE id BETWEEN {self.first:d} AND {self.last:d}"  # noqa: S608 - ours
        with limited(self.db, min(RULE_LIMIT_S * len(predicates), TOGETHER_LIMIT_S)):
            answers = np.fromiter(chain.from_iterable(self.db.conn.execute(select)), np.int64).reshape(-1, 2)
        rows = np.searchsorted(self.ids, answers[:, 0])
        return [rows[answers[:, 1] >> bit & 1 > 0] for bit in range(len(predicates))]


@contextmanager
def limited(db: Database, limit_s: float) -> Iterator[None]:
    """Cut off what SQLite does in the block after so much time of this thread.

    Raises RuleError for that and any trouble of a rule.
    """
    deadline = time.thread_time() + limit_s
    db.conn.set_progress_handler(lambda: time.thread_time() > deadline, STEPS_BETWEEN_LOOKS)
    try:
        yield
    except sqlite3.Error as error:
        slow = "interrupted" in str(error)
        what = f"took longer than {limit_s:g} s over one batch" if slow else str(error)
        raise RuleError(what, remedy="narrow the rule; see `rules check`") from error
    finally:
        db.conn.set_progress_handler(None, 0)


@contextmanager
def _at_one_moment(db: Database) -> Iterator[None]:
    """Let all that is read in the block be of one state of the file, whatever others write."""
    db.conn.execute("BEGIN")
    try:
        yield
    finally:
        if db.conn.in_transaction:
            db.conn.execute("COMMIT")
