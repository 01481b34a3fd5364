"""List the alerts of a database, the gravest and largest first.

An alert is an episode: what one rule says of one device towards one owner and country, with all its hits.

In: a database and filters. Out: rows. Never: a change to the database.
"""

from __future__ import annotations

import argparse

from egress_watch.cli.judges import say_if_old
from egress_watch.cli.options import ALERT_FILTERS, add_filters, add_output, filters, write_rows
from egress_watch.cli.privacy import add_pseudonyms, covering
from egress_watch.config import load
from egress_watch.exports import ALERT_COLUMNS, ALERT_TABLE

HELP = "list alerts with their reasons"
EXAMPLES = (
    "egress-watch alerts egress.db",
    "egress-watch alerts egress.db --device 10.20.110.11",
    "egress-watch alerts egress.db --format ndjson -o alerts.ndjson",
)


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("db", metavar="DB", help="a database that replay wrote")
    add_output(command)
    add_filters(command, ALERT_FILTERS)
    command.add_argument("--config", default="", metavar="FILE", help="settings of privacy (TOML)")
    add_pseudonyms(command)


def run(options: argparse.Namespace) -> int:
    """Print the rows."""
    from egress_watch.store.reader import Reader

    with Reader(options.db) as reader:
        rows = reader.alerts(filters(options, ALERT_FILTERS, reader.newest_ns()), options.limit)
        if covers := covering(options, load(options.config), reader.is_device):
            rows = list(covers.rows(rows))
        write_rows(options, rows, ALERT_TABLE if options.format == "table" else ALERT_COLUMNS)
        say_if_old(reader.data(of_alerts=True))
    return 0
