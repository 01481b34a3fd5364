"""List the alerts of a database, the gravest and largest first.

An alert is an episode: what one rule says of one device towards one owner and country, with all its hits, until it
falls silent. Those that somebody muted are counted, not listed.

In: a database and filters. Out: rows. Never: a change to the database.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress

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
    command.add_argument("--muted", action="store_true", help="those that somebody muted too")
    command.add_argument("--config", default="", metavar="FILE", help="settings of privacy (TOML)")
    add_pseudonyms(command)


def run(options: argparse.Namespace) -> int:
    """Print the rows."""
    from egress_watch.store.reader import Reader

    with Reader(options.db) as reader:
        asked = filters(options, ALERT_FILTERS, reader.newest_ns())
        rows = reader.alerts(asked, options.limit, muted=options.muted)
        if covers := covering(options, load(options.config), reader.is_device):
            rows = list(covers.rows(rows))
        write_rows(options, rows, ALERT_TABLE if options.format == "table" else ALERT_COLUMNS)
        _say_muted(0 if options.muted else reader.muted(asked))
        say_if_old(reader.data(of_alerts=True))
    return 0


def _say_muted(count: int) -> None:
    """Say on standard error that something is left out."""
    if count and sys.stderr is not None:
        with suppress(OSError):
            print(f"egress-watch: {count:,} muted left out: --muted shows them", file=sys.stderr, flush=True)
