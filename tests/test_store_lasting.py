"""A recording that lasts: limits hold while it records; a full disk and a clock that jumps do it no harm."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from judging import START_S, judged, tally
from running import STRICT, sound
from test_store_retention import aged, asked

from egress_watch.model import Alert, Health, Tally
from egress_watch.store import Reader, Store
from egress_watch.store.integrity import BROKEN, SOUND, Checking
from egress_watch.store.lasting import Lasting
from egress_watch.store.retention import DAY_NS, Limits
from egress_watch.store.steady import STEP_NS, Steady

NOTHING = {"zone": "eea", "as_of": "", "data": [], "rules": [], "version": "0"}
EACH = 5_000
SECOND_NS = 10**9


class Clocks:
    """A clock that is set, and one that cannot be."""

    def __init__(self) -> None:
        self.told, self.even = 10**18, 0

    def on(self, ns: int, step: int = 0) -> None:
        """Let time go on, and the first clock step."""
        self.told, self.even = self.told + ns + step, self.even + ns


def test_a_clock_that_goes_evenly_is_followed() -> None:
    """Leap seconds and small corrections are followed; nothing is told of them."""
    clocks = Clocks()
    steady = Steady(lambda: clocks.told, lambda: clocks.even)
    for step in (SECOND_NS, -SECOND_NS, STEP_NS // 2, -STEP_NS // 2):
        clocks.on(DAY_NS, step)
        assert (steady.now_ns(), steady.off_s) == (clocks.told, 0)


@pytest.mark.parametrize("step", [DAY_NS, -DAY_NS, 20_000 * DAY_NS])
def test_a_clock_that_jumps_is_not(step: int) -> None:
    """A jump by a day, either way, is left out until the clock comes back."""
    clocks = Clocks()
    steady = Steady(lambda: clocks.told, lambda: clocks.even)
    clocks.on(SECOND_NS, step)
    assert (steady.now_ns(), steady.off_s) == (10**18 + SECOND_NS, step // SECOND_NS)
    clocks.on(SECOND_NS)
    assert steady.now_ns() == 10**18 + 2 * SECOND_NS
    clocks.on(SECOND_NS, -step)
    assert (steady.now_ns(), steady.off_s) == (clocks.told, 0)


def lasting(store: Store, **limits: float) -> Lasting:
    """Begin a recording that keeps within limits."""
    recording = store.record(inputs={"a": "1"}, limits=Limits(**limits), **NOTHING)
    assert isinstance(recording, Lasting)
    return recording


def tidied(recording: Lasting, rounds: int = 50) -> list[str]:
    """Tidy as often as a minute would, without waiting; return what was told."""
    told = []
    for _ in range(rounds):
        recording._next_s = recording._told_s = 0.0
        told += [one.what for one in recording.tidy()]
    return told


def test_old_flows_go_while_it_records(tmp_path: Path) -> None:
    """Between batches what is old goes, slice by slice, and what is new is stored all the while."""
    path = tmp_path / "a.db"
    with Store(str(path)) as store:
        recording = lasting(store, flow_days=30)
        recording.write(judged(EACH, START_S), tally(EACH))
        (old,) = asked(path, "SELECT max(id) FROM flow")
        aged(path, 40, old[0])
        assert recording.write(judged(EACH, START_S + 3600), tally(2 * EACH))
        told = tidied(recording)
        assert asked(path, f"SELECT count(*), min(id) > {old[0]} FROM flow") == [(EACH, 1)]
        assert any("taken out" in what and "(days)" in what for what in told)
        recording.finish(tally(2 * EACH), {"a": "1"})
    assert sound(path)


def test_a_file_keeps_its_size_while_it_records(tmp_path: Path) -> None:
    """With a limit on bytes a recording of many times that size stays near it, its log included."""
    path = tmp_path / "a.db"
    with Store(str(path)) as store:
        recording = lasting(store, most_bytes=4_000_000)
        recording.spare_bytes = 1_000_000
        for hour in range(20):
            assert recording.write(judged(EACH, START_S + hour * 60), tally((hour + 1) * EACH))
            tidied(recording, 5)
        held = store._db.conn.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        assert held.fetchone()[0] < 8_000_000
        recording.finish(tally(20 * EACH), {"a": "1"})
    assert asked(path, "SELECT sum(flows) FROM hour") == [(20 * EACH,)]


def test_a_clock_that_jumps_takes_nothing_out_and_is_told_once(tmp_path: Path) -> None:
    """A day's limit and a clock that jumps by a year: every flow stays, and the jump is told one time."""
    path, clocks = tmp_path / "a.db", Clocks()
    with Store(str(path)) as store:
        recording = lasting(store, flow_days=1, hour_days=1)
        recording.clock = Steady(lambda: clocks.told, lambda: clocks.even)
        recording.write(judged(EACH, START_S), tally(EACH))
        clocks.on(SECOND_NS, 365 * DAY_NS)
        told = tidied(recording)
        recording.write(judged(EACH, START_S + 60), tally(2 * EACH))
        told += tidied(recording)
        assert [what for what in told if "clock" in what] == told != []
        assert len(told) == 1
        assert asked(path, "SELECT count(*) FROM flow") == [(2 * EACH,)]


needs_mount = pytest.mark.skipif(
    not STRICT and (os.geteuid() != 0 or not shutil.which("mount")), reason="a small disk needs root"
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of 24 MB."""
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(where)], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room there is."""
    other = disk / "other"
    with other.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return other


@needs_mount
def test_a_disk_that_fills_up_costs_the_oldest_flows_not_the_recording(disk: Path) -> None:
    """A recording many times larger than its disk goes on to its end: the oldest flows made room for the newest."""
    path, counts = disk / "a.db", Tally()
    with Store(str(path)) as store:
        recording = lasting(store, least_free_bytes=12_000_000)
        recording.spare_bytes = 1_000_000
        store._db.conn.execute("PRAGMA wal_autocheckpoint = 500")
        for minute in range(60):
            counts.flows += EACH
            recording.write(judged(EACH, START_S + minute * 60), counts)
            tidied(recording, 3)
        recording.finish(counts, {"a": "1"})
    assert counts.flows + counts.unstored == 60 * EACH
    assert counts.flows > 50 * EACH
    newest = asked(path, "SELECT max(first_ns) FROM flow")[0][0]
    assert newest >= (START_S + 59 * 60) * SECOND_NS
    assert sound(path)


@needs_mount
def test_what_finds_no_room_is_counted_and_what_comes_later_is_stored(disk: Path) -> None:
    """While others hold all of the disk flows are counted, minutes wait; with room again both are stored, once."""
    path, counts = disk / "a.db", Tally()
    with Store(str(path)) as store:
        recording = lasting(store)
        store._db.conn.execute("PRAGMA wal_autocheckpoint = 1000000")
        counts.flows += EACH
        assert recording.write(judged(EACH, START_S), counts)
        other = fill(disk)
        for minute in range(1, 6):
            counts.flows += EACH
            assert recording.write(judged(EACH, START_S + minute * 60), counts) is None
            recording.beat(counts, [Health(minute, "mon0", 1, 1, 0, 0, 0, 0, 0)], recording.tidy())
        assert (counts.flows, counts.unstored) == (EACH, 5 * EACH)
        other.unlink()
        recording._room_s = 0.0
        recording.beat(counts, [], recording.tidy())
        counts.flows += EACH
        assert recording.write(judged(EACH, START_S + 3600), counts)
        recording.beat(counts, [], recording.tidy())
        recording.finish(counts, {"a": "1"})
    assert asked(path, "SELECT count(*) FROM flow") == [(2 * EACH,)]
    assert asked(path, "SELECT count(*), sum(frames) FROM health") == [(5, 5)]
    assert asked(path, "SELECT flows, unstored FROM recording") == [(2 * EACH, 5 * EACH)]
    told = [what for (what,) in asked(path, "SELECT what FROM happening")]
    assert [what for what in told if "not stored until" in what] != []
    assert [what for what in told if f"{5 * EACH:,} flows were not stored" in what] != []
    assert sound(path)


def waited(checking: Checking) -> str:
    """Return what came of a check."""
    end_s = time.monotonic() + 20
    while not (said := checking.said()):
        assert time.monotonic() < end_s
        time.sleep(0.01)
    return said


def test_damage_is_found_while_it_records(tmp_path: Path) -> None:
    """A sound database is said to be; one with a page overwritten is not, and the check raises nothing."""
    path = tmp_path / "a.db"
    with Store(str(path)) as store:
        recording = lasting(store)
        recording.write(judged(EACH, START_S), tally(EACH))
        assert waited(Checking(str(path))) == SOUND
        recording.finish(tally(EACH), {"a": "1"})
    with closing(sqlite3.connect(path)) as db:
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'remote'").fetchone()[0]
        size = db.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * 64)
    said = waited(Checking(str(path)))
    assert said.startswith(BROKEN)
    assert said != SOUND


LOOK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute("SELECT count(*) FROM flow").fetchone()[0])
db.close()
"""


def test_a_look_by_the_same_process_does_not_cost_the_log(tmp_path: Path) -> None:
    """While a recorder checks and reads its own file, another process that opens and closes it takes no log away."""
    path, log = tmp_path / "a.db", tmp_path / "a.db-wal"
    with Store(str(path)) as store:
        recording = lasting(store)
        for turn in range(1, 4):
            recording.write(judged(EACH, START_S + turn * 60), tally(turn * EACH))
            with Reader(str(path)):
                assert waited(Checking(str(path))) == SOUND
            inode = log.stat().st_ino
            done = subprocess.run([sys.executable, "-c", LOOK, str(path)], capture_output=True, text=True, check=True)
            assert (int(done.stdout), log.stat().st_ino) == (turn * EACH, inode)
        recording.finish(tally(3 * EACH), {"a": "1"})
    assert sound(path)


def test_alerts_of_recordings_that_ended_are_closed_by_the_next_one(tmp_path: Path) -> None:
    """What was silent for a day by the clock is closed, as of a day after its last hit; what is younger stays open."""
    path, now_ns = tmp_path / "a.db", time.time_ns()
    with Store(str(path)) as store:
        for number, last_ns in enumerate((now_ns - 3 * DAY_NS, now_ns - DAY_NS // 2)):
            before = store.record(inputs={f"{number}": "x"}, **NOTHING)
            batch = before.write(judged(1, last_ns / SECOND_NS), tally(1))
            assert batch
            hit = {"first_ns": last_ns, "last_ns": last_ns, "first_flow": batch.first, "last_flow": batch.last}
            before.alert([Alert("r", "A rule", "high", 1, "10.0.0.1", "203.0.113.1", "o", "CN", "OUT", hits=1,
                                bytes_out=1, bytes_in=1, why="so", network="", **hit)], batch)  # fmt: skip
            before.finish(Tally(last_ns=last_ns), {})
        lasting(store).tidy()
    old, young = asked(path, "SELECT closed_ns FROM alert ORDER BY last_ns")
    assert (old, young) == ((now_ns - 3 * DAY_NS + DAY_NS,), (None,))
    assert asked(path, "SELECT kind, cause, time_ns FROM alert_event WHERE kind = 'close'") == [
        ("close", "silence", now_ns - 2 * DAY_NS)
    ]
