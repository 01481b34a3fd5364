"""The lines of a report that count: names, evidence, copies, and whatever was skipped, damaged or not kept.

In: a `Snapshot` and what came of the run. Out: lines on a console. Never: a loss that nobody is told of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from egress_watch.exports.plain import printable
from egress_watch.model import DUPLICATE, LEFT_OUT, Snapshot

NOT_KEPT = {
    "forgotten": "Names forgotten, since there were too many (names.limit)",
    "waiting": "Messages with a name whose rest never came",
}


def counted(console: Console, snapshot: Snapshot, outcome: Mapping[str, Any]) -> None:
    """Print what was counted beside the flows."""
    _copies(console, snapshot)
    _wrapped(console, outcome)
    _heard(console, snapshot)
    _evidence(console, snapshot)
    _troubles(console, snapshot, outcome)


def _copies(console: Console, snapshot: Snapshot) -> None:
    twice = sum(row["frames"] for row in snapshot.skipped if row["reason"] == DUPLICATE)
    if twice:
        seen = twice + sum(row["packets"] or 0 for row in snapshot.recordings)
        console.print(Text(f"Mirrored twice, counted once: {twice:,} of {seen:,} packets ({twice / seen:.1%})"))


def _heard(console: Console, snapshot: Snapshot) -> None:
    """Print what gave names, what could not be read for one, and what was not kept."""
    counted = {row["counter"]: row["count"] for row in snapshot.heard if row["count"]}
    for title, start in (("Names heard", "heard: "), ("Names not read", "refused: ")):
        told = [(name.removeprefix(start), count) for name, count in counted.items() if name.startswith(start)]
        if told:
            words = ", ".join(f"{name} {count:,}" for name, count in sorted(told, key=lambda pair: -pair[1]))
            console.print(Text(f"{title}: {printable(words)}"))
    for counter, words in NOT_KEPT.items():
        if count := counted.get(counter, 0):
            console.print(Text(f"{words}: {count:,}"))
    if refused := sum(row["refused_facts"] for row in snapshot.recordings):
        console.print(
            Text(f"Facts of devices not kept, or packets of one sender beyond 64 an hour not looked into: {refused:,}")
        )


def _evidence(console: Console, snapshot: Snapshot) -> None:
    """Print what is kept of flows that raised an alert, and what was asked for and is not."""
    for row in (row for row in snapshot.evidence if row["path"]):
        kept = f"Evidence: {row['packets']:,} packets of {row['flows']:,} flows in {row['path']}"
        console.print(Text(printable(kept)))
    if missing := sum(row["missing"] for row in snapshot.evidence):
        console.print(Text(f"Evidence not kept, since it was gone already: {missing:,} packets", style="yellow"))


def _wrapped(console: Console, outcome: Mapping[str, Any]) -> None:
    if outcome["unwrapped"]:
        kinds = ", ".join(f"{kind} {packets:,}" for kind, packets in outcome["unwrapped"].items())
        console.print(Text(f"Taken out of mirrors and tunnels: {kinds}"))


def _troubles(console: Console, snapshot: Snapshot, outcome: Mapping[str, Any]) -> None:
    _skipped(console, snapshot)
    _unstored(console, snapshot)
    for path, reason in outcome["failed"]:
        console.print(Text(printable(f"Gave nothing: {path}: {reason}"), style="yellow"))
    failed = {path for path, _ in outcome["failed"]}
    for row in (row for row in snapshot.damage if row["path"] not in failed):
        lost = f"{row['lost_bytes']:,} bytes" if row["lost_bytes"] >= 0 else "an unknown number of bytes"
        what = f"Damaged: {row['path']}: {row['reason']} at byte {row['offset']:,}; {lost} not read"
        console.print(Text(printable(what), style="yellow"))
    for path, reason in outcome["passed_over"]:
        console.print(Text(printable(f"Passed over: {path}: {reason}"), style="dim"))
    for path in outcome["held"]:
        console.print(Text(printable(f"Held already, not recorded twice (--again does): {path}"), style="cyan"))
    for error in outcome["broken_rules"]:
        console.print(Text(f"Rule set aside: {printable(error.replace(chr(10), ' '))}", style="yellow"))
    if outcome["interrupted"]:
        what = "Stopped half-way; the same command records these files anew (a pipe has to come again)."
        console.print(Text(what, style="yellow"))


def _unstored(console: Console, snapshot: Snapshot) -> None:
    if flows := sum(row["unstored"] for row in snapshot.recordings):
        packets = sum(row["unstored_packets"] for row in snapshot.recordings)
        what = f"Not stored, since the disk was full: {flows:,} flows of {packets:,} packets"
        console.print(Text(what, style="yellow"))


def _skipped(console: Console, snapshot: Snapshot) -> None:
    for title, wanted in (("Skipped (no IP packet)", False), ("Left out as asked", True)):
        told = [row for row in snapshot.skipped if row["reason"] != DUPLICATE]
        rows = [row for row in told if row["reason"].startswith(LEFT_OUT) == wanted]
        if rows:
            reasons = ", ".join(f"{printable(row['reason'])} {row['frames']:,}" for row in rows)
            console.print(Text(f"{title}: {reasons}"))
