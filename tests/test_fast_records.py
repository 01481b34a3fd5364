"""Pages of rows are the same bytes with the accelerator and without."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from egress_watch import fast
from egress_watch.fast import Nothing, Rows
from egress_watch.fast.records import WIDEST, by_columns

FAST = fast.accelerator()
BITS = (0, 7, 14, 15, 23, 31, 47, 56, 62)
EDGES = [sign * (1 << bits) + by for bits in BITS for sign in (1, -1) for by in (-1, 0, 1)]
NUMBERS = st.sampled_from([*EDGES, 2**63 - 1, -(2**63)])
ROWS = st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(NUMBERS, min_size=width, max_size=width), max_size=9))

pytestmark = pytest.mark.skipif(FAST is None, reason="the accelerator is not built or turned off")


def both(rows: Rows, most: int, before: int = 0) -> list[tuple[bytes, list[int]]]:
    """Return what each way makes of rows."""
    assert FAST
    made = FAST.records(rows, most, before), by_columns(rows, most, before)
    return [(pages.data.tobytes(), pages.end.tolist()) for pages in made]


@given(ROWS, st.lists(NUMBERS, min_size=9, max_size=9), st.lists(st.booleans(), min_size=4, max_size=4), NUMBERS)
def test_both_ways_write_the_same_bytes(
    rows: list[list[int]], numbers: list[int], possible: list[bool], value: int
) -> None:
    """Whatever the numbers are, of rows and in them, with NULL in some columns."""
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)] or [np.empty(0, np.int64)]
    keys, width = np.array(numbers[: len(rows)], np.int64), len(columns)
    nothing = Nothing(np.full(width, value), np.array(possible[:width], np.uint8))
    compiled, plain = both(Rows(keys, columns, nothing), 4, before=1)
    assert compiled == plain


@pytest.mark.parametrize("width", [1, 23, WIDEST])
@pytest.mark.parametrize("most", [700, 1 << 20])
def test_many_rows_are_the_same_bytes(width: int, most: int) -> None:
    """Of ten thousand rows both ways make the same pages, as full as may be."""
    random = np.random.default_rng(width)
    columns = [random.integers(-(1 << bits), 1 << bits, 10_000) for bits in random.integers(0, 63, width).tolist()]
    nothing = Nothing(np.zeros(width, np.int64), np.ones(width, np.uint8))
    compiled, plain = both(Rows(np.arange(10_000), columns, nothing), most)
    assert compiled == plain
    assert len(compiled[1]) >= 10_000 // most


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "i1", "i2", "i4", "?"])
def test_narrow_columns_are_the_same_rows(kind: str) -> None:
    """A column is read as what it is; with gaps between its numbers it is the same."""
    column = np.arange(-1000, 1000).astype(kind)
    nothing = Nothing(np.zeros(2, np.int64), np.zeros(2, np.uint8))
    compiled, plain = both(Rows(np.arange(1000), [column[:1000], column[::2]], nothing), 1000)
    assert compiled == plain


def test_rows_that_do_not_fit_are_refused() -> None:
    """More columns than one byte of a head can tell, or columns of other lengths: nothing is written beyond memory."""
    assert FAST
    one, wide = np.arange(1), Nothing(np.zeros(WIDEST + 1, np.int64), np.zeros(WIDEST + 1, np.uint8))
    with pytest.raises(ValueError, match="more columns"):
        FAST.records(Rows(one, [one] * (WIDEST + 1), wide), 1, 0)
    narrow = Nothing(np.zeros(1, np.int64), np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match="different lengths"):
        FAST.records(Rows(np.arange(2), [one], narrow), 1, 0)
