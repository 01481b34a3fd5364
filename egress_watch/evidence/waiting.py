"""Packets that wait until it is known whether their flow raises an alert.

In: frames by row, with the mark of their flow. Out: the frames of a flow within its times. Never: more bytes than
configured, columns included; the oldest go first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from egress_watch.model import Frames, Ints, Words

ROW_BYTES = 6 * 8
"""What the columns take for each frame."""
PARTS = 64
"""Frames are let go by about so many parts of the whole."""


class Waits(NamedTuple):
    """One frame as it was captured."""

    time_ns: int
    data: bytes
    wire: int
    link: int
    interface: str


class _Part(NamedTuple):
    """Some frames, end to end."""

    mark: Words
    time_ns: Ints
    start: Ints
    caught: Ints
    wire: Ints
    interface: Ints
    """(n,) Row of `Waiting.interfaces`."""
    data: bytes

    @property
    def size_bytes(self) -> int:
        """Return what it takes in memory."""
        return len(self.data) + ROW_BYTES * len(self.mark)


class Waiting:
    """Frames in the order in which they came, at most ``limit_bytes`` of them."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._parts: deque[_Part] = deque()
        self._fresh: list[_Part] = []
        """Not yet one part: a batch may be small."""
        self._bytes = self._fresh_bytes = 0
        self._interfaces: dict[tuple[str, int, int], int] = {}
        """Origin, number and link type of each interface that was seen: few."""

    @property
    def size_bytes(self) -> int:
        """What waits takes."""
        return self._bytes + self._fresh_bytes

    def add(self, frames: Frames, rows: Ints, marks: Words) -> None:
        """Let these frames wait, and the oldest go where there are too many."""
        if not len(rows):
            return
        start, caught = frames.start[rows], frames.caught[rows]
        spans = zip(start.tolist(), (start + caught).tolist(), strict=True)
        data = b"".join([frames.data[at:end].tobytes() for at, end in spans])
        part = _Part(
            marks, frames.time_ns[rows], np.cumsum(caught) - caught, caught, frames.wire[rows],
            self._numbers(frames, rows), data,
        )  # fmt: skip
        self._fresh.append(part)
        self._fresh_bytes += part.size_bytes
        if self._fresh_bytes > self._limit // PARTS:
            self._settle()

    def of(self, wanted: Sequence[tuple[int, int, int]]) -> list[list[Waits]]:
        """Return for each flow, told by mark, first and last time, its frames in their order."""
        found: list[list[Waits]] = [[] for _ in wanted]
        asked: dict[int, list[int]] = {}
        for number, (mark, _, _) in enumerate(wanted):
            asked.setdefault(mark, []).append(number)
        some = np.array(list(asked), np.uint64)
        names = list(self._interfaces)
        for part in (*self._parts, *self._fresh) if wanted else ():
            for row in np.flatnonzero(np.isin(part.mark, some)).tolist():
                time_ns = int(part.time_ns[row])
                for number in asked[int(part.mark[row])]:
                    if wanted[number][1] <= time_ns <= wanted[number][2]:
                        found[number].append(_frame(part, row, names))
        return found

    def _numbers(self, frames: Frames, rows: Ints) -> Ints:
        known, origin = self._interfaces, frames.origin
        pairs = zip(frames.interface[rows].tolist(), frames.link[rows].tolist(), strict=True)
        return np.array([known.setdefault((origin, *pair), len(known)) for pair in pairs], np.int64)

    def _settle(self) -> None:
        """Make one part of the fresh ones, and let go of the oldest parts beyond the limit."""
        fresh = self._fresh
        mark, time_ns, _, caught, wire, interface = map(
            np.concatenate, zip(*(part[:-1] for part in fresh), strict=True)
        )
        data = b"".join(part.data for part in fresh)
        self._parts.append(_Part(mark, time_ns, np.cumsum(caught) - caught, caught, wire, interface, data))
        self._bytes += self._fresh_bytes
        self._fresh, self._fresh_bytes = [], 0
        while self._bytes > self._limit * (PARTS - 1) // PARTS:
            self._bytes -= self._parts.popleft().size_bytes


def _frame(part: _Part, row: int, names: Sequence[tuple[str, int, int]]) -> Waits:
    start, caught = int(part.start[row]), int(part.caught[row])
    origin, interface, link = names[int(part.interface[row])]
    name = f"{origin}#{interface}" if interface else origin
    return Waits(int(part.time_ns[row]), part.data[start : start + caught], int(part.wire[row]), link, name)
