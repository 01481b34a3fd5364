"""Which flow records may have a name: what the books have under their keys.

In: flows, and the lines of the books by key. Out: their rows, and columns of `Records`. Never: a record
without a name among the lists that Python goes over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from egress_watch.fast import distinct
from egress_watch.model import END_REASONS, Flags, Flows, Ints
from egress_watch.names.bearers import connections
from egress_watch.names.book import NAME, Run
from egress_watch.names.reader import Mask

CONNECTION_NS = 600 * 1_000_000_000
"""How far before a flow record the name of its connection may lie, where the record does not show a SYN."""
ADDRESS = slice(16, 32)
"""The server's address in the key of a connection; the 32 bytes up to its end are who talks to whom."""
_SYN = 2
_CONTINUED = [END_REASONS.index("active"), END_REASONS.index("evicted")]

Line = list[Run]
Lines = Mapping[bytes, Line]


class Records(NamedTuple):
    """Flow records that may have a name, by the time of their first packets; an item of each list for each of them."""

    connection: list[bytes]
    """With the device as client, so that no remote gets the name by which it called a device."""
    line: list[Line | None]
    """Names of the connection."""
    known: list[Line | None]
    """Names of the remote's address."""
    local: list[Line | None]
    """Names that the local network has for it."""
    only: list[str | None]
    """The name of the remote's address where it never had another, None where it had several or none."""
    first_ns: list[int]
    last_ns: list[int]
    since_ns: list[int]
    """How old the name of the connection may be."""
    continued: list[bool]
    """Whether more records of the connection will follow."""


def terms(flows: Flows) -> tuple[Ints, Mask]:
    """Return from when the name of each record's connection may be, and whether another record of it will follow."""
    begins = (flows.flags_out | flows.flags_in) & _SYN
    since_ns: Ints = np.where(begins, flows.first_ns, flows.first_ns - CONNECTION_NS)
    return since_ns, np.isin(flows.end_reason, _CONTINUED)


def records(flows: Flows, book: Lines, known: Lines, local: Lines) -> tuple[Ints, Records]:
    """Return the rows that may have a name, and their records."""
    ports = np.stack((flows.device_port, flows.remote_port), axis=1)
    keys = connections(flows.device, flows.remote, ports, flows.protocol)
    lines = list(map(book.get, keys))
    first, which = distinct(flows.remote)
    remotes = [keys[at][ADDRESS] for at in first.tolist()]
    known_of, local_of = (list(map(one.get, remotes)) for one in (known, local))
    only_of = list(map(_only, known_of))
    since_ns, continued = terms(flows)
    named = _there(lines) | (_there(known_of) | _there(local_of))[which]
    if followed := {keys[at] for at in np.flatnonzero(continued).tolist()}:
        named |= np.fromiter(map(followed.__contains__, keys), bool, len(keys))
    rows = np.flatnonzero(named)
    rows = rows[np.argsort(flows.first_ns[rows], kind="stable")]
    some, kinds = rows.tolist(), which[rows].tolist()
    return rows, Records(
        [keys[at] for at in some], [lines[at] for at in some], [known_of[one] for one in kinds],
        [local_of[one] for one in kinds], [only_of[one] for one in kinds], flows.first_ns[rows].tolist(),
        flows.last_ns[rows].tolist(), since_ns[rows].tolist(), continued[rows].tolist(),
    )  # fmt: skip


def _only(line: Line | None) -> str | None:
    if not line or (len(line) > 1 and len({run[NAME] for run in line}) > 1):
        return None
    return line[0][NAME]


def _there(lines: Sequence[Line | None]) -> Flags:
    return np.fromiter((line is not None for line in lines), bool, len(lines))
