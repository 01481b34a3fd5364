"""Ways through the terminal UI: filter, time, drilling in and back, acts, taste; and keys that do what they say."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from shutil import copyfile

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TabbedContent
from tui_run import LARGE, SMALL, city, picture, press, run, settle

from egress_watch_tui.app import EgressWatch
from egress_watch_tui.ask import Ask
from egress_watch_tui.drill import narrowed
from egress_watch_tui.feed import Feed
from egress_watch_tui.keys import ALWAYS, _bindings
from egress_watch_tui.listing import Listing
from egress_watch_tui.paged import Paged
from egress_watch_tui.screens import SCREENS
from egress_watch_tui.taste import taste
from egress_watch_tui.words import worst


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database of the city."""
    return city(tmp_path_factory.mktemp("ways"))


@pytest.fixture
def own(database: Path, tmp_path: Path) -> Path:
    """Return a copy of it that a test may change."""
    return Path(copyfile(database, tmp_path / "own.db"))


def shown(app: EgressWatch) -> str:
    """Return all that stands on the screen as one line."""
    return " ".join(" ".join(picture(app)).split())


@pytest.mark.parametrize("number", range(1, len(SCREENS) + 1))
def test_every_key_at_the_foot_does_something_visible(own: Path, number: int) -> None:
    """Whatever the foot offers on a screen changes the picture when it is pressed."""
    undo = {"enter": ("b", "escape"), "space": ("space",), "tab": ("shift+tab",)}

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, str(number), *(("tab", "tab", "tab") if number == 1 else ()))
        offered = [one.key for one in _bindings(app.screen) if one.show and one.action != "quit"]
        assert len(offered) > 6
        for key in offered:
            await press(pilot, str(number))
            before = picture(app)
            await press(pilot, key)
            assert picture(app) != before, f"{SCREENS[number - 1].NAME}: {key}"
            await press(
                pilot, *undo.get(key, ()), *(("escape",) if len(app.screen_stack) > 1 or key == "slash" else ())
            )
        assert set(ALWAYS) <= {one.action for one in _bindings(app.screen)}

    run(own, script, LARGE)


def test_a_filter_is_typed_checked_completed_and_applied(database: Path) -> None:
    """What is wrong is said at once and not applied; tab completes; enter narrows every screen; x clears."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "4", "slash", *"cuntry:CN")
        assert "no field 'cuntry'" in shown(app)
        await press(pilot, "enter")
        assert app.view.ask.filter == ""
        line = app.query_one(Input)
        line.value = "own"
        await settle(pilot)
        await press(pilot, "tab")
        assert line.value == "owner:"
        await press(pilot, *"hik")
        assert "tab Hikvision" in shown(app)
        await press(pilot, "tab", "enter")
        assert app.view.ask.filter == "owner:Hikvision"
        assert {row["owner"] for row in app.query_one("#destinations-list", Listing).rows} == {"Hikvision"}
        await press(pilot, "5")
        assert [row["id"] for row in app.query_one("#owners-list", Listing).rows] == ["Hikvision"]
        await press(pilot, "x")
        assert len(app.query_one("#owners-list", Listing).rows) > 1

    run(database, script, LARGE)


def test_a_term_that_a_screen_cannot_be_asked_is_told_there(database: Path) -> None:
    """The list is empty then, and says which term to take out."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "6", "slash", *"port:443", "enter")
        assert app.query_one("#flows-list", Listing).rows
        await press(pilot, "2")
        assert "take port:443 out" in shown(app)
        await press(pilot, "x", "slash", *"country:ZZ", "enter", "3")
        assert "No devices for filter country:ZZ: x clears the filter." in shown(app)

    run(database, script, LARGE)


def test_from_anything_to_anything_and_back_to_the_row(database: Path) -> None:
    """Each step narrows to the row it came from; b leads back to filter, screen and row."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "5", "j", "j", "enter")
        owner = app.view.trail[-1].told
        assert app.front().NAME == "Destinations"
        assert app.view.ask.filter == f"owner:{owner}"
        await press(pilot, "enter")
        assert app.front().NAME == "Flows"
        await press(pilot, "D")
        assert app.front().NAME == "Devices"
        device = app.query_one("#devices-list", Listing).current()
        await press(pilot, "A")
        assert {row["device_ip"] for row in app.query_one("#alerts-list", Listing).rows} == {device["device_ip"]}
        await press(pilot, "b", "b", "b", "backspace")
        assert (app.front().NAME, app.view.ask.filter, app.view.trail) == ("Owners", "", ())
        assert app.query_one("#owners-list", Listing).current()["id"] == owner

    run(database, script, LARGE)


def test_every_row_leads_to_every_screen(database: Path) -> None:
    """Whatever the row, each screen can be asked what lies behind it, and has it."""
    feed = Feed(str(database))
    lists = {screen.NAME: screen for screen in SCREENS if issubclass(screen, Paged)}
    for name, screen in lists.items():
        rows = feed.page(screen.KIND, Ask(), (screen.ORDERS[0], False)).rows
        for to, other in lists.items():
            empty = [
                row["id"]
                for row in rows[:25]
                if not feed.page(other.KIND, Ask(filter=narrowed("", name, row, to)), (other.ORDERS[0], False)).rows
            ]
            assert rows
            assert not empty or to == "Alerts", f"{name} to {to}"


@pytest.mark.parametrize("name", ["segments", "newest", "countries", "owners", "devices"])
def test_every_list_of_the_overview_leads_on(database: Path, name: str) -> None:
    """Enter on a row of the first screen shows what is behind it, and that is not nothing."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        app.query_one(f"#by-{name}", Listing).focus()
        await press(pilot, "enter")
        pane = app.front()
        assert isinstance(pane, Paged)
        assert pane.listing.rows or name == "segments"

    run(database, script, LARGE)


@pytest.mark.parametrize("name", ["segments", "newest", "countries", "owners", "devices"])
def test_why_is_answered_on_every_row_of_the_overview(database: Path, name: str) -> None:
    """W on a row of sums tells of a flow behind it that has the verdict the row shows, with its ties."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        listing = app.query_one(f"#by-{name}", Listing)
        listing.focus()
        row = listing.rows[0]
        await press(pilot, "w")
        gravest = worst(row) if "worst" in row else row["verdict"]
        assert f"{gravest} under eea" in shown(app)
        assert "What would change it" in shown(app)
        assert ("gravest verdict:" in shown(app)) == ("worst" in row)

    run(database, script, LARGE)


def test_flows_are_ordered_by_bytes_or_time_and_turned_round(database: Path) -> None:
    """S takes the next order, S turns it; the list begins at its end then, and j goes on through pages."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        listing = app.query_one("#flows-list", Listing)
        await press(pilot, "6")
        stored = [row["id"] for row in listing.rows]
        await press(pilot, "S")
        assert [row["id"] for row in listing.rows] != stored
        assert [row["id"] for row in listing.rows] == sorted(row["id"] for row in listing.rows)
        await press(pilot, "G", "G")
        assert [row["id"] for row in listing.rows][-1] == stored[0]
        await press(pilot, "s", "s")
        assert app.front().order == ("out", False)
        assert [row["bytes_out"] for row in listing.rows] == sorted(
            (row["bytes_out"] for row in listing.rows), reverse=True
        )
        await press(pilot, "G", "G")
        assert len({row["id"] for row in listing.rows}) == len(listing.rows) == 348

    run(database, script, LARGE)


def test_however_often_one_asks_there_is_one_next_look(database: Path) -> None:
    """Every question looks at the database at once, and none of them begins a second row of looks."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        for _ in range(3):
            await press(pilot, "r", "2", "r", "5")
        planned = [timer for timer in app._timers if timer.name == "next look"]
        assert len(planned) == 1

    run(database, script)


def test_a_look_that_comes_due_while_the_program_is_left_does_nothing(database: Path) -> None:
    """The screens may be gone before the last planned look, or its answer, arrives: no traceback for the farewell."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await app.query_one(TabbedContent).remove()
        app.look()
        app.post_message(app.Looked(None, "", 0.0, app.view.ask))
        await settle(pilot)
        assert not app._looking

    run(database, script)


def test_time_is_chosen_stepped_and_followed(database: Path) -> None:
    """A range counts back from the newest packet; steps go back and forth; own moments are checked."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "6", "r", "1")
        near = {row["id"] for row in app.query_one("#flows-list", Listing).rows}
        assert near
        assert "last 15 min" in picture(app)[-2]
        await press(pilot, "left_square_bracket")
        before = {row["id"] for row in app.query_one("#flows-list", Listing).rows}
        assert before
        assert not near & before
        await press(pilot, "f")
        assert {row["id"] for row in app.query_one("#flows-list", Listing).rows} == near
        await press(pilot, "r", "6")
        fields = list(app.screen.query(Input))
        fields[0].value, fields[1].value = "2026-11-02T08:30", "2026-11-02T08:10"
        fields[1].focus()
        await press(pilot, "enter")
        assert "ends before it begins" in shown(app)
        fields[1].value = "2026-11-02T08:40"
        await press(pilot, "enter")
        assert "11-02 08:30 to 11-02 08:40" in picture(app)[-2]

    run(database, script, LARGE)


def test_acts_are_written_with_who_when_and_why(own: Path) -> None:
    """Acknowledge, note and mute from the screen are rows of the table act, and a mute without a reason is refused."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "2", "a")
        listing = app.query_one("#alerts-list", Listing)
        first = listing.current()
        assert first["acked_by"]
        await press(pilot, "n", *"seen", "enter")
        await press(pilot, "m", "enter", "enter")
        assert "an empty text" in shown(app)
        await press(pilot, "shift+tab", *"agreed", "enter", "enter")
        assert first["id"] not in {row["id"] for row in listing.rows}

    run(own, script, LARGE)
    with closing(sqlite3.connect(own)) as db:
        acts = db.execute("SELECT kind, reason, who <> '', made_ns > 0 FROM act ORDER BY id").fetchall()
    assert acts == [("ack", "", 1, 1), ("note", "seen", 1, 1), ("mute", "agreed", 1, 1)]


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=str)
def test_hidden_addresses_are_on_no_screen(database: Path, size: tuple[int, int]) -> None:
    """With p no address of the capture is left anywhere, and what is copied is masked too."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "p")
        for keys in (("1",), ("2", "enter"), ("3",), ("4",), ("w",), ("escape", "5"), ("6", "enter"), ("w",),
                     ("escape", "3", "g", "F"), ("A",), ("4",), ("x", "6")):  # fmt: skip
            await press(pilot, *keys)
            assert "10.20." not in shown(app)
            assert "44:19:b6" not in shown(app)
        await press(pilot, "escape", "Y")
        copied = json.loads(app.clipboard)
        assert copied["device_ip"].startswith("addr-")
        await press(pilot, "p", "1")
        assert "10.20." in shown(app)

    run(database, script, size)


def test_every_theme_and_both_zones_draw_every_screen(database: Path) -> None:
    """T goes round the themes, z to this machine's zone and back; nothing on the screens but colours changes with t."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "4")
        before = picture(app)
        for _ in range(5):
            await press(pilot, "t")
            assert picture(app) == before
        assert app.theme == taste().theme == "dark"
        await press(pilot, "z")
        assert not taste().utc
        await press(pilot, "z")
        assert picture(app) == before

    run(database, script, LARGE)


def test_the_palette_has_every_command(database: Path) -> None:
    """Whatever a key does now can be found by its name, and themes and ranges too."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "2")
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {"Mute", "Filter", "Why", "Flows", "Theme: light", "Time: last hour", "Hide addresses"} <= titles
        await press(pilot, "colon")
        assert {command.title for command in app.get_system_commands(app.screen_stack[0])} == titles
        await press(pilot, "escape")
        app._run("screen(5)")
        await settle(pilot)
        assert app.front().NAME == "Owners"
        await press(pilot, "colon", *"Theme: light")
        await pilot.pause(0.6)
        await press(pilot, "enter", "enter")
        assert app.theme in {"light", "dark"}

    run(database, script, LARGE)


def test_rows_and_titles_can_be_clicked(database: Path) -> None:
    """A click on a title orders by it, again turns round; a click on a row puts the cursor there."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "5")
        pane = app.front()
        assert isinstance(pane, Paged)
        at = picture(app)[3].index("flows") + 1
        await pilot.click("#owners-list", offset=(at, 0))
        await settle(pilot)
        assert pane.order == ("flows", False)
        most = [row["flows"] for row in pane.listing.rows]
        assert most == sorted(most, reverse=True)
        await pilot.click("#owners-list", offset=(at, 0))
        await settle(pilot)
        assert [row["flows"] for row in pane.listing.rows] == sorted(most)
        await pilot.click("#owners-list", offset=(5, 3))
        assert pane.listing.cursor == 2

    run(database, script, LARGE)
