"""Many rows to a statement are the same rows."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest
from sqlite_utils import Database

from egress_watch.store.bulk import VALUES, Bulk


@pytest.mark.parametrize("count", [0, 1, VALUES // 2 - 1, VALUES // 2, VALUES + 1])
def test_every_row_is_written_once(count: int) -> None:
    """Whole statements and what is left over: all rows, in their order, NULL where a number stands for it."""
    db = Database(sqlite3.connect(":memory:"))
    db.conn.execute("CREATE TABLE pair(a INTEGER, b INTEGER, c INTEGER)")
    rows = np.stack((np.arange(count), np.arange(count) % 3 - 1), axis=1)
    Bulk("INSERT INTO pair", "9, ?, nullif(?, -1)").write(db, rows)
    found = db.conn.execute("SELECT * FROM pair ORDER BY rowid").fetchall()
    assert found == [(9, number, None if number % 3 == 0 else number % 3 - 1) for number in range(count)]


def test_rows_that_are_there_are_added_to() -> None:
    """What follows the rows holds for each of them, also for two of one statement."""
    db = Database(sqlite3.connect(":memory:"))
    db.conn.execute("CREATE TABLE total(a INTEGER PRIMARY KEY, b INTEGER)")
    Bulk("INSERT INTO total", "?, ?", "ON CONFLICT DO UPDATE SET b = b + excluded.b").write(
        db, np.array([(1, 2), (1, 3), (2, 5)] * 400)
    )
    assert db.conn.execute("SELECT * FROM total").fetchall() == [(1, 2000), (2, 2000)]
