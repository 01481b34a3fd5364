"""Read and decode files in processes of their own, ahead of the one loop.

In: inputs, what part of them is asked for, a number of readers. Out: the same batches in the same order as without.
Never: a reader that outlives the run, or more read ahead than the slots hold.

The files go to the readers in turns. A reader lays each batch into a slot of memory it shares with the loop, and waits
where no slot is free; the loop takes the batches file by file. So one flow table sees all packets in order, and no
result depends on how many readers there are.

A reader is a fork: it has the inputs and the filter as they are, and nothing to start. It touches neither the database
nor a terminal, leaves signals to the loop, and ends when the loop is gone, since its pipe then ends.
"""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from mmap import mmap
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np

from egress_watch.cli.slots import Letter, letter, pack, unpack
from egress_watch.decode import decode
from egress_watch.decode.carriers import Tables
from egress_watch.errors import CaptureError
from egress_watch.model import Bytes, Frames, Packets
from egress_watch.sources import Inputs
from egress_watch.sources.narrowing import Narrowing

SLOTS, LEAST_SLOTS = 24, 4
"""Of all readers together, and of each where they are many. The loop stops for a third of a second where it settles
thousands of flows; so far a reader must get in the meantime, or it is the one that is waited for afterwards."""
SLOT_BYTES = 6 << 20
"""Room for a batch: 2 MiB of frames, and 16,384 rows of about 140 bytes. A larger one goes through the pipe."""
MOST_READERS = 16
GONE_S = 5.0
"""So long is waited for a reader that was killed."""


class Parcel(NamedTuple):
    """A batch on its way to the loop."""

    slot: int
    letter: Letter
    outside: bool
    """Whether it is too large for a slot, and follows in the pipe."""


class End(NamedTuple):
    """A file is read."""

    failed: str | None
    """Why it gave nothing, None where it did."""


class Trouble(NamedTuple):
    """A reader cannot go on."""

    what: str


class Way(NamedTuple):
    """How frames are read: what is left out, and which mirrors and tunnels are opened."""

    narrowing: Narrowing
    tables: Tables


class Reader:
    """A process that reads some of the files, seen from the loop."""

    def __init__(self, inputs: Inputs, way: Way, paths: Sequence[str], earlier: Sequence[Reader], slots: int) -> None:
        self._memory = mmap(-1, slots * SLOT_BYTES)  # shared and without a name: gone with the last process
        self.slots = np.frombuffer(self._memory, np.uint8).reshape(slots, SLOT_BYTES)
        self.pipe, theirs = get_context("fork").Pipe()
        ours = [self.pipe, *(reader.pipe for reader in earlier)]
        work = (inputs, way, paths, self.slots, theirs, ours)
        self._process = get_context("fork").Process(target=_work, args=work, daemon=True)
        with warnings.catch_warnings():  # the only other threads are those of NumPy's BLAS, which a reader never asks
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        theirs.close()

    def batches(self, path: str, inputs: Inputs) -> Iterator[tuple[Frames, Packets]]:
        """Yield the batches of the file that is next; each is valid until the next one is asked for."""
        while True:
            said = self._next(path)
            if isinstance(said, Trouble):
                raise CaptureError(f"the process that reads it failed: {said.what}", where=path, remedy=_REMEDY)
            if isinstance(said, End):
                inputs.note(path, said.failed)
                return
            yield unpack(said.letter, self._outside() if said.outside else self.slots[said.slot])
            self.release(said.slot)

    def release(self, slot: int) -> None:
        """Give a slot back to the reader."""
        with suppress(OSError):  # gone: the next question will tell
            self.pipe.send(slot)

    def stop(self) -> None:
        """End the process: it holds nothing that could be lost."""
        self._process.kill()
        self._process.join(GONE_S)
        self.pipe.close()

    def _next(self, path: str) -> Parcel | End | Trouble:
        try:
            said: Parcel | End | Trouble = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join(GONE_S)
            raise CaptureError(f"the process that reads it {self._ended()}", where=path, remedy=_REMEDY) from None
        return said

    def _outside(self) -> Bytes:
        return np.frombuffer(bytearray(self.pipe.recv_bytes()), np.uint8)

    def _ended(self) -> str:
        code = self._process.exitcode or 0
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended early, with code {code}"


_REMEDY = "with --jobs 1 all is done in one process"


class Ahead:
    """The readers, and their batches in the order of the files."""

    def __init__(self, inputs: Inputs, way: Way, readers: int) -> None:
        self._inputs = inputs
        self._readers: list[Reader] = []
        self._packets: Packets | None = None
        count = min(readers, len(inputs.files), MOST_READERS)
        for turn in range(count):
            slots = max(SLOTS // count, LEAST_SLOTS)
            self._readers.append(Reader(inputs, way, inputs.files[turn::count], self._readers, slots))

    def frames(self) -> Iterator[Frames]:
        """Yield the frames of all files, in order."""
        before = 0
        for turn, path in enumerate(self._inputs.files):
            seen_bytes = before
            for frames, packets in self._readers[turn % len(self._readers)].batches(path, self._inputs):
                self._packets = packets
                seen_bytes = before + frames.read_bytes
                yield replace(frames, read_bytes=seen_bytes)
            before = max(seen_bytes, before + self._inputs.size_bytes(path))

    def packets(self, _: Frames) -> Packets:
        """Return the packets of the frames that came last."""
        assert self._packets is not None
        return self._packets

    def stop(self) -> None:
        """End all readers."""
        for reader in self._readers:
            reader.stop()


@contextmanager
def ahead(inputs: Inputs, way: Way, readers: int) -> Iterator[Ahead]:
    """Start readers, and end them whatever happens."""
    started = Ahead(inputs, way, readers)
    try:
        yield started
    finally:
        started.stop()


def _work(
    inputs: Inputs, way: Way, paths: Sequence[str], slots: Bytes, pipe: Connection, ours: list[Connection]
) -> None:
    """Read files in a process of its own."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the loop decides
    for end in ours:
        end.close()  # or no reader would see that the loop is gone
    with suppress(OSError, EOFError):
        try:
            _read(inputs, way, paths, slots, pipe)
        except (OSError, EOFError):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, the loop must hear of it
            pipe.send(Trouble(f"{type(error).__name__}: {error}"))


def _read(inputs: Inputs, way: Way, paths: Sequence[str], slots: Bytes, pipe: Connection) -> None:
    free = list(range(len(slots)))
    for path in paths:
        for frames in way.narrowing.narrowed(inputs.frames_of(path)):
            packets = decode(frames, way.tables)
            while pipe.poll() or not free:
                free.append(pipe.recv())
            _send(frames, packets, slots, free.pop(), pipe)
        pipe.send(End(dict(inputs.failed).get(path)))


def _send(frames: Frames, packets: Packets, slots: Bytes, slot: int, pipe: Connection) -> None:
    plan = letter(frames, packets)
    outside = plan.size_bytes > slots.shape[1]
    room = np.empty(plan.size_bytes, np.uint8) if outside else slots[slot]
    pack(frames, packets, plan, room)
    pipe.send(Parcel(slot, plan, outside))
    if outside:
        pipe.send_bytes(room.data)
