"""Readers ahead of the loop change no result, are bounded, and never outlive it."""

from __future__ import annotations

import gzip
import json
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from build import frames
from build_capture import Frame, pcap
from hypothesis import given, settings
from hypothesis import strategies as st
from running import CITY, command, content, environment, many_cities, run, sound
from test_laws import any_frames

from egress_watch.cli import ahead, reader
from egress_watch.cli.slots import letter, pack, unpack
from egress_watch.decode import MIRRORS, decode
from egress_watch.model import PAD_BYTES, Frames, Packets
from egress_watch.sources import open_inputs
from egress_watch.sources.narrowing import Narrowing


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the city's hour as a rotated capture, one piece of it packed, one cut, and beside it an empty file."""
    folder = tmp_path_factory.mktemp("pieces")
    found = [
        Frame(int(time_ns), batch.data[at : at + caught].tobytes(), int(wire))
        for batch in open_inputs([str(CITY)]).frames()
        for time_ns, at, caught, wire in zip(batch.time_ns, batch.start, batch.caught, batch.wire, strict=True)
    ]
    for number, at in enumerate(range(0, len(found), 600)):
        (folder / f"{number}.pcap").write_bytes(pcap(found[at : at + 600]))
    (folder / "1.pcap").write_bytes(gzip.compress((folder / "1.pcap").read_bytes()))
    (folder / "3.pcap").write_bytes((folder / "3.pcap").read_bytes()[:-9])
    (folder / "empty.pcap").write_bytes(pcap([]))
    return sorted(folder.iterdir())


def replayed(capsys, db: Path, jobs: int, *arguments) -> tuple[dict, dict]:
    """Return what the command says and what its database holds."""
    code, out, err = run(capsys, "replay", *arguments, "--db", db, "--jobs", jobs, "--json")
    assert code == 0, err
    said = json.loads(out)
    del said["db"]
    return said, content(db)


@pytest.mark.parametrize("jobs", [0, 2, 3, 40])
def test_the_result_is_that_of_one_process(capsys, tmp_path, pieces, jobs):
    """Flows across files, names, verdicts, alerts, ids, damage and counters are the same, however many readers."""
    one = replayed(capsys, tmp_path / "one.db", 1, *pieces)
    assert one[0]["damage"]
    assert len(one[1]["flows"]) > 300
    assert replayed(capsys, tmp_path / "more.db", jobs, *pieces) == one


def test_a_narrowed_result_is_that_of_one_process(capsys, tmp_path, pieces):
    """Frames are left out by the readers, and counted as they are without them."""
    narrow = (*pieces, "--filter", "port 443 or port 53", "--from", "2026-11-02T08:10")
    assert replayed(capsys, tmp_path / "more.db", 2, *narrow) == replayed(capsys, tmp_path / "one.db", 1, *narrow)


def test_nothing_is_kept_of_a_slot(capsys, tmp_path, pieces, monkeypatch):
    """A slot that was handed back may be overwritten at once: nobody looks into it any more."""
    one = replayed(capsys, tmp_path / "one.db", 1, *pieces)
    release = reader.Reader.release

    def spoil(one: reader.Reader, slot: int) -> None:
        one.slots[slot] = 0xFF
        release(one, slot)

    monkeypatch.setattr(reader.Reader, "release", spoil)
    assert replayed(capsys, tmp_path / "more.db", 2, *pieces) == one


@pytest.mark.parametrize("slot_bytes", [4096, 1 << 16])
def test_a_batch_too_large_for_a_slot_comes_through_the_pipe(capsys, tmp_path, pieces, monkeypatch, slot_bytes):
    """The size of a slot changes no result."""
    one = replayed(capsys, tmp_path / "one.db", 1, *pieces)
    monkeypatch.setattr(ahead, "SLOT_BYTES", slot_bytes)
    assert replayed(capsys, tmp_path / "more.db", 2, *pieces) == one


def test_progress_counts_the_same_bytes(pieces):
    """``read_bytes`` runs over all files as it does in one process."""
    alone, others = (open_inputs(list(map(str, pieces))) for _ in range(2))
    expected = [batch.read_bytes for batch in alone.frames()]
    with ahead.ahead(others, ahead.Way(Narrowing(), MIRRORS), 2) as readers:
        assert [batch.read_bytes for batch in readers.frames()] == expected


def test_files_that_give_nothing_are_told_alike(capsys, tmp_path, pieces):
    """What is no capture is named with its reason, and the exit code says so."""
    (tmp_path / "notes.pcap").write_text("no capture at all")
    told = []
    for jobs in (1, 2):
        code, _, err = run(capsys, "replay", tmp_path / "notes.pcap", pieces[0], "--db", tmp_path / f"{jobs}.db",
                           "--jobs", jobs, "--json")  # fmt: skip
        told.append((code, err))
    assert told[0] == told[1]
    assert told[0][0] == 1


def test_pipes_are_read_in_the_one_process(tmp_path):
    """Standard input with --jobs gives what it gives without."""
    for jobs in ("1", "2"):
        arguments = command("replay", "-", "--db", tmp_path / f"{jobs}.db", "--jobs", jobs)
        with CITY.open("rb") as stdin:
            subprocess.run(arguments, stdin=stdin, env=environment(), check=True, capture_output=True, timeout=60)
    assert content(tmp_path / "1.db") == content(tmp_path / "2.db")


@pytest.mark.parametrize(
    ("end", "said"),
    [(lambda *_: os.kill(os.getpid(), signal.SIGKILL), "was ended by SIGKILL"), (lambda *_: os._exit(3), "with code 3"),
     (lambda *_: 1 // 0, "failed: ZeroDivisionError")],
)  # fmt: skip
def test_a_reader_that_ends_is_a_clear_error(capsys, tmp_path, pieces, monkeypatch, end, said):
    """A reader that is killed or fails ends the run with the file, the reason and a remedy, never with a hang."""
    monkeypatch.setattr(ahead, "decode", end)
    code, _, err = run(capsys, "replay", *pieces, "--db", tmp_path / "a.db", "--jobs", 3)
    assert code == 1
    assert f"{pieces[-1]}: the process that reads it " in err  # the one without frames comes first
    assert said in err
    assert "--jobs 1" in err
    assert not _children(os.getpid())
    assert sound(tmp_path / "a.db")


def test_a_wrong_number_of_processes_is_a_mistake_of_usage(capsys, tmp_path):
    """A word, a sign or a very long number is refused before anything is done."""
    for wrong in ("two", "-1", "99999"):
        assert run(capsys, "replay", CITY, "--db", tmp_path / "a.db", f"--jobs={wrong}")[0] == 2
    assert list(tmp_path.iterdir()) == []


def _children(pid: int) -> list[int]:
    """Return the processes that a process has started and that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = status.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state not in "ZX":
            found.append(int(status.parent.name))
    return found


def _started(arguments: list[str], **options) -> tuple[subprocess.Popen, list[int]]:
    """Start the program and return it once its reader runs."""
    process = subprocess.Popen(arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    until = time.monotonic() + 30
    while not (readers := _children(process.pid)) and time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)
    assert readers, process.communicate()
    return process, readers


def _gone(pids: list[int]) -> bool:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if not any(_alive(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def _alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


@pytest.fixture(scope="module")
def long_capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a capture that takes a while."""
    return many_cities(tmp_path_factory.mktemp("long") / "long.pcap", 60)


def test_ctrl_c_ends_loop_and_readers_in_good_order(tmp_path, long_capture):
    """The key reaches all; the loop ends its batch, keeps what it committed, says how to go on; no reader is left."""
    db = tmp_path / "a.db"
    process, readers = _started(command("replay", long_capture, "--db", db, "--jobs", "2"), process_group=0)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert b"stopping after this batch" in err
    assert b"Stopped half-way; the same command records these files anew" in out
    assert _gone(readers)
    assert sound(db)
    with closing(sqlite3.connect(db)) as connection:
        assert connection.execute("SELECT state FROM recording").fetchall() == [("interrupted",)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_reader_outlives_the_loop(tmp_path, long_capture, number):
    """However the loop ends, its readers end with it."""
    process, readers = _started(command("replay", long_capture, "--db", tmp_path / "a.db", "--jobs", "2"))
    process.send_signal(number)
    process.communicate(timeout=60)
    assert _gone(readers)
    assert sound(tmp_path / "a.db")


@given(any_frames, st.binary(max_size=20))
@settings(deadline=None)
def test_a_slot_gives_back_the_batch(wires, between):
    """Whatever frames there are, columns, payloads and counts come out of a slot as they went in."""
    batch = frames(*wires, between=between)
    found = decode(batch)
    plan = letter(batch, found)
    slot = np.full(plan.size_bytes, 0xAA, np.uint8)
    pack(batch, found, plan, slot)
    again, packets = unpack(plan, slot)
    for one, other in ((batch, again), (found, packets)):
        for field in fields(one):
            if field.name not in ("data", "start", "payload", "beacons"):
                assert np.array_equal(getattr(one, field.name), getattr(other, field.name)), field.name
    assert _bytes(again, again.start, again.caught) == _bytes(batch, batch.start, batch.caught)
    assert _bytes(packets, packets.payload, packets.payload_bytes) == _bytes(found, found.payload, found.payload_bytes)
    one, other = found.beacons, packets.beacons
    assert all(np.array_equal(one[column], other[column]) for column in range(3))
    assert _bytes(packets, other.start, other.end - other.start) == _bytes(found, one.start, one.end - one.start)
    assert len(again.data) >= int((again.start + again.caught).max(initial=0)) + PAD_BYTES


def _bytes(batch: Frames | Packets, starts: np.ndarray, counts: np.ndarray) -> list[bytes]:
    spans = zip(starts.tolist(), counts.tolist(), strict=True)
    return [batch.data[start : start + count].tobytes() for start, count in spans]
