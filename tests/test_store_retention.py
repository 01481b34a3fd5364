"""Retention: what is old goes, its hours stay, the room comes back, and a replay of an old capture is new."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

import pytest
from judging import START_S, judged, tally
from running import run, sound

from egress_watch.store import Store
from egress_watch.store.hours import HOUR_NS
from egress_watch.store.retained import look, make_room
from egress_watch.store.retention import DAY_NS, Limits, retain

NOTHING = {"data": [], "rules": [], "version": "0"}
EACH = 5_000


def made(path: Path, batches: int = 4, each: int = EACH) -> Path:
    """Return a database of so many batches of flows, each an hour of packets after the one before."""
    with Store(str(path)) as store:
        recording = store.record(zone="eea", as_of="", inputs={"a": "1"}, **NOTHING)
        for hour in range(batches):
            recording.write(judged(each, START_S + hour * 3600), tally(each))
        recording.finish(tally(batches * each), {"a": "1"})
    return path


def asked(path: Path, query: str) -> list[tuple]:
    """Return what a query finds."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def aged(path: Path, days: float, up_to: int | None = None) -> None:
    """Make the flows up to one, or all of them, look as if they were stored so many days ago."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        newest = db.execute("SELECT max(id) FROM flow").fetchone()[0] if up_to is None else up_to
        db.execute("DELETE FROM mark WHERE flow <= ?", (newest,))
        db.execute("INSERT INTO mark VALUES (?, ?)", (newest, time.time_ns() - int(days * DAY_NS)))
        db.commit()


def test_a_replay_of_an_old_capture_is_new_today(tmp_path: Path) -> None:
    """Flows whose packets are years old but which were stored just now stay."""
    path = made(tmp_path / "a.db")
    taken, _ = make_room(str(path), Limits(flow_days=1))
    assert taken.flows == 0
    assert asked(path, "SELECT count(*) FROM flow") == [(4 * EACH,)]


def test_flows_stored_long_ago_go_and_their_hours_stay(tmp_path: Path) -> None:
    """What was stored before the limit goes, the newer stays, and the hours still say what it all summed up to."""
    path = made(tmp_path / "a.db")
    before = asked(path, "SELECT sum(flows), sum(bytes_out), sum(bytes_in) FROM hour")
    (half,) = asked(path, f"SELECT id FROM flow ORDER BY id LIMIT 1 OFFSET {2 * EACH - 1}")
    aged(path, 40, half[0])
    foreseen, _ = look(str(path), Limits(flow_days=30))
    taken, _ = make_room(str(path), Limits(flow_days=30))
    assert foreseen.flows == taken.flows == 2 * EACH
    assert asked(path, f"SELECT count(*), min(id) > {half[0]} FROM flow") == [(2 * EACH, 1)]
    assert asked(path, "SELECT sum(flows), sum(bytes_out), sum(bytes_in) FROM hour") == before
    assert sound(path)


def test_hours_go_only_behind_their_flows(tmp_path: Path) -> None:
    """Sums of hours go by their limit once the flows are gone, and not while a flow of that hour is there."""
    path = made(tmp_path / "a.db")
    assert make_room(str(path), Limits(hour_days=1))[0].hours == 0
    aged(path, 40)
    taken, _ = make_room(str(path), Limits(flow_days=30, hour_days=1))
    assert (taken.flows, taken.hours > 0) == (4 * EACH, True)
    assert asked(path, "SELECT count(*) FROM hour") == [(0,)]


def test_the_file_gives_its_room_back(tmp_path: Path) -> None:
    """A file that lost nearly all its flows is small again, and remotes nobody speaks of are gone."""
    path = made(tmp_path / "a.db", batches=12)
    before = path.stat().st_size
    taken, held = make_room(str(path), Limits(most_bytes=1_000_000))
    assert taken.because == ("bytes",)
    assert held.used_bytes <= 1_000_000
    assert path.stat().st_size == held.used_bytes + held.spare_bytes < before / 2
    assert asked(
        path, "SELECT count(*) FROM remote WHERE id NOT IN (SELECT remote FROM flow UNION SELECT remote FROM sum_pair)"
    ) == [(0,)]
    assert sound(path)


def test_a_disk_nearly_full_lets_the_oldest_go_and_the_file_grow_no_more(tmp_path: Path) -> None:
    """While the disk has less room than asked for, flows go until the file has room of its own for new ones."""
    path = made(tmp_path / "a.db", batches=12)
    with Store(str(path)) as store:
        limits = Limits(least_free_bytes=1 << 62)
        steps = list(retain(store._db, str(path), limits, time.time_ns(), spare_bytes=1 << 20))
        assert {because for step in steps for because in step.because} == {"disk"}
        size = store._db.conn.execute("PRAGMA page_count").fetchone()
        left = store._db.conn.execute("SELECT count(*) FROM flow").fetchone()[0]
        assert 0 < left < 12 * EACH
        recording = store.record(zone="eea", as_of="", inputs={"b": "2"}, **NOTHING)
        recording.write(judged(EACH, START_S + 10**6), tally(EACH))
        assert store._db.conn.execute("PRAGMA page_count").fetchone() == size


def test_open_alerts_stay_and_acts_stay(tmp_path: Path) -> None:
    """A closed alert goes by its limit with its events; an open one does not, and what people did is never lost."""
    path = made(tmp_path / "a.db")
    alert = (
        "INSERT INTO alert SELECT {}, 1, 1, 'r', 't', 'high', 1, '', '', '', 'OUT', 0, 0, 1, 0, 0, 1, 1, '', '', "
        "'episode', 0, 0, 0, {}"
    )
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(alert.format(1, 5))
        db.execute(alert.format(2, "NULL"))
        db.executemany("INSERT INTO alert_event VALUES (?, ?, 'create', 'hit', 0, 'high', 1, 0, 0)", [(1, 1), (2, 2)])
        db.execute("INSERT INTO act VALUES (1, 'ack', 1, NULL, 'me', 0, '', '')")
        db.commit()
    aged(path, 40)
    taken, _ = make_room(str(path), Limits(alert_days=30))
    assert taken.alerts == 1
    assert asked(path, "SELECT id FROM alert") == [(2,)]
    assert asked(path, "SELECT alert FROM alert_event") == [(2,)]
    assert asked(path, "SELECT count(*) FROM act") == [(1,)]


@pytest.mark.parametrize("clock", [0, HOUR_NS, 2**62])
def test_no_clock_does_harm_to_what_was_stored_under_it(tmp_path: Path, clock: int) -> None:
    """Whatever the clock said when flows were stored, they stay for as long as it says the same."""
    path = made(tmp_path / "a.db")
    with Store(str(path)) as store:
        store._db.conn.execute("UPDATE mark SET written_ns = ?", (clock,))
        assert list(retain(store._db, str(path), Limits(flow_days=1), clock + HOUR_NS)) == []


def test_retain_says_what_it_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command counts what would go, takes it, and refuses what is no number of days."""
    path = made(tmp_path / "a.db")
    aged(path, 40)
    code, out, _ = run(capsys, "retain", path, "--dry-run")
    assert (code, f"would go: {4 * EACH:,} flows (days)" in out) == (0, True)
    code, out, _ = run(capsys, "retain", path, "--flow-days", "39", "--json")
    assert (code, f'"flows": {4 * EACH}' in out) == (0, True)
    assert "taken out: 0 flows, 0 hours" in run(capsys, "retain", path)[1]
    assert run(capsys, "retain", tmp_path / "none.db")[0] == 2
    assert run(capsys, "retain", path, "--flow-days", "-1")[0] == 2
