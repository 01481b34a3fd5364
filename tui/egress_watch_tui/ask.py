"""What is asked of the database now: a filter, a range of time, an order; and the way that led here.

In: what the user chose. Out: frozen values. Never: a time of the clock: ranges count back from the newest packet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

SECOND_NS = 1_000_000_000


class Range(NamedTuple):
    """A length of time back from the newest packet, or between two moments."""

    name: str
    span_s: int = 0
    """0 is without beginning."""
    since_ns: int | None = None
    until_ns: int | None = None
    """None follows the newest packet."""

    def times(self, newest_ns: int) -> tuple[int | None, int | None]:
        """Return beginning and end, None for none."""
        if not self.span_s:
            return self.since_ns, self.until_ns
        end = newest_ns + 1 if self.until_ns is None else self.until_ns
        return end - self.span_s * SECOND_NS, self.until_ns

    def stepped(self, by: int, newest_ns: int) -> Range:
        """Return the range one length earlier (-1) or later (1); at the newest packet it follows again."""
        since, until = self.times(newest_ns)
        if since is None:
            return self
        end = newest_ns + 1 if until is None else until
        moved = end + by * (end - since)
        if not self.span_s:
            return self._replace(since_ns=since + by * (end - since), until_ns=moved)
        return self._replace(until_ns=None if moved > newest_ns else moved)

    def follows(self) -> bool:
        """Return whether the end moves on with the newest packet."""
        return self.until_ns is None


ALL = Range("all time")
RANGES = (
    Range("last 15 min", 900),
    Range("last hour", 3_600),
    Range("last day", 86_400),
    Range("last week", 604_800),
    ALL,
)


@dataclass(frozen=True, slots=True)
class Ask:
    """A question."""

    filter: str = ""
    range: Range = ALL


class Step(NamedTuple):
    """A place one can come back to."""

    screen: str
    ask: Ask
    row: object = None
    """The row the cursor was on, by its id."""
    told: str = ""
    """What was gone into, in words."""


def trail_words(trail: tuple[Step, ...], here: str) -> str:
    """Return the way that led here."""
    return " › ".join((*(f"{step.screen} {step.told}".strip() for step in trail), here))


def with_filter(ask: Ask, text: str) -> Ask:
    """Return the question with another filter."""
    return replace(ask, filter=text.strip())
