"""What a sink will never get: the records that a limit dropped, or that retention took before they were sent.

In: a database within a transaction, and what goes. Out: rows of the table gap, which are told to the receiver, and
cursors behind them. Never: a record that goes unsent and uncounted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlite_utils import Database

ALERTS, FLOWS = "alerts", "flows"
TABLES = {ALERTS: "alert_event", FLOWS: "flow"}
"""The table whose ids each stream's cursor goes by."""
_BEHIND = "SELECT name, {stream}_done FROM sink WHERE {stream}_done < ? AND instr(records, '{stream}')"
_COUNT = "SELECT count(*) FROM {table} WHERE id > ? AND id <= ?"
_SKIP = "UPDATE sink SET {stream}_done = max({stream}_done, ?), dropped_{stream} = dropped_{stream} + ? WHERE name = ?"
_GAP = "INSERT INTO gap(sink, stream, records, after, last, made_ns) VALUES (?, ?, ?, ?, ?, ?)"
_UNSENT = "SELECT count(*), max(id) FROM alert_event WHERE alert = ? AND id > ?"


def skip(db: Database, sink: str, stream: str, after: int, last: int) -> int:
    """Move one sink's cursor from one id to another over what is dropped between; note the gap, return how many."""
    dropped = int(db.conn.execute(_COUNT.format(table=TABLES[stream]), (after, last)).fetchone()[0])
    db.conn.execute(_SKIP.format(stream=stream), (last, dropped, sink))
    if dropped:
        db.conn.execute(_GAP, (sink, stream, dropped, after, last, time.time_ns()))
    return dropped


def overtake(db: Database, stream: str, last: int) -> None:
    """Note, for each sink that wanted them, the rows up to an id that are about to be deleted."""
    for sink, after in db.conn.execute(_BEHIND.format(stream=stream), (last,)).fetchall():
        skip(db, sink, stream, after, last)


def note_unsent(db: Database, alerts: Sequence[int]) -> None:
    """Note, for each sink, the news of alerts that are about to be deleted; its cursor stays, others may be behind."""
    for sink, after in db.conn.execute(_BEHIND.format(stream=ALERTS), ((1 << 63) - 1,)).fetchall():
        found = [db.conn.execute(_UNSENT, (alert, after)).fetchone() for alert in alerts]
        if dropped := sum(count for count, _ in found):
            newest = max(number for _, number in found if number)
            db.conn.execute(_SKIP.format(stream=ALERTS), (0, dropped, sink))
            db.conn.execute(_GAP, (sink, ALERTS, dropped, after, newest, time.time_ns()))


def rewind(db: Database, recording: int) -> None:
    """Take every cursor back before a recording that is removed: what it held may come again, under the same ids.

    Called while its flows are still there. News of alerts gets new numbers, flows may not.
    """
    query = "UPDATE sink SET flows_done = min(flows_done, coalesce((SELECT min(id) - 1 FROM flow WHERE recording = ?)"
    db.conn.execute(f"{query}, flows_done))", (recording,))
