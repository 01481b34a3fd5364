"""The answer at a glance: bytes by verdict now and over time, on a map, and what is behind them.

In: a `View`. Out: a block of text, a map, and lists; Enter on any row leads on. Never: a total that leaves out what
could not be told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget

from egress_watch.model import GLYPHS, VERDICTS
from egress_watch_tui.drawing import map_lines, shares, spark
from egress_watch_tui.feed import Feed, Row
from egress_watch_tui.lines import Column
from egress_watch_tui.listing import Listing
from egress_watch_tui.pane import Pane, View
from egress_watch_tui.state import state
from egress_watch_tui.words import MEANING, count, country, device, level, owner_row, size, span, verdict, when, worst

NUMBERS = 48
"""Cells that the numbers beside the line over time take."""
MEANING_WIDTH = max(map(len, MEANING.values())) + 2
WITH_MEANING = 150
"""From this many cells on, each verdict says what it means."""
MAP_FROM = (118, 34)
"""From this many columns and rows on, the map stands beside the lists."""

_BYTES = Column("out", lambda row: size(row["bytes_out"]), 8, right=True)
COUNTRIES = (
    Column("country", country, 11, grow=1, most=26),
    Column("verdict", lambda row: verdict(row["verdict"]), 9),
    _BYTES, Column("flows", lambda row: f"{row['flows']:,}", 9, right=True, from_width=50),
)  # fmt: skip
OWNERS = (
    Column("owner (seat)", owner_row, 11, grow=2, most=34),
    Column("worst", lambda row: verdict(worst(row)), 9), _BYTES,
    Column("flows", lambda row: f"{row['flows']:,}", 9, right=True, from_width=50),
)  # fmt: skip
DEVICES = (
    Column("device", device, 15, grow=1, most=30),
    Column("worst", lambda row: verdict(worst(row)), 9),
    Column("share by verdict", lambda row: shares(row, 16), 16, from_width=56), _BYTES,
)  # fmt: skip
SEGMENTS = (
    Column("segment", lambda row: row["segment"] or "no inventory", 12, grow=1, most=26),
    Column("worst", lambda row: verdict(worst(row)), 9),
    Column("devices", lambda row: f"{row['devices']:,}", 7, right=True, from_width=48), _BYTES,
)  # fmt: skip
ALERTS = (
    Column("newest", lambda row: level(row["level"]), 8),
    Column("device", lambda row: row["device_ip"], 15, grow=1, most=39),
    Column("owner", lambda row: row["owner"] or row["network"] or "-", 8, grow=1, most=24, from_width=46),
    Column("last seen", lambda row: when(row["last_ns"], "%H:%M"), 9, right=True),
)
LISTS = {"segments": SEGMENTS, "newest": ALERTS, "countries": COUNTRIES, "owners": OWNERS, "devices": DEVICES}
EMPTY = {"newest": "No alerts."}
LEADS = {
    "newest": "Alerts",
    "devices": "Destinations",
    "owners": "Destinations",
    "countries": "Destinations",
    "segments": "Devices",
}
_NOTHING: dict[str, Any] = {"bytes_out": 0, "bytes_in": 0, "flows": 0}


class Overview(Pane):
    """The first screen."""

    NAME: ClassVar[str] = "Overview"
    HELP: ClassVar[str] = (
        "What leaves, by verdict, and over time. On the map a country that traffic goes to is filled with the glyph of "
        "the gravest verdict there; dots are land. tab goes from list to list, enter leads on."
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("m", "map", "Map")]

    def __init__(self, number: int, feed: Feed) -> None:
        super().__init__(number, feed)
        self._map = False

    def compose(self) -> ComposeResult:
        """Hold the text above the map and the lists."""
        yield Glance(id="glance")
        with Container(id="lists"):
            yield World(id="world")
            for name, columns in LISTS.items():
                yield Listing(columns, empty="Reading ...", opens=True, name=f"by-{name}")

    def draw(self, view: View) -> None:
        """Show the sums of the view."""
        self.query_one(Glance).show(view)
        self.query_one(World).show(view)
        shown = {**view.overview._asdict(), "newest": view.overview.alerts}
        for name in LISTS:
            listing = self.query_one(f"#by-{name}", Listing)
            if view.looks:
                listing.say(EMPTY.get(name, f"No {name} here."))
            listing.show(shown[name])
        self.refresh_bindings()

    def row(self) -> Row | None:
        """Return the row the user is on, in the list that has the keys."""
        focused = self.screen.focused
        return focused.current() if isinstance(focused, Listing) and focused in self.query(Listing) else None

    def kind(self, row: Row) -> str:
        """Return which screen shows rows like this one: alerts have one of their own."""
        return "Alerts" if "rule" in row else self.NAME

    def on_resize(self) -> None:
        """Choose where map and lists stand."""
        wide = self.size.width >= MAP_FROM[0] and self.app.size.height >= MAP_FROM[1]
        self.set_class(wide, "wide")
        self.set_class(self._map and not wide, "map")
        self.refresh_bindings()

    def on_listing_opened(self, event: Listing.Opened) -> None:
        """Lead to what lies behind the row."""
        name = event.listing.removeprefix("by-")
        self.post_message(self.Drill(self.kind(event.row), event.row, LEADS[name]))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's form
        """Offer the map where it is not in sight anyway."""
        return not self.has_class("wide") if action == "map" else True

    def action_map(self) -> None:
        """Show the map in place of the lists, or the lists again."""
        self._map = not self._map
        self.on_resize()


class Glance(Widget):
    """The state of the recording and the verdicts, above the lists."""

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's own word
        super().__init__(id=id)
        self._view: View | None = None

    def show(self, view: View) -> None:
        """Draw this view from now on."""
        self._view = view
        self.refresh(layout=True)

    def render(self) -> Text:
        """Return the lines for the width there is."""
        if self._view is None:
            return Text()
        width = self.size.width
        return Text("\n").join((*state(self._view, width), *verdicts(self._view, width)))


class World(Widget):
    """The map."""

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's own word
        super().__init__(id=id)
        self._view = View()

    def show(self, view: View) -> None:
        """Draw this view from now on."""
        self._view = view
        self.refresh()

    def render(self) -> Text:
        """Return the world for the room there is, and below it what the glyphs say."""
        width, height = self.size
        lines = map_lines(self._view.overview.countries, width, max(1, height - 1))
        key = Text.assemble(" ", "  ".join(f"{GLYPHS[name]} {name}" for name in VERDICTS), ("   · land", "dim"))
        key.truncate(width)
        return Text("\n").join((*lines, key))


def verdicts(view: View, width: int) -> Iterator[Text]:
    """Yield a heading and one line a verdict, always in the same order, with its share of all bytes out."""
    begin, slot_s, series = view.overview.series
    found = view.overview.verdicts
    rows = {row["verdict"]: row for row in found}
    total = sum(row["bytes_out"] for row in found)
    room = max(8, width - NUMBERS - (MEANING_WIDTH if width >= WITH_MEANING else 0) - 2)
    many = 1 + max((row["slot"] for row in series), default=0)
    slots = min(room, many)
    over = f"out over time, {span(slot_s * -(-many // room))} a column" if begin else ""
    yield Text(
        f" {'verdict':10}{'out':>10}{'share':>8}{'in':>10}{'flows':>9} {over:{room}.{room}}", "bold", no_wrap=True
    )
    for name in VERDICTS:
        row = rows.get(name, _NOTHING)
        share = row["bytes_out"] / total if total else 0.0
        text = Text(" ", no_wrap=True) + verdict(name)
        text.pad_right(11 - text.cell_len)
        text += Text(
            f"{size(row['bytes_out']):>10}{share:>8.1%}{size(row['bytes_in']):>10}{count(row['flows'], 8):>9} "
        )
        text += spark(series, name, slots)
        text.pad_right(NUMBERS + room - text.cell_len)
        yield text + Text(f"  {MEANING[name]}" if width >= WITH_MEANING else "", style="dim")
