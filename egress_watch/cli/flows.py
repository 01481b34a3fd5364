"""List the stored flows of a database, as a table, NDJSON or CSV.

With --why it explains each flow: the stored answer, and what every source says today.

In: a database and filters. Out: rows. Never: a change to the database.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from egress_watch.cli.judges import say_if_old
from egress_watch.cli.options import FLOW_FILTERS, add_filters, add_output, filters, write_lines, write_rows
from egress_watch.cli.privacy import add_pseudonyms, covering
from egress_watch.config import load
from egress_watch.errors import UsageError
from egress_watch.exports import FLOW_COLUMNS, FLOW_TABLE

if TYPE_CHECKING:  # at run time it would load SQLite for --help
    from egress_watch.exports.pseudonyms import Pseudonyms
    from egress_watch.store.reader import Reader

HELP = "list stored flows"
EXAMPLES = (
    "egress-watch flows egress.db --verdict OUT --limit 20",
    "egress-watch flows egress.db --owner hikvision --since 2h",
    "egress-watch flows egress.db country:CN,RU 'bytes>1M' '!port:443' since:2h",
    "egress-watch flows egress.db --format ndjson | jq -r 'select(.country==\"CN\").remote_ip' | sort | uniq -c",
    "egress-watch flows egress.db --device 10.20.110.11 --format csv -o camera.csv",
    "egress-watch flows egress.db --country CN --limit 3 --why",
)


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("db", metavar="DB", help="a database that replay wrote")
    command.add_argument(
        "terms", metavar="TERM", nargs="*",
        help="filter as in the terminal UI (docs/tui.md): country:CN owner:hikvision !port:443 bytes>1M since:2h",
    )  # fmt: skip
    add_output(command)
    command.add_argument(
        "--why", action="store_true", help="explain each flow: the stored answer, and the evidence today"
    )
    command.add_argument(
        "--config", default="", metavar="FILE", help="settings: what --why judges with, privacy (TOML)"
    )
    add_pseudonyms(command)
    add_filters(command, FLOW_FILTERS)


def run(options: argparse.Namespace) -> int:
    """Print the rows."""
    from egress_watch.store.screens import Screens

    with Screens(options.db) as reader:
        asked = filters(options, FLOW_FILTERS, reader.newest_ns(), reader.zones())
        terms = reader.filtered(" ".join(options.terms))
        rows = (
            reader.matching_flows(terms, asked, options.limit) if options.terms else reader.flows(asked, options.limit)
        )
        covers = covering(options, load(options.config), reader.is_device)
        if options.why:
            _explain(options, rows, reader, covers)
        else:
            rows = covers.rows(rows) if covers else rows
            write_rows(options, rows, FLOW_TABLE if options.format == "table" else FLOW_COLUMNS)
        say_if_old(reader.data())
    return 0


def _explain(
    options: argparse.Namespace, rows: Iterable[Mapping[str, Any]], reader: Reader, covers: Pseudonyms | None
) -> None:  # fmt: skip
    from egress_watch.cli.why import Why

    if options.format != "table":
        remedy = "leave --format out; the other formats carry the stored answer in their columns"
        raise UsageError(f"--why is for people, not for {options.format}", remedy=remedy)
    if covers and covers.everything:
        remedy = "leave --why out, or cover devices alone: the prefixes of a remote tell where it is"
        raise UsageError("--why does not go with --cover all", remedy=remedy)
    why = Why(reader, load(options.config))
    told = ((row, line) for row in rows for line in why.lines(row))
    write_lines(options, (covers.told(line, row) if covers else line for row, line in told))
