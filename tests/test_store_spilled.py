"""What groups have in the table of counts is never taken for less than it is."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from egress_watch.store.spilled import Spilled
from egress_watch.store.windows import SLOTS

row = st.tuples(st.sampled_from("abcdefg"), st.integers(-30, 60), st.integers(0, 1 << 40))


@given(batches=st.lists(st.lists(row, max_size=9), max_size=5), buckets=st.integers(1, 9), slot=st.integers(-30, 60))
def test_no_group_has_more_than_is_told(batches: list[list[tuple[str, int, int]]], buckets: int, slot: int) -> None:
    """Whoever shares its bucket, and whatever is forgotten before a slot, a group's rows from there on are in it."""
    spilled, true = Spilled(), Counter[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("egress_watch.store.spilled.BUCKETS", buckets)
        for rows in batches:
            texts, slots, amounts = zip(*rows, strict=True) if rows else ((), (), ())
            spilled.add(texts, np.array(slots, np.int64), np.array(amounts, np.int64))
            true.update(dict.fromkeys(texts, 0))
            for name, at, amount in rows:
                true[name] += amount if at >= slot else 0
        spilled.forget(slot)
        assert (spilled.most("abcdefg") >= [true[name] for name in "abcdefg"]).all()


def test_what_is_over_is_forgotten() -> None:
    """A timespan that lies before the slots that are kept counts no longer."""
    spilled = Spilled()
    spilled.add(["a", "a"], np.array([0, SLOTS]), np.array([5, 7]))
    assert spilled.most(["a"]).tolist() == [12]
    spilled.forget(SLOTS)
    assert spilled.most(["a", "b"]).tolist() == [7, 0]
