"""What the minutes of a live recording were like, and what became of its interfaces.

In: `Health` and `Happening` rows. Out: rows of the tables health and happening. Never: a minute counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlite_utils import Database

from egress_watch.model import Happening, Health

_ADD = """
INSERT INTO health VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
  frames = frames + excluded.frames, bytes = bytes + excluded.bytes, lost = lost + excluded.lost,
  overruns = overruns + excluded.overruns, dropped = dropped + excluded.dropped, errors = errors + excluded.errors,
  lag_ns = max(lag_ns, excluded.lag_ns)
"""


def write_health(db: Database, recording: int, minutes: Iterable[Health], happened: Iterable[Happening]) -> None:
    """Add to the minutes of a recording, and note what happened; called within a transaction."""
    db.conn.executemany(_ADD, [(recording, *minute) for minute in minutes])
    db.conn.executemany("INSERT INTO happening VALUES (?, ?, ?, ?)", [(recording, *one) for one in happened])
