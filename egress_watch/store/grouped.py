"""Stored flows as columns, and what they come to by any of their columns and by slots of time.

In: flows that are committed, by their ids. Out: rows of sums. Never: a table for the time being: SQLite groups by
sorting, row by row, which costs ten times what hashing whole columns does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from egress_watch.fast import Kinds, distinct, table
from egress_watch.model import VERDICTS, Ints

MINUTE_NS = 60_000_000_000
NONE = -1
"""What stands for a sum of nothing, which is not a sum that comes to 0."""
WORST_FIRST = ("OUT", "UNKNOWN", "OWN", "IN")

_KEYS = ("minute", "recording", "device", "vlan", "remote", "name", "port", "protocol", "place")
_VALUES = ("bytes_out", "bytes_in", "first_flow", "last_ns")
_READ = f"""
SELECT (first_ns + duration_ns) / {MINUTE_NS}, recording, device, vlan, remote, coalesce(name, 0), remote_port,
  protocol, place, bytes_out, bytes_in, id, first_ns + duration_ns
FROM flow WHERE id > ? AND id <= ? AND {{which}} ORDER BY id
"""  # noqa: S608 - our own words
_VERDICTS = "SELECT id, verdict FROM place WHERE id BETWEEN ? AND ?"


class Rows(NamedTuple):
    """Sums of flows: what the flows of each row have in common, and what they come to; columns (rows,) by name."""

    keys: dict[str, Ints]
    """``minute`` is the first of the slot, since 1970."""
    values: dict[str, Ints]

    def by(self, keys: Iterable[str], minutes: int) -> Rows:
        """Return the sums by some keys, in slots of so many minutes; 0 is all time."""
        slots = _down(self.keys["minute"], minutes) * minutes if minutes else np.zeros_like(self.keys["minute"])
        kept = {"minute": slots, "recording": self.keys["recording"], **{key: self.keys[key] for key in keys}}
        kinds = distinct(table(list(kept.values()), len(slots)))
        return Rows(
            {name: column[kinds.first] for name, column in kept.items()},
            {name: _sum(kinds, name, column) for name, column in self.values.items()},
        )

    def split(self) -> Rows:
        """Return the same with what screens ask of verdicts: the rank of the worst, and the bytes out of each."""
        verdict, sent = self.keys["verdict"], self.values["bytes_out"]
        rank = np.array([WORST_FIRST.index(name) for name in VERDICTS])
        out = {f"out_{number}": np.where(verdict == number, sent, NONE) for number in range(len(VERDICTS))}
        return self._replace(values={**self.values, "worst": rank[verdict], **out})

    def in_order(self, names: Sequence[str], minutes: int) -> list[NDArray[Any]]:
        """Return columns for a table whose key they begin with: neighbours lie on one page of it.

        ``minute`` becomes the number of the slot, of so many minutes.
        """
        slots = _down(self.keys["minute"], minutes) if minutes else self.keys["minute"]
        columns = {**self.keys, **self.values, "minute": slots}
        order = np.lexsort([columns[name] for name in reversed(names) if name in self.keys])
        return [columns[name][order] for name in names]


def stretch(db: Database, after: int, to: int, which: str) -> Rows:
    """Return flows behind an id up to another, summed where all keys are the same in the same minute.

    ``which`` is a condition on rows of flow in our own words. A verdict is its number in `VERDICTS`.
    """
    found = db.conn.execute(_READ.format(which=which), (after, to))
    columns = np.fromiter(chain.from_iterable(found), np.int64).reshape(-1, len(_KEYS) + len(_VALUES)).T.copy()
    keys, values = dict(zip(_KEYS, columns, strict=False)), dict(zip(_VALUES, columns[len(_KEYS) :], strict=True))
    keys["verdict"] = _verdicts(db, keys["place"])
    rows = Rows(keys, {"flows": np.ones_like(keys["place"]), **values, "last_flow": values["first_flow"]})
    return rows.by((*_KEYS[2:], "verdict"), 1)


def _verdicts(db: Database, places: Ints) -> Ints:
    """Return the number of the verdict of each place."""
    if not len(places):
        return places
    found = np.zeros(int(places.max()) + 1, np.int64)
    for place, verdict in db.conn.execute(_VERDICTS, (int(places.min()), int(places.max()))):
        found[place] = VERDICTS.index(verdict)
    return found[places]


def _sum(kinds: Kinds, name: str, column: Ints) -> Ints:
    if name in {"first_flow", "worst"}:
        return kinds.least(column)
    if name in {"last_flow", "last_ns"}:
        return kinds.most(column)
    if name.startswith("out_"):
        return np.where(kinds.most(column) == NONE, NONE, kinds.sums(np.maximum(column, 0)))
    return kinds.sums(column)


def _down(minutes: Ints, to: int) -> Ints:
    """Return in which slot of so many minutes each is, counted from 1970 both ways, as SQLite divides."""
    slots: Ints = np.sign(minutes) * (np.abs(minutes) // to)
    return slots
