"""The store: one SQLite file, the seam between recorder, screens, exporters and people with `sqlite3`.

In: recordings. Out: rows, reports and a `Snapshot`. Never: a write by a reader, or a row lost once committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from egress_watch.errors import StoreError
from egress_watch.model import Pace
from egress_watch.store.answers import dataset
from egress_watch.store.backtest import Tried, backtest
from egress_watch.store.difference import Difference
from egress_watch.store.file import open_for_writing, transaction
from egress_watch.store.gaps import rewind
from egress_watch.store.lasting import Lasting
from egress_watch.store.reader import Reader
from egress_watch.store.recording import FINISHED, RUNNING, Recording, alive, begin
from egress_watch.store.rejudging import Law, compare, rewrite
from egress_watch.store.retention import Limits
from egress_watch.store.schema import NEWEST
from egress_watch.store.set_aside import Unsound, write_rules
from egress_watch.store.sums import CUBES, step_back
from egress_watch.store.trial import holds, prepare, register_regexp

__all__ = [
    "NEWEST", "Difference", "Law", "Reader", "Recording", "Store", "Tried", "backtest", "compare", "holds", "prepare",
    "rewrite",
]  # fmt: skip

CACHE_KIB = 32 * 1024
"""Pages SQLite keeps: the counts of an hour are looked up all over their table, and its own 2 MB do not hold them."""
_OF_A_RECORDING = (
    "flow", "alert", "input", "skipped", "damage", "rejudged", "rejudgement", "fact", "listing", "contact", "rollup",
    *(cube.table for cube in CUBES),
    "hour", "segment_hour", "heard", "evidence", "health", "happening", "habit",
)  # fmt: skip
_OF_AN_ALERT = ("alert_event", "folded")


class Store:
    """A database open for recording."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._db = open_for_writing(path)
        self._db.conn.execute("PRAGMA temp_store = MEMORY")
        self._db.conn.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        register_regexp(self._db.conn)

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def recorded(self, fingerprints: Iterable[str]) -> set[str]:
        """Return those fingerprints that a finished recording was made from."""
        query = """SELECT DISTINCT fingerprint FROM input JOIN recording ON recording.id = input.recording
          WHERE state = ?"""
        return {row[0] for row in self._db.execute(query, [FINISHED])} & set(fingerprints)

    def record(
        self, *, zone: str, as_of: str, data: Sequence[Mapping[str, str]], rules: Iterable[Sequence[str]], version: str,
        inputs: Mapping[str, str], narrowed: str = "", adequate: Iterable[str] = (), unsound: Unsound = (),
        pace: Pace = Pace(), limits: Limits | None = None,  # noqa: B008 - a constant
    ) -> Recording:  # fmt: skip
        """Begin a recording of these inputs (path to fingerprint).

        An unfinished recording that shares an input is replaced: its process was killed or stopped, and all it held
        comes again. ``data`` describes the data files that judge; ``rules`` are rows of id, title, level, digest and
        origin, and ``unsound`` says by place what kept others from running; ``narrowed`` says what part of the inputs
        is recorded, "" for all of them; ``adequate`` are the countries that data may go to under EU law on the zone's
        day; ``pace`` is that of its alerts. With ``limits`` it keeps within them, and a full disk does not end it
        (`store.lasting`).
        """
        with transaction(self._db, self.path):
            for number in self._unfinished(inputs.values()):
                self._remove(number)
            judged_by = dataset(self._db, data)
            write_rules(self._db, rules, unsound)
            number = begin(
                self._db, zone=zone, as_of=as_of, dataset=judged_by, version=version, inputs=inputs, narrowed=narrowed,
                adequate=" ".join(adequate),
            )  # fmt: skip
        if limits is None:
            return Recording(self._db, self.path, number, judged_by, zone, pace)
        return Lasting(self._db, self.path, number, judged_by, zone, pace, limits=limits)

    def remove(self, recording: Recording) -> None:
        """Take a recording out again: its input turned out to be in the database already."""
        with transaction(self._db, self.path):
            self._remove(recording.id)

    def _unfinished(self, fingerprints: Iterable[str]) -> list[int]:
        wanted = set(fingerprints)
        query = """SELECT recording.id, writer, state, fingerprint FROM recording
          JOIN input ON recording.id = input.recording WHERE state <> ?"""
        found: dict[int, None] = {}
        for number, mark, state, fingerprint in self._db.execute(query, [FINISHED]):
            if fingerprint in wanted:
                if state == RUNNING and (pid := alive(mark)):
                    remedy = "wait for it, or name another file with --db"
                    raise StoreError(f"process {pid} is recording this input right now", where=self.path, remedy=remedy)
                found[number] = None
        return list(found)

    def _remove(self, number: int) -> None:
        rewind(self._db, number)
        for table in _OF_AN_ALERT:
            of = "alert IN (SELECT id FROM alert WHERE recording = ?)"
            self._db.conn.execute(f"DELETE FROM {table} WHERE {of}", (number,))  # noqa: S608 - our own names
        for table in _OF_A_RECORDING:
            self._db.conn.execute(f"DELETE FROM {table} WHERE recording = ?", (number,))  # noqa: S608 - our own names
        step_back(self._db)
        self._db.conn.execute("DELETE FROM recording WHERE id = ?", (number,))
