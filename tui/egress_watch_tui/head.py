"""The line on top: which database, whether something still comes in, and what is wrong.

In: a `View`. Out: one line, more only in trouble. Never: a trouble without its remedy.
"""

from __future__ import annotations

from datetime import date

from rich.text import Text
from textual.widget import Widget

from egress_watch_tui.pane import View
from egress_watch_tui.plain import harmless
from egress_watch_tui.state import recording
from egress_watch_tui.words import stale


class Head(Widget):
    """One line: whose traffic this is, whether old data judged it, and whether it is still coming in."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._db_name = harmless(name)
        self._view = View(date.min)

    def show(self, view: View) -> None:
        """Draw this view from now on."""
        self._view = view
        self.refresh(layout=True)

    def render(self) -> Text:
        """Return name to the left, state to the right, and what is wrong below."""
        left = Text.assemble((" egress-watch", "bold"), f"  {self._db_name}")
        state = "‖ paused" if self._view.paused else harmless(recording(self._view.snapshot))
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
