"""Rows of whole numbers as SQLite keeps them, without the accelerator.

In: row numbers and columns. Out: cells of a table, end to end (sqlite.org/fileformat2.html, sections 1.6 and 2.1), and
where each ends. Never: a wider number than the value needs; SQLite writes it so, and a file has millions of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.model import Bytes, Ints

MOST_WIDTH = 119
"""Columns of a record whose head has a length of one byte."""
CELL_BYTES, VALUE_BYTES = 13, 9
"""What a cell takes at most: for itself, and for each value."""
PART = 1024
_ONE, _NO_BYTES = 9, 8
"""Kinds of the numbers 1 and 0, which take no byte."""
_LIMITS = np.array([1 << bits for bits in (7, 15, 23, 31, 47)])
_SIZES = np.array([0, 1, 2, 3, 4, 6, 8, 0, 0, 0], np.uint8)
"""Bytes of each kind."""
_SIZE_BYTES, _NUMBER_BYTES, _WORD = 2, 9, 8
_NINTH = 56
"""A row's number of more bits has nine bytes, the last of eight bits."""


class Nothing(NamedTuple):
    """What stands for NULL in each column (width,)."""

    value: Ints
    possible: NDArray[np.uint8]


class Cells(NamedTuple):
    """Rows of a table, as bytes."""

    data: Bytes
    end: Ints
    """(rows,) Where each ends."""


def by_columns(numbers: Ints, columns: Sequence[NDArray[Any]], nothing: Nothing) -> Cells:
    """Return the rows with these numbers and columns (n,), behind a first column that is the number."""
    matrix = np.stack(columns, dtype=np.int64)
    parts = [
        _cells(numbers[start : start + PART], matrix[:, start : start + PART], nothing)
        for start in range(0, len(numbers), PART)
    ]
    data = [data for data, _ in parts] or [np.zeros(0, np.uint8)]
    sizes = [sizes for _, sizes in parts] or [np.zeros(0, np.int64)]
    return Cells(np.concatenate(data), np.cumsum(np.concatenate(sizes)))


def _cells(numbers: Ints, columns: Ints, nothing: Nothing) -> tuple[Bytes, Ints]:
    """Return some rows and the size of each: all bytes they could have side by side, of which those that count stay."""
    width, rows = columns.shape
    kinds = _kinds(columns)
    kinds[(columns == nothing.value[:, None]) & (nothing.possible[:, None] != 0)] = 0
    sizes, head = _SIZES[kinds], 2 + width
    heads = np.empty((rows, head), np.uint8)
    heads[:, 0], heads[:, 1], heads[:, 2:] = head, 0, kinds.T
    columns_of_bytes = np.concatenate([np.arange(_WORD * (at + 1) - size, _WORD * (at + 1))
                                       for at, size in enumerate(sizes.max(axis=1).tolist())])  # fmt: skip
    values = columns.T.astype(">i8", order="C").view(np.uint8)[:, columns_of_bytes]
    of, left = columns_of_bytes // _WORD, _WORD - columns_of_bytes % _WORD
    lengths = _varints((head + sizes.sum(axis=0, dtype=np.int64)).astype(np.uint64), _SIZE_BYTES)
    marks = _varints(numbers.astype(np.uint64), _NUMBER_BYTES)
    whole = np.concatenate((lengths[0], marks[0], heads, values), axis=1)
    counted = sizes.T[:, of] >= left
    stay = np.concatenate((lengths[1], marks[1], np.ones(heads.shape, bool), counted), axis=1)
    return whole[stay], np.count_nonzero(stay, axis=1)


def _kinds(columns: Ints) -> NDArray[np.uint8]:
    """Return the kind of each number: the narrowest that holds it."""
    most = columns ^ (columns >> 63)  # without its sign
    kinds = np.ones(columns.shape, np.uint8)
    for limit in _LIMITS[most.max(initial=0) >= _LIMITS]:
        kinds += most >= limit
    kinds[columns == 0], kinds[columns == 1] = _NO_BYTES, _ONE
    return kinds


def _varints(numbers: NDArray[np.uint64], room: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return numbers as bytes of seven bits (n, room), and which of these count."""
    shifts = 7 * np.arange(room - 1, -1, -1, dtype=np.uint64)
    parts, nine = numbers[:, None] >> shifts, numbers >> np.uint64(_NINTH) != 0
    counted = (parts != 0) | (shifts == 0)
    data = (parts & np.uint64(127)).astype(np.uint8) | np.where(shifts, 128, 0).astype(np.uint8)
    if nine.any():
        eight = np.uint64(8) + np.uint64(7) * np.arange(_WORD, dtype=np.uint64)[::-1]
        data[nine, :-1] = (numbers[nine, None] >> eight & np.uint64(127)).astype(np.uint8) | 128
        data[nine, -1] = (numbers[nine] & np.uint64(255)).astype(np.uint8)
        counted[nine] = True
    return data, counted
