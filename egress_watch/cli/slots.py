"""A batch of frames and its packets as bytes in memory that two processes share.

In: `Frames` and `Packets`, or a slot that holds them. Out: the other of the two. Never: an object within the slot.

Only the part of the buffer that the frames lie in travels, so what points into it is counted from there. Whoever
unpacks gets columns of his own; the buffer itself stays in the slot, and is his until he hands the slot back.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.model import PAD_BYTES, Beacons, Bytes, Frames, Packets

ALIGN_BYTES = 64
POINTERS = ("start", "payload")
"""Columns of offsets in the buffer."""


class Column(NamedTuple):
    """Where a column lies in a slot."""

    name: str
    kind: str
    shape: tuple[int, ...]
    at: int


class Letter(NamedTuple):
    """What lies in a slot: it travels through a pipe, for it is small."""

    size_bytes: int
    buffer_bytes: int
    columns: tuple[tuple[Column, ...], tuple[Column, ...]]
    """Of the frames, and of the packets."""
    rest: tuple[dict[str, Any], dict[str, Any]]
    """All that is no column."""


def letter(frames: Frames, packets: Packets) -> Letter:
    """Return what a slot with this batch will hold."""
    first, last = span(frames)
    at, columns = _aligned(last - first), []
    for batch in (frames, packets):
        places = []
        for name, column in _columns(batch).items():
            places.append(Column(name, column.dtype.str, column.shape, at))
            at = _aligned(at + column.nbytes)
        columns.append(tuple(places))
    rest = _rest(packets) | {"beacons": moved(packets.beacons, -first)}
    return Letter(at, last - first, (columns[0], columns[1]), (_rest(frames), rest))


def pack(frames: Frames, packets: Packets, plan: Letter, slot: Bytes) -> None:
    """Lay a batch into a slot of at least ``plan.size_bytes``."""
    first, last = span(frames)
    slot[: last - first] = frames.data[first:last]
    for batch, places in zip((frames, packets), plan.columns, strict=True):
        for place in places:
            column = getattr(batch, place.name)
            _view(slot, place)[...] = column - first if place.name in POINTERS else column


def unpack(plan: Letter, slot: Bytes) -> tuple[Frames, Packets]:
    """Return the batch that a slot holds."""
    data = slot[: plan.buffer_bytes]
    frames, packets = (
        {place.name: _view(slot, place).copy() for place in places} | rest
        for places, rest in zip(plan.columns, plan.rest, strict=True)
    )
    return Frames(data=data, **frames), Packets(data=data, **packets)


def span(frames: Frames) -> tuple[int, int]:
    """Return where in the buffer the frames begin, and where the bytes behind the last one end."""
    if not len(frames):
        return 0, PAD_BYTES
    return int(frames.start.min()), int((frames.start + frames.caught).max()) + PAD_BYTES


def _columns(batch: Frames | Packets) -> dict[str, NDArray[Any]]:
    found = {one.name: getattr(batch, one.name) for one in fields(batch) if one.name != "data"}
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}


def _rest(batch: Frames | Packets) -> dict[str, Any]:
    columns = {"data", *_columns(batch)}
    return {one.name: getattr(batch, one.name) for one in fields(batch) if one.name not in columns}


def moved(beacons: Beacons, by: int) -> Beacons:
    """Return where the beacons lie in a buffer that begins so many bytes earlier."""
    return beacons._replace(start=beacons.start + by, end=beacons.end + by)


def _view(slot: Bytes, place: Column) -> NDArray[Any]:
    return np.ndarray(place.shape, np.dtype(place.kind), slot.data, place.at)


def _aligned(at: int) -> int:
    return -(-at // ALIGN_BYTES) * ALIGN_BYTES
