"""An open SQLite database: as much of sqlite-utils' `Database` as the store uses.

In: a connection. Out: cursors, and rows as dictionaries. Never: an import of sqlite-utils, which takes as long as
everything else of the store together, and where pandas is installed three times that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class Database:
    """A connection; whoever has one of sqlite-utils may give that instead."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self.conn = conn

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> sqlite3.Cursor:
        """Run a statement."""
        return self.conn.execute(sql, parameters)

    def query(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> Iterator[dict[str, Any]]:
        """Yield the rows of a query by column."""
        cursor = self.conn.execute(sql, parameters)
        names = [column[0] for column in cursor.description]
        return (dict(zip(names, row, strict=True)) for row in cursor)

    def close(self) -> None:
        """Close the connection."""
        self.conn.close()
