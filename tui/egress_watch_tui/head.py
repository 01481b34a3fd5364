"""The line on top: which database, whether something still comes in, and what is wrong; and the line of the way here.

In: a `View`. Out: one line each, more only in trouble. Never: a trouble without its remedy.
"""

from __future__ import annotations

from rich.text import Text
from textual.widget import Widget

from egress_watch_tui.ask import trail_words
from egress_watch_tui.drill import shown
from egress_watch_tui.pane import View
from egress_watch_tui.plain import harmless
from egress_watch_tui.state import pulse
from egress_watch_tui.taste import taste
from egress_watch_tui.words import stale, when, zone


class Head(Widget):
    """One line: whose traffic this is, whether old data judged it, and whether it is still coming in."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._db_name = name
        self._view = View()

    def show(self, view: View) -> None:
        """Draw this view from now on."""
        if view != self._view:
            self._view = view
            self.refresh(layout=True)

    def render(self) -> Text:
        """Return name to the left, state to the right, and what is wrong below."""
        left = Text.assemble((" egress-watch", "bold"), f"  {harmless(self._db_name)}")
        state = "‖ paused" if self._view.paused else harmless(pulse(self._view))
        right = Text("  ").join(
            Text(part) for part in (stale(self._view.snapshot.data, self._view.today), state) if part
        )
        right += Text(" ")
        right.truncate(self.size.width)
        space = self.size.width - right.cell_len
        left.truncate(max(0, space - 1), overflow="ellipsis")
        left.pad_right(max(0, space - left.cell_len))
        return left + right + self._trouble()

    def _trouble(self) -> Text:
        if not self._view.trouble:
            return Text()
        words = "\n".join(map(harmless, self._view.trouble.split("\n")))
        return Text(f"\n ! cannot read {words}", style="bold reverse")


class Way(Widget):
    """One line: the way that led here to the left; filter, time and zone to the right."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = (View(), "")

    def show(self, view: View, screen: str) -> None:
        """Draw this view from now on."""
        self._shown = (view, screen)
        self.refresh()

    def render(self) -> Text:
        """Return the line; the way is cut where there is no room, the filter after it."""
        view, screen = self._shown
        right = Text("  ").join(Text(part) for part in self._right(view))
        right.append(" ")
        asked = Text.assemble(("  filter ", "bold"), shown(view.ask.filter), "  ") if view.ask.filter else Text()
        width = self.size.width
        asked.truncate(max(0, width - right.cell_len - 12), overflow="ellipsis")
        space = max(0, width - right.cell_len - asked.cell_len)
        left = Text(f" {harmless(trail_words(view.trail, screen))}")
        if left.cell_len > space - 1:
            left = Text(" … " + left.plain[-(max(0, space - 4)) :] if space > 4 else "")
        left.pad_right(max(0, space - left.cell_len))
        line = left + asked + right
        line.truncate(width)
        return line

    def _right(self, view: View) -> list[str]:
        span = view.ask.range
        since, until = span.times(view.newest_ns)
        told = span.name
        if until is not None or span.name == "own range":
            begin = when(since, "%m-%d %H:%M") if since is not None else "…"
            told = f"{begin} to {when(until, '%m-%d %H:%M') if until else 'now'}"
        return ["addresses hidden"] * taste().private + [told, zone(view.newest_ns)]
