"""From the store to the receivers: each configured sink in a thread of its own, beside whoever records.

In: a database and settings. Out: records at the receivers, and the state of each sink in the store. Never: a write to
anything but the state of sinks, or a sink that waits for another.

The service is `egress-watch forward`. `watch` starts it as a process of its own (`beside`), so that no receiver
can slow the capture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event, Thread

from egress_watch.config import Config, SinkSettings
from egress_watch.errors import EgressWatchError
from egress_watch.forward.beside import LEAVE_S, Beside
from egress_watch.forward.lane import Lane
from egress_watch.forward.words import Cover, Words, line_of, sensor_name
from egress_watch.sinks.kinds import checked
from egress_watch.store.outbox import Outbox

__all__ = ["LEAVE_S", "Beside", "Forwarder", "check", "forwarder"]


class Forwarder:
    """The lanes of some sinks of one database."""

    def __init__(
        self, path: str, sinks: Sequence[SinkSettings], *, sensor: str, cover: Cover = lambda _: None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """Open the sinks; raises ConfigError, UsageError for what cannot work."""
        check(sinks)
        self._path, self._sensor, self._cover, self._tell = path, sensor, cover, tell
        self._lanes = [Lane(settings, tell) for settings in sinks]
        self._threads: list[Thread] = []
        self.stop = Event()

    def start(self, *, once: bool = False, from_now: bool = False) -> None:
        """Claim every sink, then begin; raises StoreError where another process forwards to one of them."""
        with Outbox(self._path) as outbox:
            for lane in self._lanes:
                lane.claim(outbox, from_now=from_now)
        for lane in self._lanes:
            thread = Thread(target=self._follow, args=(lane,), kwargs={"once": once}, name=lane.settings.name)
            thread.daemon = True  # a receiver that hangs does not keep the process
            self._threads.append(thread)
            thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until all lanes are through; return whether they are."""
        for thread in self._threads:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in self._threads)

    def down(self) -> dict[str, str]:
        """Return the sinks that are down, with why."""
        return {lane.settings.name: lane.trouble for lane in self._lanes if lane.trouble}

    def _follow(self, lane: Lane, *, once: bool) -> None:
        try:
            with Outbox(self._path) as outbox:
                covers = self._cover(outbox.is_device)
                line = line_of(lane.settings)
                lane.run(outbox, Words(lane.settings, self._sensor, line, covers), self.stop, once=once)
        except EgressWatchError as error:
            lane.trouble = error.what
            self._tell(f"sink {lane.settings.name}: {error.what}")


def check(sinks: Sequence[SinkSettings]) -> None:
    """Raise ConfigError for the first sink whose settings cannot work; nothing is opened, no secret is read."""
    checked(sinks)
    for settings in sinks:
        line_of(settings)


def forwarder(
    config: Config, path: str, *, cover: Cover = lambda _: None, tell: Callable[[str], None] = lambda _: None,
    names: Sequence[str] = (),
) -> Forwarder:  # fmt: skip
    """Return what forwards as configured, to all sinks or to those named. Raises ConfigError, UsageError."""
    sinks = [row for row in config.sink if not names or row.name in names]
    return Forwarder(path, sinks, sensor=sensor_name(config.sensor), cover=cover, tell=tell)
