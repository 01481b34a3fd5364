"""How much a device usually sends out in an hour, and how many times that it sends now.

In: judged flows and the rows of their devices. Out: a number a flow, and rows of the table habit. Never: the clock, or
an answer that depends on how flows were cut into batches: they count one by one, in their order.

The habit of a device is its peak: the most it sent to the outside in one clock hour of packet time, which fades by a
128th with each later hour in which it sends anything. So a backup every night, or every week, is a habit. What ends
after a later hour has begun counts in that one.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
from sqlite_utils import Database

from egress_watch.fast import distinct, table
from egress_watch.model import Ints, Judged
from egress_watch.store.bulk import Bulk
from egress_watch.store.kinds import NO_HABIT

HOUR_NS = 3_600_000_000_000
ENOUGH_HOURS = 24
"""Hours with traffic before anything counts as a habit."""
LEAST_BYTES = 1_000_000
"""A peak below this counts as this: three times next to nothing is next to nothing."""
FADES = 128
LIMIT = 200_000
LATEST_HOUR = 2**63 // HOUR_NS

_OWN = """SELECT device, hour, hour_bytes, hours, peak FROM habit
WHERE recording = ? AND device IN (SELECT value FROM json_each(?))"""
_OTHERS = """
SELECT device, hour, hours + 1, max(peak, hour_bytes) FROM habit
WHERE device IN (SELECT value FROM json_each(?)) AND recording <> ?
"""
HOUR, HOUR_BYTES, HOURS, PEAK, BEFORE = range(5)
"""What is known of a device: the hour it is in, what it sent in it, full hours of this recording, its peak, and how
many hours earlier recordings had."""


class _Stretches(NamedTuple):
    """Flows of one device in one hour, that stand together; columns (n,), by device and in their order."""

    device: Ints
    hour: Ints
    sent: Ints
    start: Ints
    stop: Ints


class _Before(NamedTuple):
    """What was known before a batch."""

    slots: Ints
    states: Ints
    used: int


class Habits:
    """Knows up to ``limit`` devices of one recording; beyond it all are written down, and read again when they come."""

    def __init__(self, db: Database, recording: int, limit: int = LIMIT) -> None:
        self._db, self._recording, self._limit = db, recording, limit
        self._slots: dict[int, int] = {}
        """Where in the states a device is; they come in the same order."""
        self._states = np.empty((0, 5), np.int64)
        self._before: _Before | None = None
        self._bulk = Bulk("INSERT OR REPLACE INTO habit", f"{recording:d}, ?, ?, ?, ?, ?")
        self._kept = 0
        """The newest hour in which all were written down: a recorder that is killed loses one hour of habits."""

    def times(self, judged: Judged, devices: Ints) -> Ints:
        """Return of each flow how many times the habit its device has sent in the hour by then, NO_HABIT: not known.

        Called in a transaction.
        """
        self._before = None
        found = np.full(len(devices), NO_HABIT)
        outside = np.array([place.location_status != "local" for place in judged.places], bool)
        rows = np.flatnonzero(outside[judged.judgement]) if len(devices) else np.empty(0, np.int64)
        if not len(rows):
            return found
        rows = rows[distinct(table((devices[rows],), len(rows))).order()]
        hours = np.maximum(judged.flows.last_ns[rows], 0) // HOUR_NS
        bytes_out = judged.flows.bytes_out[rows]
        found[rows] = self._count(_stretches(devices[rows], hours, bytes_out), bytes_out)
        newest = int(hours.max())
        if newest > self._kept or len(self._slots) > self._limit:
            self._kept = max(newest, self._kept)
            self.keep()
        return found

    def forget(self) -> None:
        """Go back to before the last batch: the transaction that held it was rolled back."""
        if self._before:
            slots, states, used = self._before
            self._states[slots] = states
            self._slots = dict(list(self._slots.items())[:used])
            self._before = None

    def trim(self) -> None:
        """Keep the memory within its limit; called between batches, what goes was written down with the last one."""
        if len(self._slots) > self._limit:
            self._slots, self._states = {}, np.empty((0, 5), np.int64)
        self._before = None

    def keep(self) -> None:
        """Write all down; called in a transaction."""
        devices = np.fromiter(self._slots, np.int64, len(self._slots))
        near = np.argsort(devices)  # neighbours lie on one page
        states = self._states[: len(devices)][near]
        self._bulk.write(self._db, [devices[near], *(states[:, part] for part in (HOUR, HOUR_BYTES, HOURS, PEAK))])

    def _count(self, stretches: _Stretches, bytes_out: Ints) -> Ints:
        """Count the flows, whose bytes stand by stretches, and return what `times` does of each."""
        begins = np.flatnonzero(np.diff(stretches.device, prepend=-1) != 0)
        many = np.diff(begins, append=len(stretches.device))
        slots = np.repeat(self._slots_of(stretches.device[begins].tolist(), stretches.hour[begins].tolist()), many)
        turns = np.arange(len(slots)) - np.repeat(begins, many)
        order = np.argsort(turns, kind="stable")  # all first stretches of a device, then all second ones
        before, usual = np.empty_like(slots), np.empty_like(slots)
        for some in np.split(order, np.cumsum(np.bincount(turns))[:-1]):
            before[some], usual[some] = self._of_hour(slots[some], stretches.hour[some], stretches.sent[some])
        of = np.repeat(np.arange(len(slots)), stretches.stop - stretches.start)
        so_far = np.cumsum(bytes_out)
        sent = before[of] + so_far - (so_far - bytes_out)[stretches.start][of]
        return np.where(usual[of] > 0, sent // np.maximum(usual[of], 1), NO_HABIT)

    def _of_hour(self, slots: Ints, hour: Ints, sent: Ints) -> tuple[Ints, Ints]:
        """Add a stretch to each of some devices; return what they had sent in that hour, and what they usually do.

        That is 0 while it is not known.
        """
        state = self._states[slots]
        later = state[:, HOUR] < hour
        faded = state[:, PEAK] - state[:, PEAK] // FADES
        state[:, PEAK] = np.where(later, np.maximum(faded, state[:, HOUR_BYTES]), state[:, PEAK])
        state[:, HOURS] += later
        state[later, HOUR], state[later, HOUR_BYTES] = hour[later], 0
        before = state[:, HOUR_BYTES].copy()
        state[:, HOUR_BYTES] += sent
        self._states[slots] = state
        known = state[:, HOURS] + state[:, BEFORE] >= ENOUGH_HOURS
        return before, np.where(known, np.maximum(state[:, PEAK], LEAST_BYTES), 0)

    def _slots_of(self, devices: list[int], hours: list[int]) -> Ints:
        """Return where the states of some devices are, that come again, or for the first time in these hours."""
        used = len(self._slots)
        if new := {device: hour for device, hour in zip(devices, hours, strict=True) if device not in self._slots}:
            read = np.array(self._look_up(new), np.int64)
            self._slots |= zip(new, range(used, used + len(new)), strict=True)
            if len(self._states) < used + len(new):
                self._states = np.concatenate((self._states[:used], np.empty_like(self._states[:used]), read))
            self._states[used : used + len(new)] = read
        slots = np.array([self._slots[device] for device in devices], np.int64)
        self._before = _Before(slots, self._states[slots], used)
        return slots

    def _look_up(self, new: dict[int, int]) -> list[tuple[int, ...]]:
        """Read what is known of devices, as of the hour of their first flow."""
        some = json.dumps(list(new))
        before, peaks = dict.fromkeys(new, 0), dict.fromkeys(new, 0)
        for device, hour, hours, peak in self._db.conn.execute(_OTHERS, (some, self._recording)):
            if hour < new[device]:
                before[device] += hours
                peaks[device] = max(peaks[device], peak)
        own = {row[0]: row[1:] for row in self._db.conn.execute(_OWN, (self._recording, some))}
        states = ((device, *own.get(device, (first_hour, 0, 0, 0))) for device, first_hour in new.items())
        return [
            (hour, sent, full, max(peak, peaks[device]), before[device]) for device, hour, sent, full, peak in states
        ]


def _stretches(devices: Ints, hours: Ints, bytes_out: Ints) -> _Stretches:
    """Return the stretches of flows that stand by device; what ends after a later hour has begun counts in that one."""
    begins = np.diff(devices, prepend=-1) != 0
    # Rising by device, so that one running maximum serves all.
    base = (np.cumsum(begins) - 1) * (LATEST_HOUR + 1)
    by_then = np.maximum.accumulate(base + hours) - base
    start = np.flatnonzero(begins | (np.diff(by_then, prepend=-1) != 0))
    sums = np.add.reduceat(bytes_out, start)
    return _Stretches(devices[start], by_then[start], sums, start, np.append(start[1:], len(devices)))
