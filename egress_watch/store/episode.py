"""One episode as it stands, and what it is known by.

In: `Alert` rows. Out: a row that grows. Never: a decision about it; `episodes` makes those.
"""

from __future__ import annotations

from typing import NamedTuple

from egress_watch.model import Alert

LATEST_NS = 2**63 - 1
GRAVITY = {level: n for n, level in enumerate(("informational", "low", "medium", "high", "critical"))}
EPISODE, STORM = "episode", "storm"

Key = tuple[str, int]
"""A rule, and whom it speaks of: a row of the device table and a number of `Whoms`, or `SUMMARY`."""
Whom = tuple[str, str, str]
"""Owner, country and network."""
SUMMARY = -1
"""Stands for the rule's storm."""
DEVICE_SHIFT = 32
WHOM = (1 << DEVICE_SHIFT) - 1
NOBODY: Whom = ("", "", "")


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
    closed_ns: int | None = None

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
    """Numbers for owners with country and network; there are no more of them than the data files have."""

    def __init__(self) -> None:
        self.told: list[Whom] = []
        self._numbers: dict[Whom, int] = {}

    def number(self, whom: Whom) -> int:
        """Return the number of whom a hit speaks of."""
        number = self._numbers.setdefault(whom, len(self.told))
        if number == len(self.told):
            self.told.append(whom)
        return number

    def key(self, alert: Alert) -> Key:
        """Return what tells an alert's episode from others of its recording."""
        number = self.number((alert.owner, alert.country, alert.network))
        return alert.rule, alert.device << DEVICE_SHIFT | number


def gravity(level: str) -> int:
    """Return how grave a level is, -1 for an unknown one."""
    return GRAVITY.get(level, -1)


def later(time_ns: int, by_ns: int) -> int:
    """Return a later time, at most the last there is."""
    return min(time_ns + by_ns, LATEST_NS)
