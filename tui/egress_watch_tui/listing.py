"""A list that draws only the lines in sight, with a cursor that stays on its row.

In: rows and columns. Out: lines, and messages about the cursor. Never: work for a row that nobody sees.

Textual's DataTable measures every cell and slows down with columns (its issues 5951 and 4737); a list of fixed columns
needs none of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from egress_watch_tui.feed import Row
from egress_watch_tui.lines import Column, Placed, heading, line, order_at, place

NEAR_ROWS = 20
"""So close to an end of the list the next page is asked for."""


class Listing(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows under a heading; j, k and their friends move the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", key_display="⏎"),
        Binding("j", "move(1)", "Move", key_display="j/k"),
        Binding("k", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("up", "move(-1)", "Up", show=False),
        Binding("pagedown,ctrl+f", "leap(1)", "Page down", show=False),
        Binding("pageup,ctrl+b", "leap(-1)", "Page up", show=False),
        Binding("home,g", "edge(-1)", "First row", show=False),
        Binding("end,G", "edge(1)", "Last row so far", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"listing--heading", "listing--cursor", "listing--empty"}

    class Opened(Message):
        """The user wants to see the whole row."""

        def __init__(self, row: Row, listing: str) -> None:
            super().__init__()
            self.row = row
            self.listing = listing

    class Moved(Message):
        """The cursor is on another row."""

        def __init__(self, row: Row) -> None:
            super().__init__()
            self.row = row

    class Titled(Message):
        """The title of a column was clicked that the list can be ordered by."""

        def __init__(self, order: str) -> None:
            super().__init__()
            self.order = order

    class Near(Message):
        """An end of the list is near: -1 the first row, 1 the last one; ``edge`` where the user went to it at once."""

        def __init__(self, end: int, *, edge: bool = False) -> None:
            super().__init__()
            self.end = end
            self.edge = edge

    def __init__(self, columns: Sequence[Column], *, empty: str, opens: bool = False, name: str) -> None:
        super().__init__(id=name)
        self.columns = columns
        self.empty = empty
        self.opens = opens
        self.more = False
        self.rows: Sequence[Row] = ()
        self.cursor = 0
        self.ordered = ("", False)
        """What the rows are ordered by, and whether rising."""
        self._placed = Placed()

    def say(self, words: str, *, more: bool = False) -> None:
        """Show these words while there are no rows, and below them where ``more`` rows are being looked for."""
        if (words, more) != (self.empty, self.more):
            self.empty, self.more = words, more
            self.refresh()

    def go_to(self, wanted: object) -> None:
        """Put the cursor on the row of this id, if it is there."""
        self._go(next((at for at, row in enumerate(self.rows) if row.get("id") == wanted), self.cursor))

    def show(self, rows: Sequence[Row], *, top: bool = False) -> None:
        """Show these rows; the cursor and the view stay with the row they were on, or go to the top."""
        before, offset = self.cursor, self.scroll_offset.y
        wanted = self._key(before)
        self.rows = rows
        found = next((at for at, row in enumerate(rows) if wanted is not None and row.get("id") == wanted), before)
        self.cursor = 0 if top else max(0, min(found, len(rows) - 1))
        self._measure()
        self.scroll_to(y=0 if top else offset + self.cursor - before, animate=False, force=True)
        self.refresh()

    def current(self) -> Row | None:
        """Return the row under the cursor, None in an empty list."""
        return self.rows[self.cursor] if self.rows else None

    def render_line(self, y: int) -> Strip:
        """Return the heading, a row, or the words for an empty list."""
        at = self.scroll_offset.y + y - 1
        if y == 0:
            return self._strip(heading(self._placed, *self.ordered), "listing--heading")
        if not self.rows:
            return self._strip(Text(" " + self.empty if y == 1 else ""), "listing--empty")
        if at == len(self.rows) and self.more:
            return self._strip(Text(" " + self.empty), "listing--empty")
        if at >= len(self.rows):
            return Strip.blank(self.size.width, self.rich_style)
        here = at == self.cursor and (self.has_focus or not self.screen.focused)
        return self._strip(line(self._placed, self.rows[at], marked=here), "listing--cursor" if here else "")

    def _strip(self, text: Text, part: str) -> Strip:
        style = self.get_component_rich_style(part) if part else self.rich_style
        strip = Strip(text.render(self.app.console)).apply_style(style)
        return strip.adjust_cell_length(self.size.width, style)

    def _key(self, at: int) -> object:
        return self.rows[at].get("id") if at < len(self.rows) else None

    def _measure(self) -> None:
        self._placed = place(self.columns, self.scrollable_content_region.width - 1)
        self.virtual_size = Size(self.size.width, len(self.rows) + 1)

    def on_resize(self) -> None:
        """Lay the columns out anew, and keep the cursor in sight."""
        self._measure()
        self._reveal()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the row that was clicked; a click on the cursor opens the row."""
        at = self.scroll_offset.y + event.y - 1
        if not event.y:
            if order := order_at(self._placed, event.x):
                self.post_message(self.Titled(order))
            return
        if at < len(self.rows):
            if at == self.cursor and self.opens:
                self.action_open()
            self._go(at)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Ask for more rows when the wheel brings an end near."""
        super().watch_scroll_y(old_value, new_value)
        self._near(int(new_value) + (self.size.height if new_value > old_value else 0), int(new_value - old_value))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's form
        """Offer to open rows only where there is something to open."""
        return self.opens if action == "open" else True

    def action_open(self) -> None:
        """Ask to see the whole row."""
        if row := self.current():
            self.post_message(self.Opened(row, self.id or ""))

    def action_move(self, by: int) -> None:
        """Move the cursor by rows."""
        self._go(self.cursor + by)

    def action_leap(self, by: int) -> None:
        """Move the cursor by screens."""
        self._go(self.cursor + by * max(1, self.size.height - 2))

    def action_edge(self, end: int) -> None:
        """Go to the first (-1) or the last (1) row."""
        self._go(0 if end < 0 else len(self.rows) - 1)
        self.post_message(self.Near(end, edge=True))

    def _go(self, at: int) -> None:
        at = max(0, min(at, len(self.rows) - 1))
        if at != self.cursor:
            by = at - self.cursor
            self.refresh_line(self.cursor + 1)
            self.cursor = at
            self.refresh_line(at + 1)
            self._reveal()
            self.post_message(self.Moved(self.rows[at]))
            self._near(at, by)

    def _near(self, at: int, by: int) -> None:
        """Say so where a move ``by`` rows came near the end it was going to."""
        if by > 0 and at >= len(self.rows) - NEAR_ROWS:
            self.post_message(self.Near(1))
        elif by < 0 and at < NEAR_ROWS:
            self.post_message(self.Near(-1))

    def _reveal(self) -> None:
        """Scroll just so far that the cursor is in sight."""
        seen, height = self.scroll_offset.y, self.size.height - 1
        wanted = min(max(seen, self.cursor - height + 1), self.cursor)
        if wanted != seen:
            self.scroll_to(y=wanted, animate=False, force=True)
