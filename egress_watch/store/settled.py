"""A rule's hits taken by columns: what their episodes come to, where none of them ends.

In: the `Hits` of one rule, and the episodes that are open. Out: sums, and episodes as they stand with them. Never: a
hit taken past a decision; where one may fall is told, and those come one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.model import Ints, Pace
from egress_watch.store.episode import LATEST_NS, NOT_CLOSED, Episode, gravity
from egress_watch.store.storm import Hits

Those = NDArray[np.bool_]
HOUR_NS = 3_600_000_000_000
STEPS_NS = (HOUR_NS, 6 * HOUR_NS, 24 * HOUR_NS)
"""How long after it was told an episode is told again: the first time, the second, and from then on."""


class Sums(NamedTuple):
    """What hits of episodes come to, (n,) each."""

    first_ns: Ints
    last_ns: Ints
    hits: Ints
    bytes_out: Ints
    bytes_in: Ints
    newest: Ints
    """The newest hit of each."""

    def only(self, episodes: Ints) -> Sums:
        """Return those of some episodes."""
        return Sums(*(column[episodes] for column in self))

    def but(self, those: Those, others: Sums) -> Sums:
        """Return the same, with those of others for some."""
        return Sums(*(np.where(those, theirs, ours) for ours, theirs in zip(self, others, strict=True)))


def summed(hits: Hits) -> Sums:
    """Return what all hits of each episode come to."""
    of = hits.kinds
    newest = np.empty_like(of.first)
    newest[of.which] = np.arange(len(of.which))  # of those for one place the last one stays
    return Sums(
        of.least(hits.first_ns), of.most(hits.last_ns), of.counts(), of.sums(hits.bytes_out), of.sums(hits.bytes_in),
        newest,
    )  # fmt: skip


def alone(hits: Hits, some: Ints) -> Sums:
    """Return some hits, each by itself."""
    columns = hits.first_ns[some], hits.last_ns[some], np.ones_like(some), hits.bytes_out[some], hits.bytes_in[some]
    return Sums(*columns, some)


def due_ns(last_ns: Ints) -> Ints:
    """Return when episodes are told again that begin with hits of these times."""
    return np.minimum(last_ns, LATEST_NS - STEPS_NS[0]) + STEPS_NS[0]


def told_again(pace: Pace, level: str, known: Sequence[Episode], sums: Sums) -> Those:
    """Return which open episodes may be told again with what is added to them."""
    numbers = np.array([(one.bytes_out, one.told_bytes, one.due_ns) for one in known], np.int64).reshape(-1, 3)
    graver: Those = np.array([gravity(level) > gravity(one.level) for one in known], bool)
    return _told(pace, numbers[:, 0] + sums.bytes_out, numbers[:, 1], graver | (numbers[:, 2] <= sums.last_ns))


def told_at_birth(pace: Pace, heads: Sums, sums: Sums) -> Those:
    """Return which episodes that open may be told again with the hits behind their first."""
    late = due_ns(heads.last_ns) <= sums.last_ns
    return (sums.hits > 1) & _told(pace, sums.bytes_out, heads.bytes_out, late)


def _told(pace: Pace, bytes_out: Ints, told_bytes: Ints, late: Those) -> Those:
    most = np.maximum(float(pace.jump_bytes), pace.jump * told_bytes)
    told: Those = (bytes_out.astype(np.float64) >= most) | late
    return told


def opened(hits: Hits, rows: Ints, heads: Sums, sums: Sums) -> Iterator[Episode]:
    """Return new episodes with these rows, as their sums say."""
    remotes, verdicts, whys = hits.told(sums.newest)
    return map(Episode._make, zip(
        rows.tolist(), repeat(hits.level), *(column.tolist() for column in sums[:-1]), remotes, verdicts,
        hits.flow[sums.newest].tolist(), whys, due_ns(heads.last_ns).tolist(), repeat(0), heads.bytes_out.tolist(),
        repeat(NOT_CLOSED), strict=False,
    ))  # fmt: skip


def grown(hits: Hits, known: Sequence[Episode], sums: Sums) -> Iterator[Episode]:
    """Yield open episodes with their sums added; no hit is graver than its episode."""
    flows = hits.flow[sums.newest].tolist()
    added = zip(known, *(column.tolist() for column in sums[:-1]), *hits.told(sums.newest), flows, strict=True)
    for one, first_ns, last_ns, count, bytes_out, bytes_in, remote, verdict, why, flow in added:
        yield Episode(
            one.row, one.level, min(one.first_ns, first_ns), max(one.last_ns, last_ns), one.hits + count,
            one.bytes_out + bytes_out, one.bytes_in + bytes_in, remote, verdict, flow, why, one.due_ns, one.updates,
            one.told_bytes,
        )  # fmt: skip
