"""Texts kept once: the numbers of devices, remotes, names and places.

In: keys. Out: row numbers. Never: an unbounded memory; what is forgotten is looked up again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from sqlite_utils import Database

Key = TypeVar("Key", bound=Hashable)


class Lookup(Generic[Key]):
    """Rows of one table by key, remembered up to ``limit``; ``row`` makes the columns of a key."""

    def __init__(
        self, db: Database, table: str, columns: Sequence[str], row: Callable[[Key], Sequence[object]], unique: int = 0,
        limit: int = 500_000,
    ) -> None:  # fmt: skip
        self._width = unique or len(columns)
        some, where = columns[: self._width], " AND ".join(f"{column} = ?" for column in columns[: self._width])
        marks = ", ".join("?" * len(columns))
        self._db = db
        self._insert = f"INSERT OR IGNORE INTO {table}({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - as below
        self._newest = f"SELECT coalesce(max(id), 0) FROM {table}"  # noqa: S608 - as below
        self._fresh = f"SELECT id, {', '.join(some)} FROM {table} WHERE id > ?"  # noqa: S608 - as below
        self._select = f"SELECT id FROM {table} WHERE {where}"  # noqa: S608 - names from our own schema
        self._row = row
        self._limit = limit
        self._known: dict[Key, int] = {}
        self._forgotten = False
        """Whether what is not remembered is likely to be there: to find a row costs as much as to insert it in vain."""

    def numbers(self, keys: Sequence[Key]) -> list[int]:
        """Return the row number of each key, with new rows inserted in order of appearance."""
        known = self._known
        numbers = [known.get(key, 0) for key in keys]
        if 0 not in numbers:
            return numbers
        new = [key for key in dict.fromkeys(keys) if key not in known]
        self._learn(self._not_recalled(new) if self._forgotten else new)
        return [known[key] for key in keys]

    def forget(self) -> None:
        """Drop what is remembered: the transaction that made it was rolled back, or too much has gathered."""
        self._known.clear()
        self._forgotten = True

    def trim(self) -> None:
        """Keep the memory within its limit; called between batches."""
        if len(self._known) > self._limit:
            self.forget()

    def _not_recalled(self, keys: Sequence[Key]) -> list[Key]:
        """Look up those that are there, and return the others."""
        for key in keys:
            if found := self._db.conn.execute(self._select, tuple(self._row(key))[: self._width]).fetchone():
                self._known[key] = found[0]
        missing = [key for key in keys if key not in self._known]
        self._forgotten = 2 * len(missing) <= len(keys)
        return missing

    def _learn(self, keys: Sequence[Key]) -> None:
        """Insert all at once, which numbers them in their order; where some were there before, read back what was new.

        Only what was there before is asked for row by row.
        """
        rows = [tuple(self._row(key)) for key in keys]
        newest = self._db.conn.execute(self._newest).fetchone()[0]
        if self._db.conn.executemany(self._insert, rows).rowcount == len(rows):
            self._known.update(zip(keys, range(newest + 1, newest + 1 + len(rows)), strict=True))
            return
        fresh = {row[1:]: row[0] for row in self._db.conn.execute(self._fresh, [newest])}
        for key, row in zip(keys, rows, strict=True):
            told = row[: self._width]
            self._known[key] = fresh.get(told) or self._db.conn.execute(self._select, told).fetchone()[0]
