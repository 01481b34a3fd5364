"""Rows of whole numbers, many to a statement: a statement costs as much as a row.

In: columns of integers. Out: rows of a table. Never: a NULL to bind, since that takes as long as ten numbers; where a
column has one, the statement makes it of a number that stands for it.

To bind a number costs more than to write it. So many rows are given to SQLite as a table in memory (`image`), which it
copies from; few, and all where its library was built without sqlite3_deserialize, are bound. Where the table in memory
is made by the same statement as the one to fill, SQLite takes its records as they are (sqlite.org/lang_insert.html).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from re import sub
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from egress_watch.fast import Nothing, Rows
from egress_watch.store.image import MOST_ROWS, image

VALUES = 960
"""Values of one statement; every SQLite takes 999."""
MANY = 1_000
"""Rows that are worth an image."""
IMAGE = "image"
"""What the database of an image is called on a connection that writes."""


def attach(db: Database) -> None:
    """Make place for images on a connection."""
    db.conn.execute(f"ATTACH ':memory:' AS {IMAGE}")


def worth_an_image(db: Database, rows: int) -> bool:
    """Return whether so many rows go to this connection as an image."""
    return MANY <= rows <= MOST_ROWS and hasattr(db.conn, "deserialize")


class Bulk:
    """An INSERT with the marks of one row, and what follows behind the rows."""

    def __init__(self, into: str, marks: str, then: str = "") -> None:
        self._into, self._marks, self._then = into, f"({marks})", then
        self._together = VALUES // marks.count("?")
        width, number = marks.count("?"), count()
        self._nothing = Nothing(np.zeros(width, np.int64), np.zeros(width, np.uint8))
        columns = sub(r"\?", lambda _: f"c{next(number)}", marks)
        self._made = f"CREATE TABLE rows(id INTEGER PRIMARY KEY, {', '.join(f'c{at}' for at in range(width))})"
        # Without WHERE the ON of an upsert would be taken for that of a join (sqlite.org/lang_upsert.html).
        self._copy = f"{into} SELECT {columns} FROM {IMAGE}.rows WHERE true {then}"  # noqa: S608 - ours

    def write(self, db: Database, columns: Sequence[NDArray[Any]]) -> None:
        """Insert rows, given as columns (n,) for the marks, in their order."""
        if worth_an_image(db, len(columns[0])):
            rows = Rows(np.arange(len(columns[0])), columns, self._nothing)
            db.conn.deserialize(image("rows", self._made, rows).data, name=IMAGE)
            db.conn.execute(self._copy)
        else:
            self._bind(db, np.stack(columns, axis=1, dtype=np.int64))

    def _bind(self, db: Database, rows: NDArray[np.int64]) -> None:
        whole = len(rows) - len(rows) % self._together
        many = np.ascontiguousarray(rows[:whole]).reshape(-1, self._together * rows.shape[1])
        db.conn.executemany(self._statement(self._together), many.tolist())
        db.conn.executemany(self._statement(1), rows[whole:].tolist())

    def _statement(self, rows: int) -> str:
        return f"{self._into} VALUES {', '.join([self._marks] * rows)} {self._then}"


class Same:
    """A table of whole numbers whose first column is its INTEGER PRIMARY KEY: rows are records of it as they come."""

    def __init__(self, db: Database, table: str, null_is: Mapping[str, int]) -> None:
        self._db, self._table = db, table
        made = db.conn.execute("SELECT sql FROM main.sqlite_master WHERE type = 'table' AND name = ?", (table,))
        self._made = str(made.fetchone()[0])
        (self._key, *self._columns) = (row[1] for row in db.conn.execute(f"PRAGMA main.table_info({table})"))
        value = np.array([null_is.get(name, 0) for name in self._columns], np.int64)
        self._nothing = Nothing(value, np.array([name in null_is for name in self._columns], np.uint8))
        # Anything more in this statement, and SQLite takes every record apart again.
        self._copy = f"INSERT INTO main.{table} SELECT * FROM {IMAGE}.{table}"  # noqa: S608 - ours

    def write(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Insert rows, as many as are `worth_an_image`, in the order of their key."""
        rows = Rows(columns[self._key], [columns[name] for name in self._columns], self._nothing)
        self._db.conn.deserialize(image(self._table, self._made, rows).data, name=IMAGE)
        self._db.conn.execute(self._copy)
