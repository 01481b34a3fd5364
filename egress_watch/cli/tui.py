"""Open a database in the terminal UI, beside a process that writes it or long after.

In: a database. Out: a screen. Never: a change to the database.
"""

from __future__ import annotations

import argparse
import sys

from egress_watch.errors import UsageError

HELP = "open the terminal UI"
EXAMPLES = ("egress-watch tui egress.db",)


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("db", metavar="DB", help="a database that replay wrote")


def run(options: argparse.Namespace) -> int:
    """Open the screen until the user leaves it; what is wrong with the database is said before."""
    from egress_watch.store import Reader

    with Reader(options.db) as reader:
        reader.newest_ns()
    on_a_terminal(options.db)
    from egress_watch_tui.app import EgressWatch

    app = EgressWatch(options.db)
    app.run()
    return app.return_code or 0


def on_a_terminal(db: str) -> None:
    """Raise UsageError where there is nothing to draw on."""
    if not all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        remedy = f"run it in one, or print instead: egress-watch flows {db}"
        raise UsageError("the screen needs a terminal", where="tui", remedy=remedy)
