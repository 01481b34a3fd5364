"""How the sinks stand: for `egress-watch sinks`, for `status` and for screens.

In: a database. Out: a row a sink. Never: a write, or more rows counted than a screen can show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlite_utils import Database

from egress_watch.store.gaps import TABLES
from egress_watch.store.recording import writer

MOST_COUNTED = 1_000_000
"""Waiting records that are counted; where there are so many there may be more."""
WAITING = "SELECT count(*) AS n FROM (SELECT 1 FROM {table} WHERE id > :after LIMIT :most)"


def states(db: Database) -> list[dict[str, Any]]:
    """Return every sink there ever was, for a screen.

    Each row is one of the table sink, with ``state`` (``down``, ``sending``, ``caught up``, ``stopped``),
    ``alerts_waiting`` and ``flows_waiting`` (None where the sink does not get them; counted up to `MOST_COUNTED`).
    """
    found = []
    for row in db.query("SELECT * FROM sink ORDER BY name"):
        streams = row["records"].split()
        for stream, table in TABLES.items():
            query = WAITING.format(table=table)
            values = {"after": row[f"{stream}_done"], "most": MOST_COUNTED}
            counted = next(iter(db.query(query, values)))["n"] if stream in streams else None
            row[f"{stream}_waiting"] = counted
        found.append({**row, "state": _state(row)})
    return found


def _state(row: Mapping[str, Any]) -> str:
    mark = row["forwarder"]
    if not mark or writer(int(mark.partition(":")[0])) != mark:
        return "stopped"
    if row["failures"]:
        return "down"
    return "sending" if row["alerts_waiting"] or row["flows_waiting"] else "caught up"
