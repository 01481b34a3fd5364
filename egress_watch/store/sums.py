"""Sums of flows, kept beside them: what a screen asks of 50 million flows stands in a few thousand rows.

In: flows that are committed. Out: rows of the tables sum_verdict, sum_place, sum_sender, sum_device, sum_remote and
sum_pair. Never: a flow that is counted twice, or left out: ``summed`` says up to which flow they count, readers add the
rest.

A slot is so many seconds wide (``width_s``; 0 is all time), and a flow counts in the slot of its last packet.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlite_utils import Database

from egress_watch.model import VERDICTS
from egress_watch.store.bulk import Bulk
from egress_watch.store.grouped import NONE, WORST_FIRST, Rows, stretch

CHUNK_FLOWS = 200_000
"""So many flows are summed together, and a database of fewer has no sums: its flows are read at once as fast."""
REBUILT_FLOWS = 250_000
SLOW_FLOWS, SLOW_S = 20_000, 60.0
"""Where sums have begun and flows come slowly, so few are summed together, and not more often than that: screens read
what is not summed flow by flow."""
MINUTE_S, QUARTER_S, HOUR_S, SIX_HOURS_S, DAY_S, ALL_S = 60, 900, 3_600, 21_600, 86_400, 0
SECOND_NS = 1_000_000_000


class Cube(NamedTuple):
    """A table of sums: by which columns, and in slots of which widths."""

    table: str
    columns: tuple[str, ...]
    widths: tuple[int, ...]


VERDICT = Cube("sum_verdict", ("verdict",), (MINUTE_S, HOUR_S))
PLACE = Cube("sum_place", ("place",), (ALL_S, QUARTER_S, HOUR_S, SIX_HOURS_S, DAY_S))
SENDER = Cube("sum_sender", ("device", "vlan"), (QUARTER_S, HOUR_S, SIX_HOURS_S, DAY_S))
DEVICE = Cube("sum_device", ("device", "vlan", "verdict"), (ALL_S, DAY_S))
REMOTE = Cube("sum_remote", ("remote", "name", "place"), (HOUR_S, SIX_HOURS_S, DAY_S))
PAIR = Cube("sum_pair", ("device", "vlan", "remote", "name", "port", "protocol", "place"), (ALL_S, DAY_S))
CUBES = (VERDICT, PLACE, SENDER, DEVICE, REMOTE, PAIR)
"""From the smallest to the largest: a question is put to the first that has all its columns."""
HOURS = Cube("hour", ("device", "vlan", "place"), (HOUR_S,))
"""The sums of `hours`, as they are asked beside those made here; they count every flow at once."""
_RANKS = " ".join(f"WHEN '{name}' THEN {rank}" for rank, name in enumerate(WORST_FIRST))
WORST = f"CASE verdict {_RANKS} ELSE 1 END"
SPLIT = {
    "worst": WORST, **{f"out_{n}": f"CASE verdict WHEN '{name}' THEN bytes_out END" for n, name in enumerate(VERDICTS)}
}  # fmt: skip
"""What a sum by device tells of verdicts, made of a row that has one; bytes are NULL where there is none."""
SPLIT_SUMS = ", ".join(f"{'min' if name == 'worst' else 'sum'}({name}) AS {name}" for name in SPLIT)
VALUES = ("flows", "bytes_out", "bytes_in", "first_flow", "last_flow", "last_ns")

_TABLE = """
CREATE TABLE {table}(
  width_s INTEGER NOT NULL, slot INTEGER NOT NULL, recording INTEGER NOT NULL REFERENCES recording, {columns},
  flows INTEGER NOT NULL, bytes_out INTEGER NOT NULL, bytes_in INTEGER NOT NULL, first_flow INTEGER NOT NULL,
  last_flow INTEGER NOT NULL, last_ns INTEGER NOT NULL, {split}
  PRIMARY KEY(width_s, slot, recording, {keys})) WITHOUT ROWID
"""
_MANY = "SELECT 1 FROM flow LIMIT 1 OFFSET ?"
_TO = "SELECT max(id) FROM (SELECT id FROM flow WHERE id > ? AND id <= ? ORDER BY id LIMIT ?)"
_WHENS = " ".join(f"WHEN {number} THEN '{name}'" for number, name in enumerate(VERDICTS))
_MARKS = {
    "verdict": f"CASE ? {_WHENS} END",
    **{name: f"nullif(?, {NONE})" for name in SPLIT if name != "worst"},
}
"""How a number is written that stands for something else."""
_THOSE = """recording IN (SELECT id FROM recording WHERE thinned_hour IS NULL
  AND id IN (SELECT value FROM json_each('{some}')))"""


def tables() -> list[str]:
    """Return the statements that make the tables of version 10 of the schema."""
    made = ["CREATE TABLE summed(flow INTEGER NOT NULL)", "INSERT INTO summed VALUES (0)"]
    return made + [table_of(cube) for cube in CUBES if cube is not SENDER]


def table_of(cube: Cube) -> str:
    """Return the statement that makes a table of sums."""
    columns = ", ".join(f"{name} {'TEXT' if name == 'verdict' else 'INTEGER'} NOT NULL" for name in cube.columns)
    split = "".join(f"{name} INTEGER, " for name in SPLIT) if cube is SENDER else ""
    return _TABLE.format(table=cube.table, columns=columns, keys=", ".join(cube.columns), split=split)


def up_to(db: Database) -> int:
    """Return the newest flow that the sums count."""
    return int(db.conn.execute("SELECT flow FROM summed").fetchone()[0])


class Sums:
    """Keeps the sums near the flows while a recording grows."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting = -1
        self._settled_s = time.monotonic()

    def grow(self, flows: int) -> None:
        """Note that so many flows were written, and sum them where it is worth it; called within a transaction.

        Other recordings may have written meanwhile: all there is gets summed, so one number says how far.
        """
        if self._waiting < 0:
            waiting = "SELECT count(*) FROM (SELECT 1 FROM flow WHERE id > ? LIMIT ?)"
            self._waiting = self._db.conn.execute(waiting, (up_to(self._db), CHUNK_FLOWS)).fetchone()[0]
        else:
            self._waiting += flows
        if self._waiting >= CHUNK_FLOWS or self._slow():
            self.settle()

    def settle(self) -> None:
        """Sum what is left, unless the database is small; called within a transaction."""
        if self._waiting >= CHUNK_FLOWS or up_to(self._db):
            add(self._db)
        self._waiting, self._settled_s = 0, time.monotonic()

    def _slow(self) -> bool:
        return self._waiting >= SLOW_FLOWS and time.monotonic() - self._settled_s >= SLOW_S and up_to(self._db) > 0

    def forget(self) -> None:
        """Count anew what waits: the transaction was rolled back."""
        self._waiting = -1


def step_back(db: Database) -> None:
    """Take flows as not summed that may come again under the ids of some that were removed; in a transaction."""
    db.conn.execute("UPDATE summed SET flow = min(flow, (SELECT coalesce(max(id), 0) FROM flow))")


def begin(db: Database) -> None:
    """Sum a database that has no sums yet, unless it is small; called within a transaction."""
    if db.conn.execute(_MANY, (CHUNK_FLOWS - 1,)).fetchone():
        add(db)


def again(db: Database, recordings: Iterable[int]) -> None:
    """Sum some recordings anew, whose flows have other places now; called within a transaction.

    One that retention has taken flows out of keeps its sums: what was said then.
    """
    if end := up_to(db):
        some = json.dumps(list(recordings))
        for cube in CUBES:
            db.conn.execute(f"DELETE FROM {cube.table} WHERE {_THOSE.format(some=some)}")
        for after, to in _stretches(db, end):
            _add(db, after, to, _THOSE.format(some=some))


def trim(db: Database, recording: int, hour: int) -> None:
    """Take out the sums of whole slots before an hour since 1970, and pairs silent for as long. In a transaction.

    Of sums over all time those by place and device stay: there are no more of them than places and devices.
    """
    for cube in CUBES:
        taken = 0
        for width in filter(None, cube.widths):
            query = f"DELETE FROM {cube.table} WHERE width_s = ? AND slot < ? AND recording = ?"
            taken += db.conn.execute(query, (width, hour * HOUR_S // width, recording)).rowcount
        if taken and cube.table == "sum_pair":
            query = f"DELETE FROM {cube.table} WHERE width_s = {ALL_S} AND slot = 0 AND recording = ? AND last_ns < ?"
            db.conn.execute(query, (recording, hour * HOUR_S * SECOND_NS))


def add(db: Database) -> None:
    """Sum the flows behind the newest that is summed; called within a transaction."""
    for after, to in _stretches(db, 1 << 62, up_to(db)):
        _add(db, after, to)
        db.conn.execute("UPDATE summed SET flow = ?", (to,))


def _stretches(db: Database, end: int, after: int = 0) -> Iterator[tuple[int, int]]:
    """Yield stretches of flow ids up to an end, each from behind the first to the last."""
    while (to := db.conn.execute(_TO, (after, end, REBUILT_FLOWS)).fetchone()[0]) is not None:
        yield after, to
        after = to


def _add(db: Database, after: int, to: int, which: str = "1") -> None:
    rows = stretch(db, after, to, which)
    narrow = rows.by(("device", "vlan", "place", "verdict"), QUARTER_S // MINUTE_S).split()
    for cube in CUBES:
        _add_to(db, cube, narrow if cube in {PLACE, SENDER, DEVICE} else rows)


def _add_to(db: Database, cube: Cube, rows: Rows) -> None:
    """Add rows to a table: to its narrowest slots, and what these come to to the wider ones."""
    values = (*VALUES, *SPLIT) if cube is SENDER else VALUES
    names = ("minute", "recording", *cube.columns, *values)
    part = rows._replace(values={name: rows.values[name] for name in values})
    for width in sorted(cube.widths, key=lambda width: width or DAY_S + 1):
        part = part.by(cube.columns, width // MINUTE_S)
        _addition(cube, width, values).write(db, part.in_order(names, width // MINUTE_S))


def _addition(cube: Cube, width: int, values: Sequence[str]) -> Bulk:
    marks = [_MARKS.get(name, "?") for name in ("slot", "recording", *cube.columns, *values)]
    columns = ", ".join(("width_s", "slot", "recording", *cube.columns, *values))
    return Bulk(f"INSERT INTO {cube.table}({columns})", f"{width}, {', '.join(marks)}", merging(cube))


def merging(cube: Cube) -> str:
    """Return what an INSERT does with a row of sums whose slot is there already."""
    more = SPLIT if cube is SENDER else ()
    kept = {name: f"coalesce({name} + excluded.{name}, {name}, excluded.{name})" for name in more}
    kept |= {name: f"{name} + excluded.{name}" for name in ("flows", "bytes_out", "bytes_in")}
    kept |= {name: f"min({name}, excluded.{name})" for name in ("first_flow", *(("worst",) if more else ()))}
    kept |= {name: f"max({name}, excluded.{name})" for name in ("last_flow", "last_ns")}
    return f"ON CONFLICT DO UPDATE SET {', '.join(f'{name} = {how}' for name, how in kept.items())}"
