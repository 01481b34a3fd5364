"""Evidence in the store: which flows of an alert it is wanted for, and in which file the packets of which flow are.

In: hits of alerts, and `Kept` rows. Out: `Link` rows. Never: a packet; those are in the files.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from sqlite_utils import Database

from egress_watch.model import Alert, Kept, Link

_EPISODE = """
SELECT id FROM alert WHERE recording = ? AND rule = ? AND device = ? AND owner = ? AND country = ? AND network = ?
  AND kind = 'episode' AND closed_ns IS NULL
"""
_STORM = "SELECT id FROM alert WHERE recording = ? AND rule = ? AND kind = 'storm' AND closed_ns IS NULL"
_COUNT = "SELECT count(*) FROM evidence WHERE alert = ?"
_KEEP = "INSERT OR REPLACE INTO evidence VALUES (?, ?, ?, ?, ?, ?)"


def links(db: Database, recording: int, alerts: Iterable[Alert], most: int) -> list[Link]:
    """Return up to ``most`` flows of each alert as it stands in the table, those kept before counted in."""
    found: list[Link] = []
    room: dict[int, int] = {}
    for alert in alerts:
        row = _row(db, recording, alert)
        if row and row not in room:
            room[row] = most - int(db.conn.execute(_COUNT, (row,)).fetchone()[0])
        if row and room[row] > 0:
            hits = islice(alert.each() if alert.each else (alert,), room[row])
            new = [Link(row, hit.last_flow, alert.title) for hit in hits]
            room[row] -= len(new)
            found += new
    return found


def write_kept(db: Database, recording: int, kept: Iterable[Kept]) -> None:
    """Store which packets are in which file; called within a transaction."""
    rows = [(one.alert, one.flow, recording, one.path, one.packets, one.missing) for one in kept]
    db.conn.executemany(_KEEP, rows)


def _row(db: Database, recording: int, alert: Alert) -> int:
    """Return the open episode that a hit belongs to, else the summary of its rule's storm, 0 where there is neither."""
    key = recording, alert.rule, alert.device, alert.owner, alert.country, alert.network
    found = db.conn.execute(_EPISODE, key).fetchone() or db.conn.execute(_STORM, key[:2]).fetchone()
    return int(found[0]) if found else 0
