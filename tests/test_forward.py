"""From the outbox to a receiver: in order, resumed where it stopped, bounded, and what does not go is counted."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from receiving import eventually, message
from running import CITY, city_db, command, environment, run, spawn

from egress_watch.config import Config, SinkSettings, render
from egress_watch.errors import ConfigError, StoreError
from egress_watch.exports.formats import NDJSON
from egress_watch.forward import Beside, Forwarder
from egress_watch.forward.lane import done_of
from egress_watch.forward.pause import pause_s
from egress_watch.forward.pulse import Pulse
from egress_watch.forward.words import Row, Words
from egress_watch.sinks.sink import Receipt
from egress_watch.store import Reader, Store
from egress_watch.store.acts import Acts
from egress_watch.store.outbox import Outbox
from egress_watch.store.recording import writer
from egress_watch.store.retained import Limits, make_room


@pytest.fixture
def db(tmp_path):
    """Return the city's database, of which nothing was sent."""
    return city_db(tmp_path)


def ask(db, query):
    """Return the rows of a query."""
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute(query).fetchall()


def change(db, query):
    """Run a statement."""
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute(query)


def to_file(folder, **more):
    """Return a sink that writes the records themselves into a file."""
    return SinkSettings("log", f"file:{folder / 'sent.json'}", **{"format": "ndjson", "heartbeat_s": 0.0, **more})


def sent(folder):
    """Return the records in that file."""
    path = folder / "sent.json"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def forward(db, *sinks, sensor="north", **more):
    """Send all that is there; return what was told."""
    said = []
    forwarder = Forwarder(str(db), sinks, sensor=sensor, tell=said.append)
    forwarder.start(once=True, **more)
    assert forwarder.wait(30)
    return said


def state(db, name="log"):
    """Return how a sink stands."""
    with Reader(str(db)) as reader:
        return next(row for row in reader.sinks() if row["name"] == name)


def test_all_news_and_flows_go_once_in_their_order(db, tmp_path):
    """Alerts first, then flows, each in the order of the database; what went does not go again."""
    settings = to_file(tmp_path, records=("alerts", "flows"), batch=7)
    forward(db, settings)
    found = sent(tmp_path)
    news = ask(db, "SELECT alert FROM alert_event ORDER BY id")
    flows = ask(db, "SELECT id FROM flow ORDER BY id")
    assert [row["id"] for row in found if row["kind"] == "alert"] == [number for (number,) in news]
    assert [row["id"] for row in found if row["kind"] == "flow"] == [number for (number,) in flows]
    assert len({row["event_id"] for row in found}) == len(found)
    forward(db, settings)
    assert sent(tmp_path) == found
    assert (state(db)["alerts_waiting"], state(db)["flows_waiting"], state(db)["sent"]) == (0, 0, len(found))


def test_a_clock_that_steps_back_loses_and_changes_nothing(db, tmp_path, monkeypatch):
    """It goes an hour back at every look: the same records go under the same ids, once, and the sink is no less up."""
    settings = to_file(tmp_path, records=("alerts", "flows"), batch=7)
    forward(db, settings)
    found = sent(tmp_path)
    with Outbox(str(db)) as outbox:
        outbox.forget("log")
    (tmp_path / "sent.json").unlink()
    hours = iter(range(time.time_ns(), 0, -3_600_000_000_000))
    monkeypatch.setattr(time, "time_ns", lambda: next(hours))
    forward(db, settings)
    assert sent(tmp_path) == found
    assert (state(db)["alerts_waiting"], state(db)["flows_waiting"], state(db)["error"]) == (0, 0, "")


def test_what_comes_later_goes_later(db, tmp_path):
    """News of an episode that goes on is a new event of the same episode, with what it had come to by then."""
    settings = to_file(tmp_path)
    forward(db, settings)
    before = sent(tmp_path)
    change(
        db,
        """INSERT INTO alert_event(alert, kind, cause, time_ns, level, hits, bytes_out, bytes_in)
      SELECT alert, 'close', 'silence', time_ns + 86400000000000, level, 99, 98, 97 FROM alert_event WHERE id = 1""",
    )
    forward(db, settings)
    (news,) = sent(tmp_path)[len(before) :]
    assert (news["action"], news["hits"], news["bytes_out"], news["bytes_in"]) == ("close", 99, 98, 97)
    first = next(row for row in before if row["episode_id"] == news["episode_id"])
    assert first["event_id"] != news["event_id"]
    assert news["time_ns"] > first["time_ns"]


def test_the_same_packets_recorded_anew_are_the_same_events(tmp_path):
    """Numbers of rows are no part of an event's or episode's id: another database of the capture sends no new ones."""
    ids = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        more = ("--jobs", "1") if name == "two" else ()
        assert spawn("replay", CITY, "--db", folder / "a.db", "--json", *more).returncode == 0
        change(folder / "a.db", "UPDATE sqlite_sequence SET seq = seq + 5 WHERE name = 'alert_event'")
        forward(folder / "a.db", to_file(folder, records=("alerts", "flows")))
        ids.append([(row["event_id"], row.get("episode_id")) for row in sent(folder)])
    assert sorted(ids[0]) == sorted(ids[1])
    forward(tmp_path / "one" / "a.db", SinkSettings("other", f"file:{tmp_path}/o", format="ndjson"), sensor="south")
    other = [json.loads(line)["event_id"] for line in (tmp_path / "o").read_bytes().splitlines()]
    assert not set(other) & {event for event, _ in ids[0]}


def test_a_recording_that_is_made_again_sends_nothing_new(db, tmp_path):
    """What was sent of a recording that is removed and comes again has the same ids: only doubles, no loss."""
    settings = to_file(tmp_path, records=("alerts", "flows"))
    forward(db, settings)
    before = {(row["event_id"], row.get("episode_id")) for row in sent(tmp_path)}
    change(db, "UPDATE recording SET state = 'interrupted'")
    assert spawn("replay", CITY, "--db", db, "--json").returncode == 0
    forward(db, settings)
    found = sent(tmp_path)
    assert {(row["event_id"], row.get("episode_id")) for row in found} == before
    assert len(found) == 2 * len(before)


def test_what_is_not_wanted_is_passed_over_and_counted(db, tmp_path):
    """News below the sink's level, and of alerts that somebody muted, does not go."""
    levels = dict(ask(db, "SELECT level, count(*) FROM alert_event GROUP BY 1"))
    forward(db, to_file(tmp_path, least="high"))
    high = levels.get("high", 0) + levels.get("critical", 0)
    assert {row["level"] for row in sent(tmp_path)} <= {"high", "critical"}
    assert (len(sent(tmp_path)), state(db)["passed"]) == (high, sum(levels.values()) - high)
    with Acts(str(db)) as acts:
        acts.mute({"rule": None, "device": None, "owner": None, "country": None}, time.time_ns() + 10**15, "all quiet")
    forward(db, SinkSettings("quiet", f"file:{tmp_path}/quiet"))
    assert (state(db, "quiet")["sent"], state(db, "quiet")["passed"]) == (0, sum(levels.values()))


def test_beyond_its_limit_flows_go_before_alerts_and_the_receiver_is_told(db, tmp_path):
    """The oldest flows are dropped, counted, and one record says so; alerts have a limit of their own."""
    flows, news = (ask(db, f"SELECT count(*) FROM {table}")[0][0] for table in ("flow", "alert_event"))
    said = forward(db, to_file(tmp_path, records=("alerts", "flows"), flows_limit=100))
    found = sent(tmp_path)
    told, rest = found[0], found[1:]
    dropped = state(db)["dropped_flows"]
    assert dropped == flows - 90 == told["hits"]
    assert (told["title"], told["level"]) == ("Records were dropped before they were sent", "high")
    assert f"{dropped:,} flows" in told["why"]
    assert [row["kind"] for row in rest].count("alert") == news
    newest = [number for (number,) in ask(db, "SELECT id FROM flow ORDER BY id DESC LIMIT 90")]
    assert [row["id"] for row in rest if row["kind"] == "flow"] == newest[::-1]
    assert any(f"{dropped:,} flows dropped" in line for line in said)
    assert (state(db)["dropped_alerts"], state(db)["sent"]) == (0, len(rest))


def test_alerts_are_dropped_at_the_last_limit_only(db, tmp_path):
    """At that one they are, and it is told in the same way."""
    news = ask(db, "SELECT count(*) FROM alert_event")[0][0]
    forward(db, to_file(tmp_path, alerts_limit=5))
    assert state(db)["dropped_alerts"] == news - 5
    assert [row["hits"] for row in sent(tmp_path)][:1] == [news - 5]
    assert len(sent(tmp_path)) == 6


def test_what_retention_takes_unsent_is_counted_and_told(db, tmp_path):
    """Flows that grew old before the sink got them are a gap, and a sink that has them knows of none."""
    fast, slow = to_file(tmp_path, records=("flows",)), SinkSettings("slow", f"file:{tmp_path}/slow", format="ndjson")
    forward(db, fast)
    with Outbox(str(db)) as outbox:
        outbox.claim("slow", {"target": slow.to, "promise": "written", "records": "alerts flows"})
        outbox.release("slow")
    flows = ask(db, "SELECT count(*) FROM flow")[0][0]
    change(db, f"UPDATE mark SET written_ns = {time.time_ns() - 10 * 86_400_000_000_000}")
    change(db, "UPDATE alert SET closed_ns = last_ns")
    news = ask(db, "SELECT count(*) FROM alert_event")[0][0]
    make_room(str(db), Limits(flow_days=1, alert_days=1))
    assert ask(db, "SELECT count(*) FROM alert_event") == [(0,)]
    assert (state(db, "slow")["dropped_flows"], state(db, "slow")["dropped_alerts"]) == (flows, news)
    assert (state(db)["dropped_flows"], state(db)["dropped_alerts"]) == (0, 0)
    forward(db, slow)
    told = [json.loads(line) for line in (tmp_path / "slow").read_bytes().splitlines()]
    assert sum(row["hits"] for row in told) == flows + news


def test_flows_recorded_after_all_others_went_come_after_them(db, tmp_path):
    """A flow's number never lies before a sink's cursor, though retention has taken every flow and packets are old."""
    settings = to_file(tmp_path, records=("flows",))
    forward(db, settings)
    change(db, "UPDATE sink SET flows_done = flows_done + (40 << 40)")
    change(db, "DELETE FROM flow")
    assert spawn("replay", CITY, "--db", db, "--json", "--again").returncode == 0
    before = len(sent(tmp_path))
    forward(db, settings)
    assert len(sent(tmp_path)) == before + ask(db, "SELECT count(*) FROM flow")[0][0]


def test_a_sink_may_begin_with_what_is_new(db, tmp_path):
    """A sink that was never served gets nothing old where that is asked for; one that was goes on where it was."""
    forward(db, to_file(tmp_path), from_now=True)
    assert sent(tmp_path) == []
    change(db, "UPDATE sink SET alerts_done = 0")
    forward(db, to_file(tmp_path), from_now=True)
    assert sent(tmp_path)


def test_a_sink_that_is_forgotten_begins_anew(db, tmp_path, capsys):
    """Its place, its gaps and refusals go; one that was never served, or is served right now, cannot be forgotten."""
    forward(db, to_file(tmp_path, records=("alerts", "flows"), flows_limit=10))
    before = len(sent(tmp_path))
    assert run(capsys, "sinks", "forget", "log", "--db", db)[0] == 0
    assert [ask(db, f"SELECT count(*) FROM {table}") for table in ("sink", "gap", "refusal")] == [[(0,)]] * 3
    code, _, err = run(capsys, "sinks", "forget", "log", "--db", db)
    assert (code, "was ever served" in err) == (2, True)
    forward(db, to_file(tmp_path))
    assert len(sent(tmp_path)) == before + ask(db, "SELECT count(*) FROM alert_event")[0][0]
    with sqlite3.connect(db) as connection:
        connection.execute("UPDATE sink SET forwarder = ?", (writer(os.getppid()),))
    code, _, err = run(capsys, "sinks", "forget", "log", "--db", db)
    assert (code, f"process {os.getppid()} forwards to log right now" in err) == (1, True)
    connection.close()


def test_a_sink_that_is_down_holds_up_no_other(db, tmp_path):
    """One writes, the other says why it does not; both stand in the store as they are."""
    down = SinkSettings("down", "relp://127.0.0.1:9", timeout_s=1.0)
    forward(db, to_file(tmp_path), down)
    assert (state(db)["alerts_waiting"], state(db)["failures"]) == (0, 0)
    row = state(db, "down")
    assert row["alerts_waiting"] == ask(db, "SELECT count(*) FROM alert_event")[0][0]
    assert "Connection refused" in row["error"]
    assert (row["failures"], row["promise"], row["state"]) == (1, "receiver-acknowledged", "stopped")
    assert row["retry_ns"] > row["tried_ns"] > 0


def test_one_process_forwards_to_a_sink(db, tmp_path):
    """A second one is told which process does it already; once that is gone it goes on."""
    settings = tmp_path / "c.toml"
    settings.write_text(render(Config(sink=(to_file(tmp_path),))))
    child = subprocess.Popen(command("forward", db, "--config", settings), env=environment())
    try:
        assert eventually(lambda: _served(db))
        assert state(db)["state"] in {"sending", "caught up"}
        with pytest.raises(StoreError, match=f"process {child.pid} forwards to log right now"):
            forward(db, to_file(tmp_path))
    finally:
        child.kill()
        child.wait()
    assert state(db)["state"] == "stopped"
    forward(db, to_file(tmp_path))


def _served(db):
    with Reader(str(db)) as reader:
        return any(row["sent"] for row in reader.sinks())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_service_follows_and_ends_clean(db, tmp_path, number):
    """It sends what is committed later too, and a signal ends it with 0, the cursor where it should be."""
    settings = tmp_path / "c.toml"
    settings.write_text(render(Config(sink=(to_file(tmp_path),))))
    child = subprocess.Popen(command("forward", db, "--config", settings), env=environment(), stderr=subprocess.PIPE)
    news = ask(db, "SELECT count(*) FROM alert_event")[0][0]
    assert eventually(lambda: len(sent(tmp_path)) == news)
    change(
        db,
        """INSERT INTO alert_event(alert, kind, cause, time_ns, level, hits, bytes_out, bytes_in)
      SELECT alert, 'close', 'silence', time_ns + 1, level, 9, 9, 9 FROM alert_event WHERE id = 1""",
    )
    assert eventually(lambda: len(sent(tmp_path)) == news + 1)
    child.send_signal(number)
    assert child.wait(30) == 0
    assert b"Traceback" not in child.stderr.read()
    child.stderr.close()
    assert (state(db)["state"], state(db)["alerts_waiting"]) == ("stopped", 0)


def test_the_service_leaves_with_whoever_started_it(db, tmp_path):
    """With --until-eof it ends when its standard input does, so it outlives no recorder that is killed."""
    settings = tmp_path / "c.toml"
    settings.write_text(render(Config(sink=(to_file(tmp_path),))))
    child = subprocess.Popen(
        command("forward", db, "--config", settings, "--until-eof"), env=environment(), stdin=subprocess.PIPE
    )
    assert eventually(lambda: _served(db))
    assert child.poll() is None
    child.stdin.close()
    assert child.wait(30) == 0


def test_pseudonyms_cover_what_is_sent(db, tmp_path):
    """Where the settings name a key no address of a device goes out; a format that needs addresses has made-up ones."""
    key, settings = tmp_path / "key", tmp_path / "c.toml"
    key.write_bytes(os.urandom(32))
    key.chmod(0o600)
    text = render(Config(sink=(to_file(tmp_path, records=("alerts", "flows")),)))
    settings.write_text(text.replace('key_file = ""', f'key_file = "{key}"', 1))
    assert spawn("forward", db, "--config", settings, "--once").returncode == 0
    devices = {row[0] for row in ask(db, "SELECT ip FROM device UNION SELECT mac FROM device WHERE mac <> ''")}
    text = (tmp_path / "sent.json").read_text()
    assert sent(tmp_path)[0]["device_ip"].startswith("ip-")
    assert not [word for word in devices if f'"{word}"' in text]
    settings.write_text(
        settings.read_text().replace('format = "ndjson"', 'format = "cef"').replace("sent.json", "cef.log")
    )
    assert spawn("sinks", "forget", "log", "--db", db).returncode == 0
    assert spawn("forward", db, "--config", settings, "--once").returncode == 0
    text = (tmp_path / "cef.log").read_text()
    assert " src=24" in text
    assert not [word for word in devices if f"={word} " in text or f"={word.upper()} " in text]


def test_capture_goes_on_while_a_sink_hangs(db):
    """A writer gets its lock at once while a forwarder waits for a receiver that never answers: it holds none."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hanging = SinkSettings("hangs", f"relp://127.0.0.1:{port}", timeout_s=60.0)
        forwarder = Forwarder(str(db), [hanging], sensor="north")
        forwarder.start()
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(100)  # it has begun, and waits for an answer
            with Store(str(db)) as store, closing(sqlite3.connect(db, timeout=0, isolation_level=None)) as writer:
                writer.execute("BEGIN IMMEDIATE")
                writer.execute("ROLLBACK")
                assert store.recorded([]) == set()
            forwarder.stop.set()
        assert forwarder.wait(30)


receipts = st.lists(st.sampled_from(["wanted", "passed"]), min_size=1, max_size=12).flatmap(
    lambda rows: st.tuples(st.just(rows), st.integers(1, max(rows.count("wanted"), 1)), st.sets(st.integers(0, 11)))
)


@given(receipts)
def test_the_cursor_never_passes_what_is_not_done(drawn):
    """It stands before the first wanted row that is open; every row behind it is sent, refused or passed, once."""
    kinds, done, refused = drawn
    rows = [Row(10 * n, message(n, b"x") if kind == "wanted" else None) for n, kind in enumerate(kinds, 1)]
    wanted = [row.number for row in rows if row.message]
    done = min(done, len(wanted))
    made = done_of(rows, Receipt(done, {place: "no" for place in refused if place < done}))
    opened = wanted[done:]
    assert made.last == max([row.number for row in rows if not opened or row.number < opened[0]], default=0)
    assert made.sent + len(made.refused) == done
    assert made.sent + len(made.refused) + made.passed == sum(row.number <= made.last for row in rows)


@given(st.integers(1, 10**6), st.floats(0.001, 1e3), st.floats(0.001, 1e5), st.floats(0, 1e9))
def test_a_pause_grows_within_its_bounds(failures, first_s, most_s, asked_s):
    """It is never none, never beyond the bound unless the receiver asks, and never beyond a day for that."""
    pause = pause_s(failures, first_s, most_s, asked_s)
    assert pause >= min(first_s, most_s) / 2
    assert pause >= min(asked_s, 86_400)
    assert pause <= max(most_s, min(asked_s, 86_400))


@pytest.mark.parametrize(
    ("more", "words"), [({"format": "csv"}, "none with one line"), ({"format": "zeek-json"}, "holds no alerts")]
)
def test_a_format_that_cannot_be_sent_stops_the_start(db, tmp_path, more, words):
    """One without a line a record, or without the records asked for, is told before anything is sent."""
    with pytest.raises(ConfigError, match=words):
        forward(db, to_file(tmp_path, **more))


def test_commands_show_and_test_sinks(db, tmp_path, capsys):
    """The list tells state and promise, the test what came back, kinds every promise; nothing of a secret anywhere."""
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    settings = tmp_path / "c.toml"
    rows = (to_file(tmp_path), SinkSettings("down", "relp://127.0.0.1:9", timeout_s=1.0))
    settings.write_text(render(Config(db=str(db), sink=rows)))
    code, out, _ = run(capsys, "sinks", "--config", settings)
    assert (code, out.count("never served")) == (0, 2)
    assert run(capsys, "forward", db, "--config", settings, "--once")[0] == 1
    code, out, _ = run(capsys, "sinks", "--config", settings, "--format", "ndjson")
    assert {json.loads(line)["name"]: json.loads(line)["state"] for line in out.splitlines()} == {
        "log": "stopped", "down": "stopped",
    }  # fmt: skip
    before = len(sent(tmp_path))
    code, out, _ = run(capsys, "sinks", "test", "log", "--config", settings)
    assert (code, "on the disk" in out, "promise: written" in out) == (0, True, True)
    (tested,) = sent(tmp_path)[before:]
    assert (tested["title"], tested["level"]) == ("Test of a sink, no alert", "informational")
    assert tested["event_id"] in out
    code, _, err = run(capsys, "sinks", "test", "down", "--config", settings)
    assert (code, "Connection refused" in err) == (1, True)
    assert run(capsys, "sinks", "test", "nobody", "--config", settings)[0] == 2
    for promise in ("best effort", "connection-acknowledged", "receiver-acknowledged", "written"):
        for words in (("sinks", "kinds"), ("sinks", "--help"), ("forward", "--help")):
            assert promise in run(capsys, *words)[1]


def test_an_export_can_be_sent_once(db, tmp_path, capsys):
    """--to sends what the export would write, line for line, to an address or a sink of the settings."""
    _, lines, _ = run(capsys, "export", db, "--format", "cef", "--sensor", "north")
    target = tmp_path / "out"
    code, _, err = run(capsys, "export", db, "--format", "cef", "--sensor", "north", "--to", f"file:{target}")
    assert (code, target.read_text()) == (0, lines)
    assert f"sent {lines.count(chr(10))}, refused 0 (written)" in err
    code, _, err = run(capsys, "export", db, "--to", "relp://127.0.0.1:9")
    assert (code, "Connection refused" in err) == (1, True)
    assert run(capsys, "export", db, "--to", "nowhere")[0] == 2


def test_hostile_names_arrive_as_one_record_each(db, tmp_path):
    """Whatever a name holds, each record is one line with nothing in it that could act."""
    hostile = "a\r\nCEF:0|x|\x1b[31m=cmd()|'\"]\u202e" + "x" * 65_536
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("UPDATE alert SET why = ?, title = ?", (hostile, hostile))
    for name in ("ndjson", "ecs", "cef", "leef", "ocsf", "eve"):
        path = tmp_path / name
        forward(db, SinkSettings(name, f"file:{path}", format=name))
        lines = path.read_bytes().split(b"\n")[:-1]
        assert len(lines) == ask(db, "SELECT count(*) FROM alert_event")[0][0]
        assert not [line for line in lines if any((byte < 32 and byte != 9) or byte == 127 for byte in line)]


def test_a_full_disk_under_the_database_sends_nothing_twice(db, tmp_path, monkeypatch):
    """Where the cursor cannot be written the lane waits with it, and sends no further batch until it can."""
    locked = sqlite3.connect(db, isolation_level=None)
    monkeypatch.setattr("egress_watch.store.file.BUSY_S", 0.05)
    settings = to_file(tmp_path, batch=1)
    with Outbox(str(db)) as outbox:
        outbox.claim("log", {"target": "", "promise": "", "records": "alerts"})
    forwarder = Forwarder(str(db), [settings], sensor="north")
    forwarder.start()
    assert eventually(lambda: bool(sent(tmp_path)))
    locked.execute("BEGIN IMMEDIATE")
    threading.Event().wait(0.5)
    held = len(sent(tmp_path))
    locked.execute("ROLLBACK")
    locked.close()
    news = ask(db, "SELECT count(*) FROM alert_event")[0][0]
    assert eventually(lambda: state(db)["alerts_waiting"] == 0)
    forwarder.stop.set()
    assert forwarder.wait(30)
    assert held <= len(sent(tmp_path)) == news


def test_a_recorder_has_its_forwarder_beside_it(db, tmp_path):
    """It runs in a process of its own while the block does, sends, and is gone with it."""
    settings = tmp_path / "c.toml"
    settings.write_text(render(Config(sink=(to_file(tmp_path),))))
    with Beside(str(db), str(settings)) as child:
        assert eventually(lambda: _served(db))
        assert child.pid not in {0, os.getpid()}
        assert child.look() == ""
    assert state(db)["state"] == "stopped"
    assert child.pid == 0


def test_a_forwarder_that_ends_is_started_again(db, tmp_path):
    """Its end is said once, and after a pause another takes over where it stopped."""
    settings = tmp_path / "c.toml"
    settings.write_text(render(Config(sink=(to_file(tmp_path),))))
    with Beside(str(db), str(settings)) as child:
        assert eventually(lambda: _served(db))
        first = child.pid
        os.kill(first, signal.SIGKILL)
        said = []
        assert eventually(lambda: said.append(child.look()) or child.pid not in {0, first})
        assert [text for text in said if text] == [text for text in said if "ended with -9" in text]
        assert len([text for text in said if text]) == 1
        assert eventually(lambda: state(db)["state"] == "caught up")


def beats(folder):
    """Return the heartbeats in the file."""
    return [row for row in sent(folder) if row["kind"] == "heartbeat"]


def test_a_heartbeat_says_how_the_recording_stands(db, tmp_path):
    """It is an event of its own kind with counts since the one before, counted as no record of the sink."""
    settings = to_file(tmp_path, heartbeat_s=0.1)
    forwarder = Forwarder(str(db), [settings], sensor="north")
    forwarder.start()
    assert eventually(lambda: len(beats(tmp_path)) >= 2)
    change(db, "UPDATE recording SET frames = frames + 70, packets = packets + 60, lost = lost + 5")
    told = len(beats(tmp_path))
    assert eventually(lambda: sum(row["frames"] for row in beats(tmp_path)[told - 1 :]) >= 70)
    forwarder.stop.set()
    assert forwarder.wait(30)
    found = beats(tmp_path)
    (whole,) = ask(db, "SELECT frames, packets, lost, first_ns, last_ns FROM recording")
    assert tuple(sum(row[name] for row in found) for name in ("frames", "ip_packets", "lost")) == whole[:3]
    assert (found[0]["since_ns"], found[0]["newest_ns"]) == whole[3:]
    assert all(later["since_ns"] > found[0]["since_ns"] for later in found[1:])
    assert {(row["state"], row["level"], row["interval_s"]) for row in found} == {("finished", "informational", 1)}
    assert len({row["event_id"] for row in found}) == len(found)
    news = ask(db, "SELECT count(*) FROM alert_event")[0][0]
    assert (state(db)["sent"], state(db)["alerts_waiting"], found[-1]["waiting"]) == (news, 0, 0)


def test_a_heartbeat_tells_of_a_recorder_that_was_killed(db, tmp_path):
    """Where its process is gone and the recording did not end, the heartbeat is grave: its silence is told."""
    change(db, "UPDATE recording SET state = 'running', writer = '999999999:1'")
    forwarder = Forwarder(str(db), [to_file(tmp_path, heartbeat_s=0.1)], sensor="north")
    forwarder.start()
    assert eventually(lambda: bool(beats(tmp_path)))
    forwarder.stop.set()
    assert forwarder.wait(30)
    assert {(row["state"], row["level"]) for row in beats(tmp_path)} == {("stopped without ending", "high")}


def test_a_heartbeat_that_may_not_have_come_comes_again_under_its_id(db, tmp_path):
    """While it is open it is the same event; when the next is due it is made anew, so that none pile up."""
    settings = to_file(tmp_path, heartbeat_s=0.2)
    with Outbox(str(db)) as outbox:
        outbox.claim("log", {"target": "", "promise": "", "records": "alerts"})
        pulse, words = Pulse(settings), Words(settings, "north", NDJSON.line)
        assert pulse.due(outbox, words) is None
        assert eventually(lambda: pulse.due(outbox, words) is not None)
        first = pulse.due(outbox, words)
        assert pulse.due(outbox, words) is first
        assert eventually(lambda: pulse.due(outbox, words).id != first.id)
        pulse.told()
        assert pulse.due(outbox, words) is None


@pytest.mark.parametrize("more", [{"heartbeat_s": 0.0}, {"heartbeat_s": 0.1, "records": ("flows",)}])
def test_no_heartbeat_where_none_is_wanted(db, tmp_path, more):
    """0 turns them off, and a sink that gets no alerts gets none."""
    pulse = Pulse(to_file(tmp_path, **more))
    threading.Event().wait(0.2)
    with Outbox(str(db)) as outbox:
        assert pulse.due(outbox, Words(to_file(tmp_path), "north", NDJSON.line)) is None


def test_a_sink_with_nothing_to_send_shows_that_it_is_up_again(db, tmp_path):
    """A heartbeat that goes through ends the state `down`, though no alert came since."""
    forward(db, to_file(tmp_path))
    change(db, "UPDATE sink SET failures = 3, error = 'Connection refused'")
    forwarder = Forwarder(str(db), [to_file(tmp_path, heartbeat_s=0.1)], sensor="north")
    forwarder.start()
    assert eventually(lambda: state(db)["state"] == "caught up")
    forwarder.stop.set()
    assert forwarder.wait(30)
    assert state(db)["error"] == ""
