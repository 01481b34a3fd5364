"""Texts kept once: the numbers of devices, remotes, names and places.

In: keys. Out: row numbers. Never: an unbounded memory; what is forgotten is looked up again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
from sqlite_utils import Database

from egress_watch.fast import distinct, known
from egress_watch.model import Ints, Words

Key = TypeVar("Key", bound=Hashable)
LIMIT = 500_000


class Kept(Generic[Key]):
    """The rows of one table by key, of which nothing is remembered here; ``row`` makes the columns of a key."""

    def __init__(
        self, db: Database, table: str, columns: Sequence[str], row: Callable[[Key], Sequence[object]], unique: int = 0
    ) -> None:
        self._width = unique or len(columns)
        some, where = columns[: self._width], " AND ".join(f"{column} = ?" for column in columns[: self._width])
        marks = ", ".join("?" * len(columns))
        self._db = db
        self._insert = f"INSERT OR IGNORE INTO {table}({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - as below
        self._newest = f"SELECT coalesce(max(id), 0) FROM {table}"  # noqa: S608 - as below
        self._fresh = f"SELECT id, {', '.join(some)} FROM {table} WHERE id > ?"  # noqa: S608 - as below
        self._select = f"SELECT id FROM {table} WHERE {where}"  # noqa: S608 - names from our own schema
        self._row = row
        self.forgotten = False
        """Whether what is not remembered is likely to be there: to find a row costs as much as to insert it in vain."""

    def numbers(self, keys: Sequence[Key]) -> Mapping[Key, int]:
        """Return the row of each key, once each, with new ones inserted in their order."""
        there = self._recalled(keys) if self.forgotten else {}
        missing = [key for key in keys if key not in there]
        self.forgotten = self.forgotten and 2 * len(missing) <= len(keys)
        return there | self._inserted(missing)

    def _recalled(self, keys: Sequence[Key]) -> dict[Key, int]:
        """Look up those that are there."""
        found = {key: self._db.conn.execute(self._select, self._told(key)).fetchone() for key in keys}
        return {key: row[0] for key, row in found.items() if row}

    def _told(self, key: Key) -> tuple[object, ...]:
        return tuple(self._row(key))[: self._width]

    def _inserted(self, keys: Sequence[Key]) -> dict[Key, int]:
        """Insert all at once, which numbers them in their order; where some were there before, read back what was new.

        Only what was there before is asked for row by row.
        """
        newest = self._db.conn.execute(self._newest).fetchone()[0]
        # Rows are made as they are asked for: those that live at once are work for the garbage collector.
        if self._db.conn.executemany(self._insert, map(self._row, keys)).rowcount == len(keys):
            return dict(zip(keys, range(newest + 1, newest + 1 + len(keys)), strict=True))
        fresh = {row[1:]: row[0] for row in self._db.conn.execute(self._fresh, [newest])}
        told = ((key, self._told(key)) for key in keys)
        return {key: fresh.get(row) or self._db.conn.execute(self._select, row).fetchone()[0] for key, row in told}


class Lookup(Generic[Key]):
    """The rows of a table by keys of any kind, remembered up to ``limit``."""

    def __init__(self, kept: Kept[Key], limit: int = LIMIT) -> None:
        self._kept, self._limit = kept, limit
        self._known: dict[Key, int] = {}

    def numbers(self, keys: Sequence[Key]) -> list[int]:
        """Return the row number of each key, with new rows inserted in order of appearance."""
        known = self._known
        if new := [key for key in dict.fromkeys(keys) if key not in known]:
            known.update(self._kept.numbers(new))
        return [known[key] for key in keys]

    def forget(self) -> None:
        """Drop what is remembered: the transaction that made it was rolled back, or too much has gathered."""
        self._known.clear()
        self._kept.forgotten = True

    def trim(self) -> None:
        """Keep the memory within its limit; called between batches."""
        if len(self._known) > self._limit:
            self.forget()


class WordLookup:
    """The rows of a table by keys that are words, so many a key: as `Lookup`, by whole columns."""

    def __init__(self, kept: Kept[bytes], width: int, limit: int = LIMIT) -> None:
        self._kept, self._limit, self._known = kept, limit, known(width)

    def numbers(self, words: Words) -> Ints:
        """Return the row number of each key (n, width), with new rows inserted in order of appearance."""
        numbers = self._known.numbers(words)
        if len(new := np.flatnonzero(numbers < 0)):
            first, which = distinct(words[new])
            fresh = words[new[first]]
            learned = np.array(self._in_order(keys_of(fresh)), np.int64)
            self._known.learn(fresh, learned)
            numbers[new] = learned[which]
        return numbers

    def _in_order(self, keys: Sequence[bytes]) -> Sequence[int]:
        rows = self._kept.numbers(keys)
        return [rows[key] for key in keys]

    def forget(self) -> None:
        """Drop what is remembered, as `Lookup` does."""
        self._known.forget()
        self._kept.forgotten = True

    def trim(self) -> None:
        """Keep the memory within its limit; called between batches."""
        if len(self._known) > self._limit:
            self.forget()


def keys_of(words: Words) -> list[bytes]:
    """Return the rows of an array of words as bytes: of all keys of a Python dict they are the cheapest to make."""
    keys: list[bytes] = np.ascontiguousarray(words).view(f"V{8 * words.shape[1]}")[:, 0].tolist()
    return keys
