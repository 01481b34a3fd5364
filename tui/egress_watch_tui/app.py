"""The application: a line of state, tabs, the screen in front, and the keys that work.

In: a database and a clock. Out: a picture that keeps itself up to date. Never: a redraw where nothing changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import ClassVar

from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.timer import Timer
from textual.widgets import TabbedContent, Tabs

from egress_watch.errors import EgressWatchError
from egress_watch_tui.ask import Ask
from egress_watch_tui.bar import Bar
from egress_watch_tui.feed import Feed, Look
from egress_watch_tui.head import Head, Way
from egress_watch_tui.keys import Keys
from egress_watch_tui.pane import Pane, View
from egress_watch_tui.roads import WAYS, Roads
from egress_watch_tui.screens import SCREENS
from egress_watch_tui.taste import Taste, choose
from egress_watch_tui.themes import THEMES

PERIOD_S = 1.0
REST = 4
"""After a look the database rests so many times as long as the look took, so that a large one is not read all day."""


def now() -> datetime:
    """Return the time by the clock."""
    return datetime.now(UTC)


class EgressWatch(Roads, App[None], inherit_bindings=False):
    """The terminal UI over one database."""

    CSS_PATH = "egress_watch.tcss"
    TITLE = "egress-watch"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(number), f"screen({number})", screen.NAME, show=False)
            for number, screen in enumerate(SCREENS, 1)
        ),
        *WAYS,
        Binding("ctrl+c,ctrl+q", "quit", "Quit", show=False, priority=True),
    ]

    class Looked(Message):
        """The database was looked at: None where nothing changed, words where it could not be read."""

        def __init__(self, look: Look | None, trouble: str, took_s: float, ask: Ask) -> None:
            super().__init__()
            self.look, self.trouble, self.took_s, self.ask = look, trouble, took_s, ask

    def __init__(self, path: str, *, clock: Callable[[], datetime] = now, period_s: float = PERIOD_S) -> None:
        super().__init__()
        for theme in THEMES:
            self.register_theme(theme)
        choose(**{name: getattr(Taste(), name) for name in Taste.__slots__})
        self.theme = choose(theme="no-colour" if os.environ.get("NO_COLOR") else "dark").theme
        self.feed = Feed(path)
        self.view = View(clock())
        self._clock = clock
        self._period_s = period_s
        self._drawn: dict[str, View] = {}
        self._looking = False
        self._next: Timer | None = None

    def compose(self) -> ComposeResult:
        """Hold the state, the screens and the keys."""
        yield Head(self.feed.name)
        with TabbedContent():
            for number, screen in enumerate(SCREENS, 1):
                yield screen(number, self.feed)
        yield Way()
        yield Keys()
        bar = Bar(self.feed)
        bar.display = False
        yield bar

    def on_mount(self) -> None:
        """Begin to look at the database."""
        self.query_one(Tabs).can_focus = False
        self.look()

    def look(self) -> None:
        """Look at the database now, unless that is being done: then once more after it."""
        if not self.query(Pane):  # the program is being left, and a planned look came due meanwhile
            return
        if self._looking:
            self.feed.forget()
            return
        self._looking = True
        self._look(self.view.ask, overview=self.front().NAME == SCREENS[0].NAME)

    @work(thread=True, group="look")
    def _look(self, ask: Ask, *, overview: bool) -> None:
        """Look at the database away from the screen; the next look is planned when this one has arrived."""
        begun, look, trouble = monotonic(), None, ""
        try:
            look = None if self.view.paused and self.view.looks else self.feed.changed(ask, overview=overview)
        except EgressWatchError as error:
            trouble = str(error)
        self.post_message(self.Looked(look, trouble, monotonic() - begun, ask))

    def on_egress_watch_looked(self, event: Looked) -> None:
        """Show what was seen, unless the question has changed meanwhile; while paused it is left for later."""
        self._looking = False
        if not self.query(Pane):
            return
        if event.ask != self.view.ask:
            self.feed.forget()
            self.look()
            return
        if not self.view.paused or not self.view.looks:
            first = not self.view.looks
            self.show(self._seen(event.look, event.trouble))
            if first and self.view.looks and not self.query_one(Bar).display:
                self.front().enter()
        rest_s = max(self._period_s, REST * event.took_s)
        if self._next:
            self._next.stop()  # a look that was asked for between two planned ones begins no second row of looks
        self._next = self.set_timer(rest_s, self.look, name="next look")

    def _seen(self, look: Look | None, trouble: str) -> View:
        runs = any(row["state"] == "running" for row in self.view.snapshot.recordings)
        if look is None and trouble == self.view.trouble and not runs:
            return self.view
        view = replace(self.view, now=self._clock(), trouble=trouble)
        if look is None:
            return view
        return replace(
            view, snapshot=look.snapshot, overview=look.overview or view.overview, newest_ns=look.newest_ns,
            frames_s=round(look.frames_s), alerts=look.alerts, muted=look.muted, looks=view.looks + 1,
        )  # fmt: skip

    def show(self, view: View) -> None:
        """Draw the view where it differs from the one in sight."""
        if view is self.view and self._drawn:
            return
        self.view = view
        self.query_one(Head).show(view)
        self.query_one(Way).show(view, self.front().NAME)
        tabs = self.query_one(TabbedContent)
        for pane in self.query(Pane):
            tab = tabs.get_tab(pane.id or "")
            if str(tab.label) != (label := pane.label(view)):
                tab.label = label
        self._draw()

    def front(self) -> Pane:
        """Return the screen in front."""
        pane = self.query_one(TabbedContent).active_pane
        return pane if isinstance(pane, Pane) else self.query(Pane).first()

    def _draw(self) -> None:
        """Draw the screen in front; the others follow when they come to the front."""
        pane = self.front()
        same = replace(self.view, now=pane_now(pane, self.view, self._drawn.get(pane.NAME)))
        if self.view.looks and self._drawn.get(pane.NAME) != same:
            self._drawn[pane.NAME] = self.view
            pane.draw(self.view)

    def forget_drawn(self) -> None:
        """Draw every screen again when its turn comes: the taste has changed."""
        self._drawn.clear()
        self.show(self.view)
        self.refresh(layout=True)

    def on_tabbed_content_tab_activated(self) -> None:
        """Bring the screen up to date and give it the keys."""
        if not self.view.looks:
            return
        self._draw()
        pane = self.front()
        self.query_one(Way).show(self.view, pane.NAME)
        if not self.query_one(Bar).display:
            pane.enter()
        if pane.NAME == SCREENS[0].NAME:
            self.look()


def pane_now(pane: Pane, view: View, drawn: View | None) -> datetime:
    """Return the time that a drawn picture is compared at: only the first screen shows how time goes on."""
    return drawn.now if drawn and pane.NAME != SCREENS[0].NAME else view.now
