"""Several processes that read, narrow and decode the same interfaces, each its share of the flows, for the one loop.

In: interfaces opened as often as there are readers. Out: one stream of batches, and what `Live` tells. Never: a clock
that is ahead of a reader, or a reader that ends in silence.

The kernel spreads flows over the readers (PACKET_FANOUT, packet(7)), but knows only plain ones: of others each
direction may go to another reader. So what they send is put in order of time again, up to the moment until which all
have told: each does at least every quarter of a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from egress_watch.cli.ahead import Way
from egress_watch.cli.merging import Batch, cut, together
from egress_watch.cli.reader import End, Parcel, Post, Reader, Trouble
from egress_watch.decode import decode
from egress_watch.model import Frames, Happening, Health, Packets
from egress_watch.sources.live import GRACE_NS, Live
from egress_watch.sources.minutes import Minutes

LEAST_SLOTS = 4
SLOT_BYTES = 7 << 20
"""Room for a batch: what a round of the rings may bring. A larger one goes through the pipe."""
SURE_NS = GRACE_NS - 50_000_000
"""A frame lies in the ring within 50 ms of its time, nearly always; the clock that ends flows waits for longer."""


class Told(NamedTuple):
    """What a reader tells with each batch."""

    health: list[Health]
    happened: list[Happening]
    states: list[tuple[str, str]]
    by_hardware: bool


class _Share:
    """What one reader sent last, and how much of it is not taken yet."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.done = reader, True
        self._slot = -1

    def open(self, parcel: Parcel) -> None:
        """Look at the next batch."""
        self._batch, self._slot, self.done = Batch(*self.reader.opened(parcel)), parcel.slot, False
        frames = self._batch.frames
        self.clock_ns = frames.clock_ns
        self.known_ns = int(frames.time_ns.max()) if len(frames) else frames.clock_ns + SURE_NS
        """Up to this all is known that comes from this reader."""

    def take(self, upto_ns: int) -> Batch:
        """Return what came until a moment."""
        found, self._batch = cut(self._batch, upto_ns)
        self.done = upto_ns >= self.known_ns
        return found

    def release(self) -> None:
        """Give the slot back once nothing is left in it."""
        if self.done:
            self.reader.release(self._slot)


class Fanout:
    """The readers of ``lives``, which share their interfaces; to the loop as one `Live`."""

    def __init__(self, lives: Sequence[Live], way: Way, *, spool_bytes: int) -> None:
        self.interfaces, self.failed = lives[0].interfaces, ""
        self._minutes = Minutes()
        self._states, self._by_hardware = lives[0].states(), False
        self._packets: Packets | None = None
        slots = max(spool_bytes // SLOT_BYTES // len(lives), LEAST_SLOTS)
        self._readers: list[Reader] = []
        for number in range(len(lives)):
            self._readers.append(Reader(partial(_listen, lives, number, way), self._readers, slots, SLOT_BYTES))
        for live in lives:
            live.close()  # each reader has its own, and lets go of a ring only where nobody else holds it

    def frames(self) -> Iterator[Frames]:
        """Yield what all read until `end`, in order of time; each batch is valid until the next one is asked for."""
        shares = [_Share(reader) for reader in self._readers]
        while shares:
            for share in [one for one in shares if one.done]:
                if not self._next(share):
                    shares.remove(share)
            if shares:
                upto_ns = min(share.known_ns for share in shares)
                frames, self._packets = together([share.take(upto_ns) for share in shares])
                self._minutes.count(frames, self.interfaces)
                yield replace(frames, clock_ns=min(upto_ns, *(share.clock_ns for share in shares)))
                for share in shares:
                    share.release()

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
        """End all readers, and so let go of all interfaces."""
        for reader in self._readers:
            reader.stop()

    def _next(self, share: _Share) -> bool:
        """Wait for the next batch of a reader; False when it has ended: how is noted, where that was not asked for."""
        said = share.reader.said()
        if isinstance(said, Parcel):
            share.open(said)
            self._hear(self._readers.index(share.reader), said.more)
            return True
        if isinstance(said, Trouble) and not self.failed:
            self.failed = f"a process that reads it {said.what}"
            self.end()
        return False

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


def _listen(lives: Sequence[Live], number: int, way: Way, post: Post) -> None:
    """Read one share until nobody asks any more."""
    live = lives[number]
    for other in lives:
        if other is not live:
            other.close()
    for frames in way.narrowing.narrowed(live.rounds()):
        told = Told(live.health(), live.happened(), live.states(), live.by_hardware())
        post.send(frames, decode(frames, way.tables), told)
        if not post.wanted:
            live.end()
    post.tell(End())
