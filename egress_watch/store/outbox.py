"""The outbox: what each sink has still to send, and how far it came.

In: names of sinks, and what became of batches. Out: news of alerts, and flows, in the order they were committed.
Never: a second copy of a record, a lock held while a receiver is waited for, or a record left out that is not counted.

The news of alerts is the table alert_event, whose rows are written in the same transaction as the alert; its numbers
rise with the commits and are never used again. Flows are read by their own ids. Each sink has one cursor in either.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from egress_watch.errors import StoreError, UsageError
from egress_watch.store.file import open_for_writing, storable, transaction, trouble
from egress_watch.store.forwarding import WAITING, states
from egress_watch.store.gaps import TABLES, skip
from egress_watch.store.reader import BEGAN, plain
from egress_watch.store.recording import alive, writer
from egress_watch.store.standing import pulse

MOST_REFUSALS = 1_000
"""Refusals whose reason is kept for each sink, the newest; all are counted."""
SPARE = 10
"""A tenth of the limit is dropped beyond it, so that a full outbox does not drop one by one."""

_NEWS = f"""
SELECT alerts.*, {BEGAN}, alert_event.id AS news, alert_event.kind AS news_kind, alert_event.cause,
  alert_event.time_ns AS news_ns, alert_event.level AS news_level, alert_event.hits AS news_hits,
  alert_event.bytes_out AS news_out, alert_event.bytes_in AS news_in
FROM alert_event JOIN alerts ON alerts.id = alert_event.alert
WHERE alert_event.id > :after ORDER BY alert_event.id LIMIT :size
"""  # noqa: S608 - constants
_FLOWS = "SELECT * FROM flows WHERE id > :after ORDER BY id LIMIT :size"
_THESE = "SELECT * FROM flows WHERE id IN (SELECT value FROM json_each(:ids))"
_NEW = "INSERT OR IGNORE INTO sink(name, alerts_done, flows_done) VALUES (?, ?, ?)"
_MOVE = """
UPDATE sink SET {stream}_done = max({stream}_done, :done), sent = sent + :sent, refused = refused + :refused,
  passed = passed + :passed, failures = 0, error = '', retry_ns = 0, tried_ns = :now,
  delivered_ns = CASE WHEN :sent THEN :now ELSE delivered_ns END WHERE name = :name
"""
_FAIL = "UPDATE sink SET failures = failures + 1, error = ?, tried_ns = ?, retry_ns = ? WHERE name = ?"
_REFUSE = "INSERT INTO refusal(sink, kind, number, event_id, reason, made_ns) VALUES (?, ?, ?, ?, ?, ?)"
_FORGET = """DELETE FROM refusal WHERE sink = :name AND id <= (
  SELECT id FROM refusal WHERE sink = :name ORDER BY id DESC LIMIT 1 OFFSET :most)"""


class Cursor(NamedTuple):
    """How far a sink came."""

    alerts: int
    """Number of the newest row of alert_event that is done."""
    flows: int
    """Id of the newest flow that is done."""
    failures: int
    """Times that delivery failed since it last worked."""


class Refusal(NamedTuple):
    """A record that a receiver will never take."""

    kind: str
    number: int
    event_id: str
    reason: str


class Done(NamedTuple):
    """What became of a batch: the cursor's new place, and counts."""

    last: int
    sent: int
    passed: int = 0
    """Not wanted by this sink: below its level, or muted."""
    refused: Sequence[Refusal] = ()


class Outbox:
    """A database open for one forwarder, on a connection of its own; every write is a short transaction."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._db = open_for_writing(path, new=False)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def claim(self, name: str, told: Mapping[str, str], *, from_now: bool = False) -> None:
        """Make a sink's row, or take it over from a forwarder that is gone.

        ``told`` says target, promise and records for those who look. A sink never seen before begins with the oldest
        record here, or where ``from_now`` behind the newest. Raises StoreError while another process forwards to it.
        """
        with transaction(self._db, self.path):
            newest = [self._newest(table) if from_now else 0 for table in TABLES.values()]
            self._db.conn.execute(_NEW, (name, *newest))
            mark = self._rows("SELECT forwarder FROM sink WHERE name = :name", {"name": name})[0]["forwarder"]
            if mark and (pid := alive(mark)):
                remedy = "let one process forward to each sink"
                raise StoreError(f"process {pid} forwards to {name} right now", where=self.path, remedy=remedy)
            values = {key: storable(value) for key, value in told.items()}
            query = "UPDATE sink SET target = :target, promise = :promise, records = :records, forwarder = :mark"
            self._db.conn.execute(f"{query} WHERE name = :name", {**values, "mark": writer(os.getpid()), "name": name})

    def release(self, name: str) -> None:
        """Say that nobody forwards to a sink any more."""
        with transaction(self._db, self.path):
            self._db.conn.execute("UPDATE sink SET forwarder = '' WHERE name = ?", (name,))

    def forget(self, name: str) -> None:
        """Take a sink out: what waits for it is nobody's any more. Raises UsageError, StoreError while it is served."""
        with transaction(self._db, self.path):
            found = self._rows("SELECT forwarder FROM sink WHERE name = :name", {"name": name})
            if not found:
                remedy = "`egress-watch sinks` lists those there are"
                raise UsageError(f"no sink {name!r} was ever served", where=self.path, remedy=remedy)
            if (mark := found[0]["forwarder"]) and (pid := alive(mark)):
                raise StoreError(f"process {pid} forwards to {name} right now", where=self.path, remedy="end it first")
            for column, table in (("name", "sink"), ("sink", "refusal"), ("sink", "gap")):
                self._db.conn.execute(f"DELETE FROM {table} WHERE {column} = ?", (name,))  # noqa: S608 - our own names

    def cursor(self, name: str) -> Cursor:
        """Return how far a sink came."""
        query = "SELECT alerts_done, flows_done, failures FROM sink WHERE name = :name"
        return Cursor(*self._rows(query, {"name": name})[0].values())

    def news(self, after: int, size: int) -> list[dict[str, Any]]:
        """Return the next news of alerts: rows of the view alerts, with ``news`` (its number) and ``news_...``."""
        return self._rows(_NEWS, {"after": after, "size": size})

    def flows(self, after: int, size: int) -> list[dict[str, Any]]:
        """Return the next rows of the view flows."""
        return self._rows(_FLOWS, {"after": after, "size": size})

    def samples(self, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return flows by their ids, as far as they are still kept."""
        return {row["id"]: row for row in self._rows(_THESE, {"ids": json.dumps(list(ids))})}

    def zone_dates(self) -> dict[int, str]:
        """Return the day of the zone that each recording was judged under, by the recording's number."""
        return {row["id"]: row["zone_as_of"] for row in self._rows("SELECT id, zone_as_of FROM recording")}

    def pulse(self, name: str) -> dict[str, Any]:
        """Return how the newest recording stands (`standing.pulse`), and how many records wait for a sink."""
        with trouble(self.path):
            told, (row,) = pulse(self._db), (row for row in states(self._db) if row["name"] == name)
        return {**told, "waiting": (row["alerts_waiting"] or 0) + (row["flows_waiting"] or 0)}

    def is_device(self, ip: str) -> bool:
        """Return whether an address was ever seen on our side."""
        return bool(self._rows("SELECT 1 FROM device WHERE ip = :ip LIMIT 1", {"ip": ip}))

    def done(self, name: str, stream: str, done: Done) -> None:
        """Move a sink's cursor behind what is delivered, refused or passed over."""
        now = time.time_ns()
        with transaction(self._db, self.path):
            values = {"done": done.last, "sent": done.sent, "refused": len(done.refused), "passed": done.passed}
            self._db.conn.execute(_MOVE.format(stream=stream), {**values, "now": now, "name": name})
            rows = [(name, row.kind, row.number, row.event_id, storable(row.reason), now) for row in done.refused]
            self._db.conn.executemany(_REFUSE, rows)
            if rows:
                self._db.conn.execute(_FORGET, {"name": name, "most": MOST_REFUSALS})

    def failed(self, name: str, error: str, retry_ns: int) -> None:
        """Note that a sink is down, why, and when (by the clock) it is tried again."""
        with transaction(self._db, self.path):
            self._db.conn.execute(_FAIL, (storable(error), time.time_ns(), retry_ns, name))

    def drop(self, name: str, stream: str, limit: int) -> int:
        """Drop the oldest records of a stream where more than ``limit`` wait; note the gap, return how many."""
        after, table = getattr(self.cursor(name), stream), TABLES[stream]
        if self._waiting(table, after, limit + 1) <= limit:
            return 0
        keep = limit - limit // SPARE
        query = f"SELECT id FROM {table} ORDER BY id DESC LIMIT 1 OFFSET :keep"  # noqa: S608 - our own names
        last = int(self._rows(query, {"keep": keep})[0]["id"])
        with transaction(self._db, self.path):
            return skip(self._db, name, stream, after, last)

    def gaps(self, name: str) -> list[dict[str, Any]]:
        """Return what was dropped and not yet told to the receiver."""
        return self._rows("SELECT * FROM gap WHERE sink = :name AND NOT told ORDER BY id", {"name": name})

    def told(self, gaps: Sequence[int]) -> None:
        """Note that the receiver knows of gaps."""
        with transaction(self._db, self.path):
            self._db.conn.executemany("UPDATE gap SET told = 1 WHERE id = ?", [(number,) for number in gaps])

    def _waiting(self, table: str, after: int, most: int) -> int:
        return int(self._rows(WAITING.format(table=table), {"after": after, "most": most})[0]["n"])

    def _newest(self, table: str) -> int:
        return int(self._rows(f"SELECT coalesce(max(id), 0) AS id FROM {table}")[0]["id"])  # noqa: S608 - our own names

    def _rows(self, query: str, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        with trouble(self.path):
            return [plain(row) for row in self._db.query(query, dict(values or {}))]
