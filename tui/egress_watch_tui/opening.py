"""A screen with one list, whose rows open in a pane beside or below it.

In: messages of the list. Out: a pane that follows the cursor. Never: a pane that takes room while nothing is open.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from egress_watch_tui.detail import Detail
from egress_watch_tui.feed import Row
from egress_watch_tui.lines import Column
from egress_watch_tui.listing import Listing
from egress_watch_tui.pane import Pane


class Opening(Pane):
    """The screen; `reveal` says what an opened row looks like."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "Close")]
    COLUMNS: ClassVar[tuple[Column, ...]] = ()
    EMPTY: ClassVar[str] = ""

    def compose(self) -> ComposeResult:
        """Hold the list and the pane."""
        yield Listing(self.COLUMNS, empty=self.EMPTY, opens=True, name=f"{self.NAME.lower()}-list")
        pane = Detail()
        pane.display = False
        yield pane

    @property
    def listing(self) -> Listing:
        """Return the list."""
        return self.query_one(Listing)

    @property
    def detail(self) -> Detail:
        """Return the pane."""
        return self.query_one(Detail)

    def reveal(self, row: Row) -> None:
        """Show the whole row in the pane."""
        raise NotImplementedError

    def follow(self) -> None:
        """Show the row under the cursor, where the pane is open."""
        row = self.listing.current()
        if row and self.detail.display:
            self.reveal(row)

    def on_listing_opened(self, event: Listing.Opened) -> None:
        """Open the pane."""
        self.detail.display = True
        self.reveal(event.row)
        self.refresh_bindings()

    def on_listing_moved(self) -> None:
        """Follow the cursor."""
        self.follow()

    def action_close(self) -> None:
        """Close the pane and give the keys back to the list."""
        self.detail.display = False
        self.listing.focus()
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's form
        """Offer to close the pane, and to go there, only while it is open."""
        return self.detail.display if action in {"close", "next"} else True
