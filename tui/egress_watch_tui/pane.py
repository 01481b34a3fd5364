"""What every screen has in common: a name, a number, and a picture drawn from a `View`.

In: a `View`. Out: widgets. Never: a look at the database that the picture does not need.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import TabPane

from egress_watch.model import EMPTY, Snapshot
from egress_watch_tui.feed import Feed
from egress_watch_tui.listing import Listing


@dataclass(frozen=True, slots=True)
class View:
    """All that a picture depends on."""

    today: date
    snapshot: Snapshot = EMPTY
    trouble: str = ""
    """Why the last look at the database failed, "" where it did not."""
    paused: bool = False


class Pane(TabPane):
    """One screen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "next", "Next pane")]
    NAME: ClassVar[str]

    def __init__(self, number: int, feed: Feed) -> None:
        super().__init__(f"{number} {self.NAME}", id=self.NAME.lower())
        self.number = number
        self.feed = feed

    def label(self, view: View) -> str:  # noqa: ARG002 - some screens count what they hold
        """Return the words on the tab."""
        return f"{self.number} {self.NAME}"

    def draw(self, view: View) -> None:
        """Show the view; the same view gives the same picture."""
        raise NotImplementedError

    def action_next(self) -> None:
        """Give the keys to the next list or pane."""
        self.screen.focus_next()

    def enter(self) -> None:
        """Give the keys to the first list, unless something here has them already."""
        if self.screen.focused not in self.walk_children():
            self.query(Listing).first().focus()
