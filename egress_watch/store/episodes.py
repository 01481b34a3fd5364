"""The alerts of one recording: a new episode is a row, and a running one grows.

In: `Alert` rows of a batch. Out: rows of the table alert. Never: a hit counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlite_utils import Database

from egress_watch.model import Alert

LIMIT = 200_000
"""Episodes whose row is remembered; any further one is found by its key."""

_GROWN = """first_ns = min(first_ns, {0}), last_ns = max(last_ns, {1}), hits = hits + {2}, bytes_out = bytes_out + {3},
  bytes_in = bytes_in + {4}, remote_ip = {5}, verdict = {6}, last_flow = {7}, why = {8}"""
_COLUMNS = ("first_ns", "last_ns", "hits", "bytes_out", "bytes_in", "remote_ip", "verdict", "last_flow", "why")
_GROW = f"UPDATE alert SET {_GROWN.format(*'?' * 9)} WHERE id = ? AND last_flow < ?"  # noqa: S608 - constants
_BEGIN = f"""
INSERT INTO alert(recording, dataset, id, first_ns, last_ns, hits, bytes_out, bytes_in, remote_ip, verdict, last_flow,
  why, first_flow, rule, title, level, device, owner, country, network)
VALUES ({{recording:d}}, {{dataset:d}}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT(recording, rule, device, owner, country, network) DO UPDATE
SET {_GROWN.format(*(f"excluded.{column}" for column in _COLUMNS))} WHERE excluded.first_flow > last_flow
"""  # noqa: S608 - constants
Key = tuple[str, int, str, str, str]


class Episodes:
    """Knows the rows of up to ``limit`` episodes, since to look for one by its key costs as much as to write it.

    Only this object writes alerts of its recording. So as long as it has room for all, an episode that it does not
    know is new; from then on such a one may be known to the table.
    """

    def __init__(self, db: Database, recording: int, dataset: int, limit: int = LIMIT) -> None:
        self._db = db
        self._begin = _BEGIN.format(recording=recording, dataset=dataset)
        self._room = limit
        self._rows: dict[Key, int] = {}
        self._fresh: dict[Key, int] = {}

    def add(self, alerts: Iterable[Alert]) -> None:
        """Write a batch's episodes within a transaction; `keep` follows once it is committed."""
        query = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'alert'"
        newest = self._db.conn.execute(query).fetchone()[0]
        known, self._fresh = self._rows, {}
        begun, grown = [], []
        for alert in alerts:
            (rule, title, level, device, _, remote_ip, owner, country, verdict, first_ns, last_ns, hits, bytes_out,
             bytes_in, first_flow, last_flow, why, network) = alert  # fmt: skip
            key = rule, device, owner, country, network
            values = first_ns, last_ns, hits, bytes_out, bytes_in, remote_ip, verdict, last_flow, why
            if row := known.get(key) or self._fresh.get(key):
                grown.append((*values, row, first_flow))
                continue
            newest += 1
            if self._room:
                self._fresh[key] = newest
            begun.append((newest, *values, first_flow, rule, title, level, device, owner, country, network))
        self._db.conn.executemany(self._begin, begun)
        self._db.conn.executemany(_GROW, grown)

    def keep(self) -> None:
        """Remember what `add` began: it is committed."""
        self._room = max(0, self._room - len(self._fresh))
        if self._room:
            self._rows |= self._fresh
