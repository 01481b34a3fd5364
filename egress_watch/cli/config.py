"""Print the settings in force, as a TOML file with a comment on every key.

In: a configuration file or nothing. Out: TOML that can be saved and changed. Never: a secret (there is none).
"""

from __future__ import annotations

import argparse

from egress_watch import sinks
from egress_watch.config import load, render

HELP = "print the settings in force, as TOML"
EXAMPLES = (
    "egress-watch config > egress-watch.toml",
    "egress-watch config --config egress-watch.toml",
)


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("--config", default="", metavar="FILE", help="settings to read over the defaults")


def run(options: argparse.Namespace) -> int:
    """Print the settings."""
    sinks.write("-", render(load(options.config)).splitlines())
    return 0
