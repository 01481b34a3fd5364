"""The only door to the database: snapshots, pages of flows, and single flows.

In: the path of a database. Out: frozen values. Never: a write, or a connection kept open between two looks.

Every look opens the file anew, so a database that was replaced, moved or is being written is seen as it is now.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from egress_watch.model import Snapshot
from egress_watch.store import Reader

Row = Mapping[str, Any]


class Feed:
    """Looks at one database."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = os.path.basename(path)  # noqa: PTH119 - a name to show, no file access
        self._mark: object = None

    def changed(self) -> Snapshot | None:
        """Return the snapshot, or None where the file is as it was at the last look. Raises EgressWatchError."""
        mark = self._marked()
        if mark == self._mark:
            return None
        with Reader(self.path) as reader:
            snapshot = reader.snapshot()
        self._mark = mark  # taken before reading: what is written meanwhile is seen at the next look
        return snapshot

    def forget(self) -> None:
        """Take the next look for the first one."""
        self._mark = None

    def page(self, verdict: str, size: int, *, before: int = 0, after: int = 0) -> list[dict[str, Any]]:
        """Return up to ``size`` flows beside an id, the newest first. Raises EgressWatchError."""
        with Reader(self.path) as reader:
            return reader.page({"verdict": verdict} if verdict else {}, size, before=before, after=after)

    def flow(self, number: int) -> dict[str, Any] | None:
        """Return one flow by its id, None where it is gone. Raises EgressWatchError."""
        with Reader(self.path) as reader:
            found = reader.page({}, 1, before=number + 1)
        return found[0] if found and found[0]["id"] == number else None

    def _marked(self) -> list[tuple[int, int, int]]:
        """Return what changes with every commit: identity, time and size of the file and of its write-ahead log."""
        marks = []
        for path in (self.path, self.path + "-wal"):
            try:
                stat = os.stat(path)  # noqa: PTH116 - the path stays a string, as the user gave it
            except OSError:
                continue
            if stat.st_size:
                marks.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return marks
