"""Alerts, the gravest first, and the whole reason of the one that is opened.

In: a `View`. Out: a list and a pane of evidence. Never: a reason cut short where it is opened.
"""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar

from textual import work
from textual.message import Message

from egress_watch.errors import EgressWatchError
from egress_watch_tui import detail
from egress_watch_tui.feed import Row
from egress_watch_tui.lines import Column
from egress_watch_tui.opening import Opening
from egress_watch_tui.pane import View
from egress_watch_tui.words import level, size, verdict, when

COLUMNS = (
    Column("level", lambda row: level(row["level"]), 8),
    Column("verdict", lambda row: verdict(row["verdict"]), 9),
    Column("device", lambda row: row["device_ip"], 15, grow=1, most=39),
    Column("rule", lambda row: row["title"], 16, grow=4, most=60),
    Column("owner", lambda row: row["owner"] or "not listed", 10, grow=1, most=30),
    Column("cc", lambda row: row["country"] or "-", 2, from_width=90),
    Column("flows", lambda row: f"{row['hits']:,}", 6, right=True, from_width=100),
    Column("out", lambda row: size(row["bytes_out"]), 8, right=True),
    Column("last seen UTC", lambda row: when(row["last_ns"]), 19, from_width=130),
    Column("why", lambda row: row["why"], 20, grow=12, from_width=170),
)


class Alerts(Opening):
    """The second screen."""

    NAME: ClassVar[str] = "Alerts"
    COLUMNS: ClassVar[tuple[Column, ...]] = COLUMNS
    EMPTY: ClassVar[str] = "No alerts: no rule has matched a flow."

    class Found(Message):
        """The newest flow of an alert has been read."""

        def __init__(self, row: Row, flow: Row | None) -> None:
            super().__init__()
            self.row = row
            self.flow = flow

    def label(self, view: View) -> str:
        """Return the tab's words with the number of alerts, and of those left out."""
        muted = f" +{view.snapshot.muted:,} muted" if view.snapshot.muted else ""
        return f"{super().label(view)} {len(view.snapshot.alerts):,}{muted}"

    def draw(self, view: View) -> None:
        """Show the alerts of the snapshot."""
        self.listing.show(view.snapshot.alerts)
        self.follow()

    def reveal(self, row: Row) -> None:
        """Show the alert at once, and its evidence as soon as that is read."""
        self.detail.show(detail.alert(row, None))
        self._look_up(row)

    @work(thread=True, group="evidence")
    def _look_up(self, row: Row) -> None:
        with suppress(EgressWatchError):  # the head of the screen says what is wrong with the database
            self.post_message(self.Found(row, self.feed.flow(row["last_flow"])))

    def on_alerts_found(self, event: Found) -> None:
        """Show the evidence, unless the cursor has gone on meanwhile."""
        if event.row is self.listing.current():
            self.detail.show(detail.alert(event.row, event.flow))
