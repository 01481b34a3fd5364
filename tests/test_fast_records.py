"""Rows are the same bytes with the accelerator and without."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from egress_watch import fast
from egress_watch.fast import Nothing
from egress_watch.fast.records import MOST_WIDTH, by_columns

FAST = fast.accelerator()
BITS = (0, 7, 14, 15, 23, 31, 47, 56, 62)
EDGES = [sign * (1 << bits) + by for bits in BITS for sign in (1, -1) for by in (-1, 0, 1)]
NUMBERS = st.sampled_from([*EDGES, 2**63 - 1, -(2**63)])
ROWS = st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(NUMBERS, min_size=width, max_size=width), max_size=9))

pytestmark = pytest.mark.skipif(FAST is None, reason="the accelerator is not built or turned off")


@given(ROWS, st.lists(NUMBERS, min_size=9, max_size=9), st.lists(st.booleans(), min_size=4, max_size=4), NUMBERS)
def test_both_ways_write_the_same_bytes(
    rows: list[list[int]], numbers: list[int], possible: list[bool], value: int
) -> None:
    """Whatever the numbers are, of rows and in them, with NULL in some columns."""
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)] or [np.empty(0, np.int64)]
    keys, width = np.array(numbers[: len(rows)], np.int64), len(columns)
    nothing = Nothing(np.full(width, value), np.array(possible[:width], np.uint8))
    assert FAST
    compiled, plain = FAST.records(keys, columns, nothing), by_columns(keys, columns, nothing)
    assert compiled.data.tobytes() == plain.data.tobytes()
    assert compiled.end.tolist() == plain.end.tolist()


def test_many_rows_are_the_same_bytes() -> None:
    """Of ten thousand rows as wide as they come, both ways write the same."""
    random = np.random.default_rng(1)
    columns = [random.integers(-(1 << bits), 1 << bits, 10_000) for bits in random.integers(0, 63, MOST_WIDTH).tolist()]
    nothing = Nothing(np.zeros(MOST_WIDTH, np.int64), np.ones(MOST_WIDTH, np.uint8))
    assert FAST
    compiled, plain = (records(np.arange(10_000), columns, nothing) for records in (FAST.records, by_columns))
    assert compiled.data.tobytes() == plain.data.tobytes()
    assert compiled.end.tolist() == plain.end.tolist()


def test_a_record_is_not_wider_than_its_head() -> None:
    """More columns than one byte of a head can tell are refused, not written beyond memory."""
    assert FAST
    with pytest.raises(ValueError, match="more columns"):
        FAST.records(np.arange(1), [np.arange(1)] * (MOST_WIDTH + 1), Nothing(np.zeros(120, np.int64), np.zeros(120)))
