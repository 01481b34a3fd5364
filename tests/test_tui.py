"""The terminal UI as a person uses it: keys, paging, pausing, trouble, and nothing from the wire taken at its word."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shutil import copyfile
from unicodedata import category

import pytest
from textual.pilot import Pilot
from textual.widgets import TabbedContent
from tui_run import LARGE, SMALL, city, empty, picture, press, run, settle

from egress_watch.cli import main
from egress_watch.store import file
from egress_watch_tui.app import EgressWatch
from egress_watch_tui.detail import Detail
from egress_watch_tui.listing import Listing
from egress_watch_tui.screens import SCREENS
from egress_watch_tui.screens.flows import Flows
from egress_watch_tui.window import PAGE_ROWS, WINDOW_PAGES
from egress_watch_tui.words import RESTS_ON, STATUS

HOSTILE = "[bold red]x[/] \x1b[31m\x07\u202e\u2066\x9b31m\r\n\u200b\ufe0f\ud83d"[:-1] + "漢字" * 40
ALL_KEYS = (
    "2", "enter", "j", "escape", "3", "j", "4", "j", "w", "escape", "5", "j", "6", "enter", "j", "question_mark",
    "escape", "1", "tab", "tab", "j", "m",
)  # fmt: skip


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database of the city."""
    return city(tmp_path_factory.mktemp("tui"))


@pytest.fixture
def own(database: Path, tmp_path: Path) -> Path:
    """Return a copy of it that a test may change."""
    return Path(copyfile(database, tmp_path / "own.db"))


def change(path: Path, *statements: str, values: tuple[object, ...] = ()) -> None:
    """Write to a database as another process would."""
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement, values)


def test_every_number_brings_its_screen_to_the_front(database: Path) -> None:
    """The keys 1 to n open the screens in the order of SCREENS, and each draws what it holds."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        for number, screen in enumerate(SCREENS, 1):
            await press(pilot, str(number))
            assert app.query_one(TabbedContent).active == screen.NAME.lower()
            assert any("✗ OUT" in line for line in picture(app)[3:])

    run(database, script)


def test_enter_shows_the_whole_reason_and_its_evidence(database: Path) -> None:
    """An opened alert shows every word of its reason, its newest flow and the data files that judged it."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "2", "enter")
        shown = " ".join(" ".join(picture(app)).split())
        row = app.query_one("#alerts-list", Listing).rows[0]
        assert row["why"] in shown
        assert "ieu.hik-connect.com (heard in tls)" in shown
        assert "dbip-country-lite of" in shown
        await press(pilot, "escape")
        assert "dbip-country-lite of" not in " ".join(picture(app))

    run(database, script, LARGE)


def test_a_flow_shows_what_its_answer_rests_on(own: Path) -> None:
    """An opened flow shows the countries in dispute, what the owner rests on, the user's note, and the data's dates."""
    change(own, "UPDATE place SET note = 'rented until 2027' WHERE location_status = 'disputed'")
    change(own, "UPDATE flow SET place = (SELECT id FROM place WHERE location_status = 'disputed')")

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "6", "enter")
        shown = " ".join(" ".join(picture(app)).split())
        row = app.query_one(Flows).window.rows[0]
        assert f"DE or US, disputed: {STATUS['disputed']}" in shown
        assert f"Alibaba (CN), by {RESTS_ON['name']}" in shown
        assert "rented until 2027" in shown
        assert all(f"{data['name']} {data['built']}" in shown for data in row["data"])

    run(own, script, (200, 60))


@pytest.mark.parametrize(("built", "told"), [("2026-08-25", False), ("2026-08-24", True)])
def test_old_data_is_said_on_the_line_on_top(own: Path, built: str, told: bool) -> None:
    """Beyond ninety days the head says how old the data is, on every screen and beside the state."""
    change(own, "UPDATE dataset SET files = ?", values=(f'[{{"name": "d", "built": "{built}", "licence": ""}}]',))

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        for number in "123456":
            await press(pilot, number)
            assert ("! data 91 d old" in picture(app)[0]) == told
            assert "data 9" in picture(app)[0]
            assert "finished, 0 lost" in picture(app)[0]

    run(own, script)


def test_an_open_pane_follows_the_cursor(database: Path) -> None:
    """With the pane open, j shows the next alert in it."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "2", "enter", "j")
        row = app.query_one("#alerts-list", Listing).rows[1]
        assert row["why"] in " ".join(" ".join(picture(app)).split())

    run(database, script, LARGE)


def test_flows_are_loaded_page_by_page_and_let_go_again(own: Path) -> None:
    """Scrolling through a long table never holds more than a few pages, and shows every flow once, in order."""
    columns = "recording, first_ns, duration_ns, protocol, device, device_port, remote, remote_port, vlan, packets_out"
    columns += ", bytes_out, packets_in, bytes_in, flags_out, flags_in, end_reason, name, name_source, place"
    change(own, *(f"INSERT INTO flow(id, {columns}) SELECT id + {n}, {columns} FROM flow WHERE recording = 1 LIMIT 348"
                  for n in (1 << 40, 1 << 41)))  # fmt: skip

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        flows = app.query_one(Flows)
        await press(pilot, "6")
        seen = [row["id"] for row in flows.window.rows]
        assert len(seen) == PAGE_ROWS
        while not flows.window.oldest:
            await press(pilot, "G")
            assert len(flows.window.rows) <= PAGE_ROWS * WINDOW_PAGES
            seen += [row["id"] for row in flows.window.rows if row["id"] < seen[-1]]
        with closing(sqlite3.connect(own)) as db:
            assert seen == [row[0] for row in db.execute("SELECT id FROM flow ORDER BY id DESC")]
        while flows.listing.cursor:
            await press(pilot, "pageup")
        assert flows.window.rows[flows.listing.cursor]["id"] == seen[0]

    run(own, script)


def test_a_change_of_the_database_is_seen_at_the_next_look(own: Path) -> None:
    """What another process commits appears by itself, and the cursor stays on its row."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "2", "j", "j")
        listing = app.query_one("#alerts-list", Listing)
        before = listing.current()
        change(own, "UPDATE alert SET level = 'critical' WHERE id = (SELECT max(id) FROM alert)")
        app.look()
        await settle(pilot)
        assert listing.rows[0]["level"] == "critical"
        assert before is not None
        assert listing.current() == before

    run(own, script)


def test_nothing_is_drawn_where_nothing_changed(own: Path) -> None:
    """A look at an unchanged file reads no snapshot and leaves the picture alone."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        view = app.view
        assert app.feed.changed(view.ask, overview=True) is None
        app.look()
        await settle(pilot)
        assert app.view is view

    run(own, script)


def test_space_pauses_and_goes_on(own: Path) -> None:
    """While paused nothing moves; after that, what was missed is shown."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "space")
        assert "‖ paused" in picture(app)[0]
        change(own, "UPDATE recording SET state = 'running'")
        app.look()
        await settle(pilot)
        assert app.view.snapshot.recordings[0]["state"] == "finished"
        await press(pilot, "space")
        app.look()
        await settle(pilot)
        assert "stopped without ending" in picture(app)[0]

    run(own, script)


def test_a_database_that_goes_away_is_said_with_a_remedy(own: Path) -> None:
    """The last picture stays, and the head says what is wrong and what to do."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await asyncio.to_thread(own.unlink)
        app.look()
        await settle(pilot)
        top = " ".join(" ".join(picture(app)[:5]).split())
        assert "cannot read" in top
        assert "no such database" in top
        assert "egress-watch replay" in top
        assert any("✗ OUT" in line for line in picture(app))

    run(own, script)


def test_a_right_that_is_taken_away_is_said_with_a_remedy(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite says no more than that it cannot open the file; and once the right is back, all is as before."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(file.os, "access", lambda *_: False)
            change(own, "UPDATE alert SET level = 'low'")
            app.look()
            await settle(pilot)
            top = " ".join(" ".join(picture(app)[:5]).split())
            assert "Permission denied try: ask its owner for the right to it" in top
        app.look()
        await settle(pilot)
        assert "Permission denied" not in " ".join(picture(app))

    run(own, script)


@pytest.fixture
def hostile(own: Path) -> Path:
    """Return a database in which every text that came over the wire, and then some, is hostile."""
    texts = ("name.name", "remote.ip", "place.owner", "place.as_name", "place.provider", "place.region", "place.why",
             "place.country", "place.note", "place.evidence", "alert.why", "alert.title", "alert.owner",
             "alert.country", "alert.level", "recording.zone", "rule.title")  # fmt: skip
    for table, column in (text.split(".") for text in texts):
        unique = f"? || (SELECT max(id) FROM {table} AS t WHERE t.rowid = {table}.rowid)" if table != "rule" else "?"
        change(own, f"UPDATE OR IGNORE {table} SET {column} = {unique}", values=(HOSTILE,))
    change(own, "INSERT INTO damage VALUES (1, ?1, 1, ?1, 1)", values=(HOSTILE,))
    change(own, "UPDATE OR IGNORE device SET ip = ?1 || id, mac = ?1", values=(HOSTILE,))
    return own


@pytest.mark.parametrize("size", [SMALL, (180, 50)], ids=str)
def test_a_hostile_string_is_shown_and_obeyed_nowhere(hostile: Path, size: tuple[int, int]) -> None:
    """No control, escape or direction mark reaches a cell, markup is plain text, and no line grows too long."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> list[str]:
        lines = picture(app)
        for key in ALL_KEYS:
            await press(pilot, key)
            lines += picture(app)
        return lines

    lines = run(hostile, script, size)
    assert any("[bold red]x[/]" in line for line in lines)
    assert any(r"\x1b[31m" in line for line in lines)
    assert {category(char) for line in lines for char in line}.isdisjoint({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
    assert {sum(_cells(char) for char in line) for line in lines} == {size[0]}


def _cells(char: str) -> int:
    return 2 if char in "漢字" else 1


@pytest.mark.parametrize("size", [(20, 6), (99, 30), (250, 80)])
def test_any_size_shows_every_screen(database: Path, size: tuple[int, int]) -> None:
    """Every line is as wide as the terminal, and the verdicts stand at the same place in each."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        for key in ALL_KEYS:
            await press(pilot, key)
            assert {len(line) for line in picture(app)} == {size[0]}

    run(database, script, size)


def test_the_database_is_never_written(own: Path) -> None:
    """After every key the file holds the same bytes."""
    before = own.read_bytes()

    async def script(_: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "2", "enter", "3", "s", "4", "enter", "b", "w", "escape", "6", "G", "g", "space", "space")

    run(own, script)
    assert own.read_bytes() == before


def test_an_empty_database_says_how_it_fills(tmp_path: Path) -> None:
    """Nothing recorded yet is a state with words, on every screen."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        assert "egress-watch replay" in " ".join(picture(app))
        await press(pilot, "2")
        assert "No alerts" in " ".join(picture(app))
        await press(pilot, "enter", "j", "G", "3", "4", "5", "6", "enter", "w", "G", "pageup")
        assert "No flows" in " ".join(picture(app))

    run(empty(tmp_path), script)


def test_every_key_at_the_foot_is_in_the_help(database: Path) -> None:
    """The help lists all keys that work on the screen in front, also those the foot has no room for."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "2")
        foot = picture(app)[-1]
        await press(pilot, "question_mark")
        shown = " ".join(" ".join(picture(app)).split())
        for word in ("Open", "Move", "Sort", "Ack", "Filter", "Help", "Quit"):
            assert word in foot
            assert word in shown
        assert "Pause" in shown
        assert "answer to a law outside" in shown

    run(database, script, LARGE)


def unreadable(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield paths that are no database, each with a word of the message."""
    yield folder / "absent.db", "no such database"
    (folder / "text.db").write_text("this is no database, it is a line of text\n" * 50, encoding="utf-8")
    yield folder / "text.db", "not a database"
    (folder / "zero.db").write_bytes(b"")
    yield folder / "zero.db", "empty"
    change(folder / "other.db", "CREATE TABLE other(x)")
    yield folder / "other.db", "something else"


def test_what_is_no_database_is_said_before_the_screen_opens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends with words and a remedy, and never opens the screen."""
    for path, words in unreadable(tmp_path):
        assert main(["tui", str(path)]) in {1, 2}
        said = capsys.readouterr().err
        assert words in said
        assert "try:" in said


def test_without_a_terminal_the_command_says_so(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe there is nothing to draw on, and another command is named."""
    assert main(["tui", str(database)]) == 2
    assert "needs a terminal" in capsys.readouterr().err


def test_a_pane_that_is_closed_takes_no_room(database: Path) -> None:
    """Before anything is opened the list has the whole screen."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "2")
        assert app.query_one("#alerts Detail", Detail).region.height == 0
        assert app.query_one("#alerts-list", Listing).size.height == 19

    run(database, script)
