"""Rows of whole numbers, many to a statement: a statement costs as much as a row.

In: a matrix of integers. Out: rows of a table. Never: a NULL to bind, since that takes as long as ten numbers; where a
column has one, the statement makes it of a number that stands for it.
"""

from __future__ import annotations

import numpy as np
from sqlite_utils import Database

from egress_watch.model import Ints

VALUES = 960
"""Values of one statement; every SQLite takes 999."""


class Bulk:
    """An INSERT with the marks of one row, and what follows behind the rows."""

    def __init__(self, into: str, marks: str, then: str = "") -> None:
        self._into, self._marks, self._then = into, f"({marks})", then
        self._together = VALUES // marks.count("?")

    def write(self, db: Database, rows: Ints) -> None:
        """Insert rows (n, marks) in their order."""
        whole = len(rows) - len(rows) % self._together
        many = np.ascontiguousarray(rows[:whole]).reshape(-1, self._together * rows.shape[1])
        db.conn.executemany(self._statement(self._together), many.tolist())
        db.conn.executemany(self._statement(1), rows[whole:].tolist())

    def _statement(self, rows: int) -> str:
        return f"{self._into} VALUES {', '.join([self._marks] * rows)} {self._then}"
