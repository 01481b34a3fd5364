"""One recording: judged flows go in by batches, each in one transaction, and alerts follow.

In: `Judged` batches, `Tally`, `Alert` rows. Out: a committed `Batch` that rules can ask. Never: half a batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from sqlite_utils import Database

from egress_watch.errors import StoreError
from egress_watch.fast import distinct, table
from egress_watch.model import (
    Alert,
    Damage,
    Fact,
    Flows,
    Happening,
    Health,
    Ints,
    Judged,
    Kept,
    Link,
    Pace,
    Tally,
)
from egress_watch.store.answers import dataset
from egress_watch.store.batch import Batch, Matcher
from egress_watch.store.devices import asset_rows, write_facts
from egress_watch.store.episodes import Episodes
from egress_watch.store.file import storable, transaction
from egress_watch.store.flow_rows import FlowRows, device_words
from egress_watch.store.health import write_health
from egress_watch.store.hours import HOUR_NS
from egress_watch.store.hours import add as add_hours
from egress_watch.store.kept import links, write_kept
from egress_watch.store.lookups import keys_of
from egress_watch.store.retention import note as note_newest
from egress_watch.store.rollup import Rollup
from egress_watch.store.set_aside import Unsound, note_broken, write_rules
from egress_watch.store.steady import Steady
from egress_watch.store.storm import Hits
from egress_watch.store.sums import Sums

NONE: Mapping[str, str] = {}
FINISHED, RUNNING, INTERRUPTED = "finished", "running", "interrupted"
SEQUENCE_BITS = 12
MILLISECOND_NS = 1_000_000
NEWEST_MS = 1 << 50
MOST_ENLISTED = 200_000
_TALLY = (
    "frames", "packets", "packet_bytes", "lost", "flows", "evicted", "late_fragments", "first_ns", "last_ns",
    "unstored", "unstored_packets",
)  # fmt: skip


class Recording:
    """A recording in the making; `Store.record` opens it."""

    def __init__(self, db: Database, path: str, row: int, judged_by: int, zone: str, pace: Pace = Pace()) -> None:  # noqa: B008 - a constant
        self.id = row
        self._db, self._path, self._dataset, self._zone = db, path, judged_by, zone
        self._episodes = Episodes(db, row, judged_by, pace=pace)
        self._pace, self._rules_done = pace, -1
        self.clock, self._marked_ns = Steady(), 0
        self._rows = FlowRows(db, row, judged_by, zone)
        self._asset_rows: list[int] = []
        """Row of the table asset of each listing of the inventory."""
        self._enlisted: set[tuple[bytes, int, int]] = set()
        self._rollup, self._matcher, self._sums = Rollup(db, row), Matcher(), Sums(db)

    def write(self, judged: Judged, tally: Tally, assets: Ints | None = None) -> Batch | None:
        """Store one batch with the counters so far, in one transaction, and return it for the rules.

        ``assets`` (n,) is what `enlist` returned for the flows. None: see `store.lasting`.
        """
        if self._rollup.full:
            with transaction(self._db, self._path):
                self._rollup.write()
            self._rollup.clear()
        try:
            with transaction(self._db, self._path):
                batch = self._insert(judged, assets)
                self._count(tally)
        except BaseException:
            self._rows.forget()
            self._sums.forget()
            raise
        self._rows.trim()
        return batch

    def alert(self, found: Iterable[Hits | Alert], batch: Batch) -> None:
        """Store the batch's episodes; hits of a running episode are added to it, and no batch is counted twice."""
        if batch.last <= self._rules_done:
            return
        with transaction(self._db, self._path):
            self._episodes.add(found, batch.ids, batch.judged.flows.last_ns)
            self._db.conn.execute("UPDATE recording SET rules_done = ? WHERE id = ?", (batch.last, self.id))
        self._episodes.keep()
        self._rollup.keep()
        self._rules_done = batch.last

    def links(self, alerts: Iterable[Alert], most: int) -> list[Link]:
        """Return up to ``most`` flows of each alert in the table, those kept as evidence before among them."""
        return links(self._db, self.id, alerts, most)

    def keep(self, kept: Iterable[Kept]) -> None:
        """Store which packets are kept as evidence."""
        with transaction(self._db, self._path):
            write_kept(self._db, self.id, kept)

    def tell(self, facts: Iterable[Fact], refused: int) -> None:
        """Store what devices said of themselves, and how much of it was refused so far."""
        with transaction(self._db, self._path):
            write_facts(self._db, self.id, facts, refused)

    def beat(self, tally: Tally, minutes: Iterable[Health], happened: Iterable[Happening]) -> None:
        """Store the counters so far, and how the watched interfaces fare, though no flow has ended."""
        with transaction(self._db, self._path):
            self._count(tally)
            write_health(self._db, self.id, minutes, happened)

    def tidy(self) -> list[Happening]:
        """Return what there is to tell of the database itself; see `store.lasting`."""
        return []

    def reload(self, data: Sequence[Mapping[str, str]], rules: Iterable[Sequence[str]], unsound: Unsound = ()) -> None:
        """Judge by other data files and rules from now on; all as for `Store.record`."""
        with transaction(self._db, self._path):
            judged_by = dataset(self._db, data)
            write_rules(self._db, rules, unsound)
            self._db.conn.execute("UPDATE recording SET dataset = ? WHERE id = ?", (judged_by, self.id))
        self._episodes.judged_by(judged_by)
        self._rows.judged_by(judged_by)

    def enlist(self, flows: Flows, rows: Ints, listings: Sequence[Sequence[object]]) -> Ints:
        """Store what the inventory says of the flows' devices: ``rows`` (n,) index ``listings``, which only grow.

        Returns (n,) rows of the table asset.
        """
        devices = device_words(flows)
        first = distinct(table((*devices.T, flows.vlan, rows), len(flows))).first
        met = zip(keys_of(devices[first]), flows.vlan[first].tolist(), rows[first].tolist(), strict=True)
        if fresh := {one: at for at, one in zip(first.tolist(), met, strict=True) if one not in self._enlisted}:
            with transaction(self._db, self._path):
                known = [*self._asset_rows, *asset_rows(self._db, listings[len(self._asset_rows) :])]
                numbers = self._rows.devices(devices[list(fresh.values())]).tolist()
                placed = zip(numbers, fresh, strict=True)
                of = [(self.id, number, vlan, known[row]) for number, (_, vlan, row) in placed]
                self._db.conn.executemany("INSERT OR REPLACE INTO listing VALUES (?, ?, ?, ?)", of)
            self._asset_rows = known
            self._enlisted = self._enlisted | set(fresh) if len(self._enlisted) < MOST_ENLISTED else set(fresh)
        return np.array(self._asset_rows, np.int64)[rows]

    def finish(
        self, tally: Tally, fingerprints: Mapping[str, str], state: str = FINISHED, failed: Mapping[str, str] = NONE
    ) -> None:
        """Close the recording: it is whole (finished), or was stopped by hand (interrupted).

        ``failed`` says by path why an input gave nothing.
        """
        with transaction(self._db, self._path):
            self._count(tally)
            self._rows.keep()
            self._episodes.end(tally.last_ns)
            self._sums.settle()
            note_newest(self._db, self._newest(), self.clock.now_ns())
            self._rollup.end()
            note_inputs(self._db, self.id, fingerprints, failed)
            self._db.conn.execute("UPDATE recording SET state = ?, writer = NULL WHERE id = ?", (state, self.id))

    def broken(self, rules: Mapping[str, str]) -> None:
        """Note the rules that could not run to their end, with the reason."""
        with transaction(self._db, self._path):
            note_broken(self._db, rules)

    def _insert(self, judged: Judged, assets: Ints | None = None) -> Batch:
        """Insert the flows, with ids above all others: another process may have written meanwhile."""
        newest, flows = self._newest(), judged.flows
        ids, numbers = flow_ids(flows.last_ns, newest), self._rows.numbers(judged)
        self._rows.write(ids, flows, numbers)
        self._sums.grow(len(ids))
        self._mark(int(ids[-1]) if len(ids) else newest)
        assets = np.zeros(len(ids), np.int64) if assets is None else assets
        add_hours(self._db, self.id, flows, numbers.device, numbers.place, assets)
        return Batch(self._db, self.id, judged, ids, numbers, newest, self._matcher, self._rollup)

    def _newest(self) -> int:
        """Return the newest flow that is here, or that was when a sink was done with it."""
        query = "SELECT max(id) FROM (SELECT max(id) AS id FROM flow UNION ALL SELECT max(flows_done) FROM sink)"
        return int(self._db.conn.execute(query).fetchone()[0] or 0)

    def _mark(self, newest: int) -> None:
        """Write down once an hour, by the clock, how far the flows have come."""
        now_ns = self.clock.now_ns()
        if not 0 <= now_ns - self._marked_ns < HOUR_NS:
            self._marked_ns = now_ns
            note_newest(self._db, newest, self._marked_ns)

    def _count(self, tally: Tally) -> None:
        settings = ", ".join(f"{name} = ?" for name in _TALLY)
        values = [getattr(tally, name) for name in _TALLY]
        cursor = self._db.conn.execute(f"UPDATE recording SET {settings} WHERE id = ?", [*values, self.id])  # noqa: S608 - constants
        if not cursor.rowcount:
            remedy = "let one process at a time record this input"
            raise StoreError("another process has replaced this recording", where=self._path, remedy=remedy)
        rows = [(self.id, reason, frames) for reason, frames in tally.skipped.items()]
        self._db.conn.executemany("INSERT OR REPLACE INTO skipped VALUES (?, ?, ?)", rows)
        self._db.conn.execute("DELETE FROM heard WHERE recording = ?", (self.id,))
        rows = [(self.id, counter, count) for counter, count in tally.heard.items()]
        self._db.conn.executemany("INSERT INTO heard VALUES (?, ?, ?)", rows)
        self._db.conn.execute("DELETE FROM damage WHERE recording = ?", (self.id,))
        self._db.conn.executemany(
            "INSERT INTO damage VALUES (?, ?, ?, ?, ?)", [_damage_row(self.id, d) for d in tally.damage]
        )


def _damage_row(recording: int, damage: Damage) -> tuple[int, str, int, str, int]:
    return recording, storable(damage.origin), damage.offset, storable(damage.reason), damage.lost_bytes


def begin(
    db: Database, *, zone: str, as_of: str, dataset: int, version: str, inputs: Mapping[str, str], narrowed: str = "",
    adequate: str = "",
) -> int:  # fmt: skip
    """Insert a running recording with its inputs and return its number; called within a transaction."""
    row = (RUNNING, zone, as_of, dataset, version, writer(os.getpid()), storable(narrowed), adequate)
    columns = "state, zone, zone_as_of, dataset, version, writer, narrowed, adequate"
    cursor = db.conn.execute(f"INSERT INTO recording({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608 - ours
    number = int(cursor.lastrowid or 0)
    note_inputs(db, number, inputs)
    return number


def note_inputs(
    db: Database, recording: int, fingerprints: Mapping[str, str], failed: Mapping[str, str] = NONE
) -> None:
    """Remember what a recording was made from, and which of it gave nothing."""
    rows = [
        (recording, storable(path), fingerprint, storable(failed[path]) if path in failed else None)
        for path, fingerprint in fingerprints.items()
    ]
    db.conn.executemany("INSERT OR REPLACE INTO input VALUES (?, ?, ?, ?)", rows)


def writer(pid: int) -> str:
    """Return what tells a running process from a later one of the same number: its number and when it began.

    The state is field 3 and the start, in ticks since the machine's, field 22 of /proc/PID/stat (proc_pid_stat(5)). ""
    where there is no such process, or only what is left of one until its parent asks (state Z or X); the bare number
    where there is no /proc.
    """
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return ""
    except PermissionError:
        pass
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return str(pid)
    return "" if fields[0] in "ZX" else f"{pid}:{fields[19]}"


def alive(mark: str) -> int:
    """Return the number of the process that marked a recording, if it still runs and is another one, else 0."""
    pid = int(mark.partition(":")[0])
    return pid if pid != os.getpid() and writer(pid) == mark else 0


def living(mark: str | None) -> bool:
    """Return whether the process that marked a recording still runs."""
    return bool(mark) and writer(int(str(mark).partition(":")[0])) == mark


def flow_ids(last_ns: Ints, newest: int) -> Ints:
    """Return ids for flows in this order: the millisecond of their end and a sequence number, always rising.

    An id is never used again and never lies before one already given, whatever the times are.
    """
    wanted = np.clip(last_ns // MILLISECOND_NS, 0, NEWEST_MS) << SEQUENCE_BITS
    steps = np.arange(len(last_ns))
    ids: Ints = np.maximum.accumulate(np.maximum(wanted, newest + 1) - steps) + steps
    return ids
