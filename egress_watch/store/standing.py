"""How a database stands: is anybody recording, how much was lost lately, what waits, how much room there is.

In: a database, perhaps being written. Out: plain rows, for `status`, `doctor`, metrics and screens.
Never: a write, or a recorder believed to run because it once said so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from egress_watch.store.file import open_for_reading, trouble
from egress_watch.store.forwarding import states
from egress_watch.store.integrity import BROKEN, SOUND
from egress_watch.store.lasting import DATABASE
from egress_watch.store.recording import RUNNING, writer
from egress_watch.store.retention import space
from egress_watch.store.set_aside import BROKEN_RULES

KILLED = "stopped without ending"
LATELY_S = 900
RATE_MINUTES = 5
MINUTE_NS = 60_000_000_000
_RECORDINGS = """
SELECT id, state, writer, zone, frames, packets, packet_bytes, lost, flows, evicted, unstored, first_ns, last_ns,
  (SELECT group_concat(path, ', ') FROM input WHERE recording = recording.id) AS inputs
FROM recording ORDER BY id DESC LIMIT 5
"""
_INTERFACES = """
SELECT interface, sum(frames) AS frames, sum(bytes) AS bytes, sum(lost) AS lost, sum(overruns) AS overruns,
  sum(dropped) AS dropped, sum(errors) AS errors, max(lag_ns) AS lag_ns, count(*) AS minutes
FROM health WHERE recording = :recording AND minute_ns >= :since GROUP BY interface ORDER BY interface
"""
_FILES = "SELECT files FROM dataset ORDER BY id DESC LIMIT 1"
_NOTHING = {
    "id": 0, "state": "nothing recorded", "killed": False, "frames": 0, "packets": 0, "lost": 0, "first_ns": None,
    "last_ns": None,
}  # fmt: skip
_HAPPENED = "SELECT time_ns, interface, what FROM happening ORDER BY rowid DESC LIMIT 10"
_CHECKED = f"""SELECT time_ns, what, what = '{SOUND}' AS sound FROM happening
WHERE interface = '{DATABASE}' AND what LIKE '{BROKEN}%' ORDER BY rowid DESC LIMIT 1"""  # noqa: S608 - constants
_OPEN = "SELECT level, count(*) AS n FROM alert WHERE closed_ns IS NULL GROUP BY level"
_OPENED = "SELECT level, count(*) AS n FROM alert GROUP BY level"
_SKIPPED = "SELECT reason, sum(frames) AS frames FROM skipped GROUP BY reason ORDER BY 2 DESC, 1"
_BYTES = """
SELECT verdict, sum(bytes_out) AS bytes_out, sum(bytes_in) AS bytes_in FROM segment_hour
JOIN place ON place.id = place GROUP BY verdict
"""
_TOTALS = """
SELECT total(frames) AS frames, total(packets) AS packets, total(lost) AS lost, total(flows) AS flows,
  total(evicted) AS evicted, total(unstored) AS unstored, max(last_ns) AS last_ns FROM recording
"""


def standing(path: str) -> dict[str, Any]:
    """Return how the database stands now; raises UsageError, StoreError."""
    written_ns = _written_ns(path)  # before it is opened: a reader makes the log anew where there is none
    db = open_for_reading(path)
    try:
        with trouble(path):
            return {**_told(db, path), "written_ns": written_ns, "age_s": _age_s(written_ns)}
    finally:
        db.close()


def pulse(db: Database) -> dict[str, Any]:
    """Return how the newest recording stands, for a heartbeat: its number, state, counts and times.

    ``killed`` where its recorder is gone and did not end; ``built`` is the day of the oldest data file.
    """
    row = next(map(_recording, db.query(_RECORDINGS)), _NOTHING)
    files = next((one["files"] for one in db.query(_FILES)), "[]")
    days = [str(one["built"]) for one in json.loads(files) if one["built"]]
    return {
        "recording": row["id"], "state": row["state"], "killed": row["killed"], "frames": row["frames"],
        "ip_packets": row["packets"], "lost": row["lost"], "first_ns": row["first_ns"], "newest_ns": row["last_ns"],
        "built": min(days, default=""), "made_ns": time.time_ns(),
    }  # fmt: skip


def _told(db: Database, path: str) -> dict[str, Any]:
    recordings = [_recording(row) for row in db.query(_RECORDINGS)]
    newest = recordings[0]["id"] if recordings else 0
    last_ns = _last_minute(db, newest)
    data = db.query(_FILES)
    return {
        "db": str(Path(path).resolve()), "recordings": recordings,
        "interfaces": _lately(db, newest, last_ns, LATELY_S // 60), "rates": _lately(db, newest, last_ns, RATE_MINUTES),
        "happened": list(db.query(_HAPPENED)),
        "checked": next(iter(db.query(_CHECKED)), None),
        "open_alerts": _by_level(db, _OPEN), "alerts": _by_level(db, _OPENED),
        "sinks": states(db), "files": next((row["files"] for row in data), "[]"),
        "broken_rules": list(db.query(BROKEN_RULES)),
        "skipped": {row["reason"]: row["frames"] for row in db.query(_SKIPPED)},
        "bytes": {row["verdict"]: (row["bytes_out"], row["bytes_in"]) for row in db.query(_BYTES)},
        "totals": next(iter(db.query(_TOTALS))), "space": space(db, path)._asdict(),
    }  # fmt: skip


def _recording(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recording with the number of its process, 0 where that has ended, and the state that follows."""
    mark = str(row["writer"] or "")
    pid = int(mark.partition(":")[0] or 0) if row["state"] == RUNNING else 0
    alive = bool(pid) and writer(pid) == mark
    state = KILLED if row["state"] == RUNNING and not alive else row["state"]
    return {**row, "state": state, "killed": state == KILLED, "pid": pid if alive else 0}


def _last_minute(db: Database, recording: int) -> int:
    query = "SELECT coalesce(max(minute_ns), 0) AS last FROM health WHERE recording = ?"
    return int(next(iter(db.query(query, [recording])))["last"])


def _lately(db: Database, recording: int, last_ns: int, minutes: int) -> list[dict[str, Any]]:
    """Return sums of the last minutes by interface."""
    return list(db.query(_INTERFACES, {"recording": recording, "since": last_ns - (minutes - 1) * MINUTE_NS}))


def _by_level(db: Database, query: str) -> dict[str, int]:
    return {row["level"]: row["n"] for row in db.query(query)}


def _written_ns(path: str) -> int:
    """Return when the file or its log was last written, by the clock."""
    times = [one.stat().st_mtime_ns for one in (Path(path), Path(f"{path}-wal")) if one.exists()]
    return max(times, default=0)


def _age_s(written_ns: int) -> float:
    """Return how many seconds ago that was."""
    return max(0.0, time.time() - written_ns / 1e9)
