"""The report of a replay for a person: who talks to whom, under whose law, and how sure we are.

In: a `Snapshot` and what came of the run. Out: tables on standard output. Never: a string from the wire as markup.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from egress_watch import sinks
from egress_watch.cli.judges import dated, old
from egress_watch.cli.recorder import TOP
from egress_watch.cli.report_counts import counted
from egress_watch.config import Config, OwnZone
from egress_watch.exports.plain import printable
from egress_watch.exports.table import when
from egress_watch.library import zone, zone_name
from egress_watch.model import GLYPHS, VERDICTS, Snapshot
from egress_watch.places.zones import Zone
from egress_watch.store.foremost import destination

COLOURS = {"IN": "green", "OWN": "yellow", "OUT": "red", "UNKNOWN": "magenta"}
LEVEL_COLOURS = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan"}
MEANING = {
    "IN": "in the zone, in hands seated in it",
    "OWN": "in the zone, in hands that answer to a law outside it",
    "OUT": "outside the zone",
    "UNKNOWN": "cannot tell, each with its reason",
}
PIPED_COLUMNS = 120
ROOM_FOR_MAC = 100


def show(snapshot: Snapshot, outcome: Mapping[str, Any], config: Config) -> None:
    """Print the report; ``config`` tells which zone this run would judge under."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPED_COLUMNS, soft_wrap=True)
    with console.capture() as capture:
        _report(console, snapshot, outcome, config)
    sinks.write("-", (line.rstrip() for line in capture.get().rstrip("\n").split("\n")))


def _report(console: Console, snapshot: Snapshot, outcome: Mapping[str, Any], config: Config) -> None:
    asked = zone(config.zone, own=config.own_zone)
    _head(console, snapshot, outcome, asked, config.own_zone)
    if snapshot.recordings:
        _verdicts(console, snapshot)
        _countries(console, snapshot)
        _owners(console, snapshot)
        _devices(console, snapshot)
        _alerts(console, snapshot)
    counted(console, snapshot, outcome)
    _other_zone(console, snapshot, asked)
    _foot(console, snapshot, outcome)


def size(count: int) -> str:
    """Return a number of bytes in the units of tcpdump's users: 12.3 kB, 4.5 MB (powers of 1000)."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def _verdict(name: str) -> Text:
    return Text(f"{GLYPHS[name]} {name}", style=COLOURS[name])


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], total: int, most: int = TOP) -> Table:
    """Return a table; columns that end in > stand to the right; what is left out is said in the caption."""
    left = total - most
    caption = f" and {left} more: see the database\n" if left > 0 else None  # the next title stands apart
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, caption=caption,
                  caption_justify="left", pad_edge=False)  # fmt: skip
    for column in columns:
        table.add_column(column.rstrip(">"), justify="right" if column.endswith(">") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(printable(str(cell))) for cell in row))
    return table


def _head(
    console: Console, snapshot: Snapshot, outcome: Mapping[str, Any], asked: Zone, own: Sequence[OwnZone]
) -> None:
    total = {
        name: sum(row[name] or 0 for row in snapshot.recordings) for name in ("frames", "packets", "flows", "lost")
    }
    inputs = ", ".join(printable(path) for path in outcome["inputs"][:3])
    more = f" and {len(outcome['inputs']) - 3} more" if len(outcome["inputs"]) > 3 else ""
    console.print(Text(f"egress-watch: {inputs}{more}", style="bold"))
    counts = "{frames:,} frames = {packets:,} packets + {0:,} skipped; {lost:,} lost; {flows:,} flows"
    console.print(Text(counts.format(sum(row["frames"] for row in snapshot.skipped), **total)))
    times = [row for row in snapshot.recordings if row["first_ns"]]
    if times:
        first, last = min(row["first_ns"] for row in times), max(row["last_ns"] for row in times)
        console.print(Text(f"from {when(first)} to {when(last)}"))
    for narrowed in dict.fromkeys(row["narrowed"] for row in snapshot.recordings if row["narrowed"]):
        console.print(Text(f"narrowed: {printable(narrowed)}", style="yellow"))
    judged = dict.fromkeys((row["zone"], row["zone_as_of"]) for row in snapshot.recordings) or [(asked.id, asked.as_of)]
    for name, as_of in judged:
        console.print(Text(f"zone: {zone_name(name, own)} ({name}), as of {as_of}"))
    console.print()


def _verdicts(console: Console, snapshot: Snapshot) -> None:
    rows = {row["verdict"]: row for row in snapshot.verdicts}
    blank = {"flows": 0, "bytes_out": 0, "bytes_in": 0}
    cells = [
        (_verdict(name), size(row["bytes_out"]), size(row["bytes_in"]), f"{row['flows']:,}", MEANING[name])
        for name in VERDICTS
        for row in (rows.get(name, blank),)
    ]
    console.print(_table("By verdict", ("verdict", "out>", "in>", "flows>", ""), cells, 0))


def _countries(console: Console, snapshot: Snapshot) -> None:
    cells = [
        (_country(row), _verdict(row["verdict"]), size(row["bytes_out"]), size(row["bytes_in"]), f"{row['flows']:,}")
        for row in snapshot.countries[:TOP]
    ]
    columns = ("country", "verdict", "out>", "in>", "flows>")
    console.print(_table("By country", columns, cells, len(snapshot.countries)))


def _country(row: Mapping[str, Any]) -> str:
    if row["location_status"] == "local":
        return "stays local"
    if row["country"]:
        return f"{row['country']} ({row['location_status']})"
    return f"{' or '.join(row['countries'])} ({row['location_status']})".strip()


def _owners(console: Console, snapshot: Snapshot) -> None:
    cells = [
        (
            _operator(row), _owner(row), _verdict(row["verdict"]), size(row["bytes_out"]),
            size(row["bytes_in"]), f"{row['flows']:,}",
        )
        for row in snapshot.owners[:TOP]
    ]  # fmt: skip
    columns = ("network run by", "service owned by", "verdict", "out>", "in>", "flows>")
    console.print(_table("By provider and owner", columns, cells, len(snapshot.owners)))


def _operator(row: Mapping[str, Any]) -> str:
    if row["location_status"] == "local":
        return "stays local"
    return str(row["provider"] or "not listed")


def _owner(row: Mapping[str, Any]) -> str:
    if row["location_status"] == "local":
        return "your own"
    return f"{row['owner']} (seat {row['owner_seat']})" if row["owner"] else "not listed"


def _devices(console: Console, snapshot: Snapshot) -> None:
    names = ("ip", "mac")[: 2 if console.width >= ROOM_FOR_MAC else 1]
    cells = [
        (
            *(row[name] for name in names),
            *(size(row["verdicts"].get(name, 0)) for name in VERDICTS),
            f"{row['flows']:,}",
        )
        for row in snapshot.devices[:TOP]
    ]
    columns = ("device", *names[1:], *(f"{GLYPHS[name]} {name}>" for name in VERDICTS), "flows>")
    console.print(_table("By device, bytes out", columns, cells, snapshot.device_count))


def _alerts(console: Console, snapshot: Snapshot) -> None:
    """Print the alerts by destination, so that what several rules say of one is told once, at full width."""
    destinations: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in snapshot.alerts:
        destinations.setdefault(destination(row), []).append(row)
    most = "" if snapshot.destination_count < 2 else f", towards {snapshot.destination_count} destinations"
    muted = f"; {snapshot.muted} muted" if snapshot.muted else ""
    console.print(Text(f"Alerts: {snapshot.alert_count}{most}{muted}\n", style="bold"))
    for rows in destinations.values():
        _destination(console, rows)
    if snapshot.destination_count > TOP:
        console.print(Text(f" and {snapshot.destination_count - TOP} more: see the database\n", style="dim italic"))


def _destination(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print who talks to whom, a line for each rule, and why that counts, at full width."""
    told = [_told(row) for row in rows]
    device, whom = rows[0]["device_ip"], told[0][0]
    console.print(Text.assemble(" ", (printable(device), "bold"), " to ", (printable(whom), "bold")))
    for row in rows:
        level = (f"   {row['level']:<8}", LEVEL_COLOURS.get(row["level"], ""))
        hits = f"{row['hits']:>5,} {'hit ' if row['hits'] == 1 else 'hits'}"
        storm = f" (a storm, summed: {row['devices']:,} devices)" if row["kind"] == "storm" else ""
        console.print(Text.assemble(level, f"{hits} {size(row['bytes_out']):>8} out  {printable(row['title'])}{storm}"))
    for why in dict.fromkeys(why for _, why in told if why):
        for line in wrap(printable(why), console.width - 1, initial_indent=" " * 3, subsequent_indent=" " * 3):
            console.print(Text(line, style="dim"))
    console.print()


def _told(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return to whom, and why that counts: the two halves of an alert's sentence."""
    sentence = row["why"].removeprefix(f"{row['device_ip']} to ")
    end = "): " if row["owner"] else ": "
    whom, found, why = sentence.partition(end)
    return whom + (end[:-2] if found else ""), why


def _other_zone(console: Console, snapshot: Snapshot, asked: Zone) -> None:
    others = {row["zone"] for row in snapshot.recordings} - {asked.id}
    if others:
        what = f"Judged under {', '.join(sorted(others))} when it was recorded; --again judges it under {asked.id} too."
        console.print(Text(what, style="yellow"))


def _foot(console: Console, snapshot: Snapshot, outcome: Mapping[str, Any]) -> None:
    console.print(Text(f"\nData: {dated(snapshot.data)}"))
    if any(row["licence"] == "CC-BY-4.0" for row in snapshot.data):
        console.print(Text("IP Geolocation by DB-IP (https://db-ip.com), CC BY 4.0"))
    console.print(Text(f"Database: {printable(outcome['db'])}"))
    for what in old(snapshot.data):
        console.print(Text(f"{what}: see `data`", style="yellow"))
    console.print(Text("Next:", style="bold"))
    command, db = _command(), printable(shlex.quote(os.path.relpath(outcome["db"])))
    for line in (f"flows {db} --verdict OUT", f"alerts {db} --format ndjson", f"tui {db}", "where 52.208.0.10"):
        console.print(Text(f"  {command} {line}"))


def _command() -> str:
    """Return how the program is called from here: by name where the shell would find this very one, else by path."""
    called = sys.argv[0]
    if Path(called).name == "__main__.py":
        return "python -m egress_watch"
    found = shutil.which(Path(called).name)
    same = found is not None and Path(found).exists() and Path(called).exists() and Path(found).samefile(called)
    return Path(called).name if same else called
