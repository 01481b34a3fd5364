"""Rows of the outbox become messages in one sink's format.

In: rows, settings. Out: messages, None for a row this sink does not want. Never: an address that goes out uncovered
once pseudonyms are asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from egress_watch import __version__
from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError
from egress_watch.exports.format import Format
from egress_watch.exports.formats import FORMATS, fitting
from egress_watch.exports.pseudonyms import Pseudonyms
from egress_watch.exports.record import ALERT, FLOW, Origin, Record, gap, heartbeat, news, record, trial
from egress_watch.exports.severity import SEVERITIES, severity
from egress_watch.sinks.sink import Message
from egress_watch.store.gaps import ALERTS, FLOWS
from egress_watch.store.outbox import Outbox

Cover = Callable[[Callable[[str], bool]], Pseudonyms | None]
"""Who covers records, given what tells whether an address is a device's."""
KINDS = {ALERTS: ALERT, FLOWS: FLOW}


class Row(NamedTuple):
    """A row of the outbox: its number, and the message it makes, None where the sink does not want it."""

    number: int
    message: Message | None


@dataclass(slots=True)
class Words:
    """What one sink is told, and how."""

    settings: SinkSettings
    sensor: str
    line: Callable[[Record], str]
    covers: Pseudonyms | None = None

    def __post_init__(self) -> None:
        """Let pseudonyms have the shape that the format asks for."""
        self.covers = fitting(self.covers, self.settings.format)

    def read(self, outbox: Outbox, stream: str, after: int) -> list[Row]:
        """Return the next rows of a stream, up to a batch."""
        if stream not in self.settings.records:
            return []
        read = outbox.news if stream == ALERTS else outbox.flows
        rows = read(after, self.settings.batch)
        dates = outbox.zone_dates() if rows else {}
        if stream == FLOWS:
            return [Row(row["id"], self.message(record(FLOW, row, self._origin(row, dates)))) for row in rows]
        samples = outbox.samples([row["last_flow"] for row in rows if self._wanted(row)])
        return [Row(row["news"], self._news(row, samples, dates)) for row in rows]

    def gap(self, row: Mapping[str, Any]) -> Message:
        """Return what tells the receiver that records were dropped."""
        return self.message(gap(row, self.settings.name, Origin(self.sensor, __version__)))

    def heartbeat(self, told: Mapping[str, Any], time_ns: int) -> Message:
        """Return what tells the receiver that we live."""
        return self.message(heartbeat(told, self.settings.name, time_ns, Origin(self.sensor, __version__)))

    def trial(self, time_ns: int) -> Message:
        """Return a test."""
        return self.message(trial(self.settings.name, time_ns, Origin(self.sensor, __version__)))

    def _wanted(self, row: Mapping[str, Any]) -> bool:
        """Return whether news is grave enough, and of an alert that nobody muted."""
        levels = list(SEVERITIES)
        grave = levels.index(row["news_level"]) if row["news_level"] in levels else 0
        return grave >= levels.index(self.settings.least) and row["mute"] is None

    def _news(
        self, row: Mapping[str, Any], samples: Mapping[int, Mapping[str, Any]], dates: Mapping[int, str]
    ) -> Message | None:
        if not self._wanted(row):
            return None
        return self.message(news(row, self._origin(row, dates), flow=samples.get(row["last_flow"])))

    def _origin(self, row: Mapping[str, Any], dates: Mapping[int, str]) -> Origin:
        return Origin(self.sensor, __version__, dates.get(row["recording"], ""))

    def message(self, made: Record) -> Message:
        """Return a record as a message, covered where pseudonyms are asked for."""
        if self.covers:
            made = self.covers.record(made)
        level, device = made["level"], made.get("device_ip") or ""
        body = self.line(made).encode("utf-8", "backslashreplace")
        known = made["event_id"], made["kind"], made["time_ns"], level, device, self.sensor, body
        return Message(*known, severity(level).syslog)


def sensor_name(given: str = "") -> str:
    """Return the name of this sensor: the one that is given, else the machine's."""
    return given or os.uname().nodename


def line_of(settings: SinkSettings) -> Callable[[Record], str]:
    """Return how a sink's format writes a record; raises ConfigError for one that cannot be sent so."""
    where = f"sink {settings.name}"
    known: dict[str, Format] = {one.name: one for one in FORMATS if one.line}
    form = known.get(settings.format)
    if form is None or form.line is None:
        what = f"format: {settings.format!r} is none with one line a record"
        raise ConfigError(what, where=where, remedy=f"one of: {', '.join(known)}")
    for stream in settings.records:
        if KINDS[stream] not in form.kinds:
            raise ConfigError(f"format: {form.name} holds no {stream}", where=where, remedy="take another, or ecs")
    return form.line


def wanted_streams(settings: SinkSettings) -> Sequence[str]:
    """Return the streams a sink gets, alerts first."""
    return [stream for stream in (ALERTS, FLOWS) if stream in settings.records]
