"""Sums by the hour: who sent how much where, kept when the flows themselves are gone.

In: stored flows as columns. Out: rows of the tables hour (by device) and segment_hour (by what the inventory says), in
the transaction of the flows. Never: a flow counted twice, or one of them without its hour.

An hour is that of a flow's last packet, 0 for times before 1970. Screens and reports over days read these sums; they
are as exact as the flows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from egress_watch.fast import distinct, table
from egress_watch.model import Flows, Ints
from egress_watch.store.bulk import Bulk

HOUR_NS = 3_600_000_000_000
_SUMS = ("packets_out", "bytes_out", "packets_in", "bytes_in")
_PLUS = ", ".join(f"{name} = {name} + excluded.{name}" for name in ("flows", *_SUMS))
_OF_A_FLOW = f"max(0, first_ns + duration_ns) / {HOUR_NS}"
_FORGET = "DELETE FROM {table} WHERE recording = :recording AND hour > :thinned"
_THINNED = "SELECT coalesce(thinned_hour, -1) FROM recording WHERE id = ?"


class _Table(NamedTuple):
    """A table of sums, and by what they are taken beside recording and hour."""

    name: str
    keys: tuple[str, ...]
    of_a_flow: str
    """The same of a row of flow, in SQL."""

    def add(self, recording: int) -> Bulk:
        """Return what adds sums of a recording."""
        columns = ("recording", "hour", *self.keys, "flows", *_SUMS)
        marks = f"{recording:d}, {', '.join('?' * (len(columns) - 1))}"
        return Bulk(f"INSERT INTO {self.name}({', '.join(columns)})", marks, f"ON CONFLICT DO UPDATE SET {_PLUS}")

    def again(self) -> str:
        """Return the statement that takes the sums of a recording anew."""
        sums = ", ".join(f"sum({name})" for name in _SUMS)
        return f"""INSERT INTO {self.name} SELECT flow.recording, {_OF_A_FLOW}, {self.of_a_flow}, count(*), {sums}
          FROM flow LEFT JOIN listing ON listing.recording = flow.recording AND listing.device = flow.device
            AND listing.vlan = flow.vlan
          WHERE flow.recording = :recording AND {_OF_A_FLOW} > :thinned GROUP BY 1, 2, {self.of_a_flow}"""  # noqa: S608 - ours


BY_DEVICE = _Table("hour", ("device", "vlan", "place"), "flow.device, flow.vlan, place")
BY_SEGMENT = _Table("segment_hour", ("asset", "place"), "coalesce(listing.asset, 0), place")


def add(db: Database, recording: int, flows: Flows, devices: Ints, places: Ints, assets: Ints) -> None:
    """Add a batch of flows; ``devices``, ``places`` and ``assets`` (n,) are rows of their tables, 0 for no asset."""
    if len(flows):
        hours = np.maximum(flows.last_ns, 0) // HOUR_NS
        _add(db, recording, flows, BY_DEVICE, (hours, devices, flows.vlan, places))
        _add(db, recording, flows, BY_SEGMENT, (hours, assets, places))


def _add(db: Database, recording: int, flows: Flows, of: _Table, keys: Sequence[NDArray[Any]]) -> None:
    kinds = distinct(table(keys, len(flows)))
    columns = [
        *(key[kinds.first] for key in keys),
        kinds.counts(),
        *(kinds.sums(getattr(flows, name)) for name in _SUMS),
    ]
    near = np.lexsort((columns[1], columns[0]))  # neighbours lie on one page
    of.add(recording).write(db, [column[near] for column in columns])


def again(db: Database, recording: int) -> None:
    """Sum a recording's hours anew from its flows, whose places have changed.

    Hours that retention has taken flows out of stay as they are: what was said then.
    """
    values = {"recording": recording, "thinned": db.conn.execute(_THINNED, (recording,)).fetchone()[0]}
    for of in (BY_DEVICE, BY_SEGMENT):
        db.conn.execute(_FORGET.format(table=of.name), values)
        db.conn.execute(of.again(), values)
