"""Rows of whole numbers as a database of one table in memory: SQLite reads that faster than bound values.

In: a matrix of integers. Out: the bytes of a database file with the table ``rows`` (c0, c1 ...), for
`Connection.deserialize`. Never: a byte of it in anybody's file; SQLite itself writes what it reads there.

The format is that of sqlite.org/fileformat2.html. All records have the same length, a column as many bytes as its
widest number needs, so pages are copies of each other but for the numbers, and the whole is laid out by columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egress_watch.model import Ints

PAGE = 65536
"""Bytes of a page, the largest there is; 1 stands for it in the file's head."""
LEAF, INNER = 13, 5
"""Kinds of pages: rows, and where pages of rows are."""
MOST_COLUMNS, MOST_ROWS = 100, 1 << 20
"""So that a record's head and a row's number have fixed lengths, and one page of kind INNER leads to all others."""
_NUMBERS = {1: ">i1", 2: ">i2", 4: ">i4", 6: ">i8"}
"""What the numbers of a serial type are."""
PART = 1024
_PAGE_HEAD, _INNER_HEAD, _FILE_HEAD = 8, 12, 100
_PLACE, _KEY = 2, 4
"""Bytes of a cell's place in its page, and of a row's number."""

Page = NDArray[np.uint8]


def image(columns: Sequence[NDArray[Any]]) -> Page:
    """Return the database of rows given as columns of whole numbers, (n,) each, n at least 2."""
    count, width = len(columns[0]), len(columns)
    assert 0 < width <= MOST_COLUMNS
    assert 1 < count <= MOST_ROWS
    kinds = [_kind(column) for column in columns]
    numbers = [(f"c{at}", _NUMBERS[kind]) for at, kind in enumerate(kinds)]
    cell = np.dtype([("length", "u1", 2), ("number", "u1", _KEY), ("head", "u1", 1 + width), *numbers])
    each = (PAGE - _PAGE_HEAD) // (cell.itemsize + _PLACE)
    pages = max(2, -(-count // each))  # a root of kind INNER leads to two pages at least
    each = -(-count // pages) if count < 2 * each else each
    cells = np.empty(count, cell)
    _fill(cells, kinds, columns)
    made, full = np.zeros((2 + pages, PAGE), np.uint8), cells.view(np.uint8).reshape(count, -1)
    last = (pages - 1) * each
    _lay_out(made[2:-1], LEAF, full[:last].reshape(pages - 1, each, -1))
    _lay_out(made[-1:], LEAF, full[None, last:])
    _lay_out(made[1:2], INNER, _ways(pages, each)[None])
    made[1, 8:12] = _bytes(pages + 2, 4)
    _head(made[0], width, len(made))
    return made


def _kind(column: NDArray[Any]) -> int:
    """Return the serial type that holds all numbers of a column."""
    least, most = int(column.min()), int(column.max())
    return next(n for n, of in _NUMBERS.items() if np.iinfo(of).min <= least and most <= np.iinfo(of).max)


def _fill(cells: NDArray[np.void], kinds: Sequence[int], columns: Sequence[NDArray[Any]]) -> None:
    """Write the rows; a part of them at a time, which stays in the cache while its columns come."""
    length = _varint(np.array(cells.dtype.itemsize - 2 - _KEY), 2)
    for start in range(0, len(cells), PART):
        some = cells[start : start + PART]
        some["length"], some["head"] = length, [1 + len(kinds), *kinds]
        some["number"] = _varint(np.arange(start + 1, start + 1 + len(some)), _KEY)
        for at, column in enumerate(columns):
            some[f"c{at}"] = column[start : start + PART]


def _lay_out(pages: NDArray[np.uint8], kind: int, cells: NDArray[np.uint8]) -> None:
    """Put cells (pages, each, bytes) at the end of their pages, and their places at the beginning."""
    _, each, size = cells.shape
    start = PAGE - each * size
    begin = _INNER_HEAD if kind == INNER else _PAGE_HEAD
    pages[:, 0], pages[:, 3:5], pages[:, 5:7] = kind, _bytes(each, 2), _bytes(start, 2)
    pages[:, begin : begin + _PLACE * each] = _bytes(start + size * np.arange(each), _PLACE).reshape(-1)
    pages[:, start:] = cells.reshape(len(pages), -1)


def _ways(pages: int, each: int) -> NDArray[np.uint8]:
    """Return the cells of the root: where each page but the last is, and its last row."""
    at = np.arange(pages - 1)
    return np.concatenate((_bytes(3 + at, 4), _varint((1 + at) * each, _KEY)), axis=1)


def _head(page: Page, width: int, pages: int) -> None:
    """Fill the first page: the head of the file, and the one row of the schema."""
    sql = f"CREATE TABLE rows({', '.join(f'c{at}' for at in range(width))})".encode()
    texts = b"tablerowsrows\x02"
    types = bytes((23, 21, 21, 1)) + _varint(np.array(13 + 2 * len(sql)), 2).tobytes()
    record = bytes((1 + len(types),)) + types + texts + sql
    cell = _varint(np.array(len(record)), 2).tobytes() + b"\x01" + record
    words = {16: (1, 2), 18: (0x01010040, 4), 22: (0x2020, 2), 24: (1, 4), 28: (pages, 4), 40: (1, 4), 44: (4, 4),
             56: (1, 4), 92: (1, 4)}  # fmt: skip
    page[:16] = np.frombuffer(b"SQLite format 3\0", np.uint8)
    for at, (number, size) in words.items():
        page[at : at + size] = _bytes(number, size)
    start = PAGE - len(cell)
    page[start:] = np.frombuffer(cell, np.uint8)
    page[_FILE_HEAD] = LEAF
    page[_FILE_HEAD + 3 : _FILE_HEAD + 5] = _bytes(1, 2)
    page[_FILE_HEAD + 5 : _FILE_HEAD + 7] = page[_FILE_HEAD + 8 : _FILE_HEAD + 10] = _bytes(start, 2)


def _bytes(numbers: Ints | int, size: int) -> NDArray[np.uint8]:
    """Return numbers as bytes, the highest first, (..., size)."""
    return np.asarray(numbers, ">u4")[..., None].view(np.uint8)[..., 4 - size :]


def _varint(numbers: Ints, size: int) -> NDArray[np.uint8]:
    """Return numbers below 128 ** size as that many bytes of seven bits, (..., size)."""
    shifts = 7 * np.arange(size - 1, -1, -1)
    return (numbers[..., None] >> shifts & 127 | np.where(shifts, 128, 0)).astype(np.uint8)
