"""What begins in one TCP segment and goes on in others: in any order, some of them sent twice.

In: a batch of packets, and what readers found in single ones. Out: the same with what was found in several. Never:
more than the bounds, whatever comes; and never an answer that depends on how packets were cut into batches.

A stream is opened by a segment whose reading was `CUT`. Segments of its connection are then taken in by sequence number
(RFC 9293, section 3.4), those that overtook the first one included, if they came at most OVERTAKING packets before it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np

from egress_watch.names.bearers import NO_SEQUENCE, Stretch, bearers, on_ports, sequences
from egress_watch.names.pieces import MOST_BYTES, Pieces
from egress_watch.names.reader import CUT, TCP, Bearer, Heard, Reading, Refusal, Said, StreamReader

OVERTAKING = 128
"""Packets of any kind: on a busy mirror, about a thousandth of a second."""
MOST_SEGMENTS = 64
"""Segments after which a stream is given up, as where the capture lacks the end of all packets."""

_WRAP = 1 << 32


class _Stream:
    """A message of which the end is missing."""

    def __init__(self, reader: StreamReader, bearer: Bearer, said: Iterable[Said]) -> None:
        self.reader = reader
        self.first = bearer._replace(payload=b"")
        self.sequence = bearer.sequence
        self.said = set(said)
        self.segments = 0
        self.pieces = Pieces()
        self.pieces.add(0, bearer.payload)
        self._need = 0
        self._settle()

    def takes(self, bearer: Bearer, *, begins: bool = False) -> bool:
        """Tell whether a segment is of this stream; one that begins like a message and leaves a gap is none."""
        offset = (bearer.sequence - self.sequence) % _WRAP
        return offset <= len(self.pieces.start) or (offset < MOST_BYTES and not begins)

    def read(self, bearer: Bearer) -> Reading:
        """Take in a segment and return what is new; the reason is `CUT` as long as more is needed."""
        self.segments += 1
        try:
            grown = self.pieces.add((bearer.sequence - self.sequence) % _WRAP, bearer.payload)
        except Refusal as refusal:
            return [], str(refusal)
        if not grown or len(self.pieces.start) < self._need:
            return [], CUT
        said, reason = self.reader.read(self.pieces.start)
        new = [one for one in said if one not in self.said]
        self.said.update(new)
        if reason == CUT:
            self._settle()
        return new, reason

    def _settle(self) -> None:
        """Let go of what is done with, and note how much is needed."""
        done, self._need = self.reader.rest(self.pieces.start)
        self.pieces.drop(done)
        self.sequence = (self.sequence + done) % _WRAP


class Streams:
    """The streams that wait for more, at most ``limit``; the one opened first goes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: OrderedDict[bytes, _Stream] = OrderedDict()
        self._recent: Stretch | None = None

    def __len__(self) -> int:
        """Return how many streams wait."""
        return len(self._waiting)

    def idle(self, heard: list[Heard]) -> bool:
        """Tell whether no stream waits, and none is opened by what was heard."""
        return not (self._waiting or any(one.reading[1] == CUT and _is_tcp(one.bearer) for one in heard))

    def follow(self, stretch: Stretch, heard: list[Heard]) -> list[Heard]:
        """Return what was heard in a batch, packet by packet, with what follows from streams; both in their order."""
        cut = {_port(one.bearer.connection) for one in heard if one.reading[1] == CUT and _is_tcp(one.bearer)}
        if cut or self._waiting:
            lately = _segments(self._recent, cut) if cut else []
            ports = cut | {_port(connection) for connection in self._waiting}
            heard = self._merge(lately, _segments(stretch, ports), heard)
        self.remember(stretch)
        return heard

    def remember(self, stretch: Stretch) -> None:
        """Keep the last packets, in case one of them overtook the beginning of its stream."""
        recent = stretch.last(OVERTAKING)
        if self._recent is not None and len(recent.time_ns) < OVERTAKING:
            recent = self._recent.then(recent).last(OVERTAKING)
        self._recent = recent

    def _merge(self, before: list[Bearer], segments: list[Bearer], heard: list[Heard]) -> list[Heard]:
        """Go through segments in their order, and through what was heard along with them; ``before`` came before."""
        lately: dict[bytes, deque[Bearer]] = {}
        for bearer in before:
            lately.setdefault(bearer.connection, deque(maxlen=OVERTAKING)).append(bearer)
        by_row = {bearer.row: bearer for bearer in segments}
        begun: dict[int, list[Heard]] = {}
        for one in heard:
            begun.setdefault(one.bearer.row, []).append(one)
        merged: list[Heard] = []
        for row in sorted(by_row.keys() | begun.keys()):
            if row not in by_row:
                merged += begun[row]
                continue
            line = lately.setdefault(by_row[row].connection, deque(maxlen=OVERTAKING))
            merged += self._step(by_row[row], begun.get(row, []), line)
            line.append(by_row[row])
        return merged

    def _step(self, bearer: Bearer, begun: list[Heard], lately: Iterable[Bearer]) -> Iterator[Heard]:
        """Take one segment into the stream that waits for it, or open one; ``lately`` is what came before it."""
        stream = self._waiting.get(bearer.connection)
        if stream and stream.takes(bearer, begins=bool(begun)):
            yield from self._feed(stream, bearer)
            return
        if stream:
            yield from self._give_up(bearer.connection) if begun else self._missed(stream, bearer)
        for one in begun:
            if one.reading[1] == CUT and bearer.sequence != NO_SEQUENCE:
                yield one._replace(reading=(one.reading[0], ""))
                yield from self._open(one, bearer, lately)
            else:
                yield one

    def _open(self, one: Heard, bearer: Bearer, lately: Iterable[Bearer]) -> Iterator[Heard]:
        """Open a stream, in place of one that was open for this connection."""
        yield from self._give_up(bearer.connection)
        if len(self._waiting) >= self._limit:
            yield from self._give_up(next(iter(self._waiting)))
        stream = self._waiting[bearer.connection] = _Stream(cast("StreamReader", one.reader), bearer, one.reading[0])
        for segment in lately:
            waits = self._waiting.get(bearer.connection) is stream
            if waits and bearer.row - segment.row <= OVERTAKING and stream.takes(segment):
                yield from self._feed(stream, segment)

    def _feed(self, stream: _Stream, bearer: Bearer) -> Iterator[Heard]:
        """Let a stream read a segment; it ends with the first reading that is not `CUT`."""
        said, reason = stream.read(bearer)
        over = reason != CUT or stream.segments >= MOST_SEGMENTS
        if over:
            self._waiting.pop(bearer.connection, None)
        if said or over:
            yield Heard(stream.reader, bearer, (said, reason if over else ""))

    def _missed(self, stream: _Stream, bearer: Bearer) -> Iterator[Heard]:
        """Count a segment that belongs to the connection but not to the stream."""
        stream.segments += 1
        if stream.segments >= MOST_SEGMENTS:
            yield from self._give_up(bearer.connection)

    def _give_up(self, connection: bytes) -> Iterator[Heard]:
        stream = self._waiting.pop(connection, None)
        if stream:
            yield Heard(stream.reader, stream.first, ([], CUT))


def _is_tcp(bearer: Bearer) -> bool:
    return bearer.connection[-1] == TCP


def _port(connection: bytes) -> int:
    """Return the source port of a connection."""
    return int.from_bytes(connection[32:34], "big")


def _segments(stretch: Stretch | None, ports: set[int]) -> list[Bearer]:
    """Return the TCP segments with payload that come from some ports."""
    rows = on_ports(stretch, ports) if stretch else np.empty(0, np.int64)
    if not stretch or not len(rows):
        return []
    return bearers(stretch, rows, sequences(stretch, rows))
