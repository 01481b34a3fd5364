"""Take old flows, hours and alerts out of a database and give the room back.

What is kept stands in the settings ([retention]); `watch` keeps to them by itself, replay never takes anything out. How
old a flow is counts from when it was stored, not from its packets: a replay of last year's capture is new today. The
sums of each hour stay when its flows go. Nothing is written with --dry-run, which counts what would go by days.

In: a database and limits. Out: what was taken, and what the file takes now. Never: an open alert taken, or an act.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from egress_watch import sinks
from egress_watch.config import load

HELP = "take old flows out of a database and give the room back"
EXAMPLES = (
    "egress-watch retain egress.db --dry-run",
    "egress-watch retain egress.db --flow-days 7",
    "egress-watch retain egress.db --most-bytes 20000000000 --json",
)


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("db", metavar="DB", help="a database that replay or watch wrote")
    command.add_argument("--flow-days", type=_days, metavar="N", help="keep flows so long; 0 is for ever")
    command.add_argument("--hour-days", type=_days, metavar="N", help="keep the sums of their hours so long")
    command.add_argument("--alert-days", type=_days, metavar="N", help="keep closed alerts so long")
    command.add_argument("--most-bytes", type=int, metavar="N", help="let the file be so large at most")
    command.add_argument("--dry-run", action="store_true", help="say what would go, and write nothing")
    command.add_argument("--config", default="", metavar="FILE", help="a TOML file of settings")
    command.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Take out what is beyond the limits, and say what it was."""
    from egress_watch.store.retained import Limits, look, make_room

    kept = asdict(load(options.config).retention)
    kept |= {name: given for name in kept if (given := getattr(options, name, None)) is not None}
    work = look if options.dry_run else make_room
    taken, held = work(options.db, Limits(**kept))
    told = {"dry_run": options.dry_run, **taken._asdict(), **held._asdict()}
    sinks.write("-", [json.dumps(told)] if options.json else _lines(told))
    return 0


def _lines(told: dict[str, object]) -> list[str]:
    verb = "would go" if told["dry_run"] else "taken out"
    because = f" ({', '.join(told['because'])})" if told["because"] else ""  # type: ignore[arg-type]
    return [
        f"{verb}: {told['flows']:,} flows{because}, {told['hours']:,} hours, {told['alerts']:,} alerts",
        f"given back: {told['freed_bytes']:,} bytes",
        f"the file: {told['used_bytes']:,} bytes in use, {told['spare_bytes']:,} spare",
        f"the disk: {told['disk_free_bytes']:,} bytes free",
    ]


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days") from error
    if not 0 <= days < 1e6:
        raise argparse.ArgumentTypeError(f"{text} days: give a number from 0 to 1,000,000")
    return days
