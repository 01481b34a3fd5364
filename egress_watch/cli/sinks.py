"""Show the sinks: where they send to, what they promise, how far they came, and what is wrong.

Without a verb it lists the sinks of the settings and of the database, with what waits for each. `sinks kinds` tells
every kind there is. `sinks test NAME` sends one event that says it is a test, and prints what came back.

In: settings and a database. Out: a table; one event where a test is asked for. Never: a secret.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from typing import Any

from egress_watch import sinks
from egress_watch.cli.privacy import add_pseudonyms, covering
from egress_watch.config import Config, SinkSettings, load
from egress_watch.errors import DATA_TROUBLE, UsageError
from egress_watch.exports import ROW_FORMATS

HELP = "show the receivers: state, promise, what waits; test one"
EXAMPLES = (
    "egress-watch sinks --config egress-watch.toml",
    "egress-watch sinks --config egress-watch.toml --format ndjson",
    "egress-watch sinks test siem --config egress-watch.toml",
    "egress-watch sinks kinds",
    "egress-watch sinks forget old-siem --db egress.db",
)
COLUMNS = (
    "name", "state", "target", "promise", "alerts_waiting", "flows_waiting", "sent", "passed", "refused",
    "dropped_alerts", "dropped_flows", "failures", "error", "delivered_ns", "retry_ns",
)  # fmt: skip
SHOWN = ("name", "state", "target", "promise", "alerts_waiting", "flows_waiting", "sent", "refused", "error")
"""What a table on a terminal shows."""
KINDS = ("to", "promise", "means", "about")


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from egress_watch.sinks.kinds import promises

    command.description = f"{command.description}\n\n{promises()}"
    settings = "settings with the sinks (TOML)"
    command.add_argument("--config", default="", metavar="FILE", help=settings)
    command.add_argument("--db", default="", metavar="DB", help="the database; default: db of the settings")
    command.add_argument("--format", choices=list(ROW_FORMATS), default="table", help="default: table")
    command.set_defaults(verb="list")
    verbs = command.add_subparsers(metavar="VERB", dest="verb", title="verbs; without one the sinks are listed")
    verbs.required = False
    verbs.add_parser("kinds", help="every kind of sink, and what it promises", description="Tell every kind of sink.")
    gone = "forget how far a sink came; under the same name it begins anew"
    forget = verbs.add_parser("forget", help=gone, description=gone)
    forget.add_argument("name", metavar="NAME", help="a sink of the database")
    forget.add_argument(
        "--db", default=argparse.SUPPRESS, metavar="DB", help="the database; default: db of the settings"
    )
    forget.add_argument("--config", default=argparse.SUPPRESS, metavar="FILE", help=settings)
    test = verbs.add_parser("test", help="send one marked event", description="Send one event that says it is a test.")
    test.add_argument("name", metavar="NAME", help="a sink of the settings")
    test.add_argument("--config", default=argparse.SUPPRESS, metavar="FILE", help=settings)
    add_pseudonyms(test)


def run(options: argparse.Namespace) -> int:
    """List the sinks, tell their kinds, forget or test one."""
    return {"kinds": _kinds, "test": _test, "forget": _forget}.get(options.verb, _list)(options)


def _kinds(options: argparse.Namespace) -> int:
    from egress_watch.sinks.kinds import SINKS

    rows = [
        {"to": known.example, "promise": known.promise.word, "means": known.promise.about, "about": known.about}
        for known in SINKS
    ]
    _write(options, rows, KINDS, ("to", "promise", "about"))
    return 0


def _list(options: argparse.Namespace) -> int:
    from egress_watch.sinks.kinds import checked, kind
    from egress_watch.store.reader import Reader

    config = load(options.config)
    checked(config.sink)
    found: dict[str, dict[str, Any]] = {}
    with Reader(options.db or config.db) as reader:
        found = {row["name"]: row for row in reader.sinks()}
    for row in config.sink:
        known = {"name": row.name, "state": "never served", "target": row.to, "promise": kind(row).promise.word}
        found.setdefault(row.name, {**dict.fromkeys(COLUMNS), **known})
    _write(options, list(found.values()), COLUMNS, SHOWN)
    return DATA_TROUBLE if any(row["state"] == "down" for row in found.values()) else 0


def _forget(options: argparse.Namespace) -> int:
    from egress_watch.store.outbox import Outbox

    with Outbox(options.db or load(options.config).db) as outbox:
        outbox.forget(options.name)
    return 0


def _test(options: argparse.Namespace) -> int:
    """Send a test and say what came of it; 1 where it did not come through."""
    from egress_watch.exports.plain import printable
    from egress_watch.forward.once import send
    from egress_watch.forward.words import Words, line_of, sensor_name
    from egress_watch.sinks.kinds import kind

    config = load(options.config)
    settings = named(config, options.name, options.config)
    promise = kind(settings).promise
    covers = covering(options, config)
    words = Words(settings, sensor_name(config.sensor), line_of(settings), covers)
    message = words.trial(time.time_ns())
    sent = send(settings, [message], tries=1)
    refused = sent.refused.get(message.id)
    answer = f"refused it: {refused}" if refused else sent.said or "said nothing"
    lines = (f"sink {settings.name}, {settings.to}", f"event {message.id} in {settings.format}", f"receiver: {answer}",
             f"promise: {promise.word}: {promise.about}")  # fmt: skip
    sinks.write("-", [printable(line) for line in lines])
    return DATA_TROUBLE if refused else 0


def named(config: Config, name: str, where: str) -> SinkSettings:
    """Return a sink of the settings by its name; raises UsageError."""
    for row in config.sink:
        if row.name == name:
            return row
    known = ", ".join(row.name for row in config.sink) or "none is configured"
    raise UsageError(f"no sink is called {name!r}", where=where or "the settings", remedy=f"those there are: {known}")


def _write(options: argparse.Namespace, rows: Iterable[Any], columns: tuple[str, ...], shown: tuple[str, ...]) -> None:
    chosen = shown if options.format == "table" else columns
    sinks.write("-", ROW_FORMATS[options.format](rows, chosen))
