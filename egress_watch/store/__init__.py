"""The store: one SQLite file, the seam between recorder, screens, exporters and people with `sqlite3`.

In: recordings. Out: rows, reports and a `Snapshot`. Never: a write by a reader, or a row lost once committed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from sqlite_utils import Database

from egress_watch.errors import RuleError, StoreError
from egress_watch.model import Pace
from egress_watch.store.answers import dataset
from egress_watch.store.difference import Difference
from egress_watch.store.file import open_for_writing, transaction
from egress_watch.store.reader import Reader
from egress_watch.store.recording import FINISHED, RUNNING, Recording, alive, begin, storable
from egress_watch.store.rejudging import Law, compare, rewrite
from egress_watch.store.schema import MIGRATIONS, NEWEST

__all__ = ["NEWEST", "Difference", "Law", "Reader", "Recording", "Store", "compare", "prepare", "rewrite"]

_OF_AN_ALERT = ("alert_event", "folded")
_OF_A_RECORDING = ("flow", "alert", "input", "skipped", "damage", "rejudged", "rejudgement")


class Store:
    """A database open for recording."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._db = open_for_writing(path)
        self._db.conn.execute("PRAGMA temp_store = MEMORY")
        _register_regexp(self._db.conn)

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
        inputs: Mapping[str, str], pace: Pace = Pace(),  # noqa: B008 - a constant
    ) -> Recording:  # fmt: skip
        """Begin a recording of these inputs (path to fingerprint).

        An unfinished recording that shares an input is replaced: its process was killed or stopped, and all it held
        comes again. ``data`` describes the data files that judge; ``rules`` are rows of id, title, level, digest and
        origin. ``pace`` is that of its alerts.
        """
        with transaction(self._db, self.path):
            for number in self._unfinished(inputs.values()):
                self._remove(number)
            judged_by = dataset(self._db, data)
            rows = [tuple(map(storable, row)) for row in rules]
            self._db.conn.executemany("INSERT OR REPLACE INTO rule VALUES (?, ?, ?, ?, ?, NULL)", rows)
            number = begin(self._db, zone=zone, as_of=as_of, dataset=judged_by, version=version, inputs=inputs)
        return Recording(self._db, self.path, number, judged_by, zone, pace)

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
        for table in _OF_AN_ALERT:
            of = "alert IN (SELECT id FROM alert WHERE recording = ?)"
            self._db.conn.execute(f"DELETE FROM {table} WHERE {of}", (number,))  # noqa: S608 - our own names
        for table in _OF_A_RECORDING:
            self._db.conn.execute(f"DELETE FROM {table} WHERE recording = ?", (number,))  # noqa: S608 - our own names
        self._db.conn.execute("DELETE FROM recording WHERE id = ?", (number,))


def prepare(rules: Iterable[tuple[str, str]]) -> list[RuleError]:
    """Return what is wrong with rules, given as (predicate, origin), that cannot run on our schema."""
    db = Database(memory=True)
    for step in MIGRATIONS:
        step(db)
    _register_regexp(db.conn)
    found = []
    for predicate, origin in rules:
        try:
            db.conn.execute(f"SELECT 1 FROM flows WHERE ({predicate}) LIMIT 0")  # noqa: S608 - compiled by us
        except sqlite3.Error as error:
            found.append(RuleError(str(error), where=origin, remedy="see docs/rules.md for the fields"))
    return found


def _register_regexp(connection: sqlite3.Connection) -> None:
    """Give rules linear-time regular expressions, where google-re2 is there; without it they are refused earlier."""
    with suppress(ImportError):
        import re2  # type: ignore[import-untyped]

        def regexp(pattern: str, value: Any) -> bool:
            return value is not None and re2.search(pattern, str(value)) is not None

        connection.create_function("REGEXP", 2, regexp, deterministic=True)
