"""Write alerts or flows in the format of another program: a SIEM, a data lake, a flow collector.

Each record carries an event id made from its own content: exported twice it has the same id, and a receiver can drop
doubles. docs/formats.md has the mapping of every format.

In: a database and filters. Out: records. Never: a change to the database, or more than a page of it in memory.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from egress_watch import __version__
from egress_watch.cli.options import ALERT_FILTERS, FLOW_FILTERS, add_filters, add_output, filters, write_lines
from egress_watch.cli.privacy import add_pseudonyms, covering
from egress_watch.config import SinkSettings, load
from egress_watch.errors import DATA_TROUBLE, UsageError
from egress_watch.exports.format import Format
from egress_watch.exports.formats import FORMATS, fitting
from egress_watch.exports.record import ALERT, FLOW, Origin, Record, record

if TYPE_CHECKING:  # at run time it would load SQLite for --help
    from egress_watch.exports.pseudonyms import Pseudonyms
    from egress_watch.store.reader import Reader

HELP = "write alerts or flows for a SIEM or another tool"
EXAMPLES = (
    "egress-watch export egress.db",
    "egress-watch export egress.db --format cef --since 1h -o alerts.cef",
    "egress-watch export egress.db --flows --format parquet -o flows.parquet",
    "egress-watch export egress.db --flows --format zeek --verdict OUT -o conn.log",
    "egress-watch export egress.db --since 7d --to relp://siem.example:2514",
    "egress-watch export egress.db --format ocsf --sensor north | gzip > alerts.ocsf.json.gz",
)
BY_NAME = {known.name: known for known in FORMATS}


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("db", metavar="DB", help="a database that replay wrote")
    kinds = command.add_mutually_exclusive_group()
    told = "the alerts, by number; the default where the format can hold them"
    kinds.add_argument("--alerts", dest="kind", action="store_const", const=ALERT, help=told)
    kinds.add_argument("--flows", dest="kind", action="store_const", const=FLOW, help="the flows, by number")
    add_output(command, BY_NAME, "ecs")
    to = "send them once, in place of a file: where to (`egress-watch sinks kinds`), or a sink of the settings by name"
    command.add_argument("--to", default="", metavar="SINK", help=to)
    sensor = "name of this sensor in every record, and part of the event id; default: as configured (this machine's)"
    command.add_argument("--sensor", default="", metavar="NAME", help=sensor)
    command.add_argument("--config", default="", metavar="FILE", help="settings: privacy (TOML)")
    add_pseudonyms(command)
    add_filters(command, FLOW_FILTERS)


def run(options: argparse.Namespace) -> int:
    """Write the records."""
    from egress_watch.store.reader import Reader

    chosen = BY_NAME[options.format]
    kind = _kind(chosen, options)
    with Reader(options.db) as reader:
        covers = fitting(covering(options, load(options.config), reader.is_device), chosen.name)
        found = records(options, kind, reader, covers)
        if options.to:
            return _send(options, found)
        write_lines(options, chosen.encode(found, kind))
    return 0


def _send(options: argparse.Namespace, found: Iterator[Record]) -> int:
    """Send the records once, and say how many; 1 where the receiver refused any."""
    from egress_watch.forward.once import send
    from egress_watch.forward.words import Words, line_of, sensor_name
    from egress_watch.sinks.kinds import kind

    if options.output != "-":
        raise UsageError("-o and --to", remedy="leave one of them out")
    config = load(options.config)
    stream = f"{options.kind or ALERT}s"
    given = next((row for row in config.sink if row.name == options.to), SinkSettings("export", options.to))
    settings = replace(given, format=options.format, records=(stream,))
    words = Words(settings, options.sensor or sensor_name(config.sensor), line_of(settings))
    sent = send(settings, map(words.message, found))
    print(f"sent {sent.sent:,}, refused {len(sent.refused):,} ({kind(settings).promise.word})", file=sys.stderr)
    return DATA_TROUBLE if sent.refused else 0


def _kind(chosen: Format, options: argparse.Namespace) -> str:
    """Return which records are meant; raises UsageError for what the format or the alerts do not have."""
    kind: str = options.kind or chosen.kinds[0]
    if kind not in chosen.kinds:
        raise UsageError(f"{chosen.name} holds no {kind}s", remedy=f"ask for --{chosen.kinds[0]}s, or another --format")
    if chosen.binary and options.output == "-" and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError(f"{chosen.name} is nothing for a terminal", remedy="name a file with -o")
    for name in FLOW_FILTERS:
        if kind == ALERT and name not in ALERT_FILTERS and getattr(options, name) is not None:
            raise UsageError(f"--{name} does not narrow alerts", remedy="leave it out, or ask for --flows")
    return kind


def records(
    options: argparse.Namespace, kind: str, reader: Reader, covers: Pseudonyms | None = None
) -> Iterator[Record]:
    """Yield the records by the number of their row; an alert takes the newest flow of its episode as its sample."""
    sensor, dates = options.sensor or load(options.config).sensor or os.uname().nodename, reader.zone_dates()
    names = FLOW_FILTERS if kind == FLOW else ALERT_FILTERS
    wanted = filters(options, names, reader.newest_ns(), reader.zones())
    read = reader.flows if kind == FLOW else reader.episodes
    for row in read(wanted, options.limit):
        flow = None if kind == FLOW else next(reader.flows({"id": row["last_flow"]}), None)
        made = record(kind, row, Origin(sensor, __version__, dates.get(row["recording"], "")), flow=flow)
        yield covers.record(made) if covers else made
