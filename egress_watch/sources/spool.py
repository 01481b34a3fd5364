"""Batches read by a thread, ahead of the loop: while the loop stores, somebody goes on reading.

In: batches that never end by themselves. Out: the same, in the same order. Never: a batch that is dropped, or more of
them held than asked for: where the spool is full the thread waits, frames gather in the kernel's ring, and what that
has no room for the kernel counts.

The thread needs Python's lock only between two calls that copy frames, which run without it, as does SQLite while it
writes. A loop that holds it is asked for it after SWITCH_S, not after Python's own five milliseconds: the thread needs
it some five times for the 5,000 frames that a call copies, so at 600,000 frames a second those five are too long.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from queue import Empty, Full, Queue
from threading import Event, Thread

from egress_watch.model import Frames

LOOK_S = 0.1
"""How often who waits looks whether there is still somebody at the other end."""
SWITCH_S = 0.0005


class Spool:
    """Up to ``most`` batches of ``source`` that nobody has asked for yet."""

    def __init__(self, source: Iterator[Frames], most: int) -> None:
        self._source = source
        self._waiting: Queue[Frames] = Queue(most)
        self._stopped = Event()
        self._failed: BaseException | None = None
        self._switch_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        self._thread = Thread(target=self._read, name="reader", daemon=True)
        self._thread.start()

    def frames(self) -> Iterator[Frames]:
        """Yield the batches; raises what reading raised, once all before it was given."""
        while True:
            reading = self._thread.is_alive()  # before the look: what came before its end is there by then
            try:
                yield self._waiting.get(timeout=LOOK_S if reading else 0)
            except Empty:
                if not reading:
                    break
        if self._failed:
            raise self._failed

    def __len__(self) -> int:
        """Return how many batches wait."""
        return self._waiting.qsize()

    def stop(self) -> None:
        """Let the thread end, and wait for that; what waits is still given."""
        self._stopped.set()
        self._thread.join()
        sys.setswitchinterval(self._switch_s)

    def _read(self) -> None:
        try:
            for frames in self._source:
                self._put(frames)
                if self._stopped.is_set():
                    break
        except BaseException as error:  # noqa: BLE001 - the loop raises it
            self._failed = error

    def _put(self, frames: Frames) -> None:
        """Wait until there is room, unless nobody asks any more."""
        while True:
            try:
                return self._waiting.put(frames, timeout=LOOK_S)
            except Full:
                if self._stopped.is_set():
                    return None
