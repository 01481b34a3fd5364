"""A bounded memory of which name held for a key, and when.

In: (key, name, rank, from when, until when). Out: the best and newest name that held at a time. Never: a look at the
order of calls.

Each key has a timeline of runs. Hearing the newest name again while it still holds only makes its run longer. That
loses no answer: any moment before the second hearing was covered by the first, any moment after by the second. So what
`find` says of a moment does not change with what is heard later, and may be asked now or after any number of packets,
as long as nothing had to be forgotten.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from typing import Final

RUNS_PER_KEY = 64
"""One busy address must not push out all others, nor make a look-up long."""


Run = tuple[int, int, str, int, int]
"""A stretch of time over which a key had a name: START, UNTIL (ns), NAME, RANK (how far its source is to be trusted,
0 first), HEARD (ns, when it was heard first). No class: the garbage collector lets go of plain tuples."""
START: Final = 0
UNTIL: Final = 1
NAME: Final = 2
RANK: Final = 3
HEARD: Final = 4


class Book:
    """Timelines of names by key: at most ``limit`` runs, the least recently heard key going first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.forgotten = 0
        self.lines: OrderedDict[bytes, list[Run]] = OrderedDict()
        """For `find` and `held`: most keys that are asked for have no line."""
        self._runs = 0

    def __len__(self) -> int:
        """Return the number of runs kept."""
        return self._runs

    def note(self, key: bytes, run: Run) -> None:
        """Keep that a name was heard for ``key`` at the start of the run and holds until its end, both included."""
        line = self.lines.get(key)
        if line is None:
            self.lines[key] = [run]
        elif not self._lengthened(key, line, run):
            return
        self._runs += 1
        if self._runs > self.limit:
            self._forget()

    def _lengthened(self, key: bytes, line: list[Run], run: Run) -> bool:
        """Put a run into a line and return whether there is one more."""
        self.lines.move_to_end(key)
        # Nearly always the newest; packets may be out of order, and names carried over come late.
        late = line[-1][START] > run[START]
        at = bisect_right(line, run[START], key=_start) if late else len(line)
        last = line[at - 1] if at else None
        if last and last[UNTIL] >= run[START] and last[NAME] == run[NAME] and last[RANK] == run[RANK]:
            line[at - 1] = (last[START], max(last[UNTIL], run[UNTIL]), last[NAME], last[RANK], last[HEARD])
            return False
        line.insert(at, run)
        if len(line) <= RUNS_PER_KEY:
            return True
        del line[0]
        self.forgotten += 1
        return False

    def _forget(self) -> None:
        """Drop the key that was not heard of for longest, and count its names."""
        dropped = len(self.lines.popitem(last=False)[1])
        self._runs -= dropped
        self.forgotten += dropped


def find(line: list[Run], first_ns: int, last_ns: int) -> Run | None:
    """Return the newest run of the best rank heard by ``last_ns`` that still held at ``first_ns``."""
    if len(line) == 1:  # nearly always
        return line[0] if line[0][START] <= last_ns and line[0][UNTIL] >= first_ns else None
    best: Run | None = None
    for run in reversed(line):
        if run[START] <= last_ns and run[UNTIL] >= first_ns and (best is None or run[RANK] < best[RANK]):
            best = run
    return best


def _start(run: Run) -> int:
    return run[START]
