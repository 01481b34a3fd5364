"""What there is to tell of watched interfaces: who reads adds to it, who stores asks for it.

In: counts and events of interfaces. Out: `Health` for each minute and interface, and each `Happening`, once. Never: a
count that is lost because two threads add and ask at the same time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Lock

import numpy as np

from egress_watch.model import Frames, Happening, Health

MINUTE_NS = 60_000_000_000


class Minutes:
    """What was not told yet."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._health: dict[tuple[int, str], Health] = {}
        self._happened: list[Happening] = []

    def add(
        self, interface: str, now_ns: int, *, frames: int = 0, size: int = 0, lost: int = 0, overruns: int = 0,
        dropped: int = 0, errors: int = 0, lag_ns: int = 0,
    ) -> None:  # fmt: skip
        """Add counts to the minute it is."""
        key = now_ns - now_ns % MINUTE_NS, interface
        with self._lock:
            was = self._health.get(key) or Health(*key, 0, 0, 0, 0, 0, 0, 0)
            self._health[key] = Health(
                *key, was.frames + frames, was.bytes + size, was.lost + lost, was.overruns + overruns,
                was.dropped + dropped, was.errors + errors, max(was.lag_ns, lag_ns),
            )  # fmt: skip

    def count(self, frames: Frames, interfaces: Sequence[str]) -> None:
        """Count frames in the minute in which the loop takes them; how long they waited is counted from the wire."""
        now_ns = time.time_ns()
        for number, name in enumerate(interfaces):
            mine = np.flatnonzero(frames.interface == number)
            if len(mine):
                lag_ns = max(now_ns - int(frames.time_ns[mine[0]]), 0)
                self.add(name, now_ns, frames=len(mine), size=int(frames.wire[mine].sum()), lag_ns=lag_ns)

    def note(self, one: Happening) -> None:
        """Note what became of an interface."""
        with self._lock:
            self._happened.append(one)

    def health(self) -> list[Health]:
        """Return what there is to add to the minutes of the interfaces since this was last asked."""
        with self._lock:
            told, self._health = list(self._health.values()), {}
        return told

    def happened(self) -> list[Happening]:
        """Return what became of the interfaces since this was last asked."""
        with self._lock:
            told, self._happened = self._happened, []
        return told
