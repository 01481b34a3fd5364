"""Texts kept once: the numbers of devices, remotes, names and places.

In: keys. Out: row numbers. Never: an unbounded memory; what is forgotten is looked up again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from sqlite_utils import Database

Key = TypeVar("Key", bound=Hashable)


class Lookup(Generic[Key]):
    """Rows of one table by key, remembered up to ``limit``; ``row`` makes the columns of a key."""

    def __init__(
        self, db: Database, table: str, columns: Sequence[str], row: Callable[[Key], Sequence[object]], unique: int = 0,
        limit: int = 500_000,
    ) -> None:  # fmt: skip
        marks = ", ".join("?" * len(columns))
        where = " AND ".join(f"{column} = ?" for column in columns[: unique or len(columns)])
        self._db = db
        self._insert = f"INSERT OR IGNORE INTO {table}({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - as below
        self._select = f"SELECT id FROM {table} WHERE {where}"  # noqa: S608 - names from our own schema
        self._row = row
        self._unique = unique or len(columns)
        self._limit = limit
        self._known: dict[Key, int] = {}

    def numbers(self, keys: Sequence[Key]) -> list[int]:
        """Return the row number of each key, with new rows inserted in order of appearance."""
        known = self._known
        if missing := [key for key in dict.fromkeys(keys) if key not in known]:
            self._learn(missing)
        return [known[key] for key in keys]

    def forget(self) -> None:
        """Drop what is remembered: the transaction that made it was rolled back, or too much has gathered."""
        self._known.clear()

    def trim(self) -> None:
        """Keep the memory within its limit; called between batches."""
        if len(self._known) > self._limit:
            self.forget()

    def _learn(self, keys: Iterable[Key]) -> None:
        rows = [(key, tuple(self._row(key))) for key in keys]
        self._db.conn.executemany(self._insert, [row for _, row in rows])
        for key, row in rows:
            found = self._db.conn.execute(self._select, row[: self._unique]).fetchone()
            self._known[key] = int(found[0])
