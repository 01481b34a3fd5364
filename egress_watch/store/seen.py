"""When a device was first heard of: the beginning of the first flow of it that was stored.

In: devices of a batch. Out: rows of the table first_seen. Never: a row that changes.
"""

from __future__ import annotations

import numpy as np
from sqlite_utils import Database

from egress_watch.model import Ints

LIMIT = 1_000_000
"""Devices remembered as written; what is forgotten is only offered to the table again."""


class Seen:
    """Writes each device once."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: set[int] = set()

    def note(self, devices: Ints, first_ns: Ints) -> None:
        """Write those devices (n,) that are new, with the beginning (n,) of their first flow, within a transaction."""
        numbers, rows = np.unique(devices, return_index=True)
        pairs = zip(numbers.tolist(), first_ns[rows].tolist(), strict=True)
        fresh = [pair for pair in pairs if pair[0] not in self._known]
        if not fresh:
            return
        self._db.conn.executemany("INSERT OR IGNORE INTO first_seen VALUES (?, ?)", fresh)
        if len(self._known) > LIMIT:
            self.forget()
        self._known.update(number for number, _ in fresh)

    def forget(self) -> None:
        """Forget what may not have been committed."""
        self._known.clear()
