"""A committed batch of flows that rules can ask.

In: a range of flow ids. Out: the rows a predicate selects. Never: a change to the database, or an endless query.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from typing import Any

from sqlite_utils import Database

from egress_watch.errors import RuleError
from egress_watch.store.file import trouble

COLUMNS = (
    "id", "device", "device_ip", "remote_ip", "name", "owner", "owner_seat", "country", "as_name", "verdict", "why",
    "first_ns", "last_ns", "bytes_out", "bytes_in",
)  # fmt: skip
"""What an episode is made of; a rule may ask for any column of the view."""
_LIST = ", ".join(COLUMNS)
RULE_LIMIT_S = 2.0
STEPS_BETWEEN_LOOKS = 10_000


class Batch:
    """The flows with ids from ``first`` to ``last``, joined once however many rules ask."""

    def __init__(self, db: Database, path: str, first: int, last: int) -> None:
        self._db, self._path = db, path
        self.first, self.last = first, last
        self._joined = False

    def matching(self, predicate: str) -> list[Mapping[str, Any]]:
        """Return COLUMNS of the rows for which the predicate holds; RuleError where it fails or takes too long."""
        if self.last < self.first:
            return []
        self._join()
        connection = self._db.conn
        deadline = time.monotonic() + RULE_LIMIT_S
        connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS_BETWEEN_LOOKS)
        try:
            select = f"SELECT {_LIST} FROM temp.batch AS flows WHERE ({predicate})"  # noqa: S608 - compiled by us
            return [dict(zip(COLUMNS, row, strict=True)) for row in connection.execute(select)]
        except sqlite3.Error as error:
            slow = "interrupted" in str(error)
            what = f"took longer than {RULE_LIMIT_S:g} s over one batch" if slow else str(error)
            raise RuleError(what, remedy="narrow the rule; see `rules check`") from error
        finally:
            connection.set_progress_handler(None, 0)

    def _join(self) -> None:
        if self._joined:
            return
        with trouble(self._path):
            self._db.conn.execute("DROP TABLE IF EXISTS temp.batch")
            select = f"SELECT * FROM flows WHERE id BETWEEN {self.first:d} AND {self.last:d}"  # noqa: S608 - two integers
            self._db.conn.execute(f"CREATE TEMP TABLE batch AS {select}")
        self._joined = True
