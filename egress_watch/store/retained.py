"""Retention by hand: a whole run over a database that nobody need be recording.

In: a path and limits. Out: what was taken, and the room there is. Never: a remote swept while somebody records.
"""

from __future__ import annotations

import time

from egress_watch.store.file import open_for_reading, open_for_writing, trouble
from egress_watch.store.recording import RUNNING, alive
from egress_watch.store.retention import Limits, Space, Taken, overdue, retain, space, sweep

__all__ = ["Limits", "Space", "Taken", "look", "make_room"]


def make_room(path: str, limits: Limits) -> tuple[Taken, Space]:
    """Take out what is beyond the limits and give all free room back. Raises UsageError, StoreError."""
    db = open_for_writing(path, new=False)
    try:
        taken = sum(retain(db, path, limits, time.time_ns(), spare_bytes=0), Taken())
        if taken.flows and not any(alive(mark) for (mark,) in db.conn.execute(_WRITERS, (RUNNING,)) if mark):
            sweep(db, path)
            taken += sum(retain(db, path, Limits(), time.time_ns(), spare_bytes=0), Taken())
        return taken, space(db, path)
    finally:
        db.close()


def look(path: str, limits: Limits) -> tuple[Taken, Space]:
    """Return what would go by days, and the room there is, without writing. Raises UsageError, StoreError."""
    db = open_for_reading(path)
    try:
        with trouble(path):
            return overdue(db, limits, time.time_ns()), space(db, path)
    finally:
        db.close()


_WRITERS = "SELECT writer FROM recording WHERE state = ?"
