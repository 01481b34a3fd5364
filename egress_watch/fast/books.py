"""Books of names in rows, for the accelerator.

In: keys, and numbers of names. Out: the numbers that held. Never: a text, or more rows than the limit allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import CDLL, addressof, byref
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.fast.layout import BookNaming, BookNotes, BookRows, place_of
from egress_watch.model import Flows, Ints

Numbers = NDArray[np.int32]
Mask = NDArray[np.bool_]
RUN = np.dtype(
    [
        ("start", np.int64), ("until", np.int64), ("heard", np.int64), ("name", np.int32), ("rank", np.int32),
        ("older", np.int32), ("spare", np.int32),
    ]
)  # fmt: skip
LINE = np.dtype(
    [
        ("key", np.uint8, (40,)), ("hash", np.uint32), ("next", np.int32), ("before", np.int32), ("after", np.int32),
        ("newest", np.int32), ("runs", np.int32),
    ]
)  # fmt: skip
"""``struct run`` and ``struct line`` in books.c say the same."""
CONNECTION_BYTES, PAIR_BYTES, ADDRESS_BYTES = 37, 32, 16
NOBODY = -1
MOST_OTHERS = 3
FIRST_ROOM = 1 << 10
SPARE = 3
"""Rows beyond the limit: row 0, and what is noted before something else is forgotten."""

COLUMNS: dict[str, type[np.generic]] = {
    "device": np.uint64, "remote": np.uint64, "device_port": np.uint16, "remote_port": np.uint16, "protocol": np.uint8,
    "first_ns": np.int64, "last_ns": np.int64, "since_ns": np.int64, "continued": np.uint8, "order": np.int64,
}  # fmt: skip
"""What is asked of flow records."""


class Notes(NamedTuple):
    """Names to note, one after the other; columns of length n."""

    start: Ints
    until: Ints
    """Nanoseconds, as the start."""
    name: Numbers
    rank: Numbers


class Found(NamedTuple):
    """What books say of flow records; columns of length n."""

    name: Numbers
    """NOBODY without one."""
    rank: Ints
    heard_ns: Ints
    others: Numbers
    """(n, MOST_OTHERS), NOBODY behind the last one."""


class BookInRows:
    """Timelines of names by key, as `names.book` keeps them; its memory grows with what is kept."""

    def __init__(self, library: CDLL, key_bytes: int, limit: int, seed: int) -> None:
        self._library = library
        self.lines, self.runs = np.zeros(0, LINE), np.zeros(0, RUN)
        self._index = np.zeros(0, np.int32)
        self.rows = BookRows(key_bytes=key_bytes, limit=limit, seed=seed, lines_used=1, runs_used=1)
        self.make_room(0)

    def make_room(self, count: int) -> None:
        """Make room for so many more names."""
        rows = self.rows
        need, size = min(rows.kept + count, rows.limit) + SPARE, max(len(self.runs), FIRST_ROOM)
        most = 1 << (rows.limit + SPARE - 1).bit_length()
        while size < need:
            size = min(4 * size, most)  # rows not used yet take no memory: the system gives it where it is written
        if size == len(self.runs):
            return
        self.lines, self.runs = _grown(self.lines, size), _grown(self.runs, size)
        self._index = np.zeros(1 << size.bit_length(), np.int32)
        rows.lines, rows.runs, rows.index = map(place_of, (self.lines, self.runs, self._index))
        rows.index_size = len(self._index)
        self._library.ew_book_index(byref(rows))

    def note(self, keys: NDArray[np.uint8], notes: Notes) -> None:
        """Note names under keys (n, bytes), each of which lies side by side."""
        self.make_room(len(keys))
        places = {name: place_of(column) for name, column in notes._asdict().items()}
        given = BookNotes(keys.ctypes.data, keys.strides[0], len(keys), **places)
        self._library.ew_book_note(byref(self.rows), byref(given))

    def names(self) -> Numbers:
        """Return the numbers of all names that are kept, some of them several times."""
        names = self.runs["name"][1 : self.rows.runs_used]
        kept: Numbers = names[names != NOBODY]
        return kept


class Books:
    """The four books that name flow records."""

    def __init__(self, library: CDLL, limit: int, seed: int) -> None:
        assert (library.ew_line_bytes(), library.ew_run_bytes()) == (LINE.itemsize, RUN.itemsize)
        self._library = library
        self.connections = BookInRows(library, CONNECTION_BYTES, limit, seed)
        self.asked = BookInRows(library, PAIR_BYTES, limit, seed)
        """By who asked and the address."""
        self.known, self.local = (BookInRows(library, ADDRESS_BYTES, limit, seed) for _ in range(2))
        """By the address."""

    def __iter__(self) -> Iterator[BookInRows]:
        """Yield all four."""
        return iter((self.connections, self.asked, self.known, self.local))

    def name(self, flows: Flows, since_ns: Ints, continued: Mask, unknown: int) -> Found:
        """Return the names of flow records; the rank of those without one is ``unknown``.

        ``since_ns`` says how old the name of a connection may be, ``continued`` whether another record will follow.
        """
        count = len(flows)
        self.connections.make_room(int(np.count_nonzero(continued)))
        given = {"since_ns": since_ns, "continued": continued, "order": np.argsort(flows.first_ns, kind="stable")}
        read = {
            name: np.ascontiguousarray(given[name] if name in given else getattr(flows, name), kind)
            for name, kind in COLUMNS.items()
        }
        found = Found(
            np.full(count, NOBODY, np.int32), np.full(count, unknown), np.zeros(count, np.int64),
            np.full((count, MOST_OTHERS), NOBODY, np.int32),
        )  # fmt: skip
        places = {name: place_of(column) for name, column in (read | found._asdict()).items()}
        naming = BookNaming(*(addressof(book.rows) for book in self), count, **places)
        self._library.ew_books_name(byref(naming))
        return found


def _grown(rows: NDArray[Any], size: int) -> NDArray[Any]:
    grown = np.zeros(size, rows.dtype)
    grown[: len(rows)] = rows
    return grown
