"""Sums by the hour: who sent how much where, kept when the flows themselves are gone.

In: stored flows as columns. Out: rows of the table hour, in the transaction of the flows. Never: a flow counted twice,
or one of them without its hour.

An hour is that of a flow's last packet, 0 for times before 1970. Screens and reports over days read these sums; they
are as exact as the flows.
"""

from __future__ import annotations

import numpy as np

from egress_watch.model import Flows, Ints
from egress_watch.store.database import Database

HOUR_NS = 3_600_000_000_000
_SUMS = ("packets_out", "bytes_out", "packets_in", "bytes_in")
_ADD = f"""
INSERT INTO hour(recording, hour, device, vlan, place, flows, {", ".join(_SUMS)})
VALUES ({{recording:d}}, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET flows = flows + excluded.flows,
  {", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)}
"""  # noqa: S608 - constants
_OF_A_FLOW = f"max(0, first_ns + duration_ns) / {HOUR_NS}"
_AGAIN = f"""
INSERT INTO hour(recording, hour, device, vlan, place, flows, {", ".join(_SUMS)})
SELECT recording, {_OF_A_FLOW}, device, vlan, place, count(*), {", ".join(f"sum({name})" for name in _SUMS)}
FROM flow WHERE recording = :recording AND {_OF_A_FLOW} > :thinned GROUP BY 1, 2, 3, 4, 5
"""  # noqa: S608 - constants
_FORGET = "DELETE FROM hour WHERE recording = :recording AND hour > :thinned"
_THINNED = "SELECT coalesce(thinned_hour, -1) FROM recording WHERE id = ?"


def add(db: Database, recording: int, flows: Flows, devices: Ints, places: Ints) -> None:
    """Add a batch of flows; ``devices`` and ``places`` (n,) are rows of their tables."""
    if not len(flows):
        return
    keys = np.stack((np.maximum(flows.last_ns, 0) // HOUR_NS, devices, flows.vlan, places), axis=1).astype(np.int64)
    order = np.lexsort(keys.T[::-1])
    keys = keys[order]
    begin = np.flatnonzero(np.concatenate(([True], (keys[1:] != keys[:-1]).any(axis=1))))
    counts = np.diff(begin, append=len(keys))
    sums = (np.add.reduceat(getattr(flows, name)[order], begin) for name in _SUMS)
    rows = zip(*keys[begin].T.tolist(), counts.tolist(), *(column.tolist() for column in sums), strict=True)
    db.conn.executemany(_ADD.format(recording=recording), rows)


def again(db: Database, recording: int) -> None:
    """Sum a recording's hours anew from its flows, whose places have changed.

    Hours that retention has taken flows out of stay as they are: what was said then.
    """
    values = {"recording": recording, "thinned": db.conn.execute(_THINNED, (recording,)).fetchone()[0]}
    db.conn.execute(_FORGET, values)
    db.conn.execute(_AGAIN, values)
