"""Sums of flows, kept beside them: what a screen asks of 50 million flows stands in a few thousand rows.

In: flows that are committed. Out: rows of the tables sum_verdict, sum_place, sum_device, sum_remote and sum_pair.
Never: a flow that is counted twice, or left out: ``summed`` says up to which flow they count, readers add the rest.

A slot is so many seconds wide (``width_s``; 0 is all time), and a flow counts in the slot of its last packet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlite_utils import Database

CHUNK_FLOWS = 200_000
"""So many flows are summed together, and a database of fewer has no sums: its flows are read at once as fast."""
REBUILT_FLOWS = 250_000
MINUTE_S, HOUR_S, DAY_S, ALL_S = 60, 3_600, 86_400, 0
SECOND_NS = 1_000_000_000


class Cube(NamedTuple):
    """A table of sums: by which columns, and in slots of which widths."""

    table: str
    columns: tuple[str, ...]
    widths: tuple[int, ...]


CUBES = (
    Cube("sum_verdict", ("verdict",), (MINUTE_S, HOUR_S)),
    Cube("sum_place", ("place",), (ALL_S, HOUR_S, DAY_S)),
    Cube("sum_device", ("device", "vlan", "verdict"), (ALL_S, HOUR_S, DAY_S)),
    Cube("sum_remote", ("remote", "name", "place"), (HOUR_S,)),
    Cube("sum_pair", ("device", "vlan", "remote", "name", "port", "protocol", "place"), (ALL_S, DAY_S)),
)
"""From the smallest to the largest: a question is put to the first that has all its columns."""
VALUES = ("flows", "bytes_out", "bytes_in", "first_flow", "last_flow", "last_ns")

_TABLE = """
CREATE TABLE {table}(
  width_s INTEGER NOT NULL, slot INTEGER NOT NULL, recording INTEGER NOT NULL REFERENCES recording, {columns},
  flows INTEGER NOT NULL, bytes_out INTEGER NOT NULL, bytes_in INTEGER NOT NULL, first_flow INTEGER NOT NULL,
  last_flow INTEGER NOT NULL, last_ns INTEGER NOT NULL,
  PRIMARY KEY(width_s, slot, recording, {keys})) WITHOUT ROWID
"""
_CHUNK = f"""
CREATE TEMP TABLE chunk AS
  SELECT (first_ns + duration_ns) / {MINUTE_S * SECOND_NS} AS minute, flow.recording, device, vlan, remote,
    coalesce(name, 0) AS name, remote_port AS port, protocol, place, place.verdict, count(*) AS flows,
    sum(bytes_out) AS bytes_out, sum(bytes_in) AS bytes_in, min(flow.id) AS first_flow, max(flow.id) AS last_flow,
    max(first_ns + duration_ns) AS last_ns
  FROM flow JOIN place ON place.id = flow.place WHERE flow.id > ? AND flow.id <= ?
  GROUP BY minute, flow.recording, device, vlan, remote, 6, remote_port, protocol, place
"""
_NARROW = """
CREATE TEMP TABLE narrow AS
  SELECT minute / 60 * 60 AS minute, recording, device, vlan, place, verdict, sum(flows) AS flows,
    sum(bytes_out) AS bytes_out, sum(bytes_in) AS bytes_in, min(first_flow) AS first_flow, max(last_flow) AS last_flow,
    max(last_ns) AS last_ns
  FROM temp.chunk GROUP BY 1, 2, 3, 4, 5
"""
"""The same by the hour without remotes: a few times fewer rows for what does not ask for them."""
_ADD = """
INSERT INTO {table}(width_s, slot, recording, {keys}, flows, bytes_out, bytes_in, first_flow, last_flow, last_ns)
  SELECT {width}, {slot} AS slot, recording, {keys}, sum(flows), sum(bytes_out), sum(bytes_in), min(first_flow),
    max(last_flow), max(last_ns)
  FROM temp.{rows} GROUP BY slot, recording, {keys}
ON CONFLICT DO UPDATE SET flows = flows + excluded.flows, bytes_out = bytes_out + excluded.bytes_out,
  bytes_in = bytes_in + excluded.bytes_in, first_flow = min(first_flow, excluded.first_flow),
  last_flow = max(last_flow, excluded.last_flow), last_ns = max(last_ns, excluded.last_ns)
"""
_MANY = "SELECT 1 FROM flow LIMIT 1 OFFSET ?"
_TO = "SELECT max(id) FROM (SELECT id FROM flow WHERE id > ? ORDER BY id LIMIT ?)"


def tables() -> list[str]:
    """Return the statements that make the tables."""
    made = ["CREATE TABLE summed(flow INTEGER NOT NULL)", "INSERT INTO summed VALUES (0)"]
    for cube in CUBES:
        columns = ", ".join(f"{name} {'TEXT' if name == 'verdict' else 'INTEGER'} NOT NULL" for name in cube.columns)
        made.append(_TABLE.format(table=cube.table, columns=columns, keys=", ".join(cube.columns)))
    return made


def up_to(db: Database) -> int:
    """Return the newest flow that the sums count."""
    return int(db.conn.execute("SELECT flow FROM summed").fetchone()[0])


class Sums:
    """Keeps the sums near the flows while a recording grows."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting = -1

    def grow(self, flows: int) -> None:
        """Note that so many flows were written, and sum them where it is worth it; called within a transaction.

        Other recordings may have written meanwhile: all there is gets summed, so one number says how far.
        """
        if self._waiting < 0:
            waiting = "SELECT count(*) FROM (SELECT 1 FROM flow WHERE id > ? LIMIT ?)"
            self._waiting = self._db.conn.execute(waiting, (up_to(self._db), CHUNK_FLOWS)).fetchone()[0]
        else:
            self._waiting += flows
        if self._waiting >= CHUNK_FLOWS:
            self.settle()

    def settle(self) -> None:
        """Sum what is left, unless the database is small; called within a transaction."""
        if self._waiting >= CHUNK_FLOWS or up_to(self._db):
            add(self._db)
        self._waiting = 0

    def forget(self) -> None:
        """Count anew what waits: the transaction was rolled back."""
        self._waiting = -1


def step_back(db: Database) -> None:
    """Take flows as not summed that may come again under the ids of some that were removed; in a transaction."""
    db.conn.execute("UPDATE summed SET flow = min(flow, (SELECT coalesce(max(id), 0) FROM flow))")


def rebuild(db: Database) -> None:
    """Make the sums anew from the flows; called within a transaction."""
    for cube in CUBES:
        db.conn.execute(f"DELETE FROM {cube.table}")
    db.conn.execute("UPDATE summed SET flow = 0")
    if db.conn.execute(_MANY, (CHUNK_FLOWS - 1,)).fetchone():
        add(db)


def add(db: Database) -> None:
    """Sum the flows behind the newest that is summed; called within a transaction."""
    after = up_to(db)
    while (to := db.conn.execute(_TO, (after, REBUILT_FLOWS)).fetchone()[0]) is not None:
        db.conn.execute(_CHUNK, (after, to))
        db.conn.execute(_NARROW)
        for statement in _additions():
            db.conn.execute(statement)
        db.conn.execute("DROP TABLE temp.narrow")
        db.conn.execute("DROP TABLE temp.chunk")
        db.conn.execute("UPDATE summed SET flow = ?", (to,))
        after = to


def _additions() -> Iterator[str]:
    for cube in CUBES:
        rows = "narrow" if cube.table in {"sum_place", "sum_device"} else "chunk"
        for width in cube.widths:
            slot = f"minute / {width // MINUTE_S}" if width else "0"
            yield _ADD.format(table=cube.table, keys=", ".join(cube.columns), width=width, slot=slot, rows=rows)
