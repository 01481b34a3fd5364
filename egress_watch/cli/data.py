"""Show the data that judges: every file with its date, age and licence; fetch newer data, or go back.

In: settings, or a place that new files come from. Out: a table. Never: a download that was not asked for: only
`data update` fetches anything, and nothing else ever runs it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

from egress_watch import sinks
from egress_watch.config import load
from egress_watch.errors import DATA_TROUBLE
from egress_watch.exports.plain import printable

HELP = "show the data that judges, and its age; update it"
EXAMPLES = (
    "egress-watch data",
    "egress-watch data --config egress-watch.toml --json",
    "egress-watch data update",
    "egress-watch data update --from /media/stick/data",
    "egress-watch data update --from https://mirror.example/data --only origin-asn cloud",
    "egress-watch data rollback",
)
STALE_DAYS = 90
OWN_WORD = "override"
"""Kind of the user's own file of overrides: what it says holds until the user says otherwise, however old it is."""
COLUMNS = ("name", "kind", "in_use", "built", "age_days", "licence", "attribution", "sha256", "path")
CHANGES = ("name", "from", "to", "bytes", "changed")
SHOWN_DIGITS = 12
UPDATE = """Fetch newer data, check it, and bring it into use in one step.

Without --from the files come from their publishers: DB-IP, ip-location-db, and the lists that the clouds publish of
their own prefixes. Whatever fails, the data in use stays; the data before is kept for `data rollback`."""


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("--config", default="", metavar="FILE", help="a TOML file of settings")
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    command.set_defaults(verb="list")
    verbs = command.add_subparsers(metavar="VERB", dest="verb", title="verbs; without one the data is listed")
    verbs.required = False
    form = argparse.RawDescriptionHelpFormatter
    update = verbs.add_parser("update", help="fetch newer data", description=UPDATE, formatter_class=form)
    _update_arguments(update)
    back = "go back to the data before the last update, in the end to the shipped data"
    verbs.add_parser("rollback", help=back, description=back)


def _update_arguments(update: argparse.ArgumentParser) -> None:
    places = "a .mmdb file, a folder with NAME.mmdb[.xz|.gz], or the address of a mirror with the same names"
    update.add_argument("--from", dest="origin", default="", metavar="PLACE", help=places)
    update.add_argument("--only", nargs="+", default=[], metavar="NAME", help="only these, as `data` names them")
    update.add_argument("--older", action="store_true", help="take data older than the one in use, too")
    table = "a table of addresses and limits in place of the shipped one (egress_watch/data/publishers.toml)"
    update.add_argument("--publishers", default="", metavar="FILE", help=table)


def run(options: argparse.Namespace) -> int:
    """List the data, bring new data into use, or go back."""
    return {"update": _update, "rollback": _rollback}.get(options.verb, _list)(options)


def _list(options: argparse.Namespace) -> int:
    """Print the files, which of them are stale, and what is wrong with the updated ones."""
    from egress_watch.exports.table import encode
    from egress_watch.library import CURATED, data_files, makers_file, notices, tables_checked

    today = datetime.now(UTC).date()
    files = [file for file in data_files(load(options.config)) if file.kind != CURATED]  # told one by one below
    files.append(makers_file())
    rows = [_row(file.name, file.kind, file.built, today) | _rest(file) for file in files]
    own = {"in_use": "shipped", "licence": "MIT", "attribution": "egress-watch", "path": "", "sha256": ""}
    rows += [_row(name, "curated", checked, today) | own for name, checked in tables_checked().items()]
    told = [printable(notice) for notice in notices()]
    if options.json:
        sinks.write("-", [json.dumps(row) for row in rows])
        _tell(told)
    else:
        shown = encode([row | {"sha256": row["sha256"][:SHOWN_DIGITS]} for row in rows], COLUMNS)
        sinks.write("-", [*shown, *(_stale(row) for row in rows if _old(row, today)), *told])
    return 0


def _update(options: argparse.Namespace) -> int:
    """Bring new data into use; the exit code is 1 where any of it failed."""
    from egress_watch.exports.table import encode
    from egress_watch.library.publishers import publishers
    from egress_watch.library.update import update

    table = publishers(options.publishers)
    done = update(options.origin, table, options.only, older=options.older, say=lambda line: _tell([printable(line)]))
    for problem in done.problems:
        _tell(map(printable, f"egress-watch: {problem}".split("\n")))
    rows = [{"name": c.name, "from": c.old, "to": c.new, "bytes": c.bytes, "changed": c.what} for c in done.changes]
    sinks.write("-", [*encode(rows, CHANGES), *_next(done.id)])
    return DATA_TROUBLE if done.problems else 0


def _next(name: str) -> list[str]:
    if not name:
        return ["", "Nothing changed: the data in use stays."]
    return [
        "",
        f"In use now: set {name}. The data before is kept: `egress-watch data rollback` goes back to it.",
        "Recordings keep the verdicts of their day; `egress-watch rejudge DB` shows what the new data would change.",
    ]


def _rollback(_: argparse.Namespace) -> int:
    """Go back, and say what is in use now."""
    from egress_watch.library.files import kept_files
    from egress_watch.library.update import rollback

    name = rollback()
    files = ", ".join(f"{file.name} {file.built}" for file in kept_files())
    sinks.write("-", [f"In use now: {f'set {name}' if name else 'the shipped data'}: {files}"])
    return 0


def _tell(lines: Iterable[str]) -> None:
    if sys.stderr is not None:
        with suppress(OSError):
            for line in lines:
                print(line, file=sys.stderr, flush=True)


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
    told = {"licence": file.licence, "attribution": file.attribution, "path": str(file.path), "sha256": file.sha256}
    return told | {"in_use": {"own": "your own file"}.get(file.origin, file.origin)}


def _old(row: dict[str, Any], today: date) -> bool:
    return row["kind"] != OWN_WORD and stale(row["built"], today)


def _stale(row: dict[str, Any]) -> str:
    newer = "addresses move, so judge with newer data (`egress-watch data update`)"
    if row["kind"] == "curated":
        newer = "owners and laws change; this table comes with the program, so install a newer egress-watch"
    elif row["in_use"] == "your own file":
        newer = f"addresses move, so put a newer file at {printable(row['path'])}"
    return f"{row['name']} is older than {STALE_DAYS} days: {newer}"
