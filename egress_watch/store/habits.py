"""How much a device usually sends out in an hour, and how many times that it sends now.

In: judged flows and the rows of their devices. Out: a number a flow, and rows of the table habit. Never: the clock, or
an answer that depends on how flows were cut into batches: they count one by one, in their order.

The habit of a device is its peak: the most it sent to the outside in one clock hour of packet time, which fades by a
128th with each later hour in which it sends anything. So a backup every night, or every week, is a habit. What ends
after a later hour has begun counts in that one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from sqlite_utils import Database

from egress_watch.fast import distinct, table
from egress_watch.model import Ints, Judged
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
_KEEP = "INSERT OR REPLACE INTO habit VALUES (?, ?, ?, ?, ?, ?)"


class _State(NamedTuple):
    """One device: the hour it is in, what it sent in it, and what was before."""

    hour: int
    hour_bytes: int
    hours: int
    """Full hours of this recording."""
    peak: int
    before: int
    """Hours of earlier recordings."""

    def at(self, hour: int) -> _State:
        """Return the state in a later hour."""
        faded = self.peak - self.peak // FADES
        return _State(hour, 0, self.hours + 1, max(faded, self.hour_bytes), self.before)

    @property
    def usual(self) -> int:
        """What it usually sends at most in an hour, 0 while that is not known."""
        return max(self.peak, LEAST_BYTES) if self.hours + self.before >= ENOUGH_HOURS else 0


class _Stretch(NamedTuple):
    """Flows of one device in one hour, that stand together."""

    device: int
    hour: int
    sent: int
    start: int
    stop: int


class Habits:
    """Knows up to ``limit`` devices of one recording; beyond it all are written down, and read again when they come."""

    def __init__(self, db: Database, recording: int, limit: int = LIMIT) -> None:
        self._db, self._recording, self._limit = db, recording, limit
        self._known: dict[int, _State] = {}
        self._before: dict[int, _State | None] = {}
        self._stored: dict[int, _State] = {}
        self._kept = 0
        """The newest hour in which all were written down: a recorder that is killed loses one hour of habits."""

    def times(self, judged: Judged, devices: Ints) -> Ints:
        """Return of each flow how many times the habit its device has sent in the hour by then, NO_HABIT: not known.

        Called in a transaction.
        """
        self._before, self._stored = {}, {}
        found = np.full(len(devices), NO_HABIT)
        outside = np.array([place.location_status != "local" for place in judged.places], bool)
        rows = np.flatnonzero(outside[judged.judgement]) if len(devices) else np.empty(0, np.int64)
        rows = rows[distinct(table((devices[rows],), len(rows))).order()]
        hours = np.maximum(judged.flows.last_ns[rows], 0) // HOUR_NS
        stretches = list(_stretches(devices[rows], hours, judged.flows.bytes_out[rows]))
        self._look_up(stretches)
        for stretch in stretches:
            self._of_hour(stretch, rows, judged.flows.bytes_out, found)
        newest = int(hours.max(initial=0))
        if newest > self._kept or len(self._known) > self._limit:
            self._kept = max(newest, self._kept)
            self.keep()
        return found

    def forget(self) -> None:
        """Go back to before the last batch: the transaction that held it was rolled back."""
        for device, state in self._before.items():
            if state is None:
                self._known.pop(device, None)
            else:
                self._known[device] = state
        self._before = {}

    def trim(self) -> None:
        """Keep the memory within its limit; called between batches, what goes was written down with the last one."""
        if len(self._known) > self._limit:
            self._known.clear()
        self._before = {}

    def keep(self) -> None:
        """Write all down; called in a transaction."""
        rows = [(self._recording, device, *state[:-1]) for device, state in self._known.items()]
        self._db.conn.executemany(_KEEP, rows)

    def _of_hour(self, stretch: _Stretch, rows: Ints, bytes_out: Ints, found: Ints) -> None:
        """Count a stretch of flows, and write down what is known of each."""
        device, hour, sent, start, stop = stretch
        old = self._known.get(device)
        state = old or self._stored[device]
        if device not in self._before:
            self._before[device] = old
        if hour > state.hour:
            state = state.at(hour)
        if usual := state.usual:
            some = rows[start:stop]
            found[some] = (state.hour_bytes + np.cumsum(bytes_out[some])) // usual
        at, so_far, hours, peak, before = state
        self._known[device] = _State(at, so_far + sent, hours, peak, before)

    def _look_up(self, stretches: Sequence[_Stretch]) -> None:
        """Read what is known of devices that come again, or for the first time: at the hour of their first flow."""
        new = {one.device: one.hour for one in reversed(stretches) if one.device not in self._known}
        if not new:
            return
        some = json.dumps(list(new))
        before, peaks = dict.fromkeys(new, 0), dict.fromkeys(new, 0)
        for device, hour, hours, peak in self._db.conn.execute(_OTHERS, (some, self._recording)):
            if hour < new[device]:
                before[device] += hours
                peaks[device] = max(peaks[device], peak)
        own = {row[0]: row[1:] for row in self._db.conn.execute(_OWN, (self._recording, some))}
        for device, first_hour in new.items():
            hour, sent, full, peak = own.get(device, (first_hour, 0, 0, 0))
            self._stored[device] = _State(hour, sent, full, max(peak, peaks[device]), before[device])


def _stretches(devices: Ints, hours: Ints, bytes_out: Ints) -> Iterator[_Stretch]:
    """Yield the stretches of flows that stand by device; what ends after a later hour has begun counts in that one."""
    if not len(devices):
        return iter(())
    begins = np.diff(devices, prepend=-1) != 0
    # Rising by device, so that one running maximum serves all.
    base = (np.cumsum(begins) - 1) * (LATEST_HOUR + 1)
    by_then = np.maximum.accumulate(base + hours) - base
    start = np.flatnonzero(begins | (np.diff(by_then, prepend=-1) != 0))
    sums = np.add.reduceat(bytes_out, start)
    stop = np.append(start[1:], len(devices))
    columns = (devices[start], by_then[start], sums, start, stop)
    return map(_Stretch._make, zip(*(column.tolist() for column in columns), strict=True))
