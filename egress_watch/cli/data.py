"""Show the data that judges: every file with its date, age and licence.

In: settings. Out: a table. Never: a download; nothing is fetched while this program runs.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, date, datetime
from typing import Any

from egress_watch import sinks
from egress_watch.config import load

HELP = "show the data that judges, and its age"
EXAMPLES = (
    "egress-watch data",
    "egress-watch data --config egress-watch.toml --json",
)
STALE_DAYS = 90
COLUMNS = ("name", "kind", "built", "age_days", "licence", "attribution", "path")


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("--config", default="", metavar="FILE", help="a TOML file of settings")
    command.add_argument("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> int:
    """Print the files, and which of them are stale."""
    from egress_watch.exports.table import encode
    from egress_watch.library import data_files, makers_file, tables_checked

    today = datetime.now(UTC).date()
    files = [*data_files(load(options.config)), makers_file()]
    rows = [_row(file.name, file.kind, file.built, today) | _rest(file) for file in files]
    own = {"licence": "MIT", "attribution": "egress-watch", "path": ""}
    rows += [_row(name, "curated", checked, today) | own for name, checked in tables_checked().items()]
    if options.json:
        sinks.write("-", [json.dumps(row) for row in rows])
    else:
        sinks.write("-", [*encode(rows, COLUMNS), *map(_stale, (row for row in rows if stale(row["built"], today)))])
    return 0


def stale(built: str, today: date) -> bool:
    """Return whether data of this ISO date is too old to be shown without saying so."""
    return (age_days(built, today) or 0) > STALE_DAYS


def age_days(built: str, today: date) -> int | None:
    """Return the age of data in days, None where its date is not known."""
    try:
        return (today - date.fromisoformat(built)).days
    except ValueError:
        return None


def _row(name: str, kind: str, built: str, today: date) -> dict[str, Any]:
    return {"name": name, "kind": kind, "built": built, "age_days": age_days(built, today)}


def _rest(file: Any) -> dict[str, Any]:
    return {"licence": file.licence, "attribution": file.attribution, "path": str(file.path), "sha256": file.sha256}


def _stale(row: dict[str, Any]) -> str:
    return f"{row['name']} is older than {STALE_DAYS} days: addresses move, so judge with newer data (`make data`)"
