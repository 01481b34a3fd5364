"""Several processes that read, narrow and decode the same interfaces, each its share of the flows, for the one loop.

In: interfaces opened as often as there are readers. Out: one stream of batches, and what `Live` tells. Never: a clock
that is ahead of a reader, or a reader that ends in silence.

The kernel gives each flow's packets to one reader (PACKET_FANOUT, packet(7)); so they stay in order. Of the batches at
hand the one that begins earliest is next, once each reader has one: at least every quarter of a second it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from egress_watch.cli.ahead import Way
from egress_watch.cli.reader import SLOT_BYTES, End, Parcel, Post, Reader, Trouble
from egress_watch.decode import decode
from egress_watch.model import Frames, Happening, Health, Packets
from egress_watch.sources.columns import Columns
from egress_watch.sources.live import Live
from egress_watch.sources.minutes import Minutes

LEAST_SLOTS = 4
SPAN_NS = 50_000_000
"""A batch holds no more time than this, so that what two readers saw is out of order by no more than this."""


class Told(NamedTuple):
    """What a reader tells with each batch."""

    begin_ns: int
    """Before this nothing more comes from it."""
    health: list[Health]
    happened: list[Happening]
    states: list[tuple[str, str]]
    by_hardware: bool


class Fanout:
    """The readers of ``lives``, which share their interfaces; to the loop as one `Live`."""

    def __init__(self, lives: Sequence[Live], way: Way, *, spool_bytes: int) -> None:
        self.interfaces, self.failed = lives[0].interfaces, ""
        self._lives, self._minutes = lives, Minutes()
        self._states, self._by_hardware = lives[0].states(), False
        self._packets: Packets | None = None
        slots = max(spool_bytes // SLOT_BYTES // len(lives), LEAST_SLOTS)
        self._readers: list[Reader] = []
        for live in lives:
            self._readers.append(Reader(partial(_listen, live, way), self._readers, slots))

    def frames(self) -> Iterator[Frames]:
        """Yield the batches of all readers until `end`; each is valid until the next one is asked for."""
        at_hand: dict[int, Parcel] = {}
        clocks = dict.fromkeys(range(len(self._readers)), 0)
        while clocks:
            for number in clocks.keys() - at_hand.keys():
                if parcel := self._next(number):
                    at_hand[number] = parcel
                else:
                    del clocks[number]
            if at_hand:
                number = min(at_hand, key=lambda one: at_hand[one].more.begin_ns)
                parcel = at_hand.pop(number)
                yield self._opened(number, parcel, clocks)
                self._readers[number].release(parcel.slot)

    def packets(self, _: Frames) -> Packets:
        """Return the packets of the frames that came last."""
        assert self._packets is not None
        return self._packets

    def end(self) -> None:
        """Ask for nothing that comes from now on."""
        for reader in self._readers:
            reader.end()

    def health(self) -> list[Health]:
        """Return what there is to add to the minutes of the interfaces since this was last asked."""
        return self._minutes.health()

    def happened(self) -> list[Happening]:
        """Return what became of the interfaces since this was last asked."""
        return self._minutes.happened()

    def states(self) -> list[tuple[str, str]]:
        """Return the interfaces and their states."""
        return self._states

    def by_hardware(self) -> bool:
        """Return whether any frame so far came with a time of the interface itself."""
        return self._by_hardware

    def close(self) -> None:
        """End all readers and let go of all interfaces."""
        for reader in self._readers:
            reader.stop()
        for live in self._lives:
            live.close()

    def _next(self, number: int) -> Parcel | None:
        """Return what a reader sends next, None when it has ended; how, where that was not asked for."""
        said = self._readers[number].said()
        if isinstance(said, Trouble) and not self.failed:
            self.failed = f"a process that reads it {said.what}"
            self.end()
        return None if isinstance(said, End | Trouble) else said

    def _opened(self, number: int, parcel: Parcel, clocks: dict[int, int]) -> Frames:
        """Open a batch; its clock is that of the slowest reader, 0 while one has frames left to read."""
        frames, self._packets = self._readers[number].opened(parcel)
        self._hear(number, parcel.more)
        self._minutes.count(frames, self.interfaces)
        clocks[number] = frames.clock_ns
        return replace(frames, clock_ns=min(clocks.values()))

    def _hear(self, number: int, told: Told) -> None:
        """Take in what a reader tells; all look at the same interfaces, so of those only the first is heard."""
        for one in told.health:
            others = (one.overruns, one.dropped, one.errors) if number == 0 else (0, 0, 0)
            counts = dict(zip(("overruns", "dropped", "errors"), others, strict=True))
            self._minutes.add(one.interface, one.minute_ns, lost=one.lost, **counts)
        if number == 0:
            self._states = told.states
            for happening in told.happened:
                self._minutes.note(happening)
        self._by_hardware |= told.by_hardware


def _listen(live: Live, way: Way, post: Post) -> None:
    """Read one share until nobody asks any more."""
    for whole in way.narrowing.narrowed(live.rounds()):
        for frames in _spans(whole):
            begin_ns = int(frames.time_ns[0]) if len(frames) else frames.clock_ns
            told = Told(begin_ns, live.health(), live.happened(), live.states(), live.by_hardware())
            post.send(frames, decode(frames, way.tables), told)
        if not post.wanted:
            live.end()
    post.tell(End())


def _spans(frames: Frames) -> Iterator[Frames]:
    """Yield a batch in pieces of a short time each; what else it tells comes with the last."""
    last, at = len(frames) - 1, 0
    while last >= 0 and int(frames.time_ns[last]) - int(frames.time_ns[at]) > SPAN_NS:
        cut = max(int(np.searchsorted(frames.time_ns, frames.time_ns[at] + SPAN_NS, side="right")), at + 1)
        yield replace(_rows(frames, slice(at, cut)), lost=0, left_out={}, clock_ns=0)
        at = cut
    yield _rows(frames, slice(at, None)) if at else frames


def _rows(frames: Frames, which: slice) -> Frames:
    return replace(frames, **{name: getattr(frames, name)[which] for name in Columns._fields})
