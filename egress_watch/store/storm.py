"""Hits that are counted in a storm's summary: how many of them need no decision, and what they come to.

In: the `Hits` of one rule in a batch. Out: where the next decision falls, and sums by device. Never: a hit in two sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Protocol

import numpy as np

from egress_watch.fast import distinct, table
from egress_watch.model import Alert, Ints, Pace
from egress_watch.store.episode import LATEST_NS, Episode, Whom


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

    def whom(self) -> tuple[Sequence[Whom], Ints]:
        """Return owners with country and network, and which of them each episode is about."""

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


def by_device(hits: Hits, some: slice, summary: int) -> Ints:
    """Return the sums of some hits as rows of the table folded, one for each device."""
    kinds = distinct(table((hits.device[some],), len(hits.device[some])))
    columns = (np.ones_like(kinds.which), hits.bytes_out[some], hits.bytes_in[some])
    devices = hits.device[some][kinds.first]
    return np.stack((np.full_like(devices, summary), devices, *map(kinds.sums, columns)), axis=1)


def together(folded: Sequence[Ints]) -> Ints:
    """Return rows of the table folded with those of one summary and device as one, in the order of the table."""
    rows = np.concatenate(folded)
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    kinds = distinct(rows[:, :2].view(np.uint64))
    return np.concatenate((rows[kinds.first, :2], np.stack(list(map(kinds.sums, rows.T[2:])), axis=1)), axis=1)
