"""Flows, the newest first, read page by page as they come into sight.

In: a `View`, and pages of flows. Out: a list, a pane of evidence, a line of verdicts to choose from.
Never: more flows in memory than `window` allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static

from egress_watch.errors import EgressWatchError
from egress_watch.model import VERDICTS
from egress_watch_tui import detail, window
from egress_watch_tui.feed import Feed, Row
from egress_watch_tui.lines import Column
from egress_watch_tui.listing import Listing
from egress_watch_tui.opening import Opening
from egress_watch_tui.pane import View
from egress_watch_tui.window import PAGE_ROWS, Window
from egress_watch_tui.words import owner, protocol, size, verdict, when

COLUMNS = (
    Column("UTC", lambda row: when(row["last_ns"], "%H:%M:%S"), 8),
    Column("date", lambda row: when(row["last_ns"], "%Y-%m-%d"), 10, from_width=120),
    Column("verdict", lambda row: verdict(row["verdict"]), 9),
    Column("device", lambda row: row["device_ip"], 15, grow=1, most=39),
    Column("to", lambda row: row["name"] or row["remote_ip"], 18, grow=4),
    Column("cc", lambda row: row["country"] or "-", 2),
    Column("service", protocol, 9, from_width=90),
    Column("owner", owner, 12, grow=2, from_width=108),
    Column("run by", lambda row: row["provider"] or row["as_name"] or "-", 10, grow=2, from_width=136),
    Column("out", lambda row: size(row["bytes_out"]), 8, right=True),
    Column("back", lambda row: size(row["bytes_in"]), 8, right=True, from_width=90),
    Column("ended", lambda row: row["end_reason"], 7, from_width=160),
)
CHOICES = {"a": "", "i": VERDICTS[0], "w": VERDICTS[1], "o": VERDICTS[2], "u": VERDICTS[3]}
"""Keys that narrow the list, and the verdict each leaves; "" leaves all."""


class Flows(Opening):
    """The third screen."""

    NAME: ClassVar[str] = "Flows"
    COLUMNS: ClassVar[tuple[Column, ...]] = COLUMNS
    EMPTY: ClassVar[str] = "No flows here."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, f"only('{name}')", name or "All") for key, name in CHOICES.items()
    ]

    class Loaded(Message):
        """A page has been read, or could not be."""

        def __init__(self, where: str, page: Sequence[Row] | None) -> None:
            super().__init__()
            self.where = where
            self.page = page

    def __init__(self, number: int, feed: Feed) -> None:
        super().__init__(number, feed)
        self.only = ""
        self.window = Window()
        self._busy = False
        self._again = False

    def compose(self) -> ComposeResult:
        """Hold the choice of verdicts above the list."""
        yield Static(choices(self.only), id="choices", markup=False)
        yield from super().compose()

    def draw(self, view: View) -> None:  # noqa: ARG002 - flows are too many for a snapshot: it only says they changed
        """Read the newest page again, unless the user has gone down to older ones: then it waits above."""
        if self.window.newest and self.listing.cursor == 0:
            self._ask("top")
        else:
            self.window = self.window._replace(newest=False)

    def reveal(self, row: Row) -> None:
        """Show the flow."""
        self.detail.show(detail.flow(row))

    def action_only(self, name: str) -> None:
        """Narrow the list to one verdict."""
        self.only = name
        self.query_one("#choices", Static).update(choices(name))
        self._ask("top")

    def on_listing_near(self, event: Listing.Near) -> None:
        """Read the next page, or from the newest on where the user jumped to the first row."""
        if event.end > 0 and not self.window.oldest:
            self._ask("older")
        elif event.end < 0 and not self.window.newest:
            self._ask("top" if event.edge else "newer")

    def _ask(self, where: str) -> None:
        """Have a page read; one at a time, and the newest once more where it was asked for meanwhile."""
        if self._busy:
            self._again = self._again or where == "top"
            return
        self._busy, self._again = True, False
        self._read(where, self.only, self.window.rows)

    @work(thread=True, group="flows")
    def _read(self, where: str, only: str, rows: Sequence[Row]) -> None:
        beside = {"older": {"before": rows[-1]["id"]}, "newer": {"after": rows[0]["id"]}} if rows else {}
        page = None
        with suppress(EgressWatchError):  # the head of the screen says what is wrong with the database
            page = self.feed.page(only, PAGE_ROWS, **beside.get(where, {}))
        self.post_message(self.Loaded(where, page))

    def on_flows_loaded(self, event: Loaded) -> None:
        """Put the page where it belongs, unless the question has changed meanwhile."""
        self._busy = False
        if self._again:
            self._ask("top")
        elif event.page is not None:
            joined = {"older": window.older, "newer": window.newer}.get(event.where)
            self.window = joined(self.window, event.page) if joined else window.first(event.page)
            self.listing.show(self.window.rows, top=event.where == "top")
            self.follow()


def choices(only: str) -> Text:
    """Return the line of verdicts with their keys; the one that is shown stands between brackets."""
    text = Text(" only ")
    for key, name in CHOICES.items():
        word = verdict(name) if name else Text("all")
        chosen = name == only
        text += Text(" [" if chosen else "  ", style="bold") + Text(key, style="bold") + Text(" ") + word
        text += Text("] " if chosen else "  ", style="bold")
    return text
