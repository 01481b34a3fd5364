"""Unpack gzip, xz and zstd while reading, told by their first bytes.

In: a stream of packed bytes. Out: a stream of unpacked bytes. Never: more memory for a bomb than for any other stream.

Formats: RFC 1952 (gzip, several members), xz-file-format.txt of tukaani.org (several streams, zero padding), RFC 8878
(zstd, several frames).
"""

from __future__ import annotations

import lzma
import zlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable

    from egress_watch.sources.window import Stream

PIECE_BYTES = 512
"""Fed at a time. It bounds what a bomb can unfold in one step (zstd: 128 KiB for 4 bytes, so 16 MiB), and what is lost
when the packed data is broken, since a step that fails gives nothing."""
BLOCK_BYTES = 1 << 20
XZ_MEMORY_BYTES = 1 << 28
ZSTD_WINDOW_BYTES = 1 << 27
"""What ``zstd -d`` allows without asking."""
BROKEN = (zlib.error, lzma.LZMAError, zstandard.ZstdError, EOFError, MemoryError)


class Member(Protocol):
    """One gzip member, xz stream or zstd frame being unpacked."""

    @property
    def eof(self) -> bool:
        """Whether its end was seen."""

    @property
    def unused_data(self) -> bytes:
        """What was fed behind its end."""

    def decompress(self, piece: bytes, /) -> bytes:
        """Unpack some more."""


class Packing(NamedTuple):
    """A way of packing: its name, its first bytes, and how to start unpacking a member."""

    name: str
    magics: tuple[bytes, ...]
    start: Callable[[], Member]


PACKINGS: list[Packing] = [
    Packing("gzip", (b"\x1f\x8b\x08",), lambda: zlib.decompressobj(wbits=31)),
    Packing("xz", (b"\xfd7zXZ\x00",), lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)),
    Packing(
        "zstd",
        # a file may also start with a skippable frame (RFC 8878, section 3.1.2), as pzstd writes
        (b"\x28\xb5\x2f\xfd", *(bytes((low, 0x2A, 0x4D, 0x18)) for low in range(0x50, 0x60))),
        lambda: zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj(),
    ),
]


def packing_of(head: bytes) -> Packing | None:
    """Return how bytes that start so are packed, None where they are not."""
    return next((packing for packing in PACKINGS if head.startswith(packing.magics)), None)


class Unpacked:
    """The unpacked bytes of a stream; `readinto` raises OSError where the packed data is cut off or broken."""

    def __init__(self, packed: Stream, packing: Packing) -> None:
        self._packed = packed
        self._packing = packing
        self._member = packing.start()
        self._block = bytearray(BLOCK_BYTES)
        self._waiting = memoryview(b"")
        self._ready = memoryview(b"")
        self._trouble: OSError | None = None

    def readinto(self, room: memoryview, /) -> int | None:
        """Fill the room from its start and return the number of bytes, 0 at the end, None while the stream is silent.

        It gives as much as the packed bytes at hand hold, so that a slow pipe is not waited for.
        """
        if self._trouble:
            raise self._trouble
        count = 0
        try:
            while count < len(room) and (self._ready or self._more(content=count > 0)):
                count += self._give(room[count:])
        except BlockingIOError:
            return count or None
        except OSError as error:
            if not count:
                raise
            self._trouble = error  # what was unpacked before it counts
        return count

    def _give(self, room: memoryview) -> int:
        count = min(len(room), len(self._ready))
        room[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _more(self, *, content: bool) -> bool:
        """Unpack until something is ready; return False at the end, or, if content, once the packed bytes run out."""
        while not self._ready:
            if content and not self._waiting:
                return False
            if self._member.eof and not self._next_member():
                return False
            self._ready = memoryview(self._step())
        return True

    def _step(self) -> bytes:
        piece = self._pull()
        if not piece:
            raise OSError(f"the {self._packing.name} data is cut off")
        try:
            return self._member.decompress(piece)
        except BROKEN as error:
            raise OSError(f"broken {self._packing.name} data: {error}") from None

    def _next_member(self) -> bool:
        """Start on the next member behind any zero padding; return whether there is one."""
        piece = self._member.unused_data
        while not piece.lstrip(b"\0"):
            piece = self._pull()
            if not piece:
                return False
        self._waiting = memoryview(piece.lstrip(b"\0") + bytes(self._waiting))
        self._member = self._packing.start()
        return True

    def _pull(self) -> bytes:
        """Return the next packed bytes, at most PIECE_BYTES, b"" at the end; BlockingIOError while there are none."""
        if not self._waiting:
            count = self._packed.readinto(memoryview(self._block))
            if count is None:
                raise BlockingIOError
            self._waiting = memoryview(self._block)[:count]
        piece = bytes(self._waiting[:PIECE_BYTES])
        self._waiting = self._waiting[PIECE_BYTES:]
        return piece
