"""The application: a line of state, tabs, the screen in front, and the keys that work.

In: a database and a clock. Out: a picture that keeps itself up to date. Never: a redraw where nothing changed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from time import monotonic
from typing import ClassVar

from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TabbedContent, Tabs

from egress_watch.errors import EgressWatchError
from egress_watch.model import Snapshot
from egress_watch_tui.feed import Feed
from egress_watch_tui.head import Head
from egress_watch_tui.help import Help
from egress_watch_tui.keys import Keys, working
from egress_watch_tui.pane import Pane, View
from egress_watch_tui.screens import SCREENS

PERIOD_S = 2.0
REST = 4
"""After a look the database rests so many times as long as the look took, so that a large one is not read all day."""


def today() -> date:
    """Return the day it is in UTC."""
    return datetime.now(UTC).date()


class EgressWatch(App[None], inherit_bindings=False):
    """The terminal UI over one database."""

    CSS_PATH = "egress_watch.tcss"
    TITLE = "egress-watch"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(number), f"screen({number})", screen.NAME, show=False)
            for number, screen in enumerate(SCREENS, 1)
        ),
        Binding("space", "pause", "Pause"),
        Binding("question_mark", "help", "Help"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c,ctrl+q", "quit", "Quit", show=False, priority=True),
    ]

    class Looked(Message):
        """The database was looked at: None where nothing changed, words where it could not be read."""

        def __init__(self, snapshot: Snapshot | None, trouble: str, took_s: float) -> None:
            super().__init__()
            self.snapshot = snapshot
            self.trouble = trouble
            self.took_s = took_s

    def __init__(self, path: str, *, clock: Callable[[], date] = today, period_s: float = PERIOD_S) -> None:
        super().__init__()
        self.feed = Feed(path)
        self.view = View(clock())
        self._clock = clock
        self._period_s = period_s
        self._drawn: dict[str, View] = {}

    def compose(self) -> ComposeResult:
        """Hold the state, the screens and the keys."""
        yield Head(self.feed.name)
        with TabbedContent():
            for number, screen in enumerate(SCREENS, 1):
                yield screen(number, self.feed)
        yield Keys()

    def on_mount(self) -> None:
        """Begin to look at the database."""
        self.query_one(Tabs).can_focus = False
        self._look()

    @work(thread=True, group="look")
    def _look(self) -> None:
        """Look at the database away from the screen; the next look is planned when this one has arrived."""
        begun, snapshot, trouble = monotonic(), None, ""
        try:
            snapshot = None if self.view.paused else self.feed.changed()
        except EgressWatchError as error:
            trouble = str(error)
        self.post_message(self.Looked(snapshot, trouble, monotonic() - begun))

    def on_egress_watch_looked(self, event: Looked) -> None:
        """Show what was seen; while paused it is left for later."""
        if self.view.paused:
            self.feed.forget()
        else:
            self._show(View(self._clock(), event.snapshot or self.view.snapshot, event.trouble))
        self.set_timer(max(self._period_s, REST * event.took_s), self._look)

    def _show(self, view: View) -> None:
        """Draw the view where it differs from the one in sight."""
        if view == self.view and self._drawn:
            return
        self.view = view
        self.query_one(Head).show(view)
        tabs = self.query_one(TabbedContent)
        for pane in self.query(Pane):
            tabs.get_tab(pane.id or "").label = pane.label(view)
        self._draw()

    def _draw(self) -> None:
        """Draw the screen in front; the others follow when they come to the front."""
        pane = self.query_one(TabbedContent).active_pane
        if isinstance(pane, Pane) and self._drawn.get(pane.NAME) != self.view:
            self._drawn[pane.NAME] = self.view
            pane.draw(self.view)

    def on_tabbed_content_tab_activated(self) -> None:
        """Bring the screen up to date and give it the keys."""
        self._draw()
        pane = self.query_one(TabbedContent).active_pane
        if isinstance(pane, Pane):
            pane.enter()

    def action_screen(self, number: int) -> None:
        """Bring a screen to the front."""
        self.query_one(TabbedContent).active = SCREENS[number - 1].NAME.lower()

    def action_pause(self) -> None:
        """Stop following the database, or go on."""
        view = self.view
        self._show(View(view.today, view.snapshot, view.trouble, paused=not view.paused))

    def action_help(self) -> None:
        """Show the keys that work now."""
        self.push_screen(Help(working(self.screen)))
