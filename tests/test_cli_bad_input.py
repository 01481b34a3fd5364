"""Whatever a user points the program at: a clear message with what, where and remedy, nothing lost, no traceback."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic

import pytest
from running import (
    CITY,
    as_a_user,
    city_db,
    command,
    content,
    environment,
    many_cities,
    on_a_full_disk,
    run,
    sound,
    spawn,
)
from test_library import mmdb

from egress_watch.cli import main
from egress_watch.flows import FlowTable
from egress_watch.store import NEWEST

CAPTURE = CITY.read_bytes()


def replay(capsys, path, db, *more):
    """Return the exit code, the JSON and standard error of a replay."""
    code, out, err = run(capsys, "replay", path, "--db", db, "--json", *more)
    return code, json.loads(out) if out else None, err


def zipped():
    """Return a zip of the city capture."""
    import io

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("city.pcapng", CAPTURE[:5000])
    return packed.getvalue()


NO_CAPTURE = {
    "empty": (b"", "empty"),
    "text": (b"dear diary, today nothing happened\n" * 9, "a text file"),
    "zip": (zipped(), "a zip archive, unpack it first"),
    "noise": (bytes(range(256)) * 9, "of no known format"),
    "nothing packed": (gzip.compress(b""), "no capture"),
    "text packed": (gzip.compress(b"dear diary\n" * 9), "a text file, packed with gzip"),
    "torn gzip": (gzip.compress(CAPTURE)[:15], "the gzip data is cut off"),
    "a head alone": (CAPTURE[:6], "the file is cut off here"),
}


@pytest.mark.parametrize(("data", "reason"), NO_CAPTURE.values(), ids=NO_CAPTURE.keys())
def test_what_is_no_capture_is_named(capsys, tmp_path, data, reason):
    """What, where and remedy on standard error and exit code 1, each time, by name and by pipe; nothing is recorded."""
    path, db = tmp_path / "input", tmp_path / "a.db"
    path.write_bytes(data)
    for _ in range(2):
        code, found, _ = replay(capsys, path, db)
        assert code == 1
        assert found["failed"][0][0] == str(path)
        assert reason in found["failed"][0][1]
        assert (found["frames"], found["recordings"], found["held"]) == (0, [], [])
    code, out, err = run(capsys, "replay", path, "--db", db)
    assert (code, out) == (1, "")
    what = reason.removesuffix(", unpack it first")
    assert err.startswith(f"egress-watch: {path}: ")
    assert what.partition(", packed")[0] in err
    assert "\n  try: " in err
    assert content(db)["recording"] == []
    done = spawn("replay", "-", "--db", tmp_path / "pipe.db", "--json", input=data)
    assert done.returncode == 1
    assert reason in json.loads(done.stdout)["failed"][0][1]


@pytest.mark.parametrize("at", [0, 1, 27, 28, 100, 5000, 700_001, len(CAPTURE) - 1])
def test_a_capture_cut_anywhere_gives_what_it_holds(capsys, tmp_path, at):
    """What lies before the cut is recorded, the loss is told; exit code 1 only where nothing could be read."""
    path = tmp_path / "cut.pcapng"
    path.write_bytes(CAPTURE[:at])
    code, found, _ = replay(capsys, path, tmp_path / "a.db")
    assert code == (at < 300)
    assert found["frames"] == found["packets"] + sum(found["skipped"].values()) < 4124
    assert (found["frames"] > 0) == (at > 300)
    assert bool(found["damage"]) == (at > 300)
    assert bool(found["failed"]) == (at < 300)
    assert all(0 <= damage["offset"] <= at for damage in found["damage"])
    again, held, _ = replay(capsys, path, tmp_path / "a.db")
    assert (again, held["frames"], held["damage"]) == (code, found["frames"], found["damage"])


@pytest.mark.parametrize("length", [0, 4, 11, 13, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_lying_block_length_ends_the_reading_there(capsys, tmp_path, length):
    """A pcapng block that lies about its length stops the reading at its place, and what came before counts."""
    at = len(CAPTURE) // 2
    while struct.unpack_from("<I", CAPTURE, at)[0] != 6 or struct.unpack_from("<I", CAPTURE, at + 4)[0] > 2000:
        at += 4
    path = tmp_path / "liar.pcapng"
    path.write_bytes(CAPTURE[: at + 4] + struct.pack("<I", length) + CAPTURE[at + 8 :])
    code, found, _ = replay(capsys, path, tmp_path / "a.db")
    assert code == 0
    assert 1000 < found["frames"] < 4124
    assert found["damage"][0]["reason"]
    assert found["damage"][0]["offset"] == at


def test_a_good_capture_beside_a_bad_one_is_recorded(capsys, tmp_path):
    """One bad file stops no other; the exit code tells that there was one, and the next time too."""
    (tmp_path / "bad.pcap").write_bytes(b"dear diary\n" * 9)
    for held in ([], [str(tmp_path / "bad.pcap"), str(CITY)]):
        code, out, _ = run(capsys, "replay", CITY, tmp_path / "bad.pcap", "--db", tmp_path / "a.db", "--json")
        found = json.loads(out)
        assert (code, found["frames"], sorted(found["held"])) == (1, 4124, sorted(held))


@pytest.mark.parametrize(("name", "reason"), [("x" * 300, "File name too long"), ("loop", "Too many levels")])
def test_a_path_that_cannot_be_followed_is_named(capsys, tmp_path, name, reason):
    """A path that the system refuses is a capture that gave nothing."""
    (tmp_path / "loop").symlink_to("loop")
    code, found, _ = replay(capsys, tmp_path / name, tmp_path / "a.db")
    assert code == 1
    assert found["failed"][0][0] == str(tmp_path / name)
    assert reason in found["failed"][0][1]


@pytest.mark.parametrize("name", ["missing.pcap", "missing/a.pcap"])
def test_a_path_that_is_not_there_is_usage(capsys, tmp_path, name):
    """A path that is not there is exit code 2, and no database is made for it."""
    code, out, err = run(capsys, "replay", tmp_path / name, "--db", tmp_path / "a.db")
    assert (code, out) == (2, "")
    assert f"{tmp_path / name}: " in err
    assert not (tmp_path / "a.db").exists()


def test_a_folder_without_captures_is_named(capsys, tmp_path):
    """An empty folder, and one with other files only, is trouble in data with a remedy; no database is made."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for _ in range(2):
        code, _, err = run(capsys, "replay", folder, "--db", tmp_path / "a.db")
        assert code == 1
        assert f"{folder}: no capture in this folder\n  try: " in err
        (folder / "notes.txt").write_text("dear diary")
    assert not (tmp_path / "a.db").exists()


def test_an_unreadable_capture_is_named(tmp_path):
    """A file without the right to read gives the reason and exit code 1; the others are read."""
    shut = tmp_path / "shut.pcapng"
    shutil.copy(CITY, shut)
    shut.chmod(0)
    for _ in range(2):
        done = spawn("replay", shut, CITY, "--db", tmp_path / "a.db", "--json", limits=as_a_user)
        found = json.loads(done.stdout)
        assert (done.returncode, found["frames"]) == (1, 4124)
        assert found["failed"] == [[str(shut), "Permission denied"]]
    assert done.stderr == f"egress-watch: {shut}: Permission denied\n  try: make it readable\n".encode()
    done = spawn("replay", shut, CITY, "--db", tmp_path / "a.db", limits=as_a_user)
    assert f"Gave nothing: {shut}: Permission denied\n".encode() in done.stdout
    assert b"at byte 0" not in done.stdout


def test_an_unreadable_folder_is_named(tmp_path):
    """A folder that cannot be listed is named, for captures and for rules."""
    folder = tmp_path / "shut"
    folder.mkdir(mode=0)
    done = spawn("replay", folder, "--db", tmp_path / "a.db", limits=as_a_user)
    assert done.returncode == 1
    assert f"{folder}: cannot be listed: Permission denied".encode() in done.stderr
    done = spawn("rules", "check", folder, limits=as_a_user)
    assert done.returncode == 2
    assert b"Permission denied\n  try: " in done.stderr


@pytest.mark.parametrize("arguments", [["flows"], ["replay", CITY, "--db"]], ids=lambda part: part[0])
def test_an_unreadable_database_is_named(tmp_path, arguments):
    """A database, or its folder, without the right to read is exit code 1 with the reason."""
    db = city_db(tmp_path)
    db.chmod(0)
    done = spawn(*arguments, db, limits=as_a_user)
    assert done.returncode == 1
    assert f"{db}: Permission denied\n  try: ask its owner".encode() in done.stderr
    folder = tmp_path / "folder"
    folder.mkdir()
    db.rename(folder / "a.db")
    folder.chmod(0)
    done = spawn(*arguments, folder / "a.db", limits=as_a_user)
    assert done.returncode == 1
    assert b"Permission denied\n  try: " in done.stderr


@pytest.mark.parametrize("shut", ["file", "folder"])
def test_a_read_only_place_is_named(tmp_path, shut):
    """A database that cannot be written, or a folder that takes no new file, says so and changes nothing."""
    place = tmp_path / "place"
    place.mkdir()
    db = city_db(place) if shut == "file" else place / "new.db"
    if shut == "file":
        db.chmod(0o400)
    else:
        place.chmod(0o500)
    before = db.read_bytes() if db.exists() else None
    done = spawn("replay", CITY, "--db", db, "--again", limits=as_a_user)
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"{db}: Permission denied\n  try: ".encode() in done.stderr
    assert (db.read_bytes() if db.exists() else None) == before


def test_a_folder_that_takes_no_log_is_named(tmp_path):
    """A writable database in a read-only folder cannot be written, since its log lies beside it."""
    place = tmp_path / "place"
    place.mkdir()
    db = city_db(place)
    place.chmod(0o500)
    done = spawn("replay", CITY, "--db", db, "--again", limits=as_a_user)
    assert done.returncode == 1
    assert f"{db}: ".encode() in done.stderr
    assert b"\n  try: make the f" in done.stderr
    assert len(content(db)["flows"]) == 348


@pytest.mark.parametrize("data", [b"dear diary\n" * 300, b"buy milk", CAPTURE[:9000]])
@pytest.mark.parametrize(
    "arguments", [["flows"], ["alerts"], ["tui"], ["replay", CITY, "--db"]], ids=lambda part: part[0]
)
def test_what_is_no_database_is_named_and_kept(capsys, tmp_path, arguments, data):
    """A file that is no database is refused by every command and not changed by a byte."""
    path = tmp_path / "precious"
    path.write_bytes(data)
    code, out, err = run(capsys, *arguments, path)
    assert (code, out) == (1, "")
    assert f"egress-watch: {path}: file is not a database\n  try: name a database that egress-watch wrote" in err
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "arguments",
    [["flows"], ["alerts"], ["tui"], ["rejudge"], ["rejudge", "--write"], ["replay", CITY, "--db"]],
    ids=lambda part: part[0],
)
def test_a_newer_database_is_named_and_kept(capsys, tmp_path, arguments):
    """A database of a newer schema is refused by every command and not changed by a byte."""
    db = city_db(tmp_path)
    connection = sqlite3.connect(db)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = db.read_bytes()
    code, _, err = run(capsys, *arguments, db)
    assert code == 1
    assert f"is of schema 99, newer than this egress-watch knows ({NEWEST})\n  try: " in err
    assert db.read_bytes() == before


@pytest.mark.parametrize("name", ["flows", "alerts", "tui"])
def test_a_missing_database_is_usage(capsys, tmp_path, name):
    """Nothing to read is exit code 2 with the command that would make it; nothing is made."""
    code, _, err = run(capsys, name, tmp_path / "none.db")
    assert code == 2
    assert "no such database\n  try: make one: egress-watch replay" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("room_bytes", [1000, 100_000])
def test_a_full_disk_is_named_and_nothing_committed_is_lost(tmp_path, room_bytes):
    """Where no more can be written, exit code 1 and a remedy; the database is sound and a rerun with room whole."""
    db = tmp_path / "a.db"
    done = spawn("replay", CITY, "--db", db, limits=on_a_full_disk(room_bytes))
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"egress-watch: {db}: ".encode() in done.stderr
    assert b"\n  try: " in done.stderr
    assert sound(db)
    assert spawn("replay", CITY, "--db", db).returncode == 0
    assert content(db) == content(city_db(tmp_path))


def test_a_full_disk_leaves_older_recordings_alone(tmp_path):
    """What was in the database before stays as it was."""
    db = city_db(tmp_path)
    before = content(db)
    done = spawn("replay", CITY, "--db", db, "--again", limits=on_a_full_disk(db.stat().st_size // 2))
    assert done.returncode == 1
    after = content(db)
    assert after["recording"] == before["recording"]
    assert after["flows"][:348] == before["flows"]
    assert sound(db)


def test_a_full_disk_leaves_no_half_written_output(tmp_path):
    """An output file that cannot be finished is not there, and the old one stays."""
    target = tmp_path / "flows.ndjson"
    target.write_text("old")
    done = spawn("flows", city_db(tmp_path), "--format", "ndjson", "-o", target, limits=on_a_full_disk(40_000))
    assert done.returncode == 1
    assert f"{target}: File too large\n  try: ".encode() in done.stderr
    assert target.read_text() == "old"
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("zoen = 'eea'", "unknown setting zoen\n  try: did you mean zone?"),
        ("zone = 'mars'", "unknown zone 'mars'\n  try: one of: eu27, eea"),
        ("zone = [", "no TOML"),
        ("[data]\ncountry_db = 'none.mmdb'", "none.mmdb: no such data file\n  try: mend the path in [data]"),
        ("[rules]\nfolder = 'none'", "none: no such folder of rules"),
        ("[rules]\ndisabled = ['none']", "rules.disabled names no rule: none"),
    ],
)
def test_broken_settings_are_usage(capsys, tmp_path, text, words):
    """A mistake in the settings is exit code 2, before any database is made."""
    path = tmp_path / "c.toml"
    path.write_text(text)
    code, out, err = run(capsys, "replay", CITY, "--config", path, "--db", tmp_path / "a.db")
    assert (code, out) == (2, "")
    assert words in err
    assert not (tmp_path / "a.db").exists()


@pytest.mark.parametrize(
    "address", ["", "1.2.3", "1.2.3.4.5", "example.com", "1.2.3.4/24", "::g", "\x1b[31m", "9" * 500]
)
def test_what_is_no_address_is_usage(capsys, address):
    """A word that is no address is exit code 2, escaped."""
    code, out, err = run(capsys, "where", "--", address)
    assert (code, out) == (2, "")
    assert "is no address\n  try: give IPv4 or IPv6" in err
    assert "\x1b" not in err


def test_a_file_name_may_be_any_bytes(tmp_path):
    """A name that is no UTF-8 and full of escapes is recorded and shown as text."""
    name = os.fsencode(tmp_path) + b"/caf\xe9\x1b[31m\n.pcapng"
    with open(name, "wb") as file:  # noqa: PTH123 - a name of bytes
        file.write(CAPTURE[:-7])
    for more in ([], ["--json"]):
        done = subprocess.run(
            [*command("replay", "--db", tmp_path / "a.db"), *more, name],
            capture_output=True,
            check=False,
            env=environment(),
        )
        assert done.returncode == 0
        assert b"Traceback" not in done.stderr
        assert b"\x1b" not in done.stdout
        assert b"caf" in done.stdout
    assert sound(tmp_path / "a.db")


def test_hostile_words_of_a_data_file_stay_words(capsys, tmp_path):
    """A network's name with escapes, markup and a formula is shown as text in the report and in every format."""
    hostile = "=cmd|' /C calc'!A0 \x1b[31m[bold]\u202e"
    record = {"autonomous_system_number": 64500, "autonomous_system_organization": hostile}
    path = mmdb(tmp_path / "own.mmdb", "GeoLite2-ASN", {"178.215.0.0/16": record})
    config = tmp_path / "c.toml"
    config.write_text(f'[data]\nasn_db = "{path}"\n')
    outs = [run(capsys, "replay", CITY, "--config", config, "--db", tmp_path / "a.db")[1]]
    outs += [run(capsys, "flows", tmp_path / "a.db", "--format", name)[1] for name in ("table", "csv", "ndjson")]
    outs += [run(capsys, "where", "178.215.228.24", "--config", config)[1]]
    for out in outs:
        assert "\x1b" not in out
        assert "\u202e" not in out
    assert "[bold]" in outs[0]
    assert ",'=cmd" in outs[2]
    assert hostile in {json.loads(line)["as_name"] for line in outs[3].splitlines()}


# --- stopped and killed ---

TOGETHER = 1_000
"""Flows in a commit here, so that a capture of seconds has a middle to be stopped in."""


@pytest.fixture(scope="module")
def long_capture(tmp_path_factory):
    """Return a capture long enough to be stopped within, and the content of an undisturbed run."""
    folder = tmp_path_factory.mktemp("long")
    path = many_cities(folder / "long.pcap", 30)
    assert spawn("replay", path, "--db", folder / "whole.db", together=TOGETHER).returncode == 0
    return path, content(folder / "whole.db")


def committed(db):
    """Return the number of flows that a reader sees, and that the recording claims."""
    try:
        connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True, timeout=0.5)
        try:
            return connection.execute(
                "SELECT (SELECT count(*) FROM flow), (SELECT sum(flows) FROM recording)"
            ).fetchone()
        finally:
            connection.close()
    except sqlite3.Error:  # not there yet
        return 0, 0


def stop_in_the_middle(path, db, number):
    """Send a signal as soon as a batch is committed; return the exit code and standard error."""
    program = command("replay", path, "--db", db, together=TOGETHER)
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    until = monotonic() + 60
    while process.poll() is None and monotonic() < until:
        stored, told = committed(db)
        assert stored == (told or 0), "a reader saw half a batch"
        if stored:
            process.send_signal(number)
            break
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.002)
    _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
    return process.returncode, err


def test_a_kill_in_the_middle_leaves_a_sound_database(tmp_path, long_capture):
    """After kill -9 the database is sound and holds whole batches; the next run is as if nothing had happened."""
    path, whole = long_capture
    db = tmp_path / "a.db"
    code, _ = stop_in_the_middle(path, db, signal.SIGKILL)
    assert code == -signal.SIGKILL
    stored, told = committed(db)
    assert 0 < stored == told < len(whole["flows"])
    assert sound(db)
    assert spawn("flows", db, "--limit", "5").returncode == 0
    done = spawn("replay", path, "--db", db, "--json", together=TOGETHER)
    assert done.returncode == 0
    assert json.loads(done.stdout)["flows"] == len(whole["flows"])
    assert content(db) == whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_the_middle_ends_in_good_order(tmp_path, long_capture, number):
    """Ctrl-C, or a polite kill, ends after the batch with exit code 130; the same command then makes it whole."""
    path, whole = long_capture
    db = tmp_path / "a.db"
    code, err = stop_in_the_middle(path, db, number)
    assert code == 130
    assert b"stopping after this batch" in err
    connection = sqlite3.connect(db)
    assert connection.execute("SELECT state FROM recording").fetchall() == [("interrupted",)]
    stored, told = connection.execute("SELECT (SELECT count(*) FROM flow), flows FROM recording").fetchone()
    connection.close()
    assert 0 < stored == told < len(whole["flows"])
    assert sound(db)
    assert spawn("replay", path, "--db", db, together=TOGETHER).returncode == 0
    assert content(db) == whole


def test_ctrl_c_when_all_was_read_already_interrupts_nothing(tmp_path, monkeypatch, capfd):
    """Who asks to stop while the last flows are stored gets a finished recording and exit code 0."""
    flush = FlowTable.flush

    def stopped(table):
        os.kill(os.getpid(), signal.SIGINT)
        return flush(table)

    monkeypatch.setattr(FlowTable, "flush", stopped)
    db = tmp_path / "a.db"
    assert main(["replay", str(CITY), "--db", str(db), "--json"]) == 0
    said = capfd.readouterr()
    assert "stopping" in said.err
    assert json.loads(said.out)["interrupted"] is False
    assert content(db)["flows"]


def test_two_writers_at_once_take_turns(tmp_path, long_capture):
    """Two captures recorded at once into one new database are both whole, each as if it were alone."""
    path, whole = long_capture
    db = tmp_path / "a.db"
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda one: spawn("replay", one, "--db", db, "--json", together=TOGETHER), (path, CITY)))
    assert [(one.returncode, one.stderr) for one in done] == [(0, b"")] * 2
    assert [json.loads(one.stdout)["flows"] for one in done] == [len(whole["flows"]), 348]
    assert sound(db)
    found = content(db)
    assert len(found["flows"]) == len(whole["flows"]) + 348
    assert len(set(found["ids"])) == len(found["ids"])
    connection = sqlite3.connect(db)
    hits = connection.execute("SELECT recording, count(*), sum(hits) FROM alerts GROUP BY 1 ORDER BY 2").fetchall()
    connection.close()
    assert sorted((alerts, count) for _, alerts, count in hits) == sorted(
        (len(one["alerts"]), sum(row["hits"] for row in one["alerts"])) for one in (whole, content(city_db(tmp_path)))
    )


def test_one_capture_by_two_at_once_is_recorded_once(tmp_path, long_capture):
    """Of two that replay the same capture at once one records it; the other says so, or finds it held already."""
    path, whole = long_capture
    db = tmp_path / "a.db"
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: spawn("replay", path, "--db", db, together=TOGETHER), range(2)))
    assert sorted(one.returncode for one in done) in ([0, 0], [0, 1])
    for one in done:
        if one.returncode:
            assert b"is recording this input right now\n  try: wait for it" in one.stderr
    assert content(db) == whole
