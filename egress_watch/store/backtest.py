"""Rules over flows that are stored already: what they would have said, and what that costs.

In: a database and rules. Out: one `Tried` a rule. Never: a change to the database.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from sqlite_utils import Database

from egress_watch.errors import RuleError
from egress_watch.model import Count, Crossing
from egress_watch.store.batch import limited
from egress_watch.store.file import open_for_reading, trouble
from egress_watch.store.recording import SEQUENCE_BITS
from egress_watch.store.trial import register_regexp
from egress_watch.store.windows import stored

LIMIT_S = 120.0
SILENCE_NS = 24 * 3600 * 1_000_000_000
"""After this long without a hit, the next one is another alert."""
NOISIEST = 3

_HITS = """
CREATE TEMP TABLE hit(device_ip TEXT, whom TEXT, first_ns INTEGER, last_ns INTEGER, hits INTEGER)
"""
_FIND = """
INSERT INTO temp.hit SELECT device_ip, json_array(device, owner, country, CASE WHEN owner IS NULL THEN as_name END),
  first_ns, last_ns, 1
FROM flows WHERE id >= ? AND ({predicate})
"""
_SUMS = "SELECT coalesce(sum(hits), 0) FROM temp.hit"
_ALERTS = """
SELECT count(*) FROM (
  SELECT first_ns - max(last_ns) OVER (PARTITION BY whom ORDER BY last_ns ROWS BETWEEN UNBOUNDED PRECEDING
    AND 1 PRECEDING) AS silent FROM temp.hit)
WHERE silent IS NULL OR silent > ?
"""
_NOISY = "SELECT device_ip, sum(hits) FROM temp.hit GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?"


class Runnable(Protocol):
    """A rule that is ready to run."""

    @property
    def id(self) -> str:
        """UUID."""

    @property
    def predicate(self) -> str:
        """SQL over the view ``flows``."""

    @property
    def count(self) -> Count | None:
        """What it counts, if it does."""


class Tried(NamedTuple):
    """What one rule would have said."""

    rule: str
    hits: int
    alerts: int
    noisiest: tuple[tuple[str, int], ...]
    """Devices with their hits, the most first."""
    cost_ms: float
    trouble: str
    """Why it did not run to its end, "" where it did."""


@contextmanager
def backtest(path: str, since_ns: int) -> Iterator[Backtest]:
    """Yield a trial over the flows that ended since then. Raises UsageError, StoreError."""
    db = open_for_reading(path)
    try:
        with trouble(path):
            register_regexp(db.conn)
            db.conn.execute(_HITS)
            yield Backtest(db, since_ns)
    finally:
        db.close()


class Backtest:
    """Tries rules one by one."""

    def __init__(self, db: Database, since_ns: int) -> None:
        self._db = db
        self._first = max(0, since_ns // 1_000_000) << SEQUENCE_BITS
        query = "SELECT count(*), coalesce(max(id), 0) FROM flow WHERE id >= ?"
        self.flows, self._last = db.conn.execute(query, (self._first,)).fetchone()

    def run(self, rule: Runnable) -> Tried:
        """Return what a rule would have said; one that fails or is too slow is told with its reason."""
        self._db.conn.execute("DELETE FROM temp.hit")
        begun = time.perf_counter()
        try:
            self._find(rule)
            why = ""
        except RuleError as error:
            why = error.what.replace(" over one batch", "")
        cost_ms = 1000 * (time.perf_counter() - begun)
        (hits,), (alerts,) = self._db.conn.execute(_SUMS).fetchone(), self._alerts()
        noisiest = tuple(self._db.conn.execute(_NOISY, (NOISIEST,)).fetchall())
        return Tried(rule.id, hits, alerts, noisiest, cost_ms, why)

    def _alerts(self) -> tuple[int]:
        found: tuple[int] = self._db.conn.execute(_ALERTS, (SILENCE_NS,)).fetchone()
        return found

    def _find(self, rule: Runnable) -> None:
        with limited(self._db, LIMIT_S):
            if rule.count is None:
                self._db.conn.execute(_FIND.format(predicate=rule.predicate), (self._first,))
                return
        rows = [
            (found.newest["device_ip"], str((recording, *found.group)), found.first_ns, found.last_ns, found.hits)
            for recording in self._recordings()
            for found in self._crossings(rule, rule.count, recording)
        ]
        self._db.conn.executemany("INSERT INTO temp.hit VALUES (?, ?, ?, ?, ?)", rows)

    def _recordings(self) -> list[int]:
        return [row[0] for row in self._db.conn.execute("SELECT id FROM recording ORDER BY id")]

    def _crossings(self, rule: Runnable, count: Count, recording: int) -> list[Crossing]:
        """Return the groups of one recording that reached the limit."""
        predicate = f"recording = {recording:d} AND ({rule.predicate})"
        return stored(self._db, predicate, count, (self._first, self._last), lambda: limited(self._db, LIMIT_S))
