"""The books of names, and what they say of flow records.

In: names that packets said, then flows. Out: the best name of each, and others of its address. Never: a name from
later than the flow.

There are two ways to keep them, with the same answers: `InObjects` here, and `compiled` with the accelerator.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from egress_watch.model import Flows, Ints
from egress_watch.names.asked import ADDRESS, Records, records
from egress_watch.names.book import HEARD, NAME, RANK, START, UNTIL, Book, Run, find
from egress_watch.names.reader import Bearer, Said
from egress_watch.names.trust import LOCAL_RANKS, UNKNOWN, until_ns
from egress_watch.texts import Texts, sparse

OTHER_NAMES = 3
"""Names told of an address beside the best one."""

_NOTHING: Run = (0, 0, "", UNKNOWN, 0)


class Named(NamedTuple):
    """What the books say of flow records; columns of length n."""

    name: Texts
    rank: Ints
    """UNKNOWN without a name."""
    heard_ns: Ints
    others: Texts
    """With a space between them."""


class Books(Protocol):
    """Four books: by connection, by who asked and the address, by the address, and by what the local network says."""

    @property
    def forgotten(self) -> int:
        """Return how many names were dropped because a book was full."""

    def __len__(self) -> int:
        """Return how many names are kept."""

    def note(self, rank: int, bearer: Bearer, said: Said) -> None:
        """Note a name under its connection, or under the address it names and who asked."""

    def name(self, flows: Flows) -> Named:
        """Name flow records by the time of their first packets; one that was cut hands its name to the next."""


class InObjects:
    """The books in Python's objects; each keeps at most ``limit`` names."""

    def __init__(self, limit: int) -> None:
        # The first book also holds what flow records that were cut hand on to the next record.
        self.books = self._connections, self._asked, self._known, self._local = (
            Book(limit), Book(limit), Book(limit), Book(limit)
        )  # fmt: skip

    @property
    def forgotten(self) -> int:
        """Return how many names were dropped because a book was full."""
        return sum(book.forgotten for book in self.books)

    def __len__(self) -> int:
        """Return how many names are kept."""
        return sum(map(len, self.books))

    def note(self, rank: int, bearer: Bearer, said: Said) -> None:
        """Note a name under its connection, or under the address it names and who asked."""
        start_ns = bearer.time_ns
        if said.address is None:
            self._connections.note(bearer.connection, (start_ns, start_ns, said.name, rank, start_ns))
            return
        run = (start_ns, until_ns(start_ns, said.ttl_s), said.name, rank, start_ns)
        if rank in LOCAL_RANKS:
            self._local.note(said.address, run)
            return
        self._asked.note(bearer.connection[ADDRESS] + said.address, run)  # an answer goes to the one who asked
        self._known.note(said.address, run)

    def name(self, flows: Flows) -> Named:
        """Name flow records by the time of their first packets; one that was cut hands its name to the next."""
        rows, some = records(flows, self._connections.lines, self._known.lines, self._local.lines)
        runs, others = self._named(some)
        ranks, heard_ns = np.full(len(flows), UNKNOWN), np.zeros(len(flows), np.int64)
        ranks[rows], heard_ns[rows] = [run[RANK] for run in runs], [run[HEARD] for run in runs]
        names = sparse([run[NAME] for run in runs], rows, len(flows))
        return Named(names, ranks, heard_ns, sparse(list(others.values()), rows[list(others)], len(flows)))

    def _named(self, some: Records) -> tuple[list[Run], dict[int, str]]:
        """Return the best name of each record, and the others of those that have some."""
        runs: list[Run] = []
        others: dict[int, str] = {}
        goes_on = any(some.continued)
        for connection, line, known, local, only, first_ns, last_ns, since_ns, continued in zip(*some, strict=True):
            if goes_on:  # a record before this one may have left a name, and another may be forgotten for it
                line = self._connections.lines.get(connection)  # noqa: PLW2901
            run = find(line, since_ns, last_ns) if line else None
            if run is None and known:
                told = self._asked.lines.get(connection[: ADDRESS.stop])
                run = (find(told, first_ns, first_ns) if told else None) or find(known, first_ns, first_ns)
            if run is None and local:
                run = find(local, first_ns, first_ns)
            if run and continued:
                self._connections.note(connection, (last_ns, last_ns, run[NAME], run[RANK], run[HEARD]))
            if run and known and only != run[NAME]:
                others[len(runs)] = _others(known, run[NAME], first_ns)
            runs.append(run or _NOTHING)
        return runs, others


def _others(line: list[Run], name: str, when_ns: int) -> str:
    """Return the newest names that held at a time beside the best one, with a space between them."""
    held = [run[NAME] for run in reversed(line) if run[START] <= when_ns <= run[UNTIL] and run[NAME] != name]
    return " ".join(list(dict.fromkeys(held))[:OTHER_NAMES]) if held else ""
