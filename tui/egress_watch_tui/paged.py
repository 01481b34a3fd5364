"""A screen with one long list, read page by page, whose rows open in a pane beside or below it.

In: a `View`, and pages as they are read. Out: a list, an order, a pane that follows the cursor.
Never: more rows in memory than `window` allows, or a pane that takes room while nothing is open.
"""

from __future__ import annotations

from typing import Any, ClassVar

from rich.console import RenderableType
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message

from egress_watch.errors import EgressWatchError
from egress_watch_tui import window
from egress_watch_tui.ask import Ask
from egress_watch_tui.detail import Detail
from egress_watch_tui.drill import shown
from egress_watch_tui.feed import STORED, Feed, Row
from egress_watch_tui.lines import Column
from egress_watch_tui.listing import Listing
from egress_watch_tui.pane import Pane, View
from egress_watch_tui.plain import harmless
from egress_watch_tui.window import PAGE_ROWS, Page, Window


class Paged(Pane):
    """The screen; KIND says what is read, `reveal` what an opened row looks like."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "order", "Sort"),
        Binding("S", "turn", "Reverse", show=False),
        Binding("escape", "close", "Close"),
    ]
    KIND: ClassVar[str]
    COLUMNS: ClassVar[tuple[Column, ...]] = ()
    ORDERS: ClassVar[tuple[str, ...]] = ()
    """What the list can be ordered by, the first at the beginning."""
    DEEPER: ClassVar[str] = ""
    """The screen that Enter leads to; "" opens the row here."""
    NOTHING: ClassVar[str] = "Nothing here"

    class Loaded(Message):
        """A page has been read, or could not be."""

        def __init__(self, where: str, question: object, page: Page | None, trouble: str) -> None:
            super().__init__()
            self.where, self.question, self.page, self.trouble = where, question, page, trouble

    class Found(Message):
        """What bears on a row has been read."""

        def __init__(self, row: Row, evidence: dict[str, Any]) -> None:
            super().__init__()
            self.row, self.evidence = row, evidence

    def __init__(self, number: int, feed: Feed) -> None:
        super().__init__(number, feed)
        self.window = Window()
        self.order = (self.ORDERS[0] if self.ORDERS else "", False)
        self.wanted: object = None
        """The id of the row that the cursor is to come back to."""
        self._ask, self._asked = Ask(), False
        self._busy = self._again = self._fresh = False
        self._shown: object = None
        """The question that the rows in sight answer."""
        self._reached = 0

    def compose(self) -> ComposeResult:
        """Hold the list and the pane."""
        yield Listing(self.COLUMNS, empty="Reading ...", opens=True, name=f"{self.KIND}-list")
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

    def draw(self, view: View) -> None:
        """Read the first page again, unless the user has gone further down: then what is new waits above."""
        fresh = view.ask != self._ask or not self._asked
        self._ask, self._asked = view.ask, True
        self.listing.ordered = self.order
        if fresh or (self.window.newest and len(self.window.rows) <= PAGE_ROWS):
            self._read_on("top", fresh=fresh)
        else:
            self.window = self.window._replace(newest=False)

    def reveal(self, row: Row, evidence: dict[str, Any] | None) -> RenderableType:
        """Return the whole row; ``evidence`` is None until it is read."""
        raise NotImplementedError

    def follow(self) -> None:
        """Show the row under the cursor, where the pane is open."""
        row = self.listing.current()
        if row and self.detail.display:
            self.detail.show(self.reveal(row, None))
            self._look_up(row)

    @work(thread=True, group="evidence", exclusive=True)
    def _look_up(self, row: Row) -> None:
        try:
            found = self.feed.evidence(self.KIND, row)
        except EgressWatchError:  # the head of the screen says what is wrong with the database
            return
        self.post_message(self.Found(row, found))

    def on_paged_found(self, event: Found) -> None:
        """Show the evidence, unless the cursor has gone on meanwhile."""
        if event.row is self.listing.current() and self.detail.display:
            self.detail.show(self.reveal(event.row, event.evidence))

    def on_listing_opened(self, event: Listing.Opened) -> None:
        """Go deeper, or open the pane."""
        if self.DEEPER:
            self.post_message(self.Drill(self.NAME, event.row, self.DEEPER))
            return
        self.detail.display = True
        self.follow()
        self.refresh_bindings()

    def on_listing_moved(self) -> None:
        """Follow the cursor."""
        self.follow()

    def on_listing_titled(self, event: Listing.Titled) -> None:
        """Order by the column whose title was clicked; once more turns the order round."""
        if event.order in self.ORDERS:
            self._ordered(event.order, rising=not self.order[1] if event.order == self.order[0] else False)

    def on_listing_near(self, event: Listing.Near) -> None:
        """Read the next page, or from the top where the user jumped to the first row."""
        if event.end > 0 and not self.window.oldest:
            self._read_on("older")
        elif event.end < 0 and not self.window.newest:
            self._read_on("top" if event.edge else "newer", fresh=event.edge)

    def action_order(self) -> None:
        """Order by the next key."""
        at = self.ORDERS.index(self.order[0])
        self._ordered(self.ORDERS[(at + 1) % len(self.ORDERS)], rising=False)

    def action_turn(self) -> None:
        """Turn the order round."""
        self._ordered(self.order[0], rising=not self.order[1])

    def action_close(self) -> None:
        """Close the pane and give the keys back to the list."""
        self.detail.display = False
        self.listing.focus()
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's form
        """Offer to close the pane, and to go there, only while it is open, and an order only where there are some."""
        if action in {"order", "turn"}:
            return bool(self.ORDERS)
        return self.detail.display if action in {"close", "next"} else True

    def _ordered(self, order: str, *, rising: bool) -> None:
        self.order = (order, rising)
        self.listing.ordered = self.order
        self._read_on("top", fresh=True)

    def _read_on(self, where: str, *, fresh: bool = False) -> None:
        """Have a page read; one at a time, and the first once more where it was asked for meanwhile."""
        self._fresh = self._fresh or fresh
        if self._busy:
            self._again = self._again or where == "top"
            return
        self._busy, self._again = True, False
        if self._fresh:
            self.listing.say("Reading ...")
        self._read(where, self._ask, self.order, self._beside(where))

    def _beside(self, where: str) -> Any:
        """Return what the page lies beside: a row's key, of flows an id."""
        if where == "top" or not self.window.rows:
            return self._reached if where == "older" and self.order[0] == STORED else None
        row = self.window.rows[-1 if where == "older" else 0]
        if self.order[0] != STORED:
            return row["_key"]
        return (self._reached or row["id"]) if where == "older" else row["id"]

    @work(thread=True, group="pages")
    def _read(self, where: str, ask: Ask, order: tuple[str, bool], beside: Any) -> None:
        page, trouble = None, ""
        try:
            page = self.feed.page(self.KIND, ask, order, beside, back=where == "newer")
        except EgressWatchError as error:
            trouble = str(error)
        self.post_message(self.Loaded(where, (ask, order), page, trouble))

    def on_paged_loaded(self, event: Loaded) -> None:
        """Put the page where it belongs, unless the question has changed meanwhile."""
        self._busy = False
        if event.question != (self._ask, self.order):
            self._read_on("top")
        elif event.page is None:
            self.window, self._shown = Window(), None
            self.listing.show((), top=True)
            self.refresh_bindings()
            self.listing.say(" ".join(harmless(line.strip()) for line in event.trouble.split("\n")))
        else:
            self._show(event.where, event.page)
            self._go_on(event.where, event.page)

    def _show(self, where: str, page: Page) -> None:
        self._join(where, page)
        self.listing.say(self._nothing(), more=not page.ended and where != "newer" and self._short)
        self.listing.show(self.window.rows, top=where == "top" and (self._fresh or self.listing.cursor == 0))
        self._fresh = self._fresh and where != "top"
        if self.wanted is not None:
            self.listing.go_to(self.wanted)
            self.wanted = None
        self.follow()
        self.refresh_bindings()  # some keys need a row

    def _join(self, where: str, page: Page) -> None:
        """Put the page beside what is there."""
        last = self.window.rows[-1:]
        stopped = not page.ended and self.order[0] == STORED and len(page.rows) < PAGE_ROWS
        if stopped and where == "top" and not self._fresh and self._shown == (self._ask, self.order):
            self.window = window.again(self.window, page, rising=self.order[1])
        elif where == "newer":
            self.window = window.newer(self.window, page)
        else:
            self.window = window.older(self.window, page) if where == "older" else window.first(page)
            self._reached, self._shown = page.reached, (self._ask, self.order)
            return
        if self.window.rows[-1:] != last:  # rows were let go below: on from the last that is left
            self._reached = self.window.rows[-1].get("id", 0)

    @property
    def _short(self) -> bool:
        """Whether the search is to go on by itself: it stopped before a page was full."""
        return not self.window.oldest and len(self.window.rows) < PAGE_ROWS

    def _go_on(self, where: str, page: Page) -> None:
        """Read what was asked for meanwhile, else further back where the search stopped before a page was full."""
        if self._again:
            self._read_on("top")
        elif not page.ended and where != "newer" and self._short:
            self._read_on("older")

    def _nothing(self) -> str:
        """Return why the list is empty, and what to do."""
        if not self.window.oldest:
            return "Searching further back ..."
        asked = [f"filter {shown(self._ask.filter)}"] if self._ask.filter else []
        asked += [] if self._ask.range.name == "all time" else [self._ask.range.name]
        if not asked:
            return f"{self.NOTHING}."
        remedy = ["x clears the filter"] if self._ask.filter else []
        remedy += ["r changes the time"] if self._ask.range.name != "all time" else []
        return f"{self.NOTHING} for {', '.join(asked)}: {', '.join(remedy)}."
