"""Read a byte stream in large pieces and cut it into batches of frames.

In: a stream and a parser of its format. Out: `Frames`. Never: a buffer larger than what was really read.

The parser sees bytes and nothing else (`Parser.take`), so all of a format can be tested without a file. Each piece gets
a buffer that nobody holds: whoever still has an earlier batch keeps it untouched.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np

from egress_watch.model import PAD_BYTES, Bytes, Damage, Easy, Frames
from egress_watch.sources.columns import Columns

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_BYTES = 1 << 16
"""The first piece is small, so that a look at the first frame of many files costs little."""
PIECE_BYTES = 1 << 23
"""Large enough that what is done once a batch, by code that has left the cache meanwhile, costs little."""
STEP_BYTES = 1 << 17
"""What is read first of a piece, where the parser reads on by itself."""
FAST_PIECE_BYTES = 1 << 21
"""What live sources take at once."""
BATCH_FRAMES = 1 << 15
CARRY_BYTES = 1 << 18
"""Room beside a piece for the record that the piece before it cut: nearly always enough."""
MOST_ROOMS = 3


class Stream(Protocol):
    """Whatever bytes come from; an OSError from `readinto` ends the file there."""

    def readinto(self, room: memoryview, /) -> int | None:
        """Fill the room from its start and return the number of bytes, 0 at the end; short reads are fine.

        None where nothing has come for a while and more may: the reader asks again.
        """


@runtime_checkable
class File(Stream, Protocol):
    """A stream that may have a descriptor which gives the same bytes."""

    def descriptor(self) -> int:
        """Return the descriptor, -1 for none."""

    def passed(self, count: int) -> None:
        """Note bytes that were read from the descriptor."""


class Taken(NamedTuple):
    """What a parser made of a window."""

    columns: Columns
    used: int
    """Where in the window that begins which is not done with."""
    need: int = 1
    """Bytes wanted from ``used`` on before there is any use in asking again; 0 where there is more at hand already."""
    stop: str = ""
    """Why nothing behind ``used`` can be read, "" where all is well."""
    lost: int = 0
    """Frames the capturing side says it dropped, newly reported here."""
    easy: Easy | None = None
    """What was read of the frames, where somebody asked for that."""
    size: int = 0
    """Where the bytes end that are there now, where the parser has read on."""


class Parser(Protocol):
    """A capture format as a pure machine: bytes in, columns out; it may remember what earlier bytes declared."""

    @property
    def reads_on(self) -> bool:
        """Whether it goes on with what a descriptor gives."""

    def take(self, data: Bytes, at: int, size: int, descriptor: int = -1) -> Taken:
        """Read the whole records in ``data[at:size]``, which starts where the last call said ``used``.

        At least PAD_BYTES lie behind, as in `Frames.data`. Where there is a ``descriptor``, ``data`` may be filled from
        it, but for PAD_BYTES.
        """

    def rest(self) -> tuple[str, int, int]:
        """Return what was passed over on the way: the reason ("" for nothing), first offset and bytes."""


class Rooms:
    """Buffers for pieces; one that nobody else looks at any more is used again.

    Fresh memory costs a page fault every 4 KiB: together as much as copying the bytes from the page cache.
    """

    def __init__(self, most: int = MOST_ROOMS) -> None:
        self._most = most
        self._rooms: list[Bytes] = []

    def room(self, size: int) -> Bytes:
        """Return a buffer of this many bytes, with anything in it."""
        for number, room in enumerate(map(len, self._rooms)):
            if room >= size and holders(self._rooms, number) == ALONE:
                return self._rooms[number][:size]
        fresh = np.empty(max(size, PIECE_BYTES + CARRY_BYTES) if size > PIECE_BYTES else size, np.uint8)
        self._rooms = [*self._rooms, fresh][-self._most :]
        return fresh[:size]


def holders(rooms: list[Bytes], number: int) -> int:
    """Return how many hold this buffer, or a view of it, the list and the call among them."""
    return sys.getrefcount(rooms[number])


ALONE = holders([np.empty(0, np.uint8)], 0)


class Window:
    """The part of a stream in memory: ``room[:size]`` is what lies from ``offset`` on, then PAD_BYTES zeros."""

    def __init__(self, stream: Stream, *, reads_on: bool) -> None:
        self._stream = stream
        self._file = stream if reads_on and isinstance(stream, File) else None
        self._rooms = Rooms()
        self.room = np.zeros(PAD_BYTES, np.uint8)
        self.size = 0
        self.offset = 0
        self.ended = False
        self.silent = False
        """Whether the last read gave nothing because the stream is silent."""
        self.trouble = ""

    @property
    def data(self) -> Bytes:
        """What is in memory, with what lies behind it."""
        return self.room[: self.size + PAD_BYTES]

    @property
    def descriptor(self) -> int:
        """What gives the bytes behind these, -1 where there is none."""
        return -1 if self._file is None or self.ended else self._file.descriptor()

    def move(self, used: int, need: int) -> int:
        """Drop ``used`` bytes, read until at least ``need`` lie there or the stream pauses or ends.

        Returns the bytes read.
        """
        carry = self.size - used
        started = self.offset or carry or self.size
        room = self._grown(self.room[used : self.size], PIECE_BYTES if started else FIRST_BYTES)
        self.offset += used
        size = carry
        need = max(need, carry + 1)  # whatever the parser says, the window moves on
        most_bytes = len(room) if self.descriptor < 0 else STEP_BYTES
        self.silent = False
        while size < need and not (self.ended or self.silent):
            if size == len(room) - PAD_BYTES:
                room = self._grown(room[:size], size)
            size += self._read(room[size:-PAD_BYTES][:most_bytes])
        room[size : size + PAD_BYTES] = 0
        self.room, self.size = room, size
        return size - carry

    def filled(self, size: int) -> None:
        """Note that the bytes end there now: they were read from the descriptor."""
        if self._file is not None:
            self._file.passed(size - self.size)
        self.size = size
        self.room[size : size + PAD_BYTES] = 0

    def _grown(self, kept: Bytes, more: int) -> Bytes:
        room = self._rooms.room(len(kept) + more + PAD_BYTES)
        room[: len(kept)] = kept
        return room

    def _read(self, room: Bytes) -> int:
        try:
            count = self._stream.readinto(room.data)
        except OSError as error:
            self.trouble = error.strerror or str(error)
            count = 0
        self.ended, self.silent = count == 0, count is None
        return count or 0


def batches(stream: Stream, origin: str, parser: Parser) -> Iterator[Frames]:
    """Yield the frames of a stream in batches of at most BATCH_FRAMES; at least one batch, even if empty.

    Whenever the stream is silent there is a batch too, empty where need be, so that the reader can stop.
    Never raises for what the stream holds: where reading ends early, the last batch carries the `Damage`, with
    ``lost_bytes`` -1 unless the end was seen.
    """
    window = Window(stream, reads_on=parser.reads_on)
    fresh = window.move(0, 1)
    taken = _taken(window, parser, 0)
    while not (taken.stop or (window.ended and taken.need)):
        yield from _split(window.data, taken, origin, ())
        at = taken.used
        if taken.need:
            fresh, at = window.move(taken.used, taken.need), 0
        taken = _taken(window, parser, at)
    damage = tuple(_damage(window, taken, parser, origin))
    if fresh or damage or window.offset == 0 or len(taken.columns.start) or taken.lost:
        yield from _split(window.data, taken, origin, damage)


def _taken(window: Window, parser: Parser, at: int) -> Taken:
    taken = parser.take(window.room, at, window.size, window.descriptor)
    if taken.size > window.size:
        window.filled(taken.size)
    return taken


def _damage(window: Window, taken: Taken, parser: Parser, origin: str) -> Iterator[Damage]:
    reason, offset, passed_bytes = parser.rest()
    if reason:
        yield Damage(origin, offset, reason, passed_bytes)
    left = window.size - taken.used
    where = window.offset + taken.used
    if taken.stop:
        yield Damage(origin, where, taken.stop, left if window.ended and not window.trouble else -1)
    elif window.trouble:
        yield Damage(origin, where, window.trouble, -1)
    elif left:
        yield Damage(origin, where, "the file is cut off here", left)


def _split(data: Bytes, taken: Taken, origin: str, damage: tuple[Damage, ...]) -> Iterator[Frames]:
    columns, lost = taken.columns, taken.lost
    count = len(columns.start)
    for at in range(0, max(count, 1), BATCH_FRAMES):
        part = columns.pick(slice(at, at + BATCH_FRAMES)) if count > BATCH_FRAMES else columns
        last = at + BATCH_FRAMES >= count
        easy = taken.easy if count <= BATCH_FRAMES else None
        yield Frames(data, *part, origin, 0, lost, damage if last else (), easy=easy)
        lost = 0
