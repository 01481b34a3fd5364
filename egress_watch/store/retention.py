"""Making room: old flows go, the sums of their hours stay, and the file gives back what it does not need.

In: a database open for writing, limits and the clock's time. Out: what was taken. Never: a long transaction, an alert
that is open, or a flow taken for old because of the times in its packets.

How old a flow is counts from when it was stored: a replay of last year's capture is new today. The table mark says so,
a row an hour: flows up to this id were there by then. Flows go in slices of ids, the oldest first, each slice in a
transaction of its own; what they leave free is used again by new ones, or given back to the file system.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sqlite_utils import Database

from egress_watch.store.file import transaction, trouble
from egress_watch.store.gaps import note_unsent, overtake
from egress_watch.store.hours import HOUR_NS
from egress_watch.store.sums import add as sum_flows
from egress_watch.store.sums import trim as trim_sums
from egress_watch.store.sums import up_to as summed_up_to

DAY_NS = 24 * HOUR_NS
SLICE_FLOWS = 20_000
PAGES_AT_ONCE = 2_000
SPARE_BYTES = 64 << 20
"""Room within the file that is kept for new flows while somebody records."""
PLAUSIBLE_NS = 1_700_000_000 * 10**9
"""A clock that says less (2023) had not been set yet: what was stored by it is as old as what came after it."""
_CUT = f"SELECT max(flow) FROM mark WHERE written_ns < ? AND written_ns > {PLAUSIBLE_NS}"  # noqa: S608 - a constant
_SLICE = "SELECT max(id), count(*) FROM (SELECT id FROM flow WHERE id <= ? ORDER BY id LIMIT ?)"
_THIN = f"""
UPDATE recording SET thinned_hour = max(coalesce(thinned_hour, -1), taken.hour)
FROM (SELECT recording, max(max(0, first_ns + duration_ns)) / {HOUR_NS} AS hour FROM flow WHERE id <= ? GROUP BY 1)
  AS taken
WHERE taken.recording = recording.id
"""  # noqa: S608 - constants
_THINNED = "SELECT id, min(?, thinned_hour + 1) FROM recording WHERE thinned_hour IS NOT NULL"
_HOURS_SLICE = """
SELECT hour, device FROM hour WHERE recording = :recording AND hour < :before ORDER BY hour, device
LIMIT 1 OFFSET :many
"""
_HOURS = "DELETE FROM hour WHERE recording = :recording AND hour < :before AND (hour, device) <= (:hour, :device)"
_ALERTS = "SELECT id FROM alert WHERE closed_ns IS NOT NULL AND last_flow <= ? ORDER BY id LIMIT ?"
_ORPHANS = (
    *(
        f"""DELETE FROM {one} WHERE id NOT IN (SELECT {one} FROM flow WHERE {one} IS NOT NULL
      UNION SELECT {one} FROM rejudged UNION SELECT {one} FROM sum_pair)"""  # noqa: S608 - ours
        for one in ("remote", "name")
    ),
    "DELETE FROM alias WHERE id NOT IN (SELECT alias FROM flow WHERE alias IS NOT NULL)",
)
_COUNTS = (
    "SELECT count(*) FROM flow WHERE id <= ?",
    "SELECT count(*) FROM hour JOIN recording ON id = recording WHERE hour < ? AND hour <= thinned_hour",
    "SELECT count(*) FROM alert WHERE closed_ns IS NOT NULL AND last_flow <= ?",
)
_OF_AN_ALERT = ("alert_event WHERE alert", "folded WHERE alert", "evidence WHERE alert", "alert WHERE id")


class Limits(NamedTuple):
    """How much is kept; 0 is no limit."""

    flow_days: float = 0
    hour_days: float = 0
    alert_days: float = 0
    most_bytes: int = 0
    """Of the database file, without its write-ahead log."""
    least_free_bytes: int = 0
    """Of the file system: below it the file does not grow any more."""


class Taken(NamedTuple):
    """What was taken out."""

    flows: int = 0
    hours: int = 0
    alerts: int = 0
    freed_bytes: int = 0
    """Given back to the file system."""
    because: tuple[str, ...] = ()
    """days, bytes, disk: why flows went."""

    def __add__(self, other: object) -> Taken:
        """Return both together."""
        if not isinstance(other, Taken):
            return NotImplemented
        flows, hours, alerts = self.flows + other.flows, self.hours + other.hours, self.alerts + other.alerts
        because = tuple(dict.fromkeys(self.because + other.because))
        return Taken(flows, hours, alerts, self.freed_bytes + other.freed_bytes, because)


class Space(NamedTuple):
    """What the file takes."""

    used_bytes: int
    spare_bytes: int
    """Free pages within the file."""
    disk_free_bytes: int


def space(db: Database, path: str) -> Space:
    """Return what is used and what is free, in the file and on its disk."""
    pages, free, size = (int(db.conn.execute(f"PRAGMA {name}").fetchone()[0]) for name in _PAGES)
    disk = os.statvfs(Path(path).resolve().parent)
    return Space((pages - free) * size, free * size, disk.f_bavail * disk.f_frsize)


_PAGES = ("page_count", "freelist_count", "page_size")


def retain(
    db: Database, path: str, limits: Limits, now_ns: int, spare_bytes: int = SPARE_BYTES, many: int = SLICE_FLOWS
) -> Iterator[Taken]:
    """Take out what is beyond the limits, ``many`` rows at each step, so that others can go on with their work between.

    Free pages go back to the file system but for ``spare_bytes``. Raises StoreError.
    """
    with trouble(path):
        yield from _by_days(db, path, limits, now_ns, many)
        yield from _by_bytes(db, path, limits, spare_bytes, many)
        yield from _shrink(db, path, spare_bytes)


def overdue(db: Database, limits: Limits, now_ns: int) -> Taken:
    """Return what would go by days."""
    flows, alerts = (_cut(db, now_ns, days) if days else 0 for days in (limits.flow_days, limits.alert_days))
    before = int(now_ns - limits.hour_days * DAY_NS) // HOUR_NS if limits.hour_days else -1
    counts = [
        int(db.conn.execute(query, (up_to,)).fetchone()[0])
        for query, up_to in zip(_COUNTS, (flows, before, alerts), strict=True)
    ]
    return Taken(counts[0], counts[1], counts[2], 0, ("days",) if counts[0] else ())


def _by_days(db: Database, path: str, limits: Limits, now_ns: int, many: int) -> Iterator[Taken]:
    if limits.flow_days and (cut := _cut(db, now_ns, limits.flow_days)):
        while (taken := _take(db, path, cut, "days", many)).flows:
            yield taken
    if limits.hour_days:
        yield from _take_hours(db, path, int(now_ns - limits.hour_days * DAY_NS) // HOUR_NS, many)
    if limits.alert_days and (cut := _cut(db, now_ns, limits.alert_days)):
        while (taken := _take_alerts(db, path, cut, many)).alerts:
            yield taken


def _by_bytes(db: Database, path: str, limits: Limits, spare_bytes: int, many: int) -> Iterator[Taken]:
    """Take flows while the file is too large, or while the disk has no room for it to grow and it none within."""
    while because := _too_much(space(db, path), limits, spare_bytes):
        taken = _take(db, path, (1 << 63) - 1, because, many)
        if not taken.flows:
            return
        yield taken


def _too_much(held: Space, limits: Limits, spare_bytes: int) -> str:
    if limits.most_bytes and held.used_bytes > limits.most_bytes:
        return "bytes"
    return "disk" if held.disk_free_bytes < limits.least_free_bytes and held.spare_bytes <= spare_bytes else ""


def sweep(db: Database, path: str) -> None:
    """Take out remotes, names and lists of names that no flow leads to; not while somebody records, who remembers them.

    It reads all flows. Raises StoreError.
    """
    with transaction(db, path):
        for statement in _ORPHANS:
            db.conn.execute(statement)


def note(db: Database, flow: int, now_ns: int) -> None:
    """Write down that the flows up to this one are stored by now; called within a transaction."""
    db.conn.execute("INSERT OR REPLACE INTO mark(flow, written_ns) VALUES (?, ?)", (flow, now_ns))


def _cut(db: Database, now_ns: int, days: float) -> int:
    """Return the newest flow that was stored so long ago, 0 where none was."""
    return int(db.conn.execute(_CUT, (int(now_ns - days * DAY_NS),)).fetchone()[0] or 0)


def _take(db: Database, path: str, up_to: int, because: str, many: int) -> Taken:
    with transaction(db, path):
        last, flows = db.conn.execute(_SLICE, (up_to, many)).fetchone()
        if not flows:
            return Taken()
        if summed_up_to(db) < last:
            sum_flows(db)
        db.conn.execute(_THIN, (last,))
        overtake(db, "flows", last)
        db.conn.execute("DELETE FROM flow WHERE id <= ?", (last,))
        db.conn.execute("DELETE FROM mark WHERE flow < ?", (last,))
    return Taken(flows=flows, because=(because,))


def _take_hours(db: Database, path: str, before: int, many: int) -> Iterator[Taken]:
    for recording, end in db.conn.execute(_THINNED, (before,)).fetchall():
        of = {"recording": recording, "before": end, "many": many}
        hours = many
        while hours >= many:
            with transaction(db, path):
                hour, device = db.conn.execute(_HOURS_SLICE, of).fetchone() or (end, 0)
                hours = db.conn.execute(_HOURS, {**of, "hour": hour, "device": device}).rowcount
            if hours:
                yield Taken(hours=hours)
        with transaction(db, path):
            db.conn.execute("DELETE FROM segment_hour WHERE recording = ? AND hour < ?", (recording, end))
            trim_sums(db, recording, end)


def _take_alerts(db: Database, path: str, up_to: int, many: int) -> Taken:
    """Take closed alerts whose flows were stored long ago; what people did with them stays written."""
    with transaction(db, path):
        alerts = [row[0] for row in db.conn.execute(_ALERTS, (up_to, many))]
        note_unsent(db, alerts)
        for table in _OF_AN_ALERT:
            db.conn.executemany(f"DELETE FROM {table} = ?", [(alert,) for alert in alerts])  # noqa: S608 - ours
    return Taken(alerts=len(alerts))


def _shrink(db: Database, path: str, spare_bytes: int) -> Iterator[Taken]:
    size = int(db.conn.execute("PRAGMA page_size").fetchone()[0])
    while (pages := ((spare := space(db, path).spare_bytes) - spare_bytes) // size) > 0:
        # executescript: as a statement of its own Python's sqlite3 steps this pragma once, which frees a single page
        db.conn.executescript(f"PRAGMA incremental_vacuum({min(pages, PAGES_AT_ONCE)})")
        if not (freed := spare - space(db, path).spare_bytes):
            return
        yield Taken(freed_bytes=freed)
