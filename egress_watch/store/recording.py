"""One recording: judged flows go in by batches, each in one transaction, and alerts follow.

In: `Judged` batches, `Tally`, `Alert` rows. Out: a committed `Batch` that rules can ask. Never: half a batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlite_utils import Database

from egress_watch.errors import StoreError
from egress_watch.model import (
    NAME_SOURCES,
    Alert,
    Damage,
    Fact,
    Flows,
    Ints,
    Judged,
    Tally,
    address_text,
    mac_text,
)
from egress_watch.store.answers import PLACE_COLUMNS, Answer, place_row
from egress_watch.store.batch import Batch
from egress_watch.store.devices import write_facts, write_listings
from egress_watch.store.file import transaction
from egress_watch.store.lookups import Lookup

NONE: Mapping[str, str] = {}
FINISHED, RUNNING, INTERRUPTED = "finished", "running", "interrupted"
SEQUENCE_BITS = 12
NEWEST_MS = 1 << 50
MOST_ENLISTED = 200_000
_TALLY = ("frames", "packets", "packet_bytes", "lost", "flows", "evicted", "late_fragments", "first_ns", "last_ns")
_FLOW = f"INSERT INTO flow VALUES ({', '.join('?' * 20)})"  # noqa: S608 - a constant
_ALERT = """
INSERT INTO alert(recording, dataset, rule, title, level, device, remote_ip, owner, country, verdict, first_ns, last_ns,
  hits, bytes_out, bytes_in, first_flow, last_flow, why, network)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
ON CONFLICT(recording, rule, device, owner, country, network) DO UPDATE SET
  first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns), hits = hits + excluded.hits,
  bytes_out = bytes_out + excluded.bytes_out, bytes_in = bytes_in + excluded.bytes_in,
  remote_ip = excluded.remote_ip, verdict = excluded.verdict, last_flow = excluded.last_flow, why = excluded.why
WHERE excluded.first_flow > last_flow
"""
"""The values are recording, dataset and the fields of an `Alert` in their order; ?7, `device_ip`, is not kept."""


class Recording:
    """A recording in the making; `Store.record` opens it."""

    def __init__(self, db: Database, path: str, row: int, dataset: int, zone: str) -> None:
        self.id = row
        self._db, self._path, self._dataset, self._zone = db, path, dataset, zone
        self._devices = Lookup[tuple[int, int, int]](db, "device", ("ip", "mac"), _device_row)
        self._remotes = Lookup[tuple[int, int]](db, "remote", ("ip",), lambda key: (address_text(*key),))
        self._names = Lookup[str](db, "name", ("name",), lambda name: (name,))
        self._places = Lookup[tuple[str, Answer]](db, "place", PLACE_COLUMNS, self._place_row, unique=1)
        self._enlisted: set[tuple[tuple[int, int, int], int, int]] = set()

    def write(self, judged: Judged, tally: Tally) -> Batch:
        """Store one batch with the counters so far, in one transaction, and return it for the rules."""
        try:
            with transaction(self._db, self._path):
                first, last = self._insert(judged)
                self._count(tally)
        except BaseException:
            for lookup in (self._devices, self._remotes, self._names, self._places):
                lookup.forget()
            raise
        for lookup in (self._devices, self._remotes, self._names, self._places):
            lookup.trim()
        return Batch(self._db, self._path, first, last)

    def alert(self, alerts: Iterable[Alert], batch: Batch) -> None:
        """Store the batch's episodes; hits of a running episode are added to it, and none is counted twice."""
        rows = [(self.id, self._dataset, *alert) for alert in alerts]
        with transaction(self._db, self._path):
            self._db.conn.executemany(_ALERT, rows)
            self._db.conn.execute("UPDATE recording SET rules_done = ? WHERE id = ?", (batch.last, self.id))

    def tell(self, facts: Iterable[Fact], refused: int) -> None:
        """Store what devices said of themselves, and how much of it was refused so far."""
        with transaction(self._db, self._path):
            write_facts(self._db, self.id, facts, refused)

    def enlist(self, flows: Flows, rows: Ints, listings: Sequence[Sequence[object]]) -> None:
        """Store what the inventory says of the flows' devices: ``rows`` (n,) index ``listings``."""
        placed = dict.fromkeys(zip(_devices(flows), flows.vlan.tolist(), rows.tolist(), strict=True))
        if fresh := [one for one in placed if one not in self._enlisted]:
            with transaction(self._db, self._path):
                numbers = self._devices.numbers([device for device, _, _ in fresh])
                devices = [(number, vlan) for number, (_, vlan, _) in zip(numbers, fresh, strict=True)]
                write_listings(self._db, self.id, devices, [listings[row] for _, _, row in fresh])
            self._enlisted = self._enlisted | set(fresh) if len(self._enlisted) < MOST_ENLISTED else set(fresh)

    def finish(
        self, tally: Tally, fingerprints: Mapping[str, str], state: str = FINISHED, failed: Mapping[str, str] = NONE
    ) -> None:
        """Close the recording: it is whole (finished), or was stopped by hand (interrupted).

        ``failed`` says by path why an input gave nothing.
        """
        with transaction(self._db, self._path):
            self._count(tally)
            note_inputs(self._db, self.id, fingerprints, failed)
            self._db.conn.execute("UPDATE recording SET state = ?, writer = NULL WHERE id = ?", (state, self.id))

    def broken(self, rules: Mapping[str, str]) -> None:
        """Note the rules that could not run to their end, with the reason."""
        with transaction(self._db, self._path):
            self._db.conn.executemany("UPDATE rule SET broken = ? WHERE id = ?", [(why, i) for i, why in rules.items()])

    def _insert(self, judged: Judged) -> tuple[int, int]:
        """Insert the flows and return their first and last id; another process may have written meanwhile."""
        newest = int(self._db.conn.execute("SELECT coalesce(max(id), 0) FROM flow").fetchone()[0])
        if not len(judged.flows):
            return newest + 1, newest
        ids = flow_ids(judged.flows.last_ns, newest)
        self._db.conn.executemany(_FLOW, zip(*self._columns(ids, judged), strict=True))
        return int(ids[0]), int(ids[-1])

    def _columns(self, ids: Ints, judged: Judged) -> list[Sequence[Any]]:
        flows = judged.flows
        return [
            ids.tolist(), [self.id] * len(flows), flows.first_ns.tolist(), (flows.last_ns - flows.first_ns).tolist(),
            flows.protocol.tolist(), self._devices.numbers(_devices(flows)), flows.device_port.tolist(),
            self._remotes.numbers(_addresses(flows)), flows.remote_port.tolist(), flows.vlan.tolist(),
            flows.packets_out.tolist(), flows.bytes_out.tolist(), flows.packets_in.tolist(), flows.bytes_in.tolist(),
            flows.flags_out.tolist(), flows.flags_in.tolist(), flows.end_reason.tolist(), self._name_numbers(flows),
            [NAME_SOURCES.index(source) for source in flows.name_source] or [0] * len(flows),
            self._place_numbers(judged),
        ]  # fmt: skip

    def _name_numbers(self, flows: Flows) -> Sequence[int | None]:
        heard = [name for name in flows.name if name]
        numbers = dict(zip(heard, self._names.numbers(heard), strict=True))
        return [numbers.get(name) for name in flows.name] or [None] * len(flows)

    def _place_numbers(self, judged: Judged) -> list[int]:
        rows = np.unique(judged.judgement).tolist()
        zones = judged.zones or [""] * len(judged.places)
        answers = [(zones[row], (judged.places[row], judged.verdicts[row])) for row in rows]
        numbers = dict(zip(rows, self._places.numbers(answers), strict=True))
        return [numbers[row] for row in judged.judgement.tolist()]

    def _place_row(self, key: tuple[str, Answer]) -> Sequence[object]:
        zone, answer = key
        return place_row(zone or self._zone, self._dataset, answer)

    def _count(self, tally: Tally) -> None:
        settings = ", ".join(f"{name} = ?" for name in _TALLY)
        values = [getattr(tally, name) for name in _TALLY]
        cursor = self._db.conn.execute(f"UPDATE recording SET {settings} WHERE id = ?", [*values, self.id])  # noqa: S608 - constants
        if not cursor.rowcount:
            remedy = "let one process at a time record this input"
            raise StoreError("another process has replaced this recording", where=self._path, remedy=remedy)
        rows = [(self.id, reason, frames) for reason, frames in tally.skipped.items()]
        self._db.conn.executemany("INSERT OR REPLACE INTO skipped VALUES (?, ?, ?)", rows)
        self._db.conn.execute("DELETE FROM damage WHERE recording = ?", (self.id,))
        self._db.conn.executemany(
            "INSERT INTO damage VALUES (?, ?, ?, ?, ?)", [_damage_row(self.id, d) for d in tally.damage]
        )


def _damage_row(recording: int, damage: Damage) -> tuple[int, str, int, str, int]:
    return recording, storable(damage.origin), damage.offset, storable(damage.reason), damage.lost_bytes


def begin(db: Database, *, zone: str, as_of: str, dataset: int, version: str, inputs: Mapping[str, str]) -> int:
    """Insert a running recording with its inputs and return its number; called within a transaction."""
    row = (RUNNING, zone, as_of, dataset, version, writer(os.getpid()))
    cursor = db.conn.execute(
        "INSERT INTO recording(state, zone, zone_as_of, dataset, version, writer) VALUES (?, ?, ?, ?, ?, ?)", row
    )
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


def storable(text: str) -> str:
    """Return a text that UTF-8 can hold: the name of a file may be any bytes (PEP 383), the others are escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


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


def flow_ids(last_ns: Ints, newest: int) -> Ints:
    """Return ids for flows in this order: the millisecond of their end and a sequence number, always rising.

    An id is never used again and never lies before one already given, whatever the times are.
    """
    wanted = np.clip(last_ns // 1_000_000, 0, NEWEST_MS) << SEQUENCE_BITS
    steps = np.arange(len(last_ns))
    ids: Ints = np.maximum.accumulate(np.maximum(wanted, newest + 1) - steps) + steps
    return ids


def _device_row(key: tuple[int, int, int]) -> tuple[str, str]:
    high, low, mac = key
    return address_text(high, low), mac_text(mac)


def _devices(flows: Flows) -> list[tuple[int, int, int]]:
    columns = flows.device[:, 0].tolist(), flows.device[:, 1].tolist(), flows.device_mac.tolist()
    return list(zip(*columns, strict=True))


def _addresses(flows: Flows) -> list[tuple[int, int]]:
    return list(zip(flows.remote[:, 0].tolist(), flows.remote[:, 1].tolist(), strict=True))
