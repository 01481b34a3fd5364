"""Whether the database is sound, looked at while it is being written.

In: a path. Out: what SQLite finds wrong. Never: a writer who waits; it is a reader with a thread of its own.

Each table is looked at in a read of its own: a single one over the whole file would keep the write-ahead log from being
folded in for as long (sqlite.org/wal.html, section 6). quick_check does all that integrity_check does but for comparing
indexes with their tables (sqlite.org/pragma.html#pragma_quick_check).
"""

from __future__ import annotations

import threading

from egress_watch.errors import EgressWatchError
from egress_watch.store.file import open_for_reading, trouble

SOUND = "integrity check: sound"
BROKEN = "integrity check: "
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"


def check(path: str) -> list[str]:
    """Return what is wrong with a database, nothing where it is sound. Raises UsageError, StoreError."""
    db = open_for_reading(path)
    try:
        with trouble(path):
            tables = [name for (name,) in db.conn.execute(_TABLES).fetchall()]
            found = [row[0] for name in tables for row in db.conn.execute(f"PRAGMA quick_check('{name}')")]
            return [what for what in found if what != "ok"]
    finally:
        db.close()


class Checking:
    """One look at a database that goes on beside other work."""

    def __init__(self, path: str) -> None:
        self._path, self._said = path, ""
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def said(self) -> str:
        """Return what came of it in words, "" while it goes on."""
        return "" if self._thread.is_alive() else self._said

    def _look(self) -> None:
        try:
            wrong = check(self._path)
            self._said = f"{BROKEN}{wrong[0]}" + (f" ({len(wrong)} such)" if wrong[1:] else "") if wrong else SOUND
        except EgressWatchError as error:
            self._said = f"{BROKEN}{error.what}"
