"""Open the packets of one stored flow with Wireshark's dissectors, from the capture it was recorded from.

It needs tshark and pyshark (`pip install 'egress-watch[inspect]'`). The capture must still be the very file: its
fingerprint is compared. Where it has moved, name it with --capture.

In: a database, the number of a flow, and its capture. Out: a line for each packet, or all its fields. Never: packets of
another file shown as those of this flow.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from egress_watch import sinks
from egress_watch.cli.options import filters, row_count
from egress_watch.errors import CaptureError, UsageError
from egress_watch.exports.plain import printable
from egress_watch.exports.table import when

HELP = "open the packets of one flow with Wireshark's dissectors"
EXAMPLES = (
    "egress-watch inspect egress.db 7346612720988160",
    "egress-watch inspect egress.db 7346612720988160 --full --limit 2",
    "egress-watch inspect egress.db 7346612720988160 --capture /archive/monday.pcapng",
)
LIMIT = 50


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("db", metavar="DB", help="a database that replay wrote")
    command.add_argument("id", metavar="FLOW", help="number of the flow, as `flows --format ndjson` shows it")
    command.add_argument("--full", action="store_true", help="every field of every packet")
    limit = f"at most this many packets; default: {LIMIT}"
    command.add_argument("--limit", type=row_count, default=LIMIT, metavar="N", help=limit)
    command.add_argument("--capture", default="", metavar="FILE", help="where the capture lies now")


def run(options: argparse.Namespace) -> int:
    """Print the packets; the exit code is 1 where the capture has none of the flow."""
    from egress_watch.store.reader import Reader

    with Reader(options.db) as reader:
        flow = next(reader.flows(filters(options, ("id",), 0)), None)
        if flow is None:
            remedy = "see `flows DB --format ndjson` for the numbers there are"
            raise UsageError(f"no flow has the number {options.id}", where=options.db, remedy=remedy)
        held = reader.inputs(flow["recording"])
    found, troubles = _captures(held, options.capture)
    count = 0
    for count, lines in enumerate(islice(_shown(found, flow, options), options.limit or LIMIT), 1):
        sinks.write("-", map(printable, [*([_head(flow)] if count == 1 else []), *lines]))
    if not count:
        raise CaptureError("holds no packet of this flow", where=found[0], remedy="see `tshark -r` for what it holds")
    sinks.write("-", [printable(f"not looked into: {trouble.where}: {trouble.what}") for trouble in troubles])
    return 0


def _head(flow: Mapping[str, Any]) -> str:
    ends = f"{flow['device_ip']} {flow['device_port']} to {flow['remote_ip']} {flow['remote_port']}"
    called = f" as {flow['name']}" if flow["name"] else ""
    return f"flow {flow['id']}: {ends} {flow['protocol']}{called}, {when(flow['first_ns'])}"


def _shown(paths: Iterable[str], flow: Mapping[str, Any], options: argparse.Namespace) -> Iterator[list[str]]:
    """Yield the lines of each packet, under the name of its file; a flow may lie in several."""
    from egress_watch.dissection import dissections, flow_filter, summaries

    wanted, limit = flow_filter(flow), options.limit or LIMIT
    for path in paths:
        packets = (
            dissections(path, wanted, limit) if options.full else ([one] for one in summaries(path, wanted, limit))
        )
        for number, lines in enumerate(packets):
            yield lines if number else [f"from {path}", *lines]


def _captures(held: Mapping[str, str], named: str) -> tuple[list[str], list[CaptureError]]:
    """Return the files to look into, and what is wrong with others; raises CaptureError where there is none."""
    found: list[str] = []
    troubles: list[CaptureError] = []
    for path in [named] if named else held:
        if trouble := _trouble(path, set(held.values())):
            troubles.append(trouble)
        else:
            found.append(path)
    if not found:
        raise troubles[0] if troubles else CaptureError("no capture is known", remedy="name it with --capture FILE")
    return found, troubles


def _trouble(path: str, recorded: Collection[str]) -> CaptureError | None:
    """Return what is wrong with a file: not there, or none of those that were recorded."""
    from egress_watch.sources.tap import file_fingerprint

    try:
        same = Path(path).is_file() and file_fingerprint(path) in recorded
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or str(error)
        return CaptureError(what, where=path, remedy="say where it lies now, with --capture FILE")
    if same:
        return None
    what = "is not the file that was recorded" if Path(path).is_file() else "is no file, or not there any more"
    return CaptureError(what, where=path, remedy="name the capture this flow was recorded from, with --capture FILE")
