"""Sums by device with a column for each verdict, and slots of a quarter, of six hours and a day: step 15 of the schema.

In: a database of version 14. Out: the table sum_sender, and wider slots of sum_place and sum_remote. Never: a look at
flows that are summed already: retention may have taken them; the sums of their hours stayed.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlite_utils import Database

from egress_watch.store.sums import (
    DAY_S,
    DEVICE,
    HOUR_S,
    PLACE,
    REMOTE,
    SECOND_NS,
    SENDER,
    SIX_HOURS_S,
    SPLIT,
    SPLIT_SUMS,
    Cube,
    add,
    begin,
    table_of,
    up_to,
)

_TOTALS = "sum(flows), sum(bytes_out), sum(bytes_in), min(first_flow), max(last_flow), max(last_ns)"
_WIDER = """INSERT INTO {table} SELECT {width}, slot * {of} / {width} AS wide, recording, {keys}, {totals}
  FROM {table} WHERE width_s = {of} GROUP BY wide, recording, {keys}"""
_SPLIT = ", ".join(f"{of} AS {name}" for name, of in SPLIT.items())
_OF_HOURS = f"""INSERT INTO sum_sender
  SELECT {HOUR_S}, hour, recording, device, vlan, sum(flows), sum(bytes_out), sum(bytes_in), 0, 0, last_ns, {SPLIT_SUMS}
  FROM (SELECT hour.*, {_SPLIT},
      min((hour + 1) * {HOUR_S * SECOND_NS} - 1, max(hour * {HOUR_S * SECOND_NS}, recording.last_ns)) AS last_ns
    FROM hour JOIN (SELECT id AS answer, verdict FROM place) ON answer = place
      JOIN recording ON recording.id = hour.recording)
  GROUP BY hour, recording, device, vlan"""  # noqa: S608 - ours
_OF_DAYS = f"""INSERT INTO sum_sender SELECT width_s, slot, recording, device, vlan, {_TOTALS}, {SPLIT_SUMS}
  FROM (SELECT *, {_SPLIT} FROM {DEVICE.table} WHERE width_s = {DAY_S}) GROUP BY slot, recording, device, vlan"""  # noqa: S608 - ours


def widen_sums(db: Database) -> None:
    """Make the table and the slots that are new of the sums that are there; called within a transaction.

    Of an hour of the past the newest time is not known: it is its end, as it was shown, and its first flow is 0. The
    quarters of an hour begin now: ``quarters`` is the newest flow that they may lack.
    """
    db.conn.execute(table_of(SENDER))
    db.conn.execute("ALTER TABLE summed ADD COLUMN quarters INTEGER NOT NULL DEFAULT 0")
    if not up_to(db):
        begin(db)
        return
    db.conn.execute("UPDATE summed SET quarters = flow")
    add(db)
    for cube, widths in (
        (SENDER, (HOUR_S, SIX_HOURS_S, DAY_S)),
        (PLACE, (SIX_HOURS_S,)),
        (REMOTE, (SIX_HOURS_S, DAY_S)),
    ):
        for width in widths:
            db.conn.execute(f"DELETE FROM {cube.table} WHERE width_s = ?", (width,))  # noqa: S608 - ours
    for statement in _statements():
        db.conn.execute(statement)


def _statements() -> Iterator[str]:
    yield _OF_HOURS
    yield _wider(SENDER, SIX_HOURS_S, f"{_TOTALS}, {SPLIT_SUMS}")
    yield _OF_DAYS
    yield _wider(PLACE, SIX_HOURS_S, _TOTALS)
    yield _wider(REMOTE, SIX_HOURS_S, _TOTALS)
    yield _wider(REMOTE, DAY_S, _TOTALS)


def _wider(cube: Cube, width: int, totals: str) -> str:
    """Return the statement that makes wider slots of those of an hour."""
    return _WIDER.format(table=cube.table, width=width, of=HOUR_S, keys=", ".join(cube.columns), totals=totals)
