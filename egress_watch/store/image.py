"""Rows of whole numbers as a database of one table in memory: SQLite reads that faster than bound values.

In: numbers of rows, and their columns of integers. Out: the bytes of a database file, for `Connection.deserialize`.
Never: a byte of it in anybody's file; SQLite itself writes what it reads there.

The format is that of sqlite.org/fileformat2.html. Records are as SQLite itself would write them, so that it can take
them over whole where the table is the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from egress_watch.fast import Rows, records
from egress_watch.fast.records import LEAF, PAGE, lay_out
from egress_watch.model import Bytes, Ints

MOST_COLUMNS, MOST_ROWS = 50, 1 << 19
"""So that one page of kind INNER leads to all others."""
INNER, _INNER_HEAD, _FILE_HEAD = 5, 12, 100
"""The kind of a page that tells where pages of rows are; bytes of its head, and of the file's."""


def image(name: str, sql: str, rows: Rows) -> Bytes:
    """Return the database of a table made by ``sql``, whose first column, an INTEGER PRIMARY KEY, numbers its rows.

    There are two rows at least: a root of kind INNER leads to two pages or more.
    """
    count = len(rows.numbers)
    assert len(rows.columns) <= MOST_COLUMNS
    assert 1 < count <= MOST_ROWS
    made, end = records(rows, -(-count // 2), before=2)
    _lead(made[1], rows.numbers[end[:-1] - 1])
    _head(made[0], name, sql, len(made))
    return made


def _lead(page: Bytes, last: Ints) -> None:
    """Fill the root: where each page of rows but the last is, and the number of its last row."""
    ways = [(3 + at).to_bytes(4, "big") + _varint(number) for at, number in enumerate(last.tolist())]
    data = np.frombuffer(b"".join(ways), np.uint8)
    lay_out(page, (INNER, _INNER_HEAD), data, 0, np.cumsum([len(way) for way in ways]))
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
