"""Which rows are alike is the same with the accelerator and without, and what anybody would say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from egress_watch import fast
from egress_watch.fast import Kinds, table
from egress_watch.fast.distinct import by_columns

FAST = fast.accelerator()
NUMBERS = st.sampled_from([0, 1, 2, -1, 2**63 - 1, -(2**63), 2**32])
ROWS = st.integers(1, 3).flatmap(lambda width: st.lists(st.lists(NUMBERS, min_size=width, max_size=width), max_size=30))


def plainly(rows: list[list[int]]) -> tuple[list[int], list[int]]:
    """Return the first row of each kind and the kind of each row."""
    kinds = list(dict.fromkeys(map(tuple, rows)))
    return [rows.index(list(kind)) for kind in kinds], [kinds.index(tuple(row)) for row in rows]


def told(kinds: Kinds) -> tuple[list[int], list[int]]:
    """Return the same of columns."""
    return kinds.first.tolist(), kinds.which.tolist()


@given(ROWS)
def test_rows_that_are_equal_are_one_kind(rows: list[list[int]]) -> None:
    """Kinds are numbered in order of appearance, by sorting as by hashing."""
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)] or [np.empty(0, np.int64)]
    words = table(columns, len(rows))
    assert told(by_columns(words)) == plainly(rows)
    if FAST:
        assert told(FAST.distinct(words)) == plainly(rows)


@pytest.mark.skipif(FAST is None, reason="the accelerator is not built or turned off")
def test_many_rows_are_told_apart() -> None:
    """Of a hundred thousand rows, some of them the same, both ways say the same."""
    random = np.random.default_rng(1)
    words = table([random.integers(0, 300, 100_000), random.integers(-(2**62), 2**62, 50).repeat(2_000)], 100_000)
    assert FAST
    assert told(FAST.distinct(words)) == told(by_columns(words))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-9, 9)), max_size=30))
def test_columns_are_told_by_kind(rows: list[tuple[int, int]]) -> None:
    """Counts, sums, least and most of each kind are those of its rows, and the order puts those together."""
    kind, value = (np.array([row[part] for row in rows], np.int64) for part in (0, 1))
    kinds = fast.distinct(table([kind], len(rows)))
    by_kind = [[number for one, number in rows if one == rows[first][0]] for first in kinds.first.tolist()]
    assert kinds.counts().tolist() == [len(some) for some in by_kind]
    for found, of in ((kinds.sums, sum), (kinds.least, min), (kinds.most, max)):
        assert found(value).tolist() == [of(some) for some in by_kind]
    together = [at for first in kinds.first for at, row in enumerate(rows) if row[0] == rows[first][0]]
    assert kinds.order().tolist() == together
