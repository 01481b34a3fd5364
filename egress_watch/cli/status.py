"""Say how a database stands: is it being recorded, since when, at what rate, what was lost, what waits.

Reads the database alone, so it can be asked beside the recorder, by anyone who may read the file. Each line is
something that was looked at; what is wrong ends with what to do. For a service monitor: the exit code is 1 where
anything is in trouble.

In: a database. Out: lines or one JSON object. Never: a write.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from egress_watch import sinks
from egress_watch.cli.findings import BAD, Finding, of_standing
from egress_watch.config import load
from egress_watch.errors import DATA_TROUBLE
from egress_watch.exports.plain import printable
from egress_watch.exports.times import iso

HELP = "say whether it records, how fast, what was lost, what waits"
EXAMPLES = (
    "egress-watch status egress.db",
    "egress-watch status egress.db --json | jq .findings",
)
MARKS = {"ok": "✓", "warning": "!", "trouble": "✗"}


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("db", metavar="DB", nargs="?", default="", help="the database; default: db of the settings")
    command.add_argument("--config", default="", metavar="FILE", help="a TOML file of settings")
    command.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Look, print, and return 1 where something is in trouble."""
    from egress_watch.store.standing import standing

    config = load(options.config)
    told = standing(options.db or config.db)
    found = of_standing(told, config.retention.least_free_bytes)
    if options.json:
        rows = [finding._asdict() for finding in found]
        sinks.write("-", [json.dumps({**told, "files": json.loads(told["files"]), "findings": rows})])
    else:
        sinks.write("-", [printable(line) for line in (*_head(told), *lines(found))])
    return DATA_TROUBLE if any(finding.state == BAD for finding in found) else 0


def _head(told: Mapping[str, Any]) -> Iterator[str]:
    yield told["db"]
    for row in told["recordings"][:1]:
        since, until = iso(row["first_ns"] or 0), iso(row["last_ns"] or 0)
        yield f"recording {row['id']}: {row['state']}, zone {row['zone']}, packets from {since} to {until}"
        yield (
            f"{row['frames']:,} frames, {row['packets']:,} packets, {row['lost']:,} lost, {row['flows']:,} flows, "
            f"{row['evicted']:,} evicted, {row['unstored']:,} not stored"
        )
    for row in told["rates"]:
        seconds = 60 * row["minutes"]
        rate = f"{row['frames'] / seconds:,.0f} frames and {row['bytes'] * 8 / seconds / 1e6:,.1f} Mbit a second"
        late = f"read at most {row['lag_ns'] / 1e6:,.0f} ms late"
        yield f"{row['interface']}: {rate} over {row['minutes']} minutes, {late}"
    levels = ", ".join(f"{count:,} {level}" for level, count in told["open_alerts"].items())
    yield f"open alerts: {levels or 'none'}"
    for row in told["happened"][:3]:
        yield f"{iso(row['time_ns'])} {row['interface']}: {row['what']}"


def lines(found: Sequence[Finding]) -> Iterator[str]:
    """Yield a line a finding, and its remedy on one of its own."""
    for finding in found:
        yield f"{MARKS[finding.state]} {finding.about:<10} {finding.what}"
        if finding.remedy:
            yield f"  try: {finding.remedy}"
