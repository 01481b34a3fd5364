"""Rows of whole numbers as a database of one table in memory: SQLite reads that faster than bound values.

In: numbers of rows, and their columns of integers. Out: the bytes of a database file, for `Connection.deserialize`.
Never: a byte of it in anybody's file; SQLite itself writes what it reads there.

The format is that of sqlite.org/fileformat2.html. Records are as SQLite itself would write them, so that it can take
them over whole where the table is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egress_watch.fast import Nothing, records
from egress_watch.model import Bytes, Ints

PAGE = 65536
"""Bytes of a page, the largest there is; 1 stands for it in the file's head."""
LEAF, INNER = 13, 5
"""Kinds of pages: rows, and where pages of rows are."""
MOST_COLUMNS, MOST_ROWS = 100, 1 << 19
"""So that one page of kind INNER leads to all others."""
_PAGE_HEAD, _INNER_HEAD, _FILE_HEAD = 8, 12, 100
_PLACE = 2
"""Bytes of a cell's place in its page."""


def image(name: str, sql: str, numbers: Ints, columns: Sequence[NDArray[Any]], nothing: Nothing | None = None) -> Bytes:
    """Return the database of a table made by ``sql``, whose first column is the INTEGER PRIMARY KEY.

    ``numbers`` (n,) are that column, rising, n at least 2; ``columns`` (n,) each all others.
    """
    width, count = len(columns), len(numbers)
    assert width <= MOST_COLUMNS
    assert 1 < count <= MOST_ROWS
    cells = records(numbers, columns, nothing or Nothing(np.zeros(width, np.int64), np.zeros(width, np.uint8)))
    cuts = list(_cuts(cells.end))
    made = np.zeros((1 + len(cuts), PAGE), np.uint8)
    for page, (start, stop) in zip(made[2:], pairwise(cuts), strict=True):
        _lay_out(page, LEAF, cells.data, int(cells.end[start - 1]) if start else 0, cells.end[start:stop])
    _lead(made[1], numbers[np.array(cuts[1:-1]) - 1])
    _head(made[0], name, sql, len(made))
    return made


def _cuts(end: Ints) -> Iterator[int]:
    """Yield at which rows pages begin, and where the last ends; a root of kind INNER leads to two pages at least."""
    start, count = 0, len(end)
    taken = end + _PLACE * np.arange(1, 1 + count)
    while start < count:
        yield start
        room = (int(taken[start - 1]) if start else 0) + PAGE - _PAGE_HEAD
        start = min(int(np.searchsorted(taken, room, side="right")), start + -(-count // 2))
    yield count


def _lay_out(page: Bytes, kind: int, data: Bytes, begin: int, end: Ints) -> None:
    """Put cells at the end of their page, and their places at its beginning."""
    size, head = int(end[-1]) - begin, _INNER_HEAD if kind == INNER else _PAGE_HEAD
    start = PAGE - size
    page[0], page[3:5], page[5:7] = kind, _bytes(len(end), 2), _bytes(start, 2)
    places = np.concatenate(([begin], end[:-1])) + (start - begin)
    page[head : head + _PLACE * len(end)] = _bytes(places, _PLACE).reshape(-1)
    page[start:] = data[begin : begin + size]


def _lead(page: Bytes, last: Ints) -> None:
    """Fill the root: where each page of rows but the last is, and the number of its last row."""
    ways = [(3 + at).to_bytes(4, "big") + _varint(number) for at, number in enumerate(last.tolist())]
    data = np.frombuffer(b"".join(ways), np.uint8)
    _lay_out(page, INNER, data, 0, np.cumsum([len(way) for way in ways]))
    page[8:12] = _bytes(len(ways) + 3, 4)


def _head(page: Bytes, name: str, sql: str, pages: int) -> None:
    """Fill the first page: the head of the file, and the one row of the schema."""
    texts = [text.encode() for text in ("table", name, name, sql)]
    kinds = [13 + 2 * len(text) for text in texts]
    types = b"".join(map(_varint, (*kinds[:3], 1, kinds[3])))
    record = bytes((1 + len(types),)) + types + b"".join(texts[:3]) + b"\x02" + texts[3]
    cell = _varint(len(record)) + b"\x01" + record
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


def _varint(number: int) -> bytes:
    """Return a number as seven bits a byte, and eight in the ninth."""
    if number >> 56:
        return bytes((number >> shift & 127 | 128) for shift in range(57, 1, -7)) + bytes((number & 255,))
    parts = [number >> shift & 127 | 128 for shift in range(0, max(number.bit_length(), 1), 7)]
    parts[0] &= 127
    return bytes(reversed(parts))
