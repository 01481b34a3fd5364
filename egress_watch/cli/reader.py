"""A process that reads and decodes for the loop, and what it sends: batches in memory that both share.

In: work to be done in a process of its own. Out: its batches, in its order. Never: a reader that outlives the loop, or
more read ahead than its slots hold.

A reader is a fork: it has all that it needs as it is, and nothing to start. It lays each batch into a slot, and waits
where no slot is free. It touches neither the database nor a terminal, leaves signals to the loop, and ends when the
loop is gone, since its pipe then ends.
"""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from mmap import mmap
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from egress_watch.cli.slots import Letter, letter, pack, unpack
from egress_watch.model import Bytes, Frames, Packets

GONE_S = 5.0
"""So long is waited for a reader that was killed."""
NO_MORE = -1


class Parcel(NamedTuple):
    """A batch on its way to the loop."""

    slot: int
    letter: Letter
    outside: bool
    """Whether it is too large for a slot, and follows in the pipe."""
    more: Any
    """What else there is to tell with it."""


class End(NamedTuple):
    """A file is read, or all there was."""

    failed: str | None = None
    """Why it gave nothing, None where it did."""


class Trouble(NamedTuple):
    """A reader cannot go on: what became of it."""

    what: str


class Post:
    """The loop, seen from a reader."""

    def __init__(self, slots: Bytes, pipe: Connection) -> None:
        self._slots, self._pipe = slots, pipe
        self._free = list(range(len(slots)))
        self.wanted = True
        """Whether the loop still asks for what comes from now on."""

    def send(self, frames: Frames, packets: Packets, more: Any = None) -> None:
        """Lay a batch into a slot, once one is free, and tell the loop."""
        while self._pipe.poll() or not self._free:
            slot = self._pipe.recv()
            if slot == NO_MORE:
                self.wanted = False
            else:
                self._free.append(slot)
        slot, plan = self._free.pop(), letter(frames, packets)
        outside = plan.size_bytes > self._slots.shape[1]
        room = np.empty(plan.size_bytes, np.uint8) if outside else self._slots[slot]
        pack(frames, packets, plan, room)
        self._pipe.send(Parcel(slot, plan, outside, more))
        if outside:
            self._pipe.send_bytes(room.data)

    def tell(self, said: End | Trouble) -> None:
        """Say that something is over."""
        self._pipe.send(said)


class Reader:
    """A process that reads, seen from the loop; ``earlier`` are those that were started before it.

    There are so many ``slots`` for batches that wait, of ``slot_bytes`` each.
    """

    def __init__(self, work: Callable[[Post], None], earlier: Sequence[Reader], slots: int, slot_bytes: int) -> None:
        self._memory = mmap(-1, slots * slot_bytes)  # shared and without a name: gone with the last process
        self.slots = np.frombuffer(self._memory, np.uint8).reshape(slots, slot_bytes)
        self.pipe, theirs = get_context("fork").Pipe()
        ours = [self.pipe, *(reader.pipe for reader in earlier)]
        args = (work, self.slots, theirs, ours)
        self._process = get_context("fork").Process(target=_work, args=args, daemon=True)
        with warnings.catch_warnings():  # the only other threads are those of NumPy's BLAS, which a reader never asks
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        theirs.close()

    def said(self) -> Parcel | End | Trouble:
        """Wait for what the reader says next; where it is gone, how it ended."""
        try:
            said: Parcel | End | Trouble = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join(GONE_S)
            code = self._process.exitcode or 0
            ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended early, with code {code}"
            return Trouble(ended)
        return said

    def opened(self, parcel: Parcel) -> tuple[Frames, Packets]:
        """Return the batch, valid until its slot is released; each is to be opened once, in the order they came."""
        outside = np.frombuffer(bytearray(self.pipe.recv_bytes()), np.uint8) if parcel.outside else None
        return unpack(parcel.letter, self.slots[parcel.slot] if outside is None else outside)

    def release(self, slot: int) -> None:
        """Give a slot back to the reader."""
        with suppress(OSError):  # gone: the next question will tell
            self.pipe.send(slot)

    def end(self) -> None:
        """Ask for nothing that comes from now on."""
        self.release(NO_MORE)

    def stop(self) -> None:
        """End the process: it holds nothing that could be lost."""
        self._process.kill()
        self._process.join(GONE_S)
        self.pipe.close()


def _work(work: Callable[[Post], None], slots: Bytes, pipe: Connection, ours: list[Connection]) -> None:
    """Read in a process of its own."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the loop decides
    for end in ours:
        end.close()  # or no reader would see that the loop is gone
    with suppress(OSError, EOFError):
        try:
            work(Post(slots, pipe))
        except (OSError, EOFError):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, the loop must hear of it
            pipe.send(Trouble(f"failed: {type(error).__name__}: {error}"))
