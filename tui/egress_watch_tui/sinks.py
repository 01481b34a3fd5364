"""The receivers that records are sent to: how each stands, what it promises, what waits for it, and what is wrong.

In: rows of sinks. Out: words for the line on top, and an overlay. Never: a sink that is down and not said to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from egress_watch.model import PROMISES
from egress_watch_tui.plain import harmless
from egress_watch_tui.words import when

GLYPH = {"caught up": "✓", "sending": "●", "down": "✗", "stopped": "!"}
Row = Mapping[str, Any]


class Sinks(ModalScreen[None]):
    """The overlay."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,R,q", "dismiss", "Close", key_display="esc"),
        Binding("j,down", "scroll(1)", "Down", show=False),
        Binding("k,up", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__()
        self._rows = rows

    def compose(self) -> ComposeResult:
        """Hold a block a sink."""
        with VerticalScroll(id="sheet", can_focus=False):
            yield Static(content(self._rows), markup=False)

    def action_scroll(self, by: int) -> None:
        """Scroll by a line."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)


def waiting(row: Row) -> int:
    """Return the records that wait for a sink."""
    return (row["alerts_waiting"] or 0) + (row["flows_waiting"] or 0)


def troubled(row: Row) -> bool:
    """Return whether records do not go where they should."""
    return row["state"] == "down" or (row["state"] == "stopped" and waiting(row) > 0)


def trouble(rows: Sequence[Row]) -> str:
    """Return in few words which sinks do not get what they should, "" where all do."""
    told = [f"{row['name']} {row['state']}" for row in rows if troubled(row)]
    return f"✗ sink {', '.join(told[:2])}{f' and {len(told) - 2} more' if len(told) > 2 else ''}" if told else ""


def line(rows: Sequence[Row]) -> str:
    """Return one line on all sinks, those in trouble first and with the reason."""
    told = []
    for row in sorted(rows, key=troubled, reverse=True):
        words = f"{GLYPH.get(row['state'], '?')} {row['name']} {row['state']}"
        words += f", {waiting(row):,} wait" if waiting(row) else ""
        told.append(f"{words}: {row['error']}" if troubled(row) and row["error"] else words)
    return "; ".join(told)


def content(rows: Sequence[Row]) -> RenderableType:
    """Return a block a sink."""
    return Group(Text("Sinks", style="bold"), *(_block(row) for row in rows))


def _block(row: Row) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=10, style="dim")
    grid.add_column()
    for name, words in _lines(row):
        grid.add_row(name, Text(harmless(words)))
    head = f"{GLYPH.get(row['state'], '?')} {row['name']}: {row['state']}"
    return Group(Text(), Text(harmless(head), style="bold reverse" if troubled(row) else "bold"), grid)


def _lines(row: Row) -> Iterator[tuple[str, str]]:
    yield "to", row["target"]
    yield "promise", f"{row['promise']}: {PROMISES.get(row['promise'], 'not known here')}"
    streams = [f"{row[f'{name}_waiting']:,} {name}" for name in ("alerts", "flows")
               if row[f"{name}_waiting"] is not None]  # fmt: skip
    yield "waiting", ", ".join(streams) or "nothing is sent there"
    delivered = f", the newest {when(row['delivered_ns'])}" if row["delivered_ns"] else ""
    yield "sent", f"{row['sent']:,}{delivered}"
    if row["refused"]:
        yield "refused", f"{row['refused']:,} the receiver will never take, each with its reason in the table refusal"
    if row["dropped_alerts"] or row["dropped_flows"]:
        yield "dropped", f"{row['dropped_alerts']:,} alerts, {row['dropped_flows']:,} flows, before they were sent"
    if row["error"]:
        again = f"; tried again {when(row['retry_ns'])}" if row["retry_ns"] and row["state"] == "down" else ""
        yield "trouble", f"{row['error']} ({row['failures']:,} times in a row{again})"
    if row["state"] == "stopped":
        yield "", "nobody forwards: start `egress-watch forward`, or `watch` with the settings that name it"
