"""A bounded memory of which name held for a key, and when.

In: (key, name, from when, until when). Out: the newest name that held at a time. Never: a look at the order of calls.

Each key has a timeline of runs. Hearing the newest name again while it still holds only makes its run longer. That
loses no answer: any moment before the second hearing was covered by the first, any moment after by the second. So what
`find` says of a moment does not change with what is heard later, and may be asked now or after any number of packets,
as long as nothing had to be forgotten.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from typing import NamedTuple

Key = tuple[int, ...]

RUNS_PER_KEY = 64
"""One busy address must not push out all others, nor make a look-up long."""


class Run(NamedTuple):
    """A stretch of time over which a key had a name."""

    start_ns: int
    until_ns: int
    name: str


class Book:
    """Timelines of names by key: at most ``limit`` runs, the least recently heard key going first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.forgotten = 0
        self._runs = 0
        self._lines: OrderedDict[Key, list[Run]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of runs kept."""
        return self._runs

    def note(self, key: Key, name: str, start_ns: int, until_ns: int) -> None:
        """Keep that ``name`` was heard for ``key`` at ``start_ns`` and holds until ``until_ns``, both included."""
        line = self._lines.setdefault(key, [])
        self._lines.move_to_end(key)
        # Nearly always the newest; packets may be out of order, and names carried over come late.
        late = line and line[-1].start_ns > start_ns
        at = bisect_right(line, start_ns, key=lambda run: run.start_ns) if late else len(line)
        last = line[at - 1] if at else None
        if last and last.name == name and last.until_ns >= start_ns:
            line[at - 1] = Run(last.start_ns, max(last.until_ns, until_ns), name)
            return
        line.insert(at, Run(start_ns, until_ns, name))
        self._runs += 1
        self._forget(line)

    def find(self, key: Key, first_ns: int, last_ns: int) -> str:
        """Return the newest name heard by ``last_ns`` that still held at ``first_ns``, "" where there is none."""
        for run in reversed(self._lines.get(key, ())):
            if run.start_ns <= last_ns and run.until_ns >= first_ns:
                return run.name
        return ""

    def _forget(self, line: list[Run]) -> None:
        """Drop what is over the bounds, and count it."""
        if len(line) > RUNS_PER_KEY:
            del line[0]
            self._drop(1)
        while self._runs > self.limit:
            self._drop(len(self._lines.popitem(last=False)[1]))

    def _drop(self, runs: int) -> None:
        self._runs -= runs
        self.forgotten += runs
