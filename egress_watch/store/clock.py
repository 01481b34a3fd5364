"""The newest packet time since any flow of a recording: by it silence is told, though time may also go backwards.

In: ids and packet times of flows, batch by batch. Out: the newest time between two flows. Never: the machine's clock.

Captures may be read in any order, so the newest time of all says nothing of an episode in an older one. What counts is
what came after its last flow. Of all flows only those are kept that no later one was as new as: nearly always one.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from egress_watch.model import Ints

NEVER = -(2**63)
LIMIT = 100_000
"""Flows kept at most: time would have to run backwards all the way to need more."""


class Clock:
    """Times of the flows of one recording; those of the last batch count from its beginning, and stay with `keep`."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._newest_ns: list[int] = []
        self._fresh: tuple[Ints, Ints] = (np.empty(0, np.int64), np.empty(0, np.int64))
        self.now_ns = NEVER
        """The newest packet time of all, this batch's included."""

    def begin(self, ids: Ints, last_ns: Ints) -> None:
        """Take in a batch: rising ids and packet times, (n,) each."""
        self._fresh = ids, last_ns
        kept_ns = self._newest_ns[0] if self._newest_ns else NEVER
        self.now_ns = max(kept_ns, int(last_ns.max(initial=NEVER)))

    def between(self, flow: int, before: int) -> int:
        """Return the newest time of the flows after one and before another, `NEVER` where there is none."""
        at = bisect_right(self._ids, flow)
        newest_ns = self._newest_ns[at] if at < len(self._ids) else NEVER
        ids, last_ns = self._fresh
        start, stop = np.searchsorted(ids, flow, "right"), np.searchsorted(ids, before)
        return max(newest_ns, int(last_ns[start:stop].max(initial=NEVER)))

    def steps(self) -> list[tuple[int, int]]:
        """Return flows that no later one was as new as, with their times, the newest first."""
        ids, last_ns = self._fresh
        behind = np.maximum.accumulate(last_ns[::-1])[::-1]
        alone = np.flatnonzero(last_ns > np.append(behind[1:], NEVER))
        fresh = list(zip(ids[alone].tolist(), last_ns[alone].tolist(), strict=True))
        most = fresh[0][1] if fresh else NEVER
        kept = zip(self._ids, self._newest_ns, strict=True)
        return [*(one for one in kept if one[1] > most), *fresh][-LIMIT:]

    def keep(self) -> None:
        """Remember the batch: it is committed."""
        steps = self.steps()
        self._ids, self._newest_ns = [flow for flow, _ in steps], [time_ns for _, time_ns in steps]
        self._fresh = np.empty(0, np.int64), np.empty(0, np.int64)
