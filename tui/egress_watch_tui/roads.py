"""Ways through the screens: filter, time, drilling in and coming back, taste; each is a key and a command.

In: keys, clicks, commands of the palette. Out: another question for the screens. Never: a key that does nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import TabbedContent

from egress_watch.errors import EgressWatchError
from egress_watch_tui import drill
from egress_watch_tui.ask import RANGES, Ask, Step, with_filter
from egress_watch_tui.bar import Bar
from egress_watch_tui.choice import Choice, Moments, between
from egress_watch_tui.copying import as_text
from egress_watch_tui.feed import Feed, Row
from egress_watch_tui.help import Help
from egress_watch_tui.keys import working
from egress_watch_tui.pane import Pane, View
from egress_watch_tui.sheet import Sheet
from egress_watch_tui.sinks import Sinks
from egress_watch_tui.taste import choose, masked, masked_row, taste
from egress_watch_tui.themes import THEMES

TO = {"D": "Devices", "T": "Destinations", "O": "Owners", "F": "Flows", "A": "Alerts"}
OWN = "own range ..."

WAYS: list[BindingType] = [
    Binding("slash", "filter", "Filter", key_display="/"),
    Binding("x", "clear", "Clear filter"),
    Binding("w", "why", "Why"),
    *(Binding(key, f"drill('{to}')", to, show=False) for key, to in TO.items()),
    Binding("b", "return", "Back"),
    Binding("backspace", "return", "Back", show=False),
    Binding("r", "range", "Time"),
    Binding("left_square_bracket", "step(-1)", "Earlier", show=False),
    Binding("right_square_bracket", "step(1)", "Later", show=False),
    Binding("f", "follow", "Follow", show=False),
    Binding("space", "pause", "Pause"),
    Binding("y", "copy", "Copy", show=False),
    Binding("Y", "copy(True)", "Copy as JSON", show=False),
    Binding("R", "sinks", "Sinks", show=False),
    Binding("z", "zone", "Time zone", show=False),
    Binding("p", "privacy", "Hide addresses", show=False),
    Binding("t", "colours", "Theme", show=False),
    Binding("colon", "command_palette", "Commands", key_display=":"),
    Binding("ctrl+p", "command_palette", "Commands", show=False),
    Binding("question_mark", "help", "Help"),
    Binding("q", "quit", "Quit"),
]
"""The keys of the application."""
OURS = {"screen", *(way.action.partition("(")[0] for way in WAYS if isinstance(way, Binding))}
"""What they do; over the screens, and while a filter is typed, only leaving is offered."""

if TYPE_CHECKING:

    class Base(App[None]):
        """What the application draws with."""

        view: View
        feed: Feed

        def show(self, view: View) -> None: ...  # noqa: D102
        def look(self) -> None: ...  # noqa: D102
        def front(self) -> Pane: ...  # noqa: D102
        def forget_drawn(self) -> None: ...  # noqa: D102

else:
    Base = object


class Roads(Base):
    """What the application can do beside drawing."""

    _naming = False
    """Whether the palette asks for commands: it stands over the screen that they are for."""

    def ask_for(self, ask: Ask, trail: tuple[Step, ...] | None = None) -> None:
        """Put another question to every screen."""
        self.show(replace(self.view, ask=ask, trail=self.view.trail if trail is None else trail))
        self.look()

    def go(self, screen: str) -> None:
        """Bring a screen to the front."""
        self.query_one(TabbedContent).active = screen.lower()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what works now."""
        if action not in OURS or action == "quit":
            return True
        over = self.screen is not self.screen_stack[0] and not self._naming
        if over or not self.query(Pane) or self.query_one(Bar).display:
            return False  # without a pane the program is being left
        row = self.front().row() if action in {"why", "drill", "copy"} else None
        return {
            "clear": bool(self.view.ask.filter), "return": bool(self.view.trail), "why": row is not None,
            "copy": row is not None, "step": self.view.ask.range.times(self.view.newest_ns)[0] is not None,
            "sinks": bool(self.view.snapshot.sinks), "follow": not self.view.ask.range.follows(),
            "drill": row is not None and self.front().NAME not in parameters,
        }.get(action, True)  # fmt: skip

    def action_screen(self, number: int) -> None:
        """Bring a screen to the front by its number."""
        self.go([pane.NAME for pane in self.query(Pane)][number - 1])

    def action_filter(self) -> None:
        """Type a filter."""
        self.query_one(Bar).open(self.view.ask.filter)
        self.refresh_bindings()

    def on_bar_applied(self, event: Bar.Applied) -> None:
        """Use the filter that was typed."""
        self._close_bar()
        self.ask_for(with_filter(self.view.ask, event.text))

    def on_bar_left(self) -> None:
        """Go on as before."""
        self._close_bar()

    def _close_bar(self) -> None:
        self.query_one(Bar).display = False
        self.front().enter()
        self.refresh_bindings()

    def action_clear(self) -> None:
        """Take the filter away."""
        self.ask_for(with_filter(self.view.ask, ""))

    def action_drill(self, to: str) -> None:
        """See on another screen what lies behind the row."""
        if row := self.front().row():
            self._drill(self.front().kind(row), row, to)

    def on_pane_drill(self, event: Pane.Drill) -> None:
        """Go where Enter leads."""
        self._drill(event.kind, event.row, event.to)

    def _drill(self, kind: str, row: Row, to: str) -> None:
        filter_ = drill.narrowed(self.view.ask.filter, kind, row, to)
        step = Step(kind, self.view.ask, row.get("id"), drill.told(kind, row))
        self.show(replace(self.view, ask=with_filter(self.view.ask, filter_), trail=(*self.view.trail, step)))
        self.go(to)
        self.refresh_bindings()

    def action_return(self) -> None:
        """Return to where the last drill began, with its filter and its row."""
        if not self.view.trail:
            return
        *trail, step = self.view.trail
        pane = next(pane for pane in self.query(Pane) if step.screen == pane.NAME)
        if hasattr(pane, "wanted"):
            pane.wanted = step.row
        self.ask_for(step.ask, tuple(trail))
        self.go(step.screen)
        self.refresh_bindings()

    def action_range(self) -> None:
        """Choose the time."""
        names = [*(one.name for one in RANGES), OWN]
        self.push_screen(Choice("Show the flows that ended in", names, self.view.ask.range.name), self._ranged)

    def _ranged(self, name: str | None) -> None:
        if name == OWN:
            self.push_screen(Moments(self.view.newest_ns), self._moments)
        elif name:
            self.ask_for(replace(self.view.ask, range=next(one for one in RANGES if one.name == name)))

    def _moments(self, answer: tuple[str, ...] | None) -> None:
        if answer:
            self.ask_for(replace(self.view.ask, range=between(answer, self.view.newest_ns)))

    def action_step(self, by: int) -> None:
        """Go one length of the range back or on."""
        self.ask_for(replace(self.view.ask, range=self.view.ask.range.stepped(by, self.view.newest_ns)))

    def action_follow(self) -> None:
        """Come back to the newest packet."""
        span = self.view.ask.range
        self.ask_for(replace(self.view.ask, range=span._replace(until_ns=None) if span.span_s else RANGES[-1]))

    def action_pause(self) -> None:
        """Stop following the database, or go on."""
        self.show(replace(self.view, paused=not self.view.paused))
        if not self.view.paused:
            self.feed.forget()
            self.look()

    def action_why(self) -> None:
        """Show what the answer for this row rests on."""
        if row := self.front().row():
            kind = self.front().kind(row)
            self.push_screen(Sheet(self.feed, kind, row, drill.behind(self.view.ask, kind, row)))

    def action_copy(self, as_json: bool = False) -> None:
        """Put the row into the clipboard."""
        row = self.front().row()
        if row is None:
            return
        shown = masked_row({name: value for name, value in row.items() if not name.startswith("_")})
        text = json.dumps(shown, ensure_ascii=True, default=str) if as_json else as_text(shown)
        self.copy_to_clipboard(masked(text))
        self.notify(f"The row is in the clipboard{' as JSON' if as_json else ''}.", timeout=3)

    def action_sinks(self) -> None:
        """Show how the receivers stand, and what each promises."""
        self.push_screen(Sinks(self.view.snapshot.sinks))

    def action_zone(self) -> None:
        """Show times in UTC or in this machine's zone."""
        choose(utc=not taste().utc)
        self.forget_drawn()

    def action_privacy(self) -> None:
        """Hide addresses and names of devices, or show them again."""
        choose(private=not taste().private)
        self.forget_drawn()

    def action_colours(self, name: str = "") -> None:
        """Take the next theme, or the one named."""
        names = [theme.name for theme in THEMES]
        self.theme = choose(theme=name or names[(names.index(taste().theme) + 1) % len(names)]).theme
        self.forget_drawn()

    def action_help(self) -> None:
        """Show the keys that work now, and what the screen in front shows."""
        self.push_screen(Help(working(self.screen), self.front().NAME, self.front().HELP))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Yield every command there is now, for the palette."""
        self._naming = True
        try:
            now = working(screen, with_actions=True)
        finally:
            self._naming = False
        for key, words, action in now:
            yield SystemCommand(words, f"key {key}", lambda action=action: self._run(action))
        for theme in THEMES:
            yield SystemCommand(
                f"Theme: {theme.name}", "colours of the screen", lambda name=theme.name: self.action_colours(name)
            )
        for span in RANGES:
            yield SystemCommand(
                f"Time: {span.name}", "flows that ended then", lambda name=span.name: self._ranged(name)
            )

    def _run(self, action: str) -> None:
        self.call_later(self._act, action)

    async def _act(self, action: str) -> None:
        """Do what a key does, where its binding stands: in a list, a screen or here."""
        active = (one for one in self.screen.active_bindings.values() if one.binding.action == action)
        node = next((one.node for one in active), None)
        if node is not None:
            await self.run_action(action, node)

    def tell(self, error: EgressWatchError) -> None:
        """Show what went wrong with something the user did."""
        self.notify(str(error), severity="error", timeout=8, markup=False)
