"""Open a database in the terminal UI, beside a process that writes it or long after.

In: a database. Out: a screen. Never: a change to the database.
"""

from __future__ import annotations

import argparse

HELP = "open the terminal UI"
EXAMPLES = ("egress-watch tui egress.db",)


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("db", metavar="DB", help="a database that replay wrote")


def run(options: argparse.Namespace) -> int:
    """Open the screen until the user leaves it."""
    from egress_watch_tui.app import EgressWatch

    EgressWatch(options.db).run()
    return 0
