"""Many rows at once are the same rows, bound or copied from an image."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

from egress_watch.fast import Nothing, Rows
from egress_watch.fast.records import PAGE
from egress_watch.model import Ints
from egress_watch.store.bulk import MANY, VALUES, Bulk, Same, attach
from egress_watch.store.image import MOST_COLUMNS, image

EDGES = [sign * (1 << bits) + by for bits in (0, 7, 15, 23, 31, 47, 62) for sign in (1, -1) for by in (-1, 0, 1)]
LEAST, MOST = -(1 << 63), (1 << 63) - 1


class Without:
    """A connection of an SQLite that was built without sqlite3_deserialize."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.execute, self.executemany = connection.execute, connection.executemany


def database(*, images: bool = True) -> Database:
    """Return an empty database."""
    db = Database(sqlite3.connect(":memory:", isolation_level=None))
    attach(db)
    if not images:
        db.conn = Without(db.conn)  # type: ignore[assignment]
    return db


@pytest.mark.parametrize("images", [True, False])
@pytest.mark.parametrize("count", [0, 1, VALUES // 2 - 1, VALUES // 2, VALUES + 1, MANY - 1, MANY, 50_000])
def test_every_row_is_written_once(count: int, images: bool) -> None:
    """Whole statements and what is left over, one page and several: all rows, in their order, NULL where it stands."""
    db = database(images=images)
    db.conn.execute("CREATE TABLE pair(a INTEGER, b INTEGER, c INTEGER)")
    columns = np.arange(count), np.arange(count) % 3 - 1
    Bulk("INSERT INTO pair", "9, ?, nullif(?, -1)").write(db, columns)
    found = db.conn.execute("SELECT * FROM pair ORDER BY rowid").fetchall()
    assert found == [(9, number, None if number % 3 == 0 else number % 3 - 1) for number in range(count)]


@pytest.mark.parametrize("count", [VALUES // 4, MANY])
def test_rows_that_are_there_are_added_to(count: int) -> None:
    """What follows the rows holds for each of them, also for two of one statement."""
    db = database()
    db.conn.execute("CREATE TABLE total(a INTEGER PRIMARY KEY, b INTEGER)")
    columns = np.array([(1, 2), (1, 3), (2, 5)] * count).T
    Bulk("INSERT INTO total", "?, ?", "ON CONFLICT DO UPDATE SET b = b + excluded.b").write(db, columns)
    assert db.conn.execute("SELECT * FROM total").fetchall() == [(1, 5 * count), (2, 5 * count)]


def test_an_image_comes_and_goes_within_a_transaction() -> None:
    """What was rolled back is not there, and images before and after it are."""
    db = database()
    db.conn.execute("CREATE TABLE number(a INTEGER)")
    for end in ("COMMIT", "ROLLBACK", "COMMIT"):
        db.conn.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            Bulk("INSERT INTO number", "?").write(db, [np.arange(MANY)])
        db.conn.execute(end)
    assert db.conn.execute("SELECT count(*), sum(a) FROM number").fetchone() == (4 * MANY, 2 * MANY * (MANY - 1))


def read(columns: list[Ints], numbers: Ints | None = None) -> list[tuple[int | None, ...]]:
    """Return the rows of an image as SQLite reads them, which finds nothing wrong with it; -2 stands for NULL."""
    names = ", ".join(f"c{at}" for at in range(len(columns)))
    nothing = Nothing(np.full(len(columns), -2), np.ones(len(columns), np.uint8))
    with closing(sqlite3.connect(":memory:")) as connection:
        rows = np.arange(len(columns[0])) if numbers is None else numbers
        sql = f"CREATE TABLE some(id INTEGER PRIMARY KEY, {names})"
        connection.deserialize(image("some", sql, Rows(rows, columns, nothing)).data)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute(f"SELECT {'id, ' * (numbers is not None)}{names} FROM some ORDER BY id").fetchall()


@given(st.lists(st.lists(st.sampled_from([*EDGES, LEAST, MOST]), min_size=3, max_size=3), min_size=2, max_size=30))
def test_an_image_holds_every_number(rows: list[list[int]]) -> None:
    """However wide a number is, it comes back, and so does what is none."""
    found = [tuple(None if number == -2 else number for number in row) for row in rows]
    assert read(list(np.array(rows, np.int64).T)) == found


@given(st.lists(st.sampled_from([number for number in EDGES if number >= 0]), min_size=2, unique=True))
def test_rows_of_an_image_keep_their_numbers(numbers: list[int]) -> None:
    """A row is found under the number that it was given, of one byte or of nine."""
    keys = np.array(sorted(numbers), np.int64)
    assert read([keys], keys) == [(number, number) for number in sorted(numbers)]


@pytest.mark.parametrize("width", [1, 2, MOST_COLUMNS])
@pytest.mark.parametrize("pages", [1, 2, 3, 40])
def test_pages_of_an_image_are_filled_to_the_last_row(width: int, pages: int) -> None:
    """One row more or less than a page, or two, or forty hold: SQLite finds them all in their order."""
    each = (PAGE - 8) // (2 + (2 if width > 40 else 1) + 3 + 2 + width + 6 + 2 * (width - 1))
    for count in (each * pages - 1, each * pages, each * pages + 1):
        columns = [np.arange(count) + (1 << 40)] + [np.arange(count) % 30_000 + 200] * (width - 1)
        found = read(columns, np.arange(count) + (1 << 14))
        assert len(found) == count
        assert [row[1:] for row in found[::997]] == list(zip(*(one[::997].tolist() for one in columns), strict=True))
        assert found[-1][1:] == tuple(column[-1] for column in columns)


def flow_like() -> Database:
    """Return a database with a table of whole numbers, and one row in it."""
    db = database()
    db.conn.execute("CREATE TABLE number(id INTEGER PRIMARY KEY, a INTEGER NOT NULL, b INTEGER, c INTEGER DEFAULT 7)")
    db.conn.execute("INSERT INTO number VALUES (1, 2, NULL, 3)")
    return db


def test_a_table_takes_records_as_they_are() -> None:
    """They are the rows that a plain INSERT writes, on as many pages, behind those that are there."""
    columns = {
        "id": np.arange(3 * MANY) + 2, "a": np.arange(3 * MANY) - MANY, "b": np.arange(3 * MANY) % 3,
        "c": np.arange(3 * MANY) << 20,
    }  # fmt: skip
    taken, bound = flow_like(), flow_like()
    Same(taken, "number", {"b": 2}).write(columns)
    rows = np.stack([columns[name] for name in ("id", "a", "b", "c")], axis=1)
    bound.conn.executemany("INSERT INTO number VALUES (?, ?, nullif(?, 2), ?)", rows.tolist())
    for told in ("SELECT * FROM number", "PRAGMA page_count"):
        assert taken.conn.execute(told).fetchall() == bound.conn.execute(told).fetchall()
    assert taken.conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_row_whose_number_is_taken_is_refused() -> None:
    """No row is replaced in silence, and none of its image stays."""
    db = flow_like()
    some = dict.fromkeys(("id", "a", "b", "c"), np.arange(MANY))
    with pytest.raises(sqlite3.IntegrityError):
        Same(db, "number", {}).write(some)
    assert db.conn.execute("SELECT * FROM number").fetchall() == [(1, 2, None, 3)]
