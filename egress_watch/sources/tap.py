"""The raw bytes of an input on their way in: counted, gathered from short reads, and fingerprinted.

In: an open binary file. Out: its bytes, their number, a fingerprint. Never: waiting for more while bytes are at hand.

The fingerprint is a blake2b (RFC 7693) over all of the first 8 MiB, 4 KiB at every MiB behind them, and the total size:
cheap on files of any length, and the same for a file and for a pipe that carries its bytes. Each sample holds packets,
with their times, so captures of different moments differ in all of them. Its limit: two files of one size that differ
only beyond 8 MiB, and there only between the samples, count as the same. Nor is it proof against a forger.
"""

from __future__ import annotations

import os
import select
import stat
from hashlib import blake2b
from time import monotonic
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Generator

    from egress_watch.sources.window import Stream

WHOLE_BYTES = 1 << 23
"""So much from the start is hashed whole; a multiple of STRIDE_BYTES."""
STRIDE_BYTES = 1 << 20
SAMPLE_BYTES = 1 << 12
DIGEST_BYTES = 16
DRAIN_BYTES = 1 << 28
SILENCE_S = 0.5
"""A pipe silent for so long is reported as silent, so that whoever reads can stop."""
QUIET_S = 0.1
"""A pipe silent for so long has its bytes handed over, however few."""
PATIENCE_S = 1.0
"""A pipe that keeps dribbling has its bytes handed over after so long."""


class Sampler:
    """Computes the fingerprint of bytes as they pass."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=DIGEST_BYTES)
        self.size_bytes = 0

    def absorb(self, piece: memoryview) -> None:
        """Take the next bytes."""
        at, end = self.size_bytes, self.size_bytes + len(piece)
        self._hash.update(piece[: max(WHOLE_BYTES - at, 0)])
        for sample in range(max(at // STRIDE_BYTES * STRIDE_BYTES, WHOLE_BYTES), end, STRIDE_BYTES):
            self._hash.update(piece[max(sample - at, 0) : max(sample + SAMPLE_BYTES - at, 0)])
        self.size_bytes = end

    def fingerprint(self) -> str:
        """Return the fingerprint of all bytes so far, 32 hexadecimal digits."""
        return _sealed(self._hash.copy(), self.size_bytes)


LIVE = "live "
"""What stands in front where packets came from an interface: it is the fingerprint of no file."""


def file_fingerprint(path: str) -> str:
    """Return the fingerprint of a regular file; raises OSError."""
    digest = blake2b(digest_size=DIGEST_BYTES)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size_bytes = os.fstat(descriptor).st_size
        for at in range(0, size_bytes, STRIDE_BYTES):
            want = STRIDE_BYTES if at < WHOLE_BYTES else SAMPLE_BYTES
            digest.update(os.pread(descriptor, min(want, size_bytes - at), at))
    finally:
        os.close(descriptor)
    return _sealed(digest, size_bytes)


def _sealed(digest: blake2b, size_bytes: int) -> str:
    digest.update(size_bytes.to_bytes(8, "big"))
    return digest.hexdigest()


class Tap:
    """A raw input: ``count`` bytes have been read so far."""

    def __init__(self, raw: BinaryIO, sampler: Sampler | None = None) -> None:
        self._raw: Stream = raw  # type: ignore[assignment]  # typeshed's BinaryIO lacks readinto, every binary file has it
        self._sampler = sampler
        self._poll = _poll_of(raw)
        self.count = 0

    def readinto(self, room: memoryview, /) -> int | None:
        """Fill the room from its start and return the number of bytes, 0 at the end; a pipe has a moment to fill it.

        None where a pipe has been silent for SILENCE_S.
        """
        if self._poll and not self._poll.poll(SILENCE_S * 1000):
            return None
        count = self._raw.readinto(room)
        if count is None:  # a pipe somebody made non-blocking, and somebody else read from
            return None
        if self._poll and count:
            count = self._gather(room, count, self._poll)
        self.count += count
        if self._sampler:
            self._sampler.absorb(room[:count])
        return count

    def descriptor(self) -> int:
        """Return the descriptor of a file that is not sampled, -1 for anything else."""
        return -1 if self._poll or self._sampler else cast("BinaryIO", self._raw).fileno()

    def passed(self, count: int) -> None:
        """Count bytes that were read from the descriptor."""
        self.count += count

    def _gather(self, room: memoryview, count: int, poll: select.poll) -> int:
        until = monotonic() + PATIENCE_S
        while count < len(room):
            wait_s = min(QUIET_S, until - monotonic())
            if wait_s <= 0 or not poll.poll(wait_s * 1000):
                break
            try:
                more = self._raw.readinto(room[count:])
            except OSError:  # the next read will say so again
                break
            if not more:
                break
            count += more
        return count

    def fingerprint(self) -> str:
        """Return the fingerprint of all bytes so far, "" where none was asked for."""
        return self._sampler.fingerprint() if self._sampler else ""

    def drain(self) -> Generator[None, None, bool]:
        """Read on for the fingerprint's sake, at most DRAIN_BYTES; return whether the end was reached.

        It yields after each read, so that whoever waits can stop.
        """
        room = memoryview(bytearray(STRIDE_BYTES))
        until = self.count + DRAIN_BYTES
        try:
            while self.count < until:
                if self.readinto(room) == 0:
                    return True
                yield
        except OSError:
            return False
        return False


def _poll_of(raw: BinaryIO) -> select.poll | None:
    """Return what waits for bytes of a pipe or socket; None for a file, which always has them."""
    try:
        descriptor = raw.fileno()
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
    except (OSError, AttributeError):
        return None
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return poll
