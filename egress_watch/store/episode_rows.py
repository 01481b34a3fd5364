"""The statements that write an episode's rows: alert, alert_event and folded.

In: nothing. Out: SQL with its columns in order. Never: a value within a statement.
"""

from __future__ import annotations

from egress_watch.store.bulk import Bulk
from egress_watch.store.episode import NOT_CLOSED

LIVING = (
    "level", "first_ns", "last_ns", "hits", "bytes_out", "bytes_in", "remote_ip", "verdict", "last_flow", "why",
    "due_ns", "updates", "told_bytes", "closed_ns",
)  # fmt: skip
BORN = ("rule", "device", "owner", "country", "network", "kind", "title", "first_flow")
_CHANGED = ", ".join(f"{name} = ?{at}" for at, name in enumerate(LIVING[:-1], 2))
GROW = f"UPDATE alert SET {_CHANGED} WHERE id = ?1"  # noqa: S608 - constants
CLOSE = "UPDATE alert SET closed_ns = ? WHERE id = ?"
"""Apart from the rest: a column of the index that is set, even to what it was, costs as much as the row."""
OPEN = f"""
INSERT INTO alert(recording, dataset, id, {", ".join(LIVING)}, {", ".join(BORN)})
VALUES ({{recording:d}}, {{dataset:d}}, ?{", ?" * len(LIVING[:-1])}, nullif(?, {NOT_CLOSED}){", ?" * len(BORN)})
"""  # noqa: S608 - constants
FIND = f"""
SELECT id, {", ".join(LIVING[:-1])} FROM alert WHERE recording = ? AND rule = ? AND owner = ? AND country = ?
  AND network = ? AND kind = ? AND device BETWEEN ? AND ? AND closed_ns IS NULL
"""  # noqa: S608 - constants
EVENT = """INSERT INTO alert_event(alert, kind, cause, time_ns, level, hits, bytes_out, bytes_in)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
FOLD = Bulk(
    "INSERT INTO folded",
    "?, ?, ?, ?, ?",
    """ON CONFLICT(alert, device) DO UPDATE
SET hits = hits + excluded.hits, bytes_out = bytes_out + excluded.bytes_out, bytes_in = bytes_in + excluded.bytes_in""",
)
ENDED = "FROM alert WHERE recording = :recording AND closed_ns IS NULL AND last_ns < :before AND last_flow < :flow"
TELL_ENDED = f"""
INSERT INTO alert_event(alert, kind, cause, time_ns, level, hits, bytes_out, bytes_in)
SELECT id, 'close', 'silence', last_ns + :silence, level, hits, bytes_out, bytes_in {ENDED} ORDER BY id
"""
END = """UPDATE alert SET closed_ns = last_ns + :silence
WHERE recording = :recording AND closed_ns IS NULL AND last_ns < :before AND last_flow < :flow"""
OLDEST = "SELECT min(last_ns) FROM alert WHERE recording = :recording AND closed_ns IS NULL AND last_flow >= :flow"
