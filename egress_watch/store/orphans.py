"""Alerts of recordings that ended: nothing hits them again, so the clock tells when they fell silent.

In: a database that is being recorded live, and the time. Out: closed alerts, each with its event. Never: an alert of a
recording that still runs; that one goes by the times of its packets.
"""

from __future__ import annotations

from sqlite_utils import Database

from egress_watch.store.episode import LATEST_NS
from egress_watch.store.episode_rows import END, TELL_ENDED
from egress_watch.store.recording import RUNNING, living

_OPEN = """
SELECT id, state, writer FROM recording WHERE id <> ? AND id IN (SELECT recording FROM alert WHERE closed_ns IS NULL)
"""


def close_orphans(db: Database, recording: int, silence_ns: int, now_ns: int) -> None:
    """Close what was silent for long enough in recordings that ended before this one; called within a transaction."""
    rows = db.conn.execute(_OPEN, (recording,)).fetchall()
    for ended in (number for number, state, mark in rows if state != RUNNING or not living(mark)):
        values = {"recording": ended, "silence": silence_ns, "before": now_ns - silence_ns, "flow": LATEST_NS}
        db.conn.execute(TELL_ENDED, values)
        db.conn.execute(END, values)
