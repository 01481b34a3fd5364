"""Watched interfaces as one source of frames that never ends by itself.

In: names of interfaces. Out: `Frames`, and for each minute and interface its `Health`. Never: a frame sent, a loss in
silence, or an end because an interface went away: it is waited for.

Several interfaces are read in turns, and each batch is in order of time. At least every BEAT_S there is a batch, empty
where need be, so that the loop can stop and what has waited can be written. A thread reads (`spool`), so the rings are
emptied while the loop stores.

**The clock.** Flows are timed by packets alone, and where no packet comes none would ever end. So once all rings are
empty, a batch carries `Frames.clock_ns`: the time by the clock, GRACE_NS ago. The kernel stamps a frame when it comes
in, so no later frame can be older. What the clock ends is over for any later packet too: the same flows come out of a
replay of what was received (law 3), though there a flow that was open at the end is told as `end`, not as `idle`.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from egress_watch.errors import UsageError
from egress_watch.fast import Drained
from egress_watch.model import PAD_BYTES, Bytes, Frames, Happening, Health
from egress_watch.sources.columns import Columns
from egress_watch.sources.filter import Filter
from egress_watch.sources.minutes import Minutes
from egress_watch.sources.nics import counters, nic, slot_bytes, state
from egress_watch.sources.packet_socket import PacketSocket, RingError
from egress_watch.sources.sniffed import Sniffed
from egress_watch.sources.spool import Spool
from egress_watch.sources.window import FAST_PIECE_BYTES, MOST_ROOMS, Rooms

BEAT_S = 0.25
REST_S = 0.02
"""How long frames may gather in the ring where few come: a batch of one costs as much as one of a thousand."""
FEW, ROUND_FRAMES = 2048, 1 << 14
"""Few, and the most that are taken out of the rings in one round."""
BEHIND_S = 0.25
"""The same where the loop is behind, which gains more from large batches than from early ones: until so many seconds
have passed, or a batch is full."""
LOOK_S = 1.0
"""Counters and states of the interfaces are looked at so often."""
GRACE_NS = 1_000_000_000
SPOOL_BYTES = 1 << 29
LEAST_WAITING = 4
"""Batches that wait for the loop, at least, whatever their size."""
HARDWARE = "hardware"
TIME_NS = Columns._fields.index("time_ns")
ONE_READER = "set watch.readers to 1"


class Listening(Protocol):
    """What listens to one interface."""

    interface: str

    def fileno(self) -> int:
        """Return the descriptor, for poll."""

    def take(self, data: Bytes, used: int, most: int) -> Drained:
        """Copy up to ``most`` frames to ``data[used:]``."""

    def waiting(self, ahead: int = 0) -> bool:
        """Return whether more than ``ahead`` frames may be there that were not taken yet."""

    def lost(self) -> int:
        """Return the frames lost since this was last asked."""

    def trouble(self) -> str:
        """Return what went wrong since this was last asked."""

    def listen(self) -> None:
        """Begin to listen; raises OSError where that cannot be."""

    def close(self) -> None:
        """Let go."""


@dataclass(slots=True)
class _Watched:
    """One interface and what is known of it."""

    listening: Listening
    link: int
    state: str = "up"
    bound: bool = True
    """Whether the socket is that of the interface of this name as it is now."""
    totals: dict[str, int] = field(default_factory=dict)


class Live:
    """Interfaces that are listened to from now on; all rights that this needs are used up here.

    UsageError where an interface is not there, cannot be read, or the right is missing. ``notes`` says what is slower
    or smaller than asked for. Those that are given the same ``groups`` share what comes, each flow's packets together;
    it holds the number of the group by interface.
    """

    def __init__(
        self, interfaces: Sequence[str], *, ring_bytes: int, spool_bytes: int = SPOOL_BYTES, times: str = "kernel",
        filtered: Filter | None = None, groups: dict[str, int] | None = None,
    ) -> None:  # fmt: skip
        self.interfaces = tuple(dict.fromkeys(interfaces))
        self.notes: list[str] = []
        self.failed = ""
        self._filter, self._ring_bytes, self._times, self._groups = filtered, ring_bytes, times, groups
        self._room_bytes = (FAST_PIECE_BYTES + PAD_BYTES) * len(self.interfaces)
        self._most = max(spool_bytes // self._room_bytes, LEAST_WAITING)
        self._rooms = Rooms(self._most + MOST_ROOMS)
        self._spool: Spool | None = None
        self._minutes = Minutes()
        self._seen_status = self._end_ns = 0
        self._watched = [self._open(name) for name in self.interfaces]
        self._poll = self._polled()
        self._next_look_s = 0.0
        self._much = False
        """Whether the last round took so much that there is no use in letting frames gather."""

    def frames(self, most: int = 0) -> Iterator[Frames]:
        """Yield batches until `end`, or until there were ``most`` frames."""
        self._spool = Spool(self.rounds(most), self._most)
        for frames in self._spool.frames():
            self._minutes.count(frames, self.interfaces)
            yield frames

    def end(self) -> None:
        """Read no frame that comes from now on; those that are here already are still given."""
        self._end_ns = self._end_ns or time.time_ns()

    def health(self) -> list[Health]:
        """Return what there is to add to the minutes of the interfaces since this was last asked."""
        return self._minutes.health()

    def happened(self) -> list[Happening]:
        """Return what became of the interfaces since this was last asked."""
        return self._minutes.happened()

    def states(self) -> list[tuple[str, str]]:
        """Return the interfaces and their states."""
        return [(one.listening.interface, one.state) for one in self._watched]

    def by_hardware(self) -> bool:
        """Return whether any frame so far came with a time of the interface itself."""
        return bool(self._seen_status >> 31 & 1)

    def close(self) -> None:
        """Let go of all interfaces."""
        if self._spool:
            self._spool.stop()  # nobody may read a ring that is gone
        while self._watched:
            self._watched.pop().listening.close()

    def _open(self, name: str) -> _Watched:
        found = nic(name)
        if found.state != "gone" and found.link < 0:
            raise UsageError("its frames are of no kind that is read here", where=name,
                             remedy="see `egress-watch interfaces`")  # fmt: skip
        steps = self._filter.program(found.link) if self._filter and found.state != "gone" else ()
        if steps is None:
            raise UsageError(f"means nothing on {name}", where="--filter", remedy="leave it out")
        try:
            ring = PacketSocket(
                name, ring_bytes=self._ring_bytes, slot_bytes=slot_bytes(found.mtu), ethernet=found.link == 1,
                hardware_times=self._times == HARDWARE, steps=steps, shared=self._groups is not None,
            )  # fmt: skip
        except RingError as error:
            if self._groups is not None:
                raise UsageError(f"no ring ({error.strerror}), so no readers can share it", where=name,
                                 remedy=ONE_READER) from error  # fmt: skip
            slow = Sniffed(name, expression=self._filter.expression if self._filter else "")
            self.notes.append(f"{name}: no ring ({error.strerror}): read through scapy, far slower")
            return _Watched(slow, found.link, found.state, totals=counters(name))
        if self._groups is not None:
            self._groups[name] = _joined(ring, self._groups.get(name, 0))
        if ring.bytes < self._ring_bytes // 2:
            self.notes.append(f"{name}: memory for a ring of {ring.bytes:,} bytes only")
        return _Watched(ring, found.link, found.state, totals=counters(name))

    def rounds(self, most: int = 0) -> Iterator[Frames]:
        """As `frames`, but nobody reads ahead, and nothing is counted; this is what the thread does."""
        left = most or 1 << 62
        while left > 0:
            begun_ns = time.time_ns()
            frames = self._round(min(left, ROUND_FRAMES), begun_ns)
            left -= len(frames)
            yield frames
            came_later = bool(len(frames)) and int(frames.time_ns[-1]) > self._end_ns
            if self._end_ns and (frames.clock_ns or came_later):
                return
            if left > 0 and not (self._waiting() and self._much):
                self._wait(len(frames))

    def _round(self, most: int, begun_ns: int) -> Frames:
        """Take what is there from each interface, up to its share."""
        share = max(most // len(self._watched), 1)
        data, used = self._rooms.room(self._room_bytes), 0
        found: list[Columns] = []
        self._much = False
        for number, one in enumerate(self._watched):
            taken = one.listening.take(data[: used + FAST_PIECE_BYTES], used, share)
            count = len(taken.start)
            self._much |= count >= FEW or taken.used - used > FAST_PIECE_BYTES // 2
            self._seen_status |= taken.status
            used = taken.used
            found.append(Columns(*taken[:4], np.full(count, one.link, np.int32), np.full(count, number, np.int32)))
        data[used : used + PAD_BYTES] = 0
        lost = self._look() if time.monotonic() >= self._next_look_s else 0
        clock_ns = 0 if self._waiting() else begun_ns - GRACE_NS
        return Frames(data[: used + PAD_BYTES], *_merged(found), origin=",".join(self.interfaces), lost=lost,
                      clock_ns=clock_ns)  # fmt: skip

    def _waiting(self, ahead: int = 0) -> bool:
        return any(one.listening.waiting(ahead) for one in self._watched)

    def _wait(self, count: int) -> None:
        """Wait for frames; a few are given time to become more."""
        if count:
            self._rest(count)
            return
        wait_s = min(BEAT_S, max(self._next_look_s - time.monotonic(), 0.001))
        ready = self._poll.poll(wait_s * 1000)
        if any(events & ~select.POLLIN for _, events in ready):
            time.sleep(REST_S)  # an error stays until it is looked at

    def _rest(self, count: int) -> None:
        """Let frames gather: no longer than until a batch waits, so that a burst out of silence finds room."""
        behind = self._spool is not None and len(self._spool) > 1
        until_s = time.monotonic() + BEHIND_S * behind
        time.sleep(REST_S if behind or count < FEW else 0)
        while time.monotonic() < until_s and not self._waiting(ROUND_FRAMES):
            time.sleep(REST_S)

    def _look(self) -> int:
        """Look at counters and states; return the frames newly lost."""
        self._next_look_s = time.monotonic() + LOOK_S
        now_ns, lost = time.time_ns(), 0
        for one in self._watched:
            name = one.listening.interface
            dropped = one.listening.lost() if one.bound else 0
            totals = counters(name)
            grown = {kind: max(count - one.totals.get(kind, 0), 0) for kind, count in totals.items()}
            one.totals = totals
            self._minutes.add(name, now_ns, lost=dropped, **grown)
            lost += dropped
            self._follow(one, now_ns)
        return lost

    def _follow(self, one: _Watched, now_ns: int) -> None:
        """Note a change of state, and go on with an interface that came back."""
        name, trouble = one.listening.interface, one.listening.trouble()
        now = state(name)
        one.bound &= trouble != "ENODEV" and now != "gone"
        if not one.bound and now != "gone" and not one.listening.waiting():
            with suppress(OSError):
                one.listening.listen()
                one.bound, one.totals = True, counters(name)
                self._minutes.note(Happening(now_ns, name, "back"))
            self._poll = self._polled()
        if now != one.state:
            self._minutes.note(Happening(now_ns, name, now))
            one.state = now
        elif trouble:
            self._minutes.note(Happening(now_ns, name, f"was down for a moment ({trouble})"))

    def _polled(self) -> select.poll:
        """Return what waits for frames: of the sockets as they are, since an interface that came back has another."""
        poll = select.poll()
        for one in self._watched:
            with suppress(OSError, ValueError):  # scapy has none while the interface is away
                poll.register(one.listening.fileno(), select.POLLIN)
        return poll


def _joined(ring: PacketSocket, group: int) -> int:
    try:
        return ring.join(group)
    except OSError as error:
        ring.close()
        raise UsageError(f"several readers cannot share it: {error.strerror}", where=ring.interface,
                         remedy=f"bring it up first, or {ONE_READER}") from error  # fmt: skip


def _merged(found: Sequence[Columns]) -> Columns:
    """Return the frames of several interfaces in order of time."""
    if len(found) == 1:
        return found[0]
    joined: list[NDArray[Any]] = [np.concatenate(column) for column in zip(*found, strict=True)]
    order = np.argsort(joined[TIME_NS], kind="stable")
    return Columns(*(column[order] for column in joined))
