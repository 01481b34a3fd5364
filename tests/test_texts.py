"""Columns of texts say what a plain sequence would, with each text held once."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from egress_watch.texts import sparse, texts_of

WORDS = st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=20)


@given(WORDS)
def test_a_column_says_what_its_rows_say(words: list[str]) -> None:
    """Length, rows, slices and equality are its sequence's; texts stand in order of appearance."""
    column = texts_of(words)
    assert len(column) == len(words)
    assert list(column) == words == [column[at] for at in range(len(words))]
    assert list(column[1:3]) == words[1:3]
    assert column == tuple(words)
    assert column != [*words, "d"]
    assert list(column.texts) == list(dict.fromkeys(words))


@given(WORDS, st.randoms(use_true_random=False))
def test_rows_without_a_text_are_empty(words: list[str], random: Random) -> None:
    """A few texts put anywhere in a column leave all other rows empty."""
    rows = list(range(2 * len(words)))
    random.shuffle(rows)
    rows = rows[: len(words)]
    column = list(sparse(words, np.array(rows, np.int64), 2 * len(words)))
    assert [column[row] for row in rows] == words
    assert not any(column[row] for row in set(range(2 * len(words))) - set(rows))
