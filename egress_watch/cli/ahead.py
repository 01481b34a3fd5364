"""Read and decode files in processes of their own, ahead of the one loop.

In: inputs, what part of them is asked for, a number of readers. Out: the same batches in the same order as without.
Never: a result that depends on how many readers there are.

The files go to the readers in turns, and the loop takes the batches file by file: so one flow table sees all packets
in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from egress_watch.cli.reader import End, Post, Reader, Trouble
from egress_watch.decode import decode
from egress_watch.decode.carriers import Tables
from egress_watch.errors import CaptureError
from egress_watch.model import Frames, Packets
from egress_watch.sources import Inputs
from egress_watch.sources.narrowing import Narrowing

SLOT_BYTES = 14 << 20
"""Room for a batch: 8 MiB of frames, and 32,768 rows of about 180 bytes. A larger one goes through the pipe."""
SLOTS, LEAST_SLOTS = 12, 4
"""Of all readers together, and of each where they are many. The loop stops for a third of a second where it settles
thousands of flows; so far a reader must get in the meantime, or it is the one that is waited for afterwards."""
MOST_READERS = 16


class Way(NamedTuple):
    """How frames are read: what is left out, and which mirrors and tunnels are opened."""

    narrowing: Narrowing
    tables: Tables


class Ahead:
    """The readers, and their batches in the order of the files."""

    def __init__(self, inputs: Inputs, way: Way, readers: int) -> None:
        self._inputs = inputs
        self._readers: list[Reader] = []
        self._packets: Packets | None = None
        count = min(readers, len(inputs.files), MOST_READERS)
        for turn in range(count):
            slots = max(SLOTS // count, LEAST_SLOTS)
            work = partial(_read, inputs, way, inputs.files[turn::count])
            self._readers.append(Reader(work, self._readers, slots, SLOT_BYTES))

    def frames(self) -> Iterator[Frames]:
        """Yield the frames of all files, in order."""
        before = 0
        for turn, path in enumerate(self._inputs.files):
            seen_bytes = before
            for frames, packets in self._batches(self._readers[turn % len(self._readers)], path):
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

    def _batches(self, reader: Reader, path: str) -> Iterator[tuple[Frames, Packets]]:
        """Yield the batches of the file that is next; each is valid until the next one is asked for."""
        while not isinstance(said := reader.said(), End):
            if isinstance(said, Trouble):
                remedy = "with --jobs 1 all is done in one process"
                raise CaptureError(f"the process that reads it {said.what}", where=path, remedy=remedy)
            yield reader.opened(said)
            reader.release(said.slot)
        self._inputs.note(path, said.failed)


@contextmanager
def ahead(inputs: Inputs, way: Way, readers: int) -> Iterator[Ahead]:
    """Start readers, and end them whatever happens."""
    started = Ahead(inputs, way, readers)
    try:
        yield started
    finally:
        started.stop()


def _read(inputs: Inputs, way: Way, paths: Sequence[str], post: Post) -> None:
    for path in paths:
        for frames in way.narrowing.narrowed(inputs.frames_of(path)):
            post.send(frames, decode(frames, way.tables))
        post.tell(End(dict(inputs.failed).get(path)))
