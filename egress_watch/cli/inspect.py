"""Open the packets of one stored flow with Wireshark's dissectors, from its capture or from kept evidence.

It needs tshark and pyshark (`pip install 'egress-watch[inspect]'`). The capture must still be the very file it was
recorded from: its fingerprint is compared. Where it has moved, name it with --capture. Where it is gone, the packets
that were kept as evidence of an alert are shown instead.

In: a database, the number of a flow or an alert, and its packets. Out: a line for each packet, or all its fields.
Never: packets of another file shown as those of this flow.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egress_watch import sinks
from egress_watch.cli.options import filters, row_count
from egress_watch.errors import CaptureError, UsageError
from egress_watch.exports.plain import printable
from egress_watch.exports.table import when

if TYPE_CHECKING:  # at run time it would load SQLite for --help
    from egress_watch.store.reader import Reader

HELP = "open the packets of one flow with Wireshark's dissectors"
EXAMPLES = (
    "egress-watch inspect egress.db 7346612720988160",
    "egress-watch inspect egress.db 7346612720988160 --full --limit 2",
    "egress-watch inspect egress.db 7346612720988160 --capture /archive/monday.pcapng",
    "egress-watch inspect egress.db --alert 3",
)
LIMIT = 50


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("db", metavar="DB", help="a database that replay wrote")
    command.add_argument(
        "id", metavar="FLOW", nargs="?", help="number of the flow, as `flows --format ndjson` shows it"
    )
    told = "in place of FLOW: the flows of this alert that have evidence, else its newest"
    command.add_argument("--alert", metavar="N", help=told)
    command.add_argument("--full", action="store_true", help="every field of every packet")
    limit = f"at most this many packets; default: {LIMIT}"
    command.add_argument("--limit", type=row_count, default=LIMIT, metavar="N", help=limit)
    command.add_argument("--capture", default="", metavar="FILE", help="where the capture lies now")


def run(options: argparse.Namespace) -> int:
    """Print the packets; the exit code is 1 where there are none of the flow."""
    from egress_watch.store.reader import Reader

    with Reader(options.db) as reader:
        asked = [(flow, *_held(reader, flow)) for flow in _meant(reader, options)]
    room = options.limit or LIMIT
    for flow, held, kept in asked:
        room -= _inspect(flow, held, kept, options, room) if room else 0
    return 0


def _meant(reader: Reader, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the flows that are asked for; raises UsageError."""
    if (options.id is None) == (options.alert is None):
        raise UsageError("name a flow, or an alert with --alert", remedy="egress-watch inspect egress.db --alert 3")
    if options.alert is not None:
        return _of_alert(reader, options)
    if found := list(reader.flows(filters(options, ("id",), 0))):
        return found
    remedy = "see `flows DB --format ndjson` for the numbers there are"
    raise UsageError(f"no flow has the number {options.id}", where=options.db, remedy=remedy)


def _of_alert(reader: Reader, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the flows of an alert that are still stored; raises UsageError where there are none."""
    numbers = reader.flows_of(_alert(options.alert))
    if found := [flow for number in numbers for flow in reader.flows({"id": number})]:
        return found
    what = f"no alert has the number {options.alert}"
    remedy = "see `alerts DB --format ndjson` for the numbers there are"
    if numbers:
        what = f"no flow of alert {options.alert} is stored any more"
        remedy = f"its evidence, if any: tshark -r FILE -Y 'frame.comment contains \"alert {options.alert}:\"'"
    raise UsageError(what, where=options.db, remedy=remedy)


def _alert(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise UsageError(
            f"{text!r} is no number of an alert", remedy="give its id, as `alerts --format ndjson` shows it"
        )
    return int(text)


def _held(reader: Reader, flow: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Return the captures a flow was recorded from, and the files of evidence with packets of it."""
    return reader.inputs(flow["recording"]), reader.evidence(flow["id"])


def _inspect(
    flow: Mapping[str, Any], held: Mapping[str, str], kept: Sequence[str], options: argparse.Namespace, room: int
) -> int:
    """Print up to so many packets of one flow and return how many; raises CaptureError where there are none."""
    found, troubles = _captures(held, kept, options.capture)
    count = 0
    for count, lines in enumerate(islice(_shown(found, kept, flow, room, full=options.full), room), 1):
        sinks.write("-", map(printable, [*([_head(flow)] if count == 1 else []), *lines]))
    if not count:
        raise CaptureError("holds no packet of this flow", where=found[0], remedy="see `tshark -r` for what it holds")
    sinks.write("-", [printable(f"not looked into: {trouble.where}: {trouble.what}") for trouble in troubles])
    return count


def _head(flow: Mapping[str, Any]) -> str:
    ends = f"{flow['device_ip']} {flow['device_port']} to {flow['remote_ip']} {flow['remote_port']}"
    called = f" as {flow['name']}" if flow["name"] else ""
    return f"flow {flow['id']}: {ends} {flow['protocol']}{called}, {when(flow['first_ns'])}"


def _shown(
    paths: Iterable[str], kept: Sequence[str], flow: Mapping[str, Any], limit: int, *, full: bool
) -> Iterator[list[str]]:
    """Yield the lines of each packet, under the name of its file; a flow may lie in several."""
    from egress_watch.dissection import dissections, flow_filter, summaries

    wanted = flow_filter(flow)
    for path in paths:
        narrowed = f'{wanted} && frame.comment contains "flow {flow["id"]},"' if path in kept else wanted
        packets = dissections(path, narrowed, limit) if full else ([one] for one in summaries(path, narrowed, limit))
        for number, lines in enumerate(packets):
            yield lines if number else [f"from {path}", *lines]


def _captures(held: Mapping[str, str], kept: Sequence[str], named: str) -> tuple[list[str], list[CaptureError]]:
    """Return the files to look into, and what is wrong with others; raises CaptureError where there is none.

    Evidence holds only the first packets, so it is looked into where no capture is left.
    """
    from egress_watch.sources.tap import LIVE

    found: list[str] = []
    troubles: list[CaptureError] = []
    live = [path for path, mark in held.items() if mark.startswith(LIVE)]
    for path in [named] if named else [path for path in held if path not in live]:
        if trouble := _trouble(path, set(held.values())):
            troubles.append(trouble)
        else:
            found.append(path)
    if not found and not named:
        found = [path for path in kept if Path(path).is_file()]
        gone = [path for path in kept if path not in found]
        troubles += [CaptureError("the ring let it go", where=path, remedy="keep more evidence.files") for path in gone]
    if found:
        return found, troubles
    if live and not troubles:
        remedy = "set evidence.folder before it happens, or name a capture with --capture FILE"
        raise CaptureError("was read live, and no packet of this flow was kept", where=live[0], remedy=remedy)
    raise troubles[0] if troubles else CaptureError("no capture is known", remedy="name it with --capture FILE")


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
