"""What was recorded, how much of it was lost, and how old the data is that judged it.

In: a `View`. Out: lines of words. Never: a loss, or a sink in trouble, that is not said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.text import Text

from egress_watch.model import Snapshot
from egress_watch_tui import sinks
from egress_watch_tui.pane import View
from egress_watch_tui.plain import harmless
from egress_watch_tui.words import NANOSECOND, age, dated, span, when

LABEL = 10
GLYPH = {"running": "●", "finished": "■", "interrupted": "!", "stopped": "!"}
WORDS = {"stopped": "stopped without ending"}
LATE_S = 300
"""A recorder that wrote no packet younger than this is said to be silent."""


def state(view: View, width: int) -> Iterator[Text]:
    """Yield labelled lines, each cut to the width."""
    lines = _lines(view) if view.snapshot.recordings else _empty()
    for label, words, style in lines:
        text = Text.assemble((f" {label:{LABEL}}", "dim"), (harmless(words), style), no_wrap=True)
        text.truncate(width, overflow="ellipsis")
        yield text


def recording(snapshot: Snapshot) -> str:
    """Return the state of the recording, or how many are in each state."""
    states = Counter(row["state"] for row in snapshot.recordings)
    words = [
        f"{GLYPH.get(name, '?')} {f'{many} ' if many > 1 else ''}{WORDS.get(name, name)}"
        for name, many in sorted(states.items())
    ]
    return ", ".join(words) or "nothing recorded"


def pulse(view: View) -> str:
    """Return state, rate, loss and age in the few words that are always in view."""
    snapshot = view.snapshot
    frames = sum(row["frames"] for row in snapshot.recordings)
    lost = sum(row["lost"] or 0 for row in snapshot.recordings)
    parts = [recording(snapshot) if snapshot.recordings or view.looks or view.trouble else "reading ..."]
    if any(row["state"] == "running" for row in snapshot.recordings):
        parts += [f"{view.frames_s:,.0f} frames/s", f"{age_of(view)} old"]
    if snapshot.recordings:
        parts.append(f"! {lost:,} lost ({lost / max(1, frames + lost):.2%})" if lost else "0 lost")
    if snapshot.set_aside:
        parts.append(f"! rules set aside: {len(snapshot.set_aside)}")
    if told := sinks.trouble(snapshot.sinks):
        parts.append(told)
    return ", ".join(parts)


def age_of(view: View) -> str:
    """Return how long ago the newest packet was."""
    seconds = view.now.timestamp() - view.newest_ns / NANOSECOND
    return f"{'! ' if seconds > LATE_S else ''}{span(max(0.0, seconds))}"


def _empty() -> Iterator[tuple[str, str, str]]:
    yield "recording", "nothing yet; this fills by itself while egress-watch replay writes here", ""
    yield "counted", "0 frames", ""
    yield "data", "-", ""


def _lines(view: View) -> Iterator[tuple[str, str, str]]:
    snapshot = view.snapshot
    zones = sorted({f"{row['zone']} as of {row['zone_as_of']}" for row in snapshot.recordings})
    yield "recording", f"{recording(snapshot)}; zone {', '.join(zones)}; {_span(snapshot)}", ""
    if any(row["state"] == "stopped" for row in snapshot.recordings):
        yield "", "! its process is gone: what was committed is here; the same command records it anew", "bold"
    yield "counted", _counts(snapshot), ""
    yield "data", _data(view), ""
    if snapshot.sinks:
        yield "sinks", sinks.line(snapshot.sinks), "bold" if sinks.trouble(snapshot.sinks) else ""
    if snapshot.damage:
        first = snapshot.damage[0]
        where = f"{first['path']}: {first['reason']} at byte {first['offset']:,}"
        yield "damaged", f"! {len(snapshot.damage)} of the inputs: {where}", "bold"
    if snapshot.set_aside:
        first = snapshot.set_aside[0]
        yield "rules", f"! {len(snapshot.set_aside)} set aside: {first['title']}: {first['broken']}", "bold"


def _span(snapshot: Snapshot) -> str:
    first = min((row["first_ns"] for row in snapshot.recordings if row["first_ns"]), default=0)
    last = max((row["last_ns"] for row in snapshot.recordings if row["last_ns"]), default=0)
    same_day = when(first, "%F") == when(last, "%F")
    return f"{when(first, '%F %H:%M')} to {when(last, '%H:%M %Z' if same_day else '%F %H:%M %Z')}"


def _counts(snapshot: Snapshot) -> str:
    names = ("frames", "packets", "lost", "flows")
    total = {name: sum(row[name] or 0 for row in snapshot.recordings) for name in names}
    skipped = sum(row["frames"] for row in snapshot.skipped)
    lost = f"{'! ' if total['lost'] else ''}{total['lost']:,} lost"
    head = f"{total['frames']:,} frames = {total['packets']:,} packets + {skipped:,} skipped"
    return f"{head}; {lost}; {total['flows']:,} flows"


def _data(view: View) -> str:
    data = view.snapshot.data
    credit = "; ".join(sorted({row["attribution"] for row in data if row.get("licence") == "CC-BY-4.0"}))
    return "; ".join(part for part in (age(data, view.today), credit, dated(data)) if part)
