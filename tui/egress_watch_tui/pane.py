"""What every screen has: a name, a number, and a picture drawn from a `View`.

In: a `View`. Out: widgets. Never: a look at the database that the picture does not need.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import TabPane

from egress_watch.model import EMPTY, Snapshot
from egress_watch.moments import EPOCH
from egress_watch.store.screens import Overview
from egress_watch_tui.ask import Ask, Step
from egress_watch_tui.feed import Feed, Row
from egress_watch_tui.listing import Listing


@dataclass(frozen=True, slots=True)
class View:
    """All that a picture depends on."""

    now: datetime = EPOCH
    snapshot: Snapshot = EMPTY
    overview: Overview = Overview()  # noqa: RUF009 - an empty tuple
    trouble: str = ""
    """Why the last look at the database failed, "" where it did not."""
    paused: bool = False
    ask: Ask = Ask()  # noqa: RUF009 - frozen
    trail: tuple[Step, ...] = ()
    newest_ns: int = 0
    frames_s: float = 0.0
    alerts: int = 0
    muted: int = 0
    looks: int = 0
    """How often the database was read because it had changed."""

    @property
    def today(self) -> date:
        """Return the day."""
        return self.now.date()


class Pane(TabPane):
    """One screen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "next", "Next pane")]
    NAME: ClassVar[str]
    HELP: ClassVar[str] = ""
    """What the screen shows, for `?`."""

    class Drill(Message):
        """The user wants to see what lies behind a row, on another screen."""

        def __init__(self, kind: str, row: Row, to: str) -> None:
            super().__init__()
            self.kind = kind
            self.row = row
            self.to = to

    def __init__(self, number: int, feed: Feed) -> None:
        super().__init__(f"{number} {self.NAME}", id=self.NAME.lower())
        self.number = number
        self.feed = feed
        self._last: Widget | None = None

    def label(self, view: View) -> str:  # noqa: ARG002 - some screens count what they hold
        """Return the words on the tab."""
        return f"{self.number} {self.NAME}"

    def draw(self, view: View) -> None:
        """Show the view; the same view gives the same picture."""
        raise NotImplementedError

    def row(self) -> Row | None:
        """Return the row the user is on."""
        focused = self.screen.focused
        listing = focused if isinstance(focused, Listing) else self.query(Listing).first()
        return listing.current()

    def kind(self, row: Row) -> str:  # noqa: ARG002 - the first screen has several
        """Return which screen shows rows like this one."""
        return self.NAME

    def action_next(self) -> None:
        """Give the keys to the next list or pane."""
        self.screen.focus_next()

    def enter(self) -> None:
        """Give the keys to the list that had them last, or to the first, unless something here has them already."""
        if self.screen.focused not in self.walk_children():
            lists = [listing for listing in self.query(Listing) if listing.display]
            (self._last if self._last in lists else lists[0]).focus()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Remember what has the keys."""
        self._last = event.widget
