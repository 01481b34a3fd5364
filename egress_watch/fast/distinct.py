"""Which rows are alike: what is worked out of one row serves all others of its kind.

In: rows of whole numbers. Out: the first row of each kind, and the kind of each row. Never: two kinds for equal rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.model import Ints, Words


class Kinds(NamedTuple):
    """The kinds of rows, numbered in the order in which they appear."""

    first: Ints
    """(kinds,) The first row of each."""
    which: Ints
    """(rows,) The kind of each row."""

    def counts(self) -> Ints:
        """Return how many rows each kind has."""
        return np.bincount(self.which, minlength=len(self.first))

    def sums(self, column: Ints) -> Ints:
        """Return what a column comes to for each kind."""
        sums = np.zeros(len(self.first), np.int64)
        np.add.at(sums, self.which, column)
        return sums

    def least(self, column: Ints) -> Ints:
        """Return the least of a column for each kind."""
        least = column[self.first]
        np.minimum.at(least, self.which, column)
        return least

    def most(self, column: Ints) -> Ints:
        """Return the most of a column for each kind."""
        most = column[self.first]
        np.maximum.at(most, self.which, column)
        return most

    def order(self) -> Ints:
        """Return all rows by kind; within a kind the order stays."""
        few = len(self.first) <= 1 << 16  # which NumPy sorts by digits, in a tenth of the time
        order: Ints = np.argsort(self.which.astype(np.uint16) if few else self.which, kind="stable")
        return order


def table(columns: Sequence[NDArray[Any]], rows: int) -> Words:
    """Return columns of whole numbers side by side as words, (rows, columns)."""
    words = np.empty((rows, len(columns)), np.uint64)
    for number, column in enumerate(columns):
        words[:, number] = column.view(np.uint64) if column.dtype == np.int64 else column
    return words


def by_columns(words: Words) -> Kinds:
    """Return the kinds of rows (n, width), by sorting one column after the other."""
    kind = np.zeros(len(words), np.int64)
    for column in words.T:
        values, part = np.unique(column, return_inverse=True)
        kind = np.unique(kind * len(values) + part, return_inverse=True)[1]
    _, first, which = np.unique(kind, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    return Kinds(first[order], number[which])
