"""A committed batch of flows that rules can ask.

In: the rows as they were written, and predicates. Out: the rows for which each holds. Never: a change to the
database, or an endless query.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from itertools import chain

import numpy as np
from sqlite_utils import Database

from egress_watch.errors import RuleError
from egress_watch.model import Ints, Judged

RULE_LIMIT_S = 2.0
STEPS_BETWEEN_LOOKS = 10_000
RULES_TOGETHER = 32
"""Predicates of one statement: a bit each of SQLite's 64."""


class Batch:
    """Flows that were committed together; the rows of a recording are numbered as in ``judged.flows``."""

    def __init__(self, db: Database, judged: Judged, ids: Ints, devices: Ints, newest: int) -> None:
        self._db = db
        self.judged = judged
        self.ids = ids
        """(n,) The flows' ids, rising."""
        self.devices = devices
        """(n,) Rows of the device table."""
        self.first, self.last = (int(ids[0]), int(ids[-1])) if len(ids) else (newest + 1, newest)

    def seen_ns(self) -> Ints:
        """Return (n,) when the first flow of each flow's device began that the database holds."""
        query = "SELECT device, first_ns FROM first_seen WHERE device IN (SELECT value FROM json_each(?))"
        devices, rows = np.unique(self.devices, return_inverse=True)
        seen = dict(self._db.conn.execute(query, (json.dumps(devices.tolist()),)))
        return np.array([seen[device] for device in devices.tolist()], np.int64)[rows]

    def matching(self, predicates: Sequence[str]) -> list[Ints | RuleError]:
        """Return for each predicate the rows for which it holds, or why it failed or took too long."""
        starts = range(0, len(predicates), RULES_TOGETHER)
        return [found for at in starts for found in self._each(predicates[at : at + RULES_TOGETHER])]

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
        limit_s = RULE_LIMIT_S * len(predicates)
        deadline = time.monotonic() + limit_s
        self._db.conn.set_progress_handler(lambda: time.monotonic() > deadline, STEPS_BETWEEN_LOOKS)
        try:
            answers = np.fromiter(chain.from_iterable(self._db.conn.execute(select)), np.int64).reshape(-1, 2)
        except sqlite3.Error as error:
            slow = "interrupted" in str(error)
            what = f"took longer than {limit_s:g} s over one batch" if slow else str(error)
            raise RuleError(what, remedy="narrow the rule; see `rules check`") from error
        finally:
            self._db.conn.set_progress_handler(None, 0)
        rows = np.searchsorted(self.ids, answers[:, 0])
        return [rows[answers[:, 1] >> bit & 1 > 0] for bit in range(len(predicates))]
