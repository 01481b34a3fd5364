"""A recording that goes on for months: it keeps within its limits, and a full disk does not end it.

In: what `Recording` takes, and limits. Out: the same; what was taken out, or found no room, as counts and happenings.
Never: an exception because the disk is full, an alert twice, or a flow that is neither stored nor counted.

Flows for which no room can be made are counted and let go, for more come. All else (alerts, facts, minutes) waits and
is stored in its order once there is room.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from egress_watch.errors import StoreError
from egress_watch.model import Alert, Fact, Flows, Happening, Health, Ints, Judged, Kept, Tally
from egress_watch.store.batch import Batch
from egress_watch.store.file import trouble
from egress_watch.store.folding import MOST_PAGES, Folding
from egress_watch.store.recording import FINISHED, NONE, Recording
from egress_watch.store.retention import SPARE_BYTES, Limits, Taken, retain
from egress_watch.store.storm import Hits

Done = TypeVar("Done")

SLICE_FLOWS = 2_000
"""Flows that go in one transaction: a few milliseconds."""
EVEN_S, URGENT_S = 0.05, 0.25
"""Of each second, how long flows may be taken out: because of their age, and because there is no room."""
PAUSE_S = 10.0
"""How long nobody looks again after there was nothing to take out."""
AGAIN_S = 1.0
"""How long after a vain attempt to make room the next one comes."""
TOLD_S = 3600.0
"""What goes day by day is told at most so often."""
MOST_WAITING = 1_000
LITTLE_BYTES = 1 << 20
ROUND = 20
"""Slices taken out at once where a batch found no room."""
DATABASE = "database"
"""What a happening of the database has in place of an interface."""
_FULL = ("disk is full", "no space left")


class NoRoomError(StoreError):
    """The disk is full."""


class Lasting(Recording):
    """A recording whose disk may be full."""

    def __init__(self, *of: Any, limits: Limits, spare_bytes: int = SPARE_BYTES) -> None:
        super().__init__(*of)
        self._db.conn.execute(f"PRAGMA wal_autocheckpoint = {MOST_PAGES}")
        self._folding = Folding(self._path)
        self.limits, self.spare_bytes = limits, spare_bytes
        self._waiting: deque[Callable[[], None]] = deque()
        self._happened: list[Happening] = []
        self._steps: Iterator[Taken] | None = None
        self._taken = Taken()
        self._next_s = self._room_s = self._told_s = 0.0
        self._short = self._refused = False
        self._unstored = self._off_s = 0

    def write(self, judged: Judged, tally: Tally, assets: Ints | None = None) -> Batch | None:
        """Store one batch as `Recording` does; None where there is no room, and its flows are counted as not stored."""
        batch = None
        if not self._refused:
            batch = self._tried(partial(super().write, judged, tally, assets))
        self._refused = False
        if batch is None:
            self._let_go(judged.flows, tally)
        elif self._short and not self._waiting:
            self._note(f"there is room again; {self._unstored:,} flows were not stored")
            self._short, self._unstored = False, 0
        return batch

    def enlist(self, flows: Flows, rows: Ints, listings: Sequence[Sequence[object]]) -> Ints:
        """Store what the inventory says; where there is no room for it, the batch that follows is not stored either."""
        assets = self._tried(partial(super().enlist, flows, rows, listings))
        self._refused = assets is None
        return np.zeros(len(flows), np.int64) if assets is None else assets

    def alert(self, found: Iterable[Hits | Alert], batch: Batch) -> None:
        """Store the batch's episodes, later where there is no room."""
        self._sooner_or_later(partial(super().alert, list(found), batch))

    def keep(self, kept: Iterable[Kept]) -> None:
        """Store which packets are kept as evidence, later where there is no room."""
        self._sooner_or_later(partial(super().keep, list(kept)))

    def tell(self, facts: Iterable[Fact], refused: int) -> None:
        """Store what devices said of themselves, later where there is no room."""
        self._sooner_or_later(partial(super().tell, list(facts), refused))

    def broken(self, rules: Mapping[str, str]) -> None:
        """Note the rules that could not run to their end, later where there is no room."""
        self._sooner_or_later(partial(super().broken, dict(rules)))

    def beat(self, tally: Tally, minutes: Iterable[Health], happened: Iterable[Happening]) -> None:
        """Store the counters and what happened, later where there is no room."""
        self._sooner_or_later(partial(super().beat, tally, list(minutes), list(happened)))

    def finish(
        self, tally: Tally, fingerprints: Mapping[str, str], state: str = FINISHED, failed: Mapping[str, str] = NONE
    ) -> None:
        """Close the recording. Raises StoreError where there is no room for that."""
        self._with_room(self._work_off)
        self._with_room(partial(super().finish, tally, fingerprints, state, failed))
        self._folding.close()

    def tidy(self) -> list[Happening]:
        """Take out, for a moment, what is beyond the limits; return what there is to tell since the last time.

        Called once a second. Raises StoreError.
        """
        self._look_at_clock()
        now_s = time.monotonic()
        if now_s >= self._next_s:
            with suppress(NoRoomError), _room_wanted(self._path):
                self._take_out(now_s)
        if (self._taken.flows or self._taken.hours or self._taken.alerts) and now_s - self._told_s >= TOLD_S:
            self._note(said(self._taken))
            self._taken, self._told_s = Taken(), now_s
        told, self._happened = self._happened, []
        return told

    def _take_out(self, now_s: float) -> None:
        if self._steps is None:
            now_ns = self.clock.now_ns()
            self._steps = retain(self._db, self._path, self.limits, now_ns, self.spare_bytes, SLICE_FLOWS)
        steps, self._steps = self._steps, None  # one that raised is over
        took = False
        for step in steps:
            self._taken, took = self._taken + step, True
            if time.monotonic() > now_s + (URGENT_S if {"bytes", "disk"} & {*step.because} else EVEN_S):
                self._steps = steps
                return
        self._next_s = now_s if took else now_s + PAUSE_S

    def _let_go(self, flows: Flows, tally: Tally) -> None:
        tally.flows -= len(flows)
        tally.unstored += len(flows)
        tally.unstored_packets += int(flows.packets_out.sum() + flows.packets_in.sum())
        self._unstored += len(flows)
        if not self._short:
            self._short = True
            self._note("the disk is full: flows are not stored until there is room")

    def _look_at_clock(self) -> None:
        self.clock.now_ns()
        if (off_s := self.clock.off_s) and not self._off_s:
            self._note(f"the clock jumped by {off_s:,} s; what is old counts from before, until the next start")
        self._off_s = off_s

    def _tried(self, work: Callable[[], Done]) -> Done | None:
        with suppress(NoRoomError):
            return self._with_room(work)
        return None

    def _sooner_or_later(self, work: Callable[[], None]) -> None:
        self._waiting.append(work)
        self._tried(self._work_off)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._note("the disk is full: alerts or minutes were lost")

    def _work_off(self) -> None:
        while self._waiting:
            self._waiting[0]()
            self._waiting.popleft()

    def _with_room(self, work: Callable[[], Done]) -> Done:
        """Do something; where the disk is full, make room and do it again. Raises NoRoomError, StoreError."""
        with suppress(NoRoomError), _room_wanted(self._path):
            return work()
        self._make_room()
        with _room_wanted(self._path):
            return work()

    def _make_room(self) -> None:
        """Take out the oldest flows and fold the log in, so that it begins anew."""
        if time.monotonic() < self._room_s:
            return
        self._room_s, need = time.monotonic() + AGAIN_S, max(self.limits.least_free_bytes, LITTLE_BYTES)
        limits, taken = self.limits._replace(least_free_bytes=need), Taken()
        with suppress(NoRoomError), _room_wanted(self._path), trouble(self._path):
            self._db.conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            steps = retain(self._db, self._path, limits, self.clock.now_ns(), LITTLE_BYTES, SLICE_FLOWS)
            for step, _ in zip(steps, range(ROUND), strict=False):
                taken += step
        if taken.flows:
            self._note(f"the disk is full; {said(taken)}")

    def _note(self, what: str) -> None:
        self._happened.append(Happening(time.time_ns(), DATABASE, what))


@contextmanager
def _room_wanted(path: str) -> Iterator[None]:
    """Tell a full disk from other trouble; SQLite calls some of it an error of the disk (SQLITE_IOERR)."""
    try:
        yield
    except StoreError as error:
        disk = os.statvfs(Path(path).resolve().parent)
        none_left = "disk i/o" in error.what.lower() and disk.f_bavail * disk.f_frsize < LITTLE_BYTES
        if none_left or any(word in error.what.lower() for word in _FULL):
            raise NoRoomError(error.what, where=error.where, remedy=error.remedy) from error
        raise


def said(taken: Taken) -> str:
    """Return in words what was taken out."""
    why = f" ({', '.join(taken.because)})" if taken.because else ""
    return f"taken out: {taken.flows:,} flows{why}, {taken.hours:,} hours, {taken.alerts:,} alerts"
