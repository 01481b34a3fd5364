"""The answer at a glance: bytes by verdict, and the countries, owners and devices behind them.

In: a `View`. Out: a block of text and three lists. Never: a total that leaves out what could not be told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from egress_watch.model import GLYPHS, VERDICTS, Snapshot
from egress_watch_tui.feed import Row
from egress_watch_tui.lines import Column
from egress_watch_tui.listing import Listing
from egress_watch_tui.pane import Pane, View
from egress_watch_tui.state import state
from egress_watch_tui.words import COLOURS, MEANING, country, operator, owner, size, verdict

MEANING_WIDTH = max(map(len, MEANING.values()))
BESIDE_BAR = 52
"""Cells that the numbers beside a bar take."""
MOST_BAR = 60
WITH_MEANING = 130
"""From this many cells on, each verdict says what it means."""
WIDE = 180
"""From this many cells on, the three lists stand side by side."""

_VERDICT = Column("verdict", lambda row: verdict(row["verdict"]), 9)
_BYTES = Column("out", lambda row: size(row["bytes_out"]), 8, right=True)
_FLOWS = Column("flows", lambda row: f"{row['flows']:,}", 7, right=True, from_width=50)
COUNTRIES = (
    Column("country", country, 11, grow=1, most=26),
    _VERDICT, _BYTES, _FLOWS,
)  # fmt: skip
OWNERS = (
    Column("owner (seat)", owner, 11, grow=2, most=30),
    Column("network run by", operator, 14, grow=1, most=30, from_width=48),
    _VERDICT, _BYTES, _FLOWS._replace(from_width=62),
)  # fmt: skip


def _sent(name: str) -> Column:
    def cell(row: Row) -> Text:
        count = row["verdicts"].get(name, 0)
        return Text(size(count), style="" if count else "dim")

    return Column(f"{GLYPHS[name]} {name}", cell, 9, right=True)


DEVICES = (
    Column("device", lambda row: row["ip"], 15, grow=1, most=39),
    Column("mac", lambda row: row["mac"] or "-", 17, from_width=90),
    *map(_sent, VERDICTS), _FLOWS._replace(from_width=72),
)  # fmt: skip
LISTS = {"countries": COUNTRIES, "owners": OWNERS, "devices": DEVICES}


class Overview(Pane):
    """The first screen."""

    NAME: ClassVar[str] = "Overview"

    def compose(self) -> ComposeResult:
        """Hold the text above the lists."""
        yield Glance(id="glance")
        with Container(id="lists"):
            for name, columns in LISTS.items():
                yield Listing(columns, empty=f"No {name} yet.", name=name)

    def draw(self, view: View) -> None:
        """Show the sums of the snapshot."""
        self.query_one(Glance).show(view)
        for name in LISTS:
            self.query_one(f"#{name}", Listing).show(getattr(view.snapshot, name))

    def on_resize(self) -> None:
        """Choose where the lists stand."""
        self.set_class(self.size.width >= WIDE, "wide")


class Glance(Widget):
    """The state of the recording and the verdicts, above the lists."""

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's own word
        super().__init__(id=id)
        self._view: View | None = None

    def show(self, view: View) -> None:
        """Draw this view from now on."""
        self._view = view
        self.refresh(layout=True)

    def render(self) -> Text:
        """Return the lines for the width there is."""
        if self._view is None:
            return Text()
        width = self.size.width
        return Text("\n").join((*state(self._view, width), Text(), *verdicts(self._view.snapshot, width)))


def verdicts(snapshot: Snapshot, width: int) -> Iterator[Text]:
    """Yield a heading and one line a verdict, always in the same order, with its share of all bytes out."""
    rows = {row["verdict"]: row for row in snapshot.verdicts}
    total = sum(row["bytes_out"] for row in snapshot.verdicts)
    bar_width = max(10, min(MOST_BAR, width - BESIDE_BAR - (MEANING_WIDTH if width >= WITH_MEANING else 0)))
    yield Text(
        f" {'verdict':10}{'out':>10}{'share':>7} {'':{bar_width}}{'back':>10}{'flows':>10}", "bold", no_wrap=True
    )
    for name in VERDICTS:
        yield _verdict(name, rows.get(name, {"bytes_out": 0, "bytes_in": 0, "flows": 0}), total, bar_width, width)


def _verdict(name: str, row: Row, total: int, bar_width: int, width: int) -> Text:
    share = row["bytes_out"] / total if total else 0.0
    text = Text(" ", no_wrap=True) + verdict(name)
    text.pad_right(11 - text.cell_len)
    text += Text(f"{size(row['bytes_out']):>10}{share:>7.1%} ") + bar(share, bar_width, COLOURS[name])
    text += Text(f"{size(row['bytes_in']):>10}{row['flows']:>10,}  ")
    return text + Text(MEANING[name] if width >= WITH_MEANING else "", style="dim")


def bar(share: float, width: int, style: str) -> Text:
    """Return a bar; anything above nothing is at least one cell, so that a little never looks like none."""
    filled = max(round(share * width), 1 if share > 0 else 0)
    return Text("━" * filled, style=style) + Text("─" * (width - filled), style="dim")
