"""Rows of whole numbers as pages of an SQLite table, without the accelerator.

In: row numbers and columns. Out: pages of rows (sqlite.org/fileformat2.html, sections 1.6 and 2.1). Never: a wider
number than the value needs; SQLite writes it so, and a file has millions of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.model import Bytes, Ints

PAGE = 65536
"""Bytes of a page, the largest there is."""
LEAF = 13
"""The kind of a page of rows."""
WIDEST = 119
"""Columns of a record whose head has a length of one byte."""
CELL_BYTES, VALUE_BYTES = 13, 9
"""What a row takes at most: for itself, and for each value."""
HEAD_BYTES, PLACE_BYTES = 8, 2
"""What a page takes: for itself, and to tell where a row is."""
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


class Rows(NamedTuple):
    """Rows of a table whose first column is their number."""

    numbers: Ints
    """(rows,) Rising."""
    columns: Sequence[NDArray[Any]]
    """(rows,) each."""
    nothing: Nothing


class Pages(NamedTuple):
    """Pages of a table."""

    data: NDArray[np.uint8]
    """(pages, PAGE)"""
    end: Ints
    """At which row each page of rows ends."""


def most_pages(rows: int, width: int, most: int) -> int:
    """Return how many pages rows can take, at most so many on one."""
    fit = (PAGE - HEAD_BYTES) // (CELL_BYTES + VALUE_BYTES * width + PLACE_BYTES)
    return -(-rows // max(1, min(fit, most)))


def by_columns(rows: Rows, most: int, before: int) -> Pages:
    """Return rows as pages, at most so many on one, behind so many empty pages."""
    numbers, matrix = rows.numbers, np.stack(rows.columns, dtype=np.int64)
    starts = range(0, len(numbers), PART)
    parts = [_cells(numbers[at : at + PART], matrix[:, at : at + PART], rows.nothing) for at in starts]
    data = np.concatenate([data for data, _ in parts]) if parts else np.zeros(0, np.uint8)
    end = np.cumsum(np.concatenate([sizes for _, sizes in parts])) if parts else np.zeros(0, np.int64)
    cuts = list(_cuts(end, most))
    made = np.zeros((before + len(cuts) - 1, PAGE), np.uint8)
    for page, (start, stop) in zip(made[before:], pairwise(cuts), strict=True):
        lay_out(page, (LEAF, HEAD_BYTES), data, int(end[start - 1]) if start else 0, end[start:stop])
    return Pages(made, np.array(cuts[1:], np.int64))


def lay_out(page: Bytes, kind: tuple[int, int], data: Bytes, begin: int, end: Ints) -> None:
    """Put cells at the end of their page, of a kind with a head of so many bytes, and their places at its beginning."""
    size, (number, head) = int(end[-1]) - begin, kind
    start = PAGE - size
    page[0], page[3:5], page[5:7] = number, two_bytes(np.array(len(end))), two_bytes(np.array(start))
    places = np.concatenate(([begin], end[:-1])) + (start - begin)
    page[head : head + PLACE_BYTES * len(end)] = two_bytes(places).reshape(-1)
    page[start:] = data[begin : begin + size]


def two_bytes(numbers: Ints) -> NDArray[np.uint8]:
    """Return numbers as two bytes, the higher first, (..., 2)."""
    return numbers.astype(">u2")[..., None].view(np.uint8)


def _cuts(end: Ints, most: int) -> Iterator[int]:
    """Yield at which rows pages begin, and where the last ends."""
    start, count = 0, len(end)
    taken = end + PLACE_BYTES * np.arange(1, 1 + count)
    while start < count:
        yield start
        room = (int(taken[start - 1]) if start else 0) + PAGE - HEAD_BYTES
        start = min(int(np.searchsorted(taken, room, side="right")), start + most)
    yield count


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
