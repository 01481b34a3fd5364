"""Leave frames out by time and by filter, and count what was left out.

In: `Frames`. Out: `Frames` without what was not asked for, and its count by reason. Never: a frame lost in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from egress_watch.model import LEFT_OUT, Frames
from egress_watch.sources.columns import Columns
from egress_watch.sources.filter import Filter

BEFORE, AFTER, FILTERED = LEFT_OUT


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What part of the captures is asked for; without arguments, all of it."""

    from_ns: int | None = None
    """Frames of this time and later, None for no bound."""
    to_ns: int | None = None
    """Frames up to this time, itself included."""
    filter: Filter | None = None

    def __bool__(self) -> bool:
        """Return whether anything can be left out."""
        return not (self.from_ns is None and self.to_ns is None and self.filter is None)

    def narrowed(self, source: Iterable[Frames]) -> Iterator[Frames]:
        """Yield every batch of the source without the frames not asked for, which ``left_out`` counts."""
        return map(self.narrow, source) if self else iter(source)

    def narrow(self, frames: Frames) -> Frames:
        """Return a batch without the frames not asked for."""
        out: dict[str, int] = dict(frames.left_out)
        if self.from_ns is not None:
            frames = _picked(frames, frames.time_ns >= self.from_ns, BEFORE, out)
        if self.to_ns is not None:
            frames = _picked(frames, frames.time_ns <= self.to_ns, AFTER, out)
        if self.filter and len(frames):
            frames = _filtered(frames, self.filter, out)
        return replace(frames, left_out=out)


def _filtered(frames: Frames, by: Filter, out: dict[str, int]) -> Frames:
    kept, foreign = by.keep(frames)
    for link, count in foreign.items():
        reason = f"{FILTERED}: no meaning for link type {link}"
        out[reason] = out.get(reason, 0) + count
        out[FILTERED] = out.get(FILTERED, 0) - count  # named already
    return _picked(frames, kept, FILTERED, out)


def _picked(frames: Frames, kept: NDArray[np.bool_], reason: str, out: dict[str, int]) -> Frames:
    """Return the frames that are kept, and count the others under a reason."""
    left = out.pop(reason, 0) + len(frames) - int(kept.sum())
    if left:
        out[reason] = left
    if kept.all():
        return frames
    columns = Columns(frames.start, frames.caught, frames.wire, frames.time_ns, frames.link, frames.interface)
    return replace(frames, **columns.pick(kept)._asdict())
