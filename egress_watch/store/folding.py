"""The write-ahead log folded into the database beside the recorder, who need not wait for the disk.

In: a path. Out: a log that stays small. Never: a lock that a writer waits for; that is what PASSIVE means
(sqlite.org/c3ref/wal_checkpoint_v2.html).

A recorder that folds the log itself waits for the disk at each fold, for seconds where others use it too. The log
begins anew once all of it is folded in at a moment when nobody writes, which is most of the time.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from egress_watch.errors import EgressWatchError
from egress_watch.store.file import open_for_writing, trouble

LOOK_S = 0.5
FOLD_BYTES = 16 << 20
MOST_PAGES = 64_000
"""Beyond 256 MB of log the recorder folds it in himself, as SQLite would at 4 MB."""


class Folding:
    """Folds one database's log in until told to stop."""

    def __init__(self, path: str) -> None:
        self._path, self._stop = path, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, once the fold that goes on is done."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            with suppress(EgressWatchError):  # the recorder meets the same trouble, and tells it
                self._until_trouble()

    def _until_trouble(self) -> None:
        log, db = Path(f"{self._path}-wal"), open_for_writing(self._path, new=False)
        try:
            with trouble(self._path):
                while not self._stop.wait(LOOK_S):
                    if log.exists() and log.stat().st_size >= FOLD_BYTES:
                        db.conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        finally:
            db.close()
