"""The list of ways to a receiver.

In: settings. Out: an opened sink. Never: a setting that is ignored in silence, or a connection made here.

To add a sink: a module with a class that keeps `sink.Sink`'s contract and a `sink.Kind`, one line in SINKS, and one
line in tests/receiving.py that starts a receiver for the delivery contract test. A library beyond the standard one is
imported in the function that opens. This stands apart from ``sinks``, so that a command that prints a table does not
load them all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields

from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError
from egress_watch.sinks.datagrams import SYSLOG_UDP
from egress_watch.sinks.http_elastic import ELASTIC
from egress_watch.sinks.http_splunk import SPLUNK, SPLUNK_UNACKNOWLEDGED
from egress_watch.sinks.http_webhook import WEBHOOK
from egress_watch.sinks.kafka import KAFKA, KAFKA_TLS
from egress_watch.sinks.log import FILE
from egress_watch.sinks.nats import NATS, NATS_TLS
from egress_watch.sinks.relp import RELP, RELP_TLS
from egress_watch.sinks.sink import Kind, Sink
from egress_watch.sinks.stream import STDOUT
from egress_watch.sinks.syslog import SYSLOG_TCP, SYSLOG_TLS
from egress_watch.sinks.waves import Waves

SINKS: tuple[Kind, ...] = (
    FILE, STDOUT, SYSLOG_UDP, SYSLOG_TCP, SYSLOG_TLS, RELP, RELP_TLS, ELASTIC, SPLUNK, SPLUNK_UNACKNOWLEDGED, WEBHOOK,
    KAFKA, KAFKA_TLS, NATS, NATS_TLS,
)  # fmt: skip

NAME = re.compile("[A-Za-z][A-Za-z0-9_-]{0,31}")
RECORDS = ("alerts", "flows")
LEVELS = ("informational", "low", "medium", "high", "critical")
COMMON = (
    "name", "to", "format", "records", "least", "batch", "timeout_s", "retry_s", "retry_most_s", "flows_limit",
    "alerts_limit", "heartbeat_s",
)  # fmt: skip
"""Settings of every sink; a kind names the others it reads."""


def kind(settings: SinkSettings) -> Kind:
    """Return the kind of a sink by what its ``to`` begins with; raises ConfigError."""
    for known in SINKS:
        if settings.to.partition(":")[0].lower() == known.scheme:
            return known
    remedy = f"begin it with one of: {', '.join(known.scheme for known in SINKS)}"
    raise ConfigError(f"to: {settings.to!r} is no way to a receiver", where=_where(settings), remedy=remedy)


def promises() -> str:
    """Return what each promise means and which kinds make it, for the help of commands."""
    told = dict.fromkeys(known.promise for known in SINKS)
    kinds = [f"  {known.example}\n      {known.about}; {known.promise.word}" for known in SINKS]
    return "\n".join(["What a delivery means:", *(f"  {one.word}: {one.about}" for one in told), "", "Sinks:", *kinds])


def opened(settings: SinkSettings) -> Sink:
    """Return a sink that is ready to deliver, in order within each device; raises ConfigError or UsageError."""
    checked([settings])
    known = kind(settings)
    return Waves(known.open(settings)) if known.gaps else known.open(settings)


def checked(sinks: Sequence[SinkSettings]) -> None:
    """Raise ConfigError for the first sink whose settings cannot work."""
    seen: set[str] = set()
    for settings in sinks:
        if not NAME.fullmatch(settings.name):
            raise ConfigError(f"{settings.name!r} is no name for a sink", where="sink", remedy="give one word: siem")
        if settings.name.lower() in seen:
            raise ConfigError("the name is taken", where=_where(settings), remedy="give each sink its own")
        seen.add(settings.name.lower())
        if "@" in settings.to.partition("//")[2].partition("/")[0]:
            remedy = "set user, and secret_file or secret_env"
            raise ConfigError("to: holds a name or a password", where=_where(settings), remedy=remedy)
        _check_words(settings)
        _check_foreign(settings, kind(settings))


def _check_words(settings: SinkSettings) -> None:
    if not settings.records or set(settings.records) - set(RECORDS):
        remedy = f"one or both of: {', '.join(RECORDS)}"
        raise ConfigError(f"records: {list(settings.records)}", where=_where(settings), remedy=remedy)
    if settings.key_file and not settings.cert_file:
        raise ConfigError("key_file without cert_file", where=_where(settings), remedy="name both, or neither")
    if settings.least not in LEVELS:
        remedy = f"one of: {', '.join(LEVELS)}"
        raise ConfigError(f"least: {settings.least!r} is no level", where=_where(settings), remedy=remedy)


def _check_foreign(settings: SinkSettings, known: Kind) -> None:
    """Raise ConfigError for a setting that this kind does not read."""
    for row in fields(SinkSettings):
        if row.name not in (*COMMON, *known.settings) and getattr(settings, row.name) != row.default:
            what = f"{row.name} is no setting of {known.scheme}"
            raise ConfigError(what, where=_where(settings), remedy="leave it out")


def _where(settings: SinkSettings) -> str:
    return f"sink {settings.name}"
