"""The clock that old is counted by: the machine's own, as long as it goes evenly.

In: the clock of the machine and one that cannot be set. Out: nanoseconds since 1970. Never: a step.

A clock that is set by hand or jumps when the machine finds a time server must not make a month of flows old at once. So
a step of more than an hour is left out for as long as the process lives; smaller ones, leap seconds among them, are
followed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STEP_NS = 3_600_000_000_000
SECOND_NS = 1_000_000_000


def _even_ns() -> int:
    """Return a clock that goes on while the machine sleeps, where there is one (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic_ns()


class Steady:
    """Follows the machine's clock, but for its steps; tests give clocks of their own."""

    def __init__(self, told_ns: Callable[[], int] = time.time_ns, even_ns: Callable[[], int] = _even_ns) -> None:
        self._told_ns, self._even_ns = told_ns, even_ns
        self._at_told, self._at_even = told_ns(), even_ns()
        self.off_s = 0
        """By how much the machine's clock is away from this one, where that is more than an hour."""

    def now_ns(self) -> int:
        """Return the time."""
        told, even = self._told_ns(), self._even_ns()
        expected = self._at_told + even - self._at_even
        off = told - expected
        self.off_s = off // SECOND_NS if abs(off) > STEP_NS else 0
        if self.off_s:
            return expected
        self._at_told, self._at_even = told, even
        return told
