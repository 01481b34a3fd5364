"""One episode as it stands, and what it is known by.

In: `Alert` rows. Out: a row that grows. Never: a decision about it; `episodes` makes those.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import NamedTuple

from egress_watch.model import Alert

LATEST_NS = 2**63 - 1
GRAVITY = {level: n for n, level in enumerate(("informational", "low", "medium", "high", "critical"))}
EPISODE, STORM = "episode", "storm"

Key = int
"""Whom a rule speaks of: a row of the device table, 0 for the rule's summary of a storm, and a number of `Whoms`."""
Whom = tuple[str, str, str]
"""Owner, country and network."""
DEVICE_SHIFT = 32
WHOM = (1 << DEVICE_SHIFT) - 1
NOBODY: Whom = ("", "", "")
NOT_CLOSED = -LATEST_NS
"""Stands for NULL, since that takes as long to bind as ten numbers."""


class Episode(NamedTuple):
    """An episode as it stands: its row, and the columns that change."""

    row: int
    level: str
    first_ns: int
    last_ns: int
    hits: int
    bytes_out: int
    bytes_in: int
    remote_ip: str
    verdict: str
    last_flow: int
    why: str
    due_ns: int
    """When it is told again, if it is hit then."""
    updates: int
    told_bytes: int
    closed_ns: int = NOT_CLOSED

    def grown(self, hit: Alert) -> Episode:
        """Return the episode with the hits of an alert added."""
        level = self.level if hit.level == self.level else max(self.level, hit.level, key=gravity)
        return Episode(
            self.row, level, min(self.first_ns, hit.first_ns),
            max(self.last_ns, hit.last_ns), self.hits + hit.hits, self.bytes_out + hit.bytes_out,
            self.bytes_in + hit.bytes_in, hit.remote_ip, hit.verdict, hit.last_flow, hit.why, self.due_ns,
            self.updates, self.told_bytes,
        )  # fmt: skip

    def event(self, kind: str, cause: str, time_ns: int) -> tuple[object, ...]:
        """Return the row of alert_event for what happened at a packet time."""
        return self.row, kind, cause, time_ns, self.level, self.hits, self.bytes_out, self.bytes_in


class Whoms:
    """Numbers for owners with country and network, of each rule; there are no more of them than the data files have."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Whom]] = []
        """Rule and whom, by number."""
        self._numbers: dict[tuple[str, Whom], int] = {}

    def numbers(self, rule: str, whoms: Iterable[Whom]) -> list[int]:
        """Return the numbers of whom hits of a rule speak of."""
        return [self._number(pair) for pair in zip(repeat(rule), whoms)]

    def key(self, alert: Alert) -> Key:
        """Return what tells an alert's episode from others of its recording."""
        return alert.device << DEVICE_SHIFT | self._number((alert.rule, (alert.owner, alert.country, alert.network)))

    def summary(self, rule: str) -> Key:
        """Return the key of a rule's summary."""
        return self._number((rule, NOBODY))

    def _number(self, pair: tuple[str, Whom]) -> int:
        number = self._numbers.setdefault(pair, len(self.told))
        if number == len(self.told):
            self.told.append(pair)
        return number


def gravity(level: str) -> int:
    """Return how grave a level is, -1 for an unknown one."""
    return GRAVITY.get(level, -1)


def later(time_ns: int, by_ns: int) -> int:
    """Return a later time, at most the last there is."""
    return min(time_ns + by_ns, LATEST_NS)
