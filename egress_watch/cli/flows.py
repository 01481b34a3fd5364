"""List the stored flows of a database, as a table, NDJSON or CSV.

In: a database and filters. Out: rows. Never: a change to the database.
"""

from __future__ import annotations

import argparse

from egress_watch.cli.options import FLOW_FILTERS, add_filters, add_output, filters, write_rows
from egress_watch.exports import FLOW_COLUMNS, FLOW_TABLE

HELP = "list stored flows"
EXAMPLES = (
    "egress-watch flows egress.db --verdict OUT --limit 20",
    "egress-watch flows egress.db --owner hikvision --since 2h",
    "egress-watch flows egress.db --format ndjson | jq -r 'select(.country==\"CN\").remote_ip' | sort | uniq -c",
    "egress-watch flows egress.db --device 10.20.110.11 --format csv -o camera.csv",
)


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("db", metavar="DB", help="a database that replay wrote")
    add_output(command)
    add_filters(command, FLOW_FILTERS)


def run(options: argparse.Namespace) -> int:
    """Print the rows."""
    from egress_watch.store.reader import Reader

    with Reader(options.db) as reader:
        rows = reader.flows(filters(options, FLOW_FILTERS, reader.newest_ns(), reader.zones()), options.limit)
        write_rows(options, rows, FLOW_TABLE if options.format == "table" else FLOW_COLUMNS)
    return 0
