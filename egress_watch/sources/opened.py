"""Tell by the first bytes what a stream holds, through one layer of packing.

In: a stream and the formats to ask. Out: the unpacked stream and its format, or why there is none. Never: file names.

A pipe may be silent before its first bytes: looking at them is a generator, which yields in each silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from egress_watch.sources.packed import Packing, Unpacked, packing_of
from egress_watch.sources.window import File

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from egress_watch.model import EasyTables, Frames
    from egress_watch.sources.window import Stream

HEAD_BYTES = 512
"""Enough to tell a tar archive, whose mark is at 257."""
LEAST_BYTES = 12
"""Enough to tell a capture: a pipe need not have more yet."""
OTHERS = (
    (b"PK", "a zip archive, unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive, unpack it first"),
    (b"Rar!", "a RAR archive, unpack it first"),
    (b"BZh", "bzip2 data, unpack it first"),
    (b"\x04\x22\x4d\x18", "lz4 data, unpack it first"),
    (b"snoop\0\0\0", "a snoop capture, which is not read (editcap can convert it)"),
    (b"GMBU", "a Network Monitor capture, which is not read (editcap can convert it)"),
    (b"RTSS", "a Network Monitor capture, which is not read (editcap can convert it)"),
    (b"TRSNIFF data", "a Sniffer capture, which is not read (editcap can convert it)"),
    (b"XCP\0", "a NetXRay capture, which is not read (editcap can convert it)"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x7fELF", "a program"),
)


class Format(Protocol):
    """A capture format: a module of this room with these two functions."""

    def knows(self, head: bytes) -> bool:
        """Tell whether a stream that starts so is of this format."""

    def frames(self, stream: Stream, origin: str, tables: EasyTables | None = None, /) -> Iterator[Frames]:
        """Yield the frames; never raises for what the stream holds.

        By the ``tables`` it may read plain ones on their way in.
        """


class Peeked:
    """A stream whose first bytes, ``head``, are looked at with `look` and will still be read."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._file = stream if isinstance(stream, File) else None  # once: it asks for each function by its name
        self.trouble: OSError | None = None
        self.head = b""
        self._waiting = memoryview(b"")

    def look(self) -> Generator[None, None, None]:
        """Read the first bytes; yields in each silence."""
        room = bytearray(HEAD_BYTES)
        while len(self.head) < LEAST_BYTES and (count := self._peek(room)) != 0:
            if count is None:
                yield
            else:
                self.head += room[:count]
        self._waiting = memoryview(self.head)

    def _peek(self, room: bytearray) -> int | None:
        try:
            return self._stream.readinto(memoryview(room))
        except OSError as error:
            self.trouble = error
            return 0

    def readinto(self, room: memoryview, /) -> int | None:
        """Fill the room from its start and return the number of bytes, 0 at the end, None in a silence."""
        if self._waiting:
            count = min(len(room), len(self._waiting))
            room[:count] = self._waiting[:count]
            self._waiting = self._waiting[count:]
            return count
        if self.trouble:
            raise self.trouble
        return self._stream.readinto(room)

    def descriptor(self) -> int:
        """Return the descriptor that gives the same bytes, -1 for none."""
        return self._file.descriptor() if self._file and not (self._waiting or self.trouble) else -1

    def passed(self, count: int) -> None:
        """Note bytes that were read from the descriptor."""
        if self._file:
            self._file.passed(count)


class Opened(NamedTuple):
    """What a stream turned out to be."""

    stream: Stream
    """Unpacked, from its first byte."""
    format: Format | None
    packing: Packing | None
    reason: str
    """Why there is no format, "" where there is one."""


def recognise(raw: Stream, formats: Sequence[Format]) -> Generator[None, None, Opened]:
    """Look at the first bytes of a stream, unpacked if need be, and ask each format whether it knows them.

    It yields in each silence of the stream.
    """
    stream = Peeked(raw)
    yield from stream.look()
    packing = packing_of(stream.head)
    if packing:
        stream = Peeked(Unpacked(stream, packing))
        yield from stream.look()
    found = next((known for known in formats if known.knows(stream.head)), None)
    reason = "" if found else _reason(stream, packing)
    return Opened(stream, found, packing, reason)


def _reason(stream: Peeked, packing: Packing | None) -> str:
    if stream.trouble:
        return stream.trouble.strerror or str(stream.trouble)
    if not stream.head:
        return "no capture: empty"
    return f"no capture: {_guess(stream.head)}{f', packed with {packing.name}' if packing else ''}"


def _guess(head: bytes) -> str:
    if head[257:262] == b"ustar":
        return "a tar archive, unpack it first"
    twice = packing_of(head)
    if twice:
        return f"{twice.name} data"
    other = next((words for magic, words in OTHERS if head.startswith(magic)), "")
    return other or ("a text file" if _is_text(head) else "of no known format")


def _is_text(head: bytes) -> bool:
    text = head.decode("utf-8", "ignore")  # the last letter may be cut
    return len(text.encode()) > len(head) - 4 and all(letter.isprintable() or letter.isspace() for letter in text)
