"""One line on standard error that keeps changing, while a person watches live traffic.

In: interfaces with their state, counters, minutes. Out: a line. Never: a word where nobody watches.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from egress_watch.exports.plain import printable
from egress_watch.model import Health, Tally

CLEAR = "\r\x1b[K"


class StatusLine:
    """Shows the rate of the last second, what was lost so far, and how far behind reading is."""

    def __init__(self, *, quiet: bool) -> None:
        self._on = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._before = time.monotonic(), 0
        self._lost = 0

    def show(self, states: Sequence[tuple[str, str]], tally: Tally, minutes: Sequence[Health]) -> None:
        """Write the line anew; ``minutes`` is what was added since the last call."""
        self._lost += sum(one.lost + one.overruns + one.dropped for one in minutes)
        now_s, (then_s, then) = time.monotonic(), self._before
        self._before = now_s, tally.frames
        rate = (tally.frames - then) / max(now_s - then_s, 0.001)
        lag_ms = max((one.lag_ns for one in minutes), default=0) // 1_000_000
        where = ", ".join(name if state == "up" else f"{name} ({state})" for name, state in states)
        self._write(
            f"{printable(where)}: {rate:,.0f} frames/s, {tally.packets:,} packets, {tally.flows:,} flows, "
            f"{self._lost:,} lost, {lag_ms:,} ms behind"
        )

    def clear(self) -> None:
        """Take the line away."""
        self._write("")

    def _write(self, line: str) -> None:
        if self._on:
            with suppress(OSError):
                sys.stderr.write(CLEAR + line[: shutil.get_terminal_size().columns - 1])
                sys.stderr.flush()
