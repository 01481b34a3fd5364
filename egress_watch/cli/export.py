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
from typing import TYPE_CHECKING

from egress_watch import __version__
from egress_watch.cli.options import ALERT_FILTERS, FLOW_FILTERS, add_filters, add_output, filters, write_lines
from egress_watch.cli.privacy import add_pseudonyms, covering
from egress_watch.config import load
from egress_watch.errors import UsageError
from egress_watch.exports.format import Format
from egress_watch.exports.formats import FORMATS
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
    "egress-watch export egress.db --format ocsf --sensor north | gzip > alerts.ocsf.json.gz",
)
BY_NAME = {known.name: known for known in FORMATS}
ANY_WORD = ("ndjson", "csv", "parquet")
"""Formats where a pseudonym may stand for an address; the others have fields that must hold addresses."""


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("db", metavar="DB", help="a database that replay wrote")
    kinds = command.add_mutually_exclusive_group()
    told = "the alerts, by number; the default where the format can hold them"
    kinds.add_argument("--alerts", dest="kind", action="store_const", const=ALERT, help=told)
    kinds.add_argument("--flows", dest="kind", action="store_const", const=FLOW, help="the flows, by number")
    add_output(command, BY_NAME, "ecs")
    sensor = "name of this sensor in every record, and part of the event id; default: the name of this machine"
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
        covers = covering(options, load(options.config), reader.is_device)
        if covers and chosen.name not in ANY_WORD:
            remedy = f"take {', '.join(ANY_WORD[:-1])} or {ANY_WORD[-1]}, or leave the key out"
            raise UsageError(f"{chosen.name} has fields that must hold addresses, no pseudonyms", remedy=remedy)
        write_lines(options, chosen.encode(records(options, kind, reader, covers), kind))
    return 0


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
    sensor, dates = options.sensor or os.uname().nodename, reader.zone_dates()
    names = FLOW_FILTERS if kind == FLOW else ALERT_FILTERS
    wanted = filters(options, names, reader.newest_ns(), reader.zones())
    read = reader.flows if kind == FLOW else reader.episodes
    for row in read(wanted, options.limit):
        flow = None if kind == FLOW else next(reader.flows({"id": row["last_flow"]}), None)
        made = record(kind, row, Origin(sensor, __version__, dates.get(row["recording"], "")), flow=flow)
        # The community id is a plain hash of both ends: who tries all addresses finds them.
        yield covers.row(made) | {"community_id": None} if covers else made
