"""Flows that are hard to find: the first are shown at once, the rest as the search comes to them, and all stay."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database
from textual.pilot import Pilot
from textual.widgets import Input
from tui_run import LARGE, city, picture, press, run, settle

from egress_watch.store import hours, screens, seek, sums
from egress_watch.store.bulk import attach
from egress_watch_tui.app import EgressWatch
from egress_watch_tui.feed import Row
from egress_watch_tui.listing import Listing
from egress_watch_tui.screens.flows import Flows
from egress_watch_tui.window import PAGE_ROWS

TIMES, APART_ID = 12, 1 << 40
APART_NS = (APART_ID >> 12) * 10**6
FEW = "device:10.20.110.14 verdict:own"
COPIED = """recording, duration_ns, protocol, device, device_port, remote, remote_port, vlan, packets_out, bytes_out,
  packets_in, bytes_in, flags_out, flags_in, end_reason, name, name_source, place"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database of the city's flows, again every three days, with sums."""
    path = city(tmp_path_factory.mktemp("search"))
    with closing(sqlite3.connect(path)) as db, db:
        for n in range(1, TIMES):
            db.execute(f"""INSERT INTO flow(id, first_ns, {COPIED}) SELECT id + {n * APART_ID},
              first_ns + {n * APART_NS}, {COPIED} FROM flow WHERE id < {APART_ID} + (SELECT min(id) FROM flow)""")
        db.execute(f"UPDATE recording SET last_ns = last_ns + {(TIMES - 1) * APART_NS}")
        attach(Database(db))
        hours.again(Database(db), 1)
        sums.add(Database(db))
    return path


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every search stop as soon as it can."""
    for module, name in ((screens, "FIRST_S"), (screens, "SEARCH_S"), (seek, "SEARCH_S")):
        monkeypatch.setattr(module, name, -1.0)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many flows were shown, time after time."""
    seen: list[int] = []
    show = Listing.show

    def noted(listing: Listing, rows: Sequence[Row], *, top: bool = False) -> None:
        if listing.id == "flows-list":
            seen.append(len(rows))
        show(listing, rows, top=top)

    monkeypatch.setattr(Listing, "show", noted)
    return seen


def ids(path: Path, where: str = "1") -> list[int]:
    """Return the flows of the database, the newest first."""
    query = f"SELECT id FROM flows WHERE {where} ORDER BY id DESC"
    with closing(sqlite3.connect(path)) as db:
        return [row[0] for row in db.execute(query)]


async def ask(app: EgressWatch, pilot: Pilot[None], line: str) -> Listing:
    """Ask for flows of a filter and return their list, once it is at rest."""
    await press(pilot, "6", "slash")
    app.query_one(Input).value = line
    await press(pilot, "enter")
    return app.query_one("#flows-list", Listing)


def test_the_first_flows_are_shown_before_the_last_are_found(path: Path, sizes: list[int]) -> None:
    """The list grows by itself until it has a page, or there are no more; a look at new flows takes none away."""
    found = ids(path, "device_ip = '10.20.110.14' AND verdict = 'OWN'")
    assert TIMES < len(found) < PAGE_ROWS

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        listing = await ask(app, pilot, FEW)
        assert [row["id"] for row in listing.rows] == found
        grown = sizes[sizes.index(min(sizes)) :]
        assert grown == sorted(grown)
        assert len(set(grown)) >= TIMES
        await press(pilot, "j", "j", "j")
        here = listing.current()
        sizes.clear()
        app.feed.forget()
        app.look()
        await settle(pilot)
        assert set(sizes) == {len(found)}
        assert [row["id"] for row in listing.rows] == found
        assert listing.current() == here

    run(path, script, LARGE)


def test_a_search_that_goes_on_is_said_below_what_was_found(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes the first flows for all of them."""
    go_on = Flows._go_on
    monkeypatch.setattr(Flows, "_go_on", lambda flows, *found: None if flows.window.rows else go_on(flows, *found))

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        listing = await ask(app, pilot, FEW)
        assert listing.rows
        assert any("Searching further back" in line for line in picture(app))

    run(path, script, LARGE)


def test_what_is_nowhere_is_said_to_be_nowhere(path: Path) -> None:
    """A search that finds nothing ends, however often it stops."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        listing = await ask(app, pilot, "port:9999")
        assert not listing.rows
        assert any("No flows" in line for line in picture(app))

    run(path, script, LARGE)


def test_up_and_down_again_leaves_out_no_flow(path: Path) -> None:
    """Pages that were let go below come back where they were."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> None:
        flows, listing = app.query_one(Flows), app.query_one("#flows-list", Listing)
        table = ids(path)
        await press(pilot, "6")
        for keys in (("G",) * 6, ("pageup",) * 14, ("G",) * 8):
            for key in keys:
                await press(pilot, key)
                shown = [row["id"] for row in listing.rows]
                assert shown == table[table.index(shown[0]) :][: len(shown)]
        assert not flows.window.newest

    run(path, script, LARGE)
