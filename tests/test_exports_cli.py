"""The command `export`: the right records, whole files, and plain words for what cannot be."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from itertools import islice

import pytest
from running import city_db, command, environment, rows, run, spawn

from egress_watch.cli import parser
from egress_watch.cli.export import BY_NAME, records
from egress_watch.exports.record import EXPORTED
from egress_watch.store import reader as store_reader
from egress_watch.store.reader import Reader


@pytest.fixture
def db(tmp_path):
    """Return the city's database."""
    return city_db(tmp_path)


def exported(capsys, *arguments):
    """Return the records that `export --format ndjson` prints."""
    return rows(capsys, "export", *arguments)


def test_alerts_in_ecs_are_what_comes_without_options(capsys, db):
    """One JSON object for each alert, by its number, from this machine."""
    code, out, err = run(capsys, "export", db)
    events = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [event["egress_watch"]["row"] for event in events] == sorted(row["id"] for row in rows(capsys, "alerts", db))
    assert {event["event"]["kind"] for event in events} == {"alert"}
    assert {event["observer"]["name"] for event in events} == {os.uname().nodename}


@pytest.mark.parametrize(
    ("name", "kind"), [(known.name, kind) for known in BY_NAME.values() for kind in known.kinds if kind in EXPORTED]
)
def test_every_format_writes_every_kind_it_holds(capsys, db, tmp_path, name, kind):
    """A file comes into being, the same whenever it is written, readable by its owner only."""
    told = ("export", db, "--format", name, f"--{kind}s", "--sensor", "city")
    written = []
    for target in (tmp_path / "one", tmp_path / "two"):
        assert run(capsys, *told, "-o", target) == (0, "", "")
        assert target.stat().st_mode & 0o777 == 0o600
        written.append(target.read_bytes())
    assert written[0] == written[1]
    assert len(written[0]) > 1000


def test_the_same_filters_find_the_same_rows(capsys, db):
    """`export` narrows flows and alerts as `flows` and `alerts` do."""
    for words in (("--verdict", "OUT"), ("--country", "CN"), ("--since", "20m"), ("--device", "10.20.110.11")):
        for kind in ("flows", "alerts"):
            listed = {row["id"] for row in rows(capsys, kind, db, *words)}
            assert {kept["id"] for kept in exported(capsys, db, f"--{kind}", *words)} == listed
    assert len(exported(capsys, db, "--flows", "--port", "443", "--limit", "5")) == 5


def test_twice_is_the_same_events_and_another_sensor_is_others(capsys, db):
    """The id is made of the event, not of the moment it is sent."""
    first, second = (exported(capsys, db, "--sensor", "north") for _ in range(2))
    other = exported(capsys, db, "--sensor", "south")
    assert first == second
    assert not {kept["event_id"] for kept in first} & {kept["event_id"] for kept in other}


def test_an_alert_carries_both_hands_and_what_they_rest_on(capsys, db):
    """Operator of the network and owner of the service, laws, zone with its day, and the dates of the data."""
    camera = next(kept for kept in exported(capsys, db) if kept["device_ip"] == "10.20.110.11")
    assert (camera["operator"], camera["owner"], camera["owner_seat"]) == ("Amazon", "Hikvision", "CN")
    assert "US CLOUD Act" in camera["laws"]
    assert camera["zone"] == "eea"
    assert camera["zone_as_of"] > "2026"
    assert any(text.startswith("dbip-country-lite 20") for text in camera["data"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "zeek", "--alerts"), "zeek holds no alerts\n  try: ask for --flows"),
        (("--format", "ipfix", "--alerts"), "ipfix holds no alerts"),
        (("--port", "443"), "--port does not narrow alerts\n  try: leave it out, or ask for --flows"),
        (("--alerts", "--flows"), "not allowed with argument"),
        (("--format", "table"), "invalid choice"),
        (("--verdict", "MAYBE"), "is no verdict"),
        (("--since", "yesterday"), "is no time"),
    ],
)
def test_what_cannot_be_asked_is_said(capsys, db, words, said):
    """A mistake of usage ends with 2, in words, and writes nothing."""
    code, out, err = run(capsys, "export", db, *words)
    assert (code, out) == (2, "")
    assert said in err


def test_formats_of_flows_only_take_flows_by_themselves(capsys, db):
    """Where a format holds no alerts, nobody has to say so."""
    code, out, _ = run(capsys, "export", db, "--format", "zeek-json")
    assert code == 0
    assert len(out.splitlines()) == len(rows(capsys, "flows", db))


def test_the_database_is_never_written_over(capsys, db):
    """-o with the database itself is refused, and the database stays."""
    before = db.read_bytes()
    code, _, err = run(capsys, "export", db, "-o", db)
    assert code == 2
    assert "is the database itself" in err
    assert db.read_bytes() == before


def test_no_database_is_said_as_flows_says_it(capsys, tmp_path):
    """A database that is not there ends as it does with `flows`, and no output file is made."""
    target = tmp_path / "out"
    code, _, err = run(capsys, "export", tmp_path / "none.db", "-o", target)
    assert code == run(capsys, "flows", tmp_path / "none.db")[0] > 0
    assert "none.db" in err
    assert not target.exists()


def test_a_mistake_half_way_leaves_the_old_file(capsys, db, tmp_path):
    """Where the filters turn out wrong, what was there before stays."""
    target = tmp_path / "alerts.json"
    target.write_text("old")
    assert run(capsys, "export", db, "--flows", "--zone", "atlantis", "-o", target)[0] == 2
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.glob("alerts*")) == ["alerts.json"]


def test_a_reader_that_has_seen_enough_is_no_trouble(db):
    """`| head` closes the pipe; the command ends without a word."""
    for name in ("ocsf", "ipfix"):
        told = f"{' '.join(command('export', db, '--flows', '--format', name))} | head -c 10"
        done = subprocess.run(told, shell=True, capture_output=True, env=environment(), check=True)
        assert done.stderr == b""
        assert len(done.stdout) == 10


def test_bytes_are_not_thrown_at_a_terminal(db):
    """A format that is no text asks for a file where standard output is a terminal."""
    ours, theirs = pty.openpty()
    done = spawn("export", db, "--format", "ipfix", capture_output=False, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert b"is nothing for a terminal" in done.stderr


def test_bytes_go_through_a_pipe_as_they_are(db, tmp_path):
    """What comes through standard output is what a file gets."""
    target = tmp_path / "flows.ipfix"
    assert spawn("export", db, "--format", "ipfix", "-o", target).returncode == 0
    assert spawn("export", db, "--format", "ipfix").stdout == target.read_bytes()


@pytest.mark.parametrize("kind", ["flows", "alerts"])
def test_rows_are_read_page_by_page(db, monkeypatch, kind):
    """Any size of page gives the same records, and the first records need the first page only."""
    options = parser(["export"]).parse_args(["export", str(db), f"--{kind}", "--sensor", "s"])
    with Reader(str(db)) as reader:
        whole = list(records(options, options.kind, reader))
        monkeypatch.setattr(store_reader, "PAGE_ROWS", 3)
        assert list(records(options, options.kind, reader)) == whole
        asked, real = [], reader._rows
        monkeypatch.setattr(reader, "_rows", lambda query, values=None: asked.append(query) or real(query, values))
        assert list(islice(records(options, options.kind, reader), 3)) == whole[:3]
        assert sum(f" FROM {kind} WHERE 1" in query for query in asked) == 1
