"""Hits that are counted in a storm's summary: how many of them need no decision, and what they come to.

In: the `Hits` of one rule in a batch. Out: where the next decision falls, and sums by device. Never: a hit in two sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil
from typing import Protocol

import numpy as np

from egress_watch.model import Alert, Ints, Pace
from egress_watch.store.episode import LATEST_NS, Episode


class Hits(Protocol):
    """What one rule found in a batch, (n,) hits in the order of their flows; see `rules.episodes`."""

    rule: str
    level: str
    flow: Ints
    device: Ints
    first_ns: Ints
    last_ns: Ints
    bytes_out: Ints
    bytes_in: Ints
    episode: Ints
    """(n,) The number of each hit's episode, from 0."""
    head: Ints
    """(episodes,) The first hit of each."""

    def whom(self) -> Iterable[tuple[int, str, str, str]]:
        """Return the device, owner, country and network of each episode."""

    def alerts(self) -> Iterable[Alert]:
        """Return the episodes, in the order of their first flows."""

    def together(self, start: int, stop: int) -> Alert:
        """Return neighbouring hits as if they were one, whatever their episodes."""

    def only(self, hits: Ints) -> Hits:
        """Return some of the hits."""


def undecided(pace: Pace, summary: Episode, hits: Hits, at: int) -> int:
    """Return the first hit from ``at`` on that would close a summary or have it told."""
    if hits.level != summary.level:
        return at
    last_ns = hits.last_ns[at:]
    before_ns = np.maximum.accumulate(np.concatenate(([summary.last_ns], last_ns[:-1])))
    ends = hits.first_ns[at:] > np.minimum(before_ns, LATEST_NS - pace.silence_ns) + pace.silence_ns
    most = min(ceil(max(pace.jump_bytes, pace.jump * summary.told_bytes)), LATEST_NS)
    told = (summary.bytes_out + np.cumsum(hits.bytes_out[at:]) >= most) | (last_ns >= summary.due_ns)
    decided = np.flatnonzero(ends | told)
    return at + int(decided[0]) if len(decided) else len(hits.flow)


def by_device(hits: Hits, some: slice) -> Iterator[tuple[int, int, int, int]]:
    """Yield device, number, bytes out and bytes in of some hits, a row for each device."""
    devices, which = np.unique(hits.device[some], return_inverse=True)
    sums = np.zeros((3, len(devices)), np.int64)
    np.add.at(sums[0], which, 1)
    np.add.at(sums[1], which, hits.bytes_out[some])
    np.add.at(sums[2], which, hits.bytes_in[some])
    return zip(devices.tolist(), *sums.tolist(), strict=True)
