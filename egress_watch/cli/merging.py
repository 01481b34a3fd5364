"""Batches of several readers as one, in order of time.

In: batches and a moment. Out: what came until then, and what is left. Never: a frame or a count that is in none of them
or in two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np

from egress_watch.cli.slots import moved, span
from egress_watch.model import NO_BEACONS, PAD_BYTES, Beacons, Bytes, Frames, Ints, Packets

FRAME_COLUMNS = ("start", "caught", "wire", "time_ns", "link", "interface")
NO_COLUMNS = {"data", "skipped", "unwrapped", "beacons"}
PACKET_COLUMNS = tuple(one.name for one in fields(Packets) if one.name not in NO_COLUMNS)


class Batch(NamedTuple):
    """Frames and their packets; both point into one buffer."""

    frames: Frames
    packets: Packets


def cut(batch: Batch, upto_ns: int) -> tuple[Batch, Batch]:
    """Return what came until a moment, and the rest; what is counted of the whole goes with its last frame."""
    frames, packets = batch
    at, among = _until(frames.time_ns, upto_ns), _until(packets.time_ns, upto_ns)
    first, rest = slice(at), slice(at, None)
    if at == len(frames) and among == len(packets):
        return batch, _uncounted(batch, rest, slice(among, None))
    kept = Batch(_rows(frames, FRAME_COLUMNS, rest), _rows(packets, PACKET_COLUMNS, slice(among, None)))
    return _uncounted(batch, first, slice(among)), kept


def together(batches: Sequence[Batch]) -> Batch:
    """Return batches as one, in order of time; what is equally old stays in their order."""
    full = [batch for batch in batches if len(batch.frames) or batch.packets.skipped] or batches[:1]
    frames, packets = full[0] if len(full) == 1 else _merged(full)
    told = [batch.frames for batch in batches]
    lost, left_out = sum(one.lost for one in told), _summed([one.left_out for one in told])
    return Batch(replace(frames, lost=lost, left_out=left_out), packets)


def _merged(batches: Sequence[Batch]) -> Batch:
    pieces, shifts, base = [], [], 0
    for batch in batches:
        first, last = (0, len(batch.frames.data)) if len(batch.packets.beacons.start) else span(batch.frames)
        pieces.append(batch.frames.data[first:last])
        shifts.append(base - first)
        base += last - first
    data = np.concatenate([*pieces, np.zeros(PAD_BYTES, np.uint8)])
    frames = _joined(data, [batch.frames for batch in batches], FRAME_COLUMNS, "start", shifts)
    packets = _joined(data, [batch.packets for batch in batches], PACKET_COLUMNS, "payload", shifts)
    told = [moved(batch.packets.beacons, shift) for batch, shift in zip(batches, shifts, strict=True)]
    counted = {name: _summed([getattr(batch.packets, name) for batch in batches]) for name in ("skipped", "unwrapped")}
    beacons = Beacons(*map(np.concatenate, zip(*told, strict=True)))
    return Batch(frames, replace(packets, **counted, beacons=beacons))


def _until(time_ns: Ints, upto_ns: int) -> int:
    """Return how many rows come before the first one that is later; where a clock was set back, all behind it too."""
    later = np.flatnonzero(time_ns > upto_ns)
    return int(later[0]) if len(later) else len(time_ns)


def _uncounted(batch: Batch, frames: slice, packets: slice) -> Batch:
    return Batch(
        replace(_rows(batch.frames, FRAME_COLUMNS, frames), lost=0, left_out={}),
        replace(_rows(batch.packets, PACKET_COLUMNS, packets), skipped={}, unwrapped={}, beacons=NO_BEACONS),
    )


def _rows(batch: Any, names: Sequence[str], which: Any) -> Any:
    return replace(batch, **{name: getattr(batch, name)[which] for name in names})


def _joined(data: Bytes, parts: Sequence[Any], names: Sequence[str], pointer: str, shifts: Sequence[int]) -> Any:
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    columns[pointer] = np.concatenate(
        [getattr(part, pointer) + shift for part, shift in zip(parts, shifts, strict=True)]
    )
    order = np.argsort(columns["time_ns"], kind="stable")
    return replace(parts[0], data=data, **{name: column[order] if len(column) else column
                                           for name, column in columns.items()})  # fmt: skip


def _summed(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for count in counts:
        for reason, number in count.items():
            found[reason] = found.get(reason, 0) + number
    return found
