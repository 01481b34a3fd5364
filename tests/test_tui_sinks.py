"""The receivers in the terminal UI: what each promises, how it stands, and a trouble that is always in view."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from unicodedata import category

import pytest
from textual.pilot import Pilot
from tui_run import SMALL, city, picture, press, run

from egress_watch.model import PROMISES
from egress_watch.sinks.kinds import SINKS
from egress_watch.store.recording import writer
from egress_watch_tui.app import EgressWatch
from egress_watch_tui.sinks import line, trouble

HOSTILE = "[bold red]x[/]\x1b[31m\u202e\r\n" + "漢字" * 90
ROW = "INSERT INTO sink(name, target, promise, records, forwarder, alerts_done, flows_done, failures, error) VALUES "


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the city's database with one sink that is up, one that is down, and one that nobody serves."""
    path, mine = city(tmp_path), writer(os.getpid())
    with closing(sqlite3.connect(path)) as db, db:
        last = db.execute("SELECT max(id) FROM alert_event").fetchone()[0]
        values = ("log", "file:/tmp/x", "written", "alerts", mine, last, 0, 0, "")
        db.execute(f"{ROW} (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        values = ("siem", "relp://siem:2514", "receiver-acknowledged", "alerts flows", mine, 0, 0, 3, HOSTILE)
        db.execute(f"{ROW} (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        db.execute(f"{ROW} ('old', 'stdout:', 'best effort', 'flows', '', 0, 0, 0, '')")
        db.execute("UPDATE sink SET refused = 7, dropped_flows = 9 WHERE name = 'siem'")
    return path


@pytest.mark.parametrize("size", [SMALL, (160, 48)])
def test_a_sink_in_trouble_is_in_view_on_every_screen(path: Path, size: tuple[int, int]) -> None:
    """The line on top names it; the first screen has all sinks, those in trouble first."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        assert any(" sinks" in row and "✗ siem down" in row for row in picture(app))
        for number in "123456":
            await press(pilot, number)
            assert "✗ sink old stopped, siem down" in picture(app)[0]

    run(path, script, size)


def test_the_key_shows_what_each_promises_and_how_it_stands(path: Path) -> None:
    """The overlay has the promise in words, what waits, is refused and dropped, the trouble, and obeys none of it."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> list[str]:
        await press(pilot, "R")
        lines = picture(app)
        await press(pilot, "escape")
        assert not any("promise" in row for row in picture(app))
        return lines

    lines = run(path, script, (120, 60))
    assert {category(char) for row in lines for char in row}.isdisjoint({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
    inside = [row.split("┃")[1] for row in lines if row.count("┃") == 2]
    shown = " ".join(" ".join(inside).split())
    for word in ("written", "receiver-acknowledged", "best effort"):
        assert f"{word}: {PROMISES[word]}" in shown
    for words in ("✓ log: caught up", "✗ siem: down", "! old: stopped", "23 alerts, 348 flows", "7 the receiver will",
                  "0 alerts, 9 flows", "[bold red]x[/]", "(3 times in a row", "nobody forwards"):  # fmt: skip
        assert words in shown


def test_without_sinks_nothing_speaks_of_them(tmp_path: Path) -> None:
    """Who sends nothing sees no line and no key for it."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        await press(pilot, "R")
        assert app.screen is app.screen_stack[0]
        assert not any(" sinks" in row for row in picture(app))

    run(city(tmp_path), script)


def test_every_promise_of_a_sink_has_its_words() -> None:
    """What the database says of a sink is known to the screen."""
    assert {known.promise.word for known in SINKS} == PROMISES.keys()


def test_many_in_trouble_stay_one_line() -> None:
    """Two are named, the others counted; one that stopped with nothing to send is in none."""
    row = {"state": "down", "alerts_waiting": 1, "flows_waiting": None, "error": "no"}
    rows = [{**row, "name": name} for name in "abcd"] + [{**row, "name": "e", "state": "stopped", "alerts_waiting": 0}]
    assert trouble(rows) == "✗ sink a down, b down and 2 more"
    assert trouble(rows[4:]) == ""
    assert line(rows[3:]) == "✗ d down, 1 wait: no; ! e stopped"
