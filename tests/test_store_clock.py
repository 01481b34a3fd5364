"""The newest time since a flow, however times go and however flows come in batches."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from egress_watch.store.clock import NEVER, Clock

TIMES = st.lists(st.integers(-5, 20), min_size=1, max_size=40)


@given(TIMES, st.lists(st.integers(1, 39), max_size=6), st.integers(-1, 40), st.integers(0, 41))
def test_between_two_flows_it_is_the_greatest_of_their_times(
    times: list[int], cuts: list[int], after: int, before: int
) -> None:
    """Asked of the last batch, and of all that came before it at once."""
    edges = sorted({0, *(cut for cut in cuts if cut < len(times)), len(times)})
    clock = Clock()
    for start, stop in pairwise(edges):
        clock.begin(np.arange(start, stop), np.array(times[start:stop], np.int64))
        assert clock.now_ns == max(times[:stop])
        if start <= before <= stop:
            wanted = max((times[flow] for flow in range(after + 1, before) if flow >= 0), default=NEVER)
            assert clock.between(after, before) == wanted or after + 1 < start
            assert clock.between(after, stop) == max(times[max(after + 1, 0) : stop], default=NEVER)
        assert [time for _, time in clock.steps()] == sorted({time for _, time in clock.steps()}, reverse=True)
        clock.keep()


def test_times_that_rise_leave_one_flow_to_remember() -> None:
    """However many flows there are."""
    clock = Clock()
    clock.begin(np.arange(10_000), np.arange(10_000))
    clock.keep()
    assert clock.steps() == [(9_999, 9_999)]
