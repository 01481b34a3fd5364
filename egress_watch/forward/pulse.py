"""When the receiver of one sink is told that we live, and what came since it was told last.

In: a database, settings. Out: heartbeats, one at a time. Never: a second heartbeat while one is open, or one that is
made of anything but the newest state: a receiver that was away for an hour gets one, not twelve.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from math import ceil
from typing import Any

from egress_watch.config import SinkSettings
from egress_watch.forward.words import Words
from egress_watch.sinks.sink import Message
from egress_watch.store.gaps import ALERTS
from egress_watch.store.outbox import Outbox

FIRST_S = 5.0
"""The first comes so long after the start, when a recorder that was started with us has begun."""
COUNTED = ("frames", "ip_packets", "lost")


class Pulse:
    """The heartbeats of one sink: none where it gets no alerts, or where the settings have 0."""

    def __init__(self, settings: SinkSettings) -> None:
        self._every_s = settings.heartbeat_s if ALERTS in settings.records else 0.0
        self._due_s = time.monotonic() + min(self._every_s, FIRST_S)
        self._stale_s = 0.0
        self._open: Message | None = None
        self._made: Mapping[str, Any] = {}
        self._told: Mapping[str, Any] = {}

    def due(self, outbox: Outbox, words: Words) -> Message | None:
        """Return the heartbeat to send now; one that is open keeps its id until it is older than the next is due."""
        now_s = time.monotonic()
        if not self._every_s or now_s < self._due_s:
            return None
        if self._open is None or now_s >= self._stale_s:
            self._made, self._stale_s = outbox.pulse(words.settings.name), now_s + self._every_s
            self._open = words.heartbeat(self._since(), time.time_ns())
        return self._open

    def told(self) -> None:
        """Note that the receiver has it."""
        self._told, self._open, self._due_s = self._made, None, time.monotonic() + self._every_s

    def _since(self) -> dict[str, Any]:
        """Return what to tell: counts since the heartbeat before, or since the recording began if that is newer."""
        made, told = self._made, self._told
        same = bool(told) and told["recording"] == made["recording"]
        since = {name: made[name] - (told[name] if same else 0) for name in COUNTED}
        began_ns = told["made_ns"] if same else made["first_ns"]
        age = data_age_days(made["built"], datetime.now(UTC).date())
        return {**made, **since, "since_ns": began_ns, "interval_s": ceil(self._every_s), "data_age_days": age}


def data_age_days(built: str, today: date) -> int:
    """Return the days since a data file was built, 0 where it says no day."""
    try:
        return (today - date.fromisoformat(built[:10])).days
    except ValueError:
        return 0
