"""Hits that are counted in a storm's summary: how many of them need no decision, and what they come to.

In: the `Hits` of one rule in a batch. Out: where the next decision falls, and sums by device. Never: a hit in two sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Protocol

import numpy as np

from egress_watch.fast import Kinds, distinct, table
from egress_watch.model import Alert, Ints, Pace
from egress_watch.store.episode import DEVICE_SHIFT, LATEST_NS, Episode, Whom


class Hits(Protocol):
    """What one rule found in a batch, (n,) hits in the order of their flows; see `rules.episodes`."""

    rule: str
    title: str
    level: str
    flow: Ints
    device: Ints
    first_ns: Ints
    last_ns: Ints
    bytes_out: Ints
    bytes_in: Ints

    @property
    def kinds(self) -> Kinds:
        """The episode of each hit, numbered in the order of their first hits."""

    def whom(self) -> tuple[Sequence[Whom], Ints]:
        """Return owners with country and network, and which of them each episode is about."""

    def told(self, hits: Ints) -> tuple[list[str], list[str], list[str]]:
        """Return remotes, verdicts and sentences of some hits."""

    def alerts(self) -> Iterable[Alert]:
        """Return the episodes, in the order of their first flows."""

    def each(self, hits: Ints) -> Iterable[Alert]:
        """Return some hits by themselves."""

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
    """Return the sums of some hits as columns of the table folded, (5, n), a row for each device."""
    kinds = distinct(table((hits.device[some],), len(hits.device[some])))
    devices = hits.device[some][kinds.first]
    sums = kinds.counts(), kinds.sums(hits.bytes_out[some]), kinds.sums(hits.bytes_in[some])
    return np.stack((np.full_like(devices, summary), devices, *sums))


def together(folded: Sequence[Ints]) -> Ints:
    """Return columns of the table folded with rows of one summary and device as one, in the order of the table."""
    rows = np.concatenate(folded, axis=1)
    pairs = rows[0] << DEVICE_SHIFT | rows[1]
    order = np.argsort(pairs)
    begin = np.flatnonzero(np.diff(pairs[order], prepend=-1))
    found: Ints = np.concatenate((rows[:2, order[begin]], np.add.reduceat(rows[2:, order], begin, axis=1)))
    return found
