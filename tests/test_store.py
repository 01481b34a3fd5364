"""The store: whole batches or none, one recording for one input, and a file that is nobody else's."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import AWAY, START_S, judged, tally
from running import sound

from egress_watch.errors import RuleError, StoreError, UsageError
from egress_watch.model import Alert, Damage, Judged, Tally, Verdict
from egress_watch.store import NEWEST, Reader, Store, file, prepare
from egress_watch.store.episodes import Episodes
from egress_watch.store.lookups import Kept, Lookup
from egress_watch.store.recording import FINISHED, INTERRUPTED, SEQUENCE_BITS, flow_ids, writer
from egress_watch.store.schema import APPLICATION
from egress_watch.store.screens import Screens
from egress_watch.store.standing import standing

DATA = [{"name": "d", "kind": "country", "built": "2026-01-01", "licence": "", "attribution": "", "sha256": "00"}]
RULE = ("r-1", "A rule", "high", "digest", "rules/a.yml")


@pytest.fixture
def path(tmp_path):
    """Return where a new database goes."""
    return str(tmp_path / "a.db")


@pytest.fixture
def store(path):
    """Return a new database, open for writing."""
    with Store(path) as opened:
        yield opened


def record(store, inputs=None, zone="eea", **more):
    """Begin a recording."""
    inputs = {"a.pcap": "f1"} if inputs is None else inputs
    return store.record(zone=zone, as_of="2020-02-01", data=DATA, rules=[RULE], version="0", inputs=inputs, **more)


def alert(batch, hits=1, bytes_out=100, **more):
    """Return an episode over a batch."""
    row = {
        "rule": "r-1", "title": "A rule", "level": "high", "device": 1, "device_ip": "10.0.0.1",
        "remote_ip": "203.0.113.1",
        "owner": "Baidu", "country": "CN", "verdict": "OUT", "first_ns": START_S * 10**9,
        "last_ns": START_S * 10**9, "hits": hits,
        "bytes_out": bytes_out, "bytes_in": 0, "first_flow": batch.first, "last_flow": batch.last, "why": "so",
        "network": "",
    }  # fmt: skip
    return Alert(**{**row, **more})


def hits(batch, predicate):
    """Return the ids of the flows for which a predicate holds; raises RuleError."""
    (found,) = batch.matching([predicate])
    if isinstance(found, RuleError):
        raise found
    return batch.ids[found].tolist()


def all_rows(path, query, *values):
    """Return what a query finds."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query, values).fetchall()


def test_what_is_written_is_read_back(store, path):
    """A flow comes back with its texts, and nothing as NULL, not as an empty text."""
    recording = record(store)
    recording.write(judged(2, names=("", "dev.example")), tally(2))
    with Reader(path) as reader:
        home, away = reader.flows({})
    assert (home["device_ip"], home["remote_ip"], home["protocol"]) == ("10.0.0.1", "203.0.113.1", "tcp")
    assert (home["name"], home["name_source"], home["verdict"], home["vlan"]) == (None, None, "IN", None)
    assert (away["name"], away["name_source"], away["verdict"], away["vlan"]) == ("dev.example", "dns", "OUT", 1)
    assert (away["device_mac"], away["asn"], away["as_name"]) == ("02:00:00:00:00:01", None, None)
    assert (away["laws"], away["ties"], away["zone"]) == (["CN Data Security Law"], ["a tie"], "eea")
    assert away["last_ns"] - away["first_ns"] == 500_000
    assert (away["packets_out"], away["bytes_out"], away["packets_in"], away["bytes_in"]) == (2, 70, 1, 20)


def test_the_file_is_its_owners_alone(store, path):
    """The database and what SQLite lays beside it can be read by their owner only."""
    record(store).write(judged(3), tally(3))
    assert Path(path + "-wal").exists()
    for name in ("", "-wal", "-shm"):
        assert stat.S_IMODE(Path(path + name).stat().st_mode) == 0o600


@pytest.mark.usefixtures("store")
def test_the_file_says_whose_it_is(path):
    """The header carries our application id and the version of the schema."""
    assert all_rows(path, "PRAGMA application_id") == [(APPLICATION,)]
    assert all_rows(path, "PRAGMA user_version") == [(NEWEST,)]


def test_one_text_is_stored_once(store, path):
    """Devices, remotes, names and places are rows of their own, however many flows speak of them."""
    recording = record(store)
    for n in range(3):
        recording.write(judged(50, START_S + n, ("x.example", "y.example")), tally(50))
    counts = [all_rows(path, f"SELECT count(*) FROM {table}")[0][0] for table in ("device", "remote", "name", "place")]
    assert counts == [3, 5, 2, 2]
    assert all_rows(path, "SELECT count(*) FROM flow") == [(150,)]


def test_a_second_store_knows_the_same_texts(path):
    """A later process finds the rows that an earlier one made."""
    for n in range(2):
        with Store(path) as store:
            recording = record(store, {f"{n}.pcap": str(n)})
            recording.write(judged(10, START_S + n, ("x.example",)), tally(10))
            recording.finish(tally(10), {f"{n}.pcap": str(n)})
    assert all_rows(path, "SELECT count(*) FROM device") == [(3,)]
    assert all_rows(path, "SELECT count(*) FROM place") == [(2,)]
    assert all_rows(path, "SELECT count(*) FROM dataset") == [(1,)]


def test_a_batch_without_flows_is_no_trouble(store):
    """A batch may be empty; rules then find nothing."""
    recording = record(store)
    batch = recording.write(judged(0), tally(0))
    assert batch.last < batch.first
    assert hits(batch, "1") == []
    recording.alert([], batch)


def test_a_batch_is_whole_or_not_there(store, path, monkeypatch):
    """Whatever fails within a batch, none of it is stored, and the next one is."""
    recording = record(store)
    recording.write(judged(4, names=("a.example",)), tally(4))
    with monkeypatch.context() as broken:
        broken.setattr(type(recording), "_count", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            recording.write(judged(7, START_S + 1, ("b.example",)), tally(11))
    assert all_rows(path, "SELECT count(*) FROM flow") == [(4,)]
    assert all_rows(path, "SELECT name FROM name") == [("a.example",)]
    recording.write(judged(7, START_S + 1, ("b.example",)), tally(11))
    assert all_rows(path, "SELECT count(*) FROM flows WHERE name = 'b.example'") == [(7,)]


def test_a_full_disk_loses_nothing_committed(store, path):
    """Where there is no more room, the message says so, what was committed is there, and with room it goes on."""
    recording = record(store)
    recording.write(judged(100), tally(100))
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(StoreError, match="full") as caught:
        recording.write(judged(5000, START_S + 1), tally(5100))
    assert caught.value.where == path
    assert "make room" in caught.value.remedy
    assert all_rows(path, "SELECT count(*), (SELECT flows FROM recording) FROM flow") == [(100, 100)]
    store._db.execute("PRAGMA max_page_count = 1000000")
    recording.write(judged(5000, START_S + 1), tally(5100))
    assert all_rows(path, "SELECT count(*) FROM flow") == [(5100,)]
    assert sound(path)


def test_counters_are_those_of_the_last_batch(store, path):
    """Counters and flows are committed together: the totals of a recording are never ahead of its rows."""
    recording = record(store)
    damage = [Damage("a.pcap", 24, "cut short", -1)]
    for n in (1, 2):
        recording.write(judged(5, START_S + n), Tally(10 * n, 9 * n, 900 * n, n, 5 * n, 0, 0, 1, 2, {"arp": n}, damage))
    query = "SELECT frames, packets, packet_bytes, lost, flows, state FROM recording"
    assert all_rows(path, query) == [(20, 18, 1800, 2, 10, "running")]
    assert all_rows(path, "SELECT reason, frames FROM skipped") == [("arp", 2)]
    assert all_rows(path, "SELECT path, offset, reason, lost_bytes FROM damage") == [("a.pcap", 24, "cut short", -1)]


def test_a_file_name_may_be_any_bytes(store, path):
    """The name of a file that is no UTF-8 is stored with the odd bytes written out."""
    name = os.fsdecode(b"caf\xe9.pcap")
    recording = record(store, {name: "f1"})
    recording.write(judged(1), Tally(damage=[Damage(name, 0, "empty", 0)]))
    recording.finish(Tally(damage=[Damage(name, 0, "empty", 0)]), {name: "f1"})
    assert all_rows(path, "SELECT path FROM input UNION SELECT path FROM damage") == [("caf\\udce9.pcap",)]


@given(st.text())
def test_any_text_can_be_stored(text):
    """What is stored is UTF-8, and a text that is already so is left as it is."""
    kept = file.storable(text)
    kept.encode()
    assert file.storable(kept) == kept
    assert file.storable("é✓") == "é✓"


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30), st.integers(0, 2**61))
def test_ids_always_rise(times, newest):
    """Every id is above all before it, whatever the clock says, and fits SQLite."""
    ids = flow_ids(np.array(times, np.int64), newest).tolist()
    assert all(a < b for a, b in zip([newest, *ids], ids, strict=False))
    assert all(number < 2**63 for number in ids)


@given(st.lists(st.integers(0, 9 * 10**12), min_size=1, max_size=20, unique=True).map(sorted))
def test_ids_of_rising_times_carry_the_time(milliseconds):
    """Where flows end in order, an id is the millisecond of the end with a sequence of zero."""
    ids = flow_ids(np.array(milliseconds, np.int64) * 1_000_000, -1).tolist()
    assert [number >> SEQUENCE_BITS for number in ids] == milliseconds


def test_two_recordings_at_once_share_one_range_of_ids(path):
    """Two writers of the same hour take turns: no id is given twice, and each batch holds its own flows only."""
    with Store(path) as one, Store(path) as two:
        first, second = record(one, {"a": "1"}), record(two, {"b": "2"})
        for n in range(3):
            for recording in (first, second):
                batch = recording.write(judged(10, START_S + n), tally(10 * n + 10))
                assert len(hits(batch, "1")) == len(hits(batch, f"recording = {recording.id}")) == 10
    assert all_rows(path, "SELECT recording, count(*) FROM flow GROUP BY 1") == [(1, 30), (2, 30)]


def test_a_reader_sees_whole_batches_while_another_is_written(store, path):
    """A reader in the middle of a write sees what was committed before, and the rest at once after."""
    recording = record(store)
    recording.write(judged(10), tally(10))
    with Reader(path) as reader:
        store._db.conn.execute("BEGIN IMMEDIATE")
        recording._insert(judged(5, START_S + 1))
        assert len(list(reader.flows({}))) == reader.snapshot().recordings[0]["flows"] == 10
        store._db.conn.execute("ROLLBACK")
        recording.write(judged(5, START_S + 1), tally(15))
        assert len(list(reader.flows({}))) == reader.snapshot().recordings[0]["flows"] == 15


def test_a_finished_input_is_known(store):
    """Only what a finished recording was made from counts as recorded."""
    recording = record(store, {"a": "f1"})
    assert store.recorded(["f1", "f2"]) == set()
    recording.finish(Tally(), {"a": "f1", "-": "f2"})
    assert store.recorded(["f1", "f2", "f3"]) == {"f1", "f2"}


@pytest.mark.parametrize("state", [INTERRUPTED, "running"])
def test_an_unfinished_recording_of_the_same_input_is_replaced(store, path, state):
    """What a stopped or killed run left over goes, with its alerts; other recordings stay."""
    other = record(store, {"other": "f9"})
    other.write(judged(2), tally(2))
    other.finish(tally(2), {"other": "f9"})
    left = record(store)
    batch = left.write(judged(3), tally(3))
    left.alert([alert(batch)], batch)
    if state == INTERRUPTED:
        left.finish(tally(3), {"a.pcap": "f1"}, INTERRUPTED)
    again = record(store)
    assert all_rows(path, "SELECT id, state FROM recording") == [(other.id, FINISHED), (again.id, "running")]
    for table in ("alert", "skipped", "damage", "input", "flow"):
        assert all_rows(path, f"SELECT count(*) FROM {table} WHERE recording = ?", left.id) == [(0,)]
    assert all_rows(path, "SELECT count(*) FROM flow") == [(2,)]


def test_an_input_that_another_process_records_is_left_to_it(path):
    """A recording of a process that still runs is not replaced, one of a process that is gone is."""
    with Store(path) as store, subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        record(store)
        store._db.execute("UPDATE recording SET writer = ?", [writer(process.pid)])
        with pytest.raises(StoreError, match=f"process {process.pid} is recording this input") as caught:
            record(store)
        assert caught.value.remedy
        store._db.execute("UPDATE recording SET writer = ?", [f"{process.pid}:1"])
        assert record(store).id == 2, "a process of the same number that began at another time is another process"
        process.communicate(b"\n")


def test_a_killed_process_that_nobody_has_asked_about_is_gone(path):
    """A recorder that was killed, and is a zombie because its parent does not ask, does not lock its input."""
    process = subprocess.Popen([sys.executable, "-c", "print(1, flush=True); input()"], stdin=-1, stdout=-1)
    with Store(path) as store, process:
        process.stdout.read(1)
        record(store)
        store._db.execute("UPDATE recording SET writer = ?", [writer(process.pid)])
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
        os.kill(process.pid, 0)
        assert writer(process.pid) == ""
        assert record(store).id == 2


def test_a_recording_that_was_replaced_writes_no_more(path):
    """A writer whose recording was taken over says so instead of leaving flows that belong to nothing."""
    with Store(path) as one, Store(path) as two:
        first = record(one)
        record(two)
        with pytest.raises(StoreError, match="another process has replaced"):
            first.write(judged(3), tally(3))
    assert all_rows(path, "SELECT count(*) FROM flow") == [(0,)]


def test_an_episode_grows(store, path):
    """Hits of the same rule, device, owner and country become one alert with sums and the newest words."""
    recording = record(store)
    for n in range(3):
        batch = recording.write(judged(2, START_S + n), tally(2))
        recording.alert([alert(batch, why=f"why {n}")], batch)
    assert all_rows(path, "SELECT hits, bytes_out, why FROM alert") == [(3, 300, "why 2")]


def test_a_batch_is_not_counted_twice(store, path):
    """The same batch's alerts written again change nothing."""
    recording = record(store)
    batch = recording.write(judged(2), tally(2))
    for _ in range(2):
        recording.alert([alert(batch)], batch)
    assert all_rows(path, "SELECT hits, bytes_out FROM alert") == [(1, 100)]
    assert all_rows(path, "SELECT rules_done FROM recording") == [(batch.last,)]


def test_a_rule_asks_its_own_batch_only(store):
    """A predicate sees the flows of the batch and no earlier ones."""
    recording = record(store)
    recording.write(judged(4), tally(4))
    batch = recording.write(judged(6, START_S + 1), tally(10))
    assert len(hits(batch, "verdict = 'OUT'")) == 3
    assert hits(batch, "owner = 'nobody'") == []


@pytest.mark.parametrize("predicate", ["no_such_column = 1", "1 = ", "load_extension('x')", "1); DROP TABLE flow; --"])
def test_a_predicate_that_cannot_run_is_a_rule_error(store, path, predicate):
    """Nonsense in a predicate stops that rule and changes nothing."""
    batch = record(store).write(judged(4), tally(4))
    with pytest.raises(RuleError):
        hits(batch, predicate)
    assert all_rows(path, "SELECT count(*) FROM flow") == [(4,)]
    assert len(hits(batch, "1")) == 4


def test_a_predicate_that_never_ends_is_stopped(store, monkeypatch):
    """A rule that takes too long over one batch is set aside with that reason."""
    monkeypatch.setattr("egress_watch.store.batch.RULE_LIMIT_S", 0.05)
    batch = record(store).write(judged(4), tally(4))
    endless = "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n) > 0"
    with pytest.raises(RuleError, match=r"longer than 0\.05 s"):
        hits(batch, endless)
    assert len(hits(batch, "1")) == 4


def test_one_bad_predicate_costs_the_others_nothing(store):
    """Predicates are asked together, and the answers are as if each had been asked alone."""
    batch = record(store).write(judged(6), tally(6))
    asked = ["verdict = 'OUT'", "no_such_column = 1", "device_port > 40003", "1 = ", "owner IS NULL"]
    found = batch.matching(asked)
    assert [str(type(one).__name__) for one in found] == ["ndarray", "RuleError", "ndarray", "RuleError", "ndarray"]
    assert [found[n].tolist() for n in (0, 2, 4)] == [[1, 3, 5], [4, 5], []]


@pytest.mark.parametrize("count", [0, 31, 32, 33, 70])
def test_any_number_of_predicates_can_be_asked(store, count):
    """However many rules there are, each gets its own answer."""
    batch = record(store).write(judged(9), tally(9))
    found = batch.matching([f"device_port = {40000 + n % 9}" for n in range(count)])
    assert [one.tolist() for one in found] == [[n % 9] for n in range(count)]


@pytest.mark.parametrize(("value", "holds"), [("NULL", 0), ("0", 0), ("2", 1), ("-1", 1), ("''", 0), ("'1'", 1)])
def test_a_predicate_holds_where_sqlite_says_it_is_true(store, value, holds):
    """NULL is not true, and any number but zero is."""
    batch = record(store).write(judged(3), tally(3))
    assert len(hits(batch, value)) == 3 * holds


def test_flows_that_went_meanwhile_are_no_hits(store):
    """Where another process took flows of the batch away, the others keep their own rows."""
    batch = record(store).write(judged(5), tally(5))
    store._db.conn.execute("DELETE FROM flow WHERE id = ?", (batch.first,))
    (found,) = batch.matching(["device_port IN (40000, 40003)"])
    assert found.tolist() == [3]


ALERTED = st.lists(st.lists(st.integers(0, 5), max_size=6, unique=True), max_size=6)


@given(ALERTED, st.integers(0, 7))
@settings(deadline=None, max_examples=40)
def test_episodes_grow_alike_whatever_is_remembered(batches, limit):
    """With room for all episodes, for some or for none, the same alerts have the same sums and newest words."""

    def alerts(room):
        with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/a.db") as store:
            recording = record(store)
            recording._episodes = Episodes(store._db, recording.id, 1, room)
            for n, owners in enumerate(batches):
                batch = recording.write(judged(3, START_S + n), tally(3))
                some = [alert(batch, hits=n + 1, owner=f"o{owner}", why=f"why {n}") for owner in owners]
                for _ in range(2):
                    recording.alert(some, batch)
            query = "SELECT owner, hits, bytes_out, first_ns, last_ns, first_flow, last_flow, why FROM alert ORDER BY 1"
            return store._db.execute(query).fetchall()

    found = alerts(limit)
    assert found == alerts(1000)
    sums = {o: sum(n + 1 for n, owners in enumerate(batches) if o in owners) for o in {o for b in batches for o in b}}
    assert {row[0]: row[1] for row in found} == {f"o{owner}": hits for owner, hits in sums.items()}


def test_alerts_that_were_rolled_back_are_not_remembered(store, path, monkeypatch):
    """Where storing a batch's alerts fails, the next attempt finds none of them and stores all."""
    recording = record(store)
    batch = recording.write(judged(2), tally(2))
    with monkeypatch.context() as broken:
        broken.setattr("egress_watch.store.episodes.EVENT", "INSERT INTO nothing VALUES (1)")
        with pytest.raises(StoreError):
            recording.alert([alert(batch), alert(batch, bytes_out=1)], batch)
    assert all_rows(path, "SELECT count(*) FROM alert") == [(0,)]
    recording.alert([alert(batch), alert(batch, owner="Tuya")], batch)
    assert all_rows(path, "SELECT owner, hits FROM alert ORDER BY 1") == [("Baidu", 1), ("Tuya", 1)]


def test_two_recordings_count_their_alerts_apart(path):
    """Alerts of two writers at once are numbered in turn, and each grows its own."""
    with Store(path) as one, Store(path) as two:
        first, second = record(one, {"a": "1"}), record(two, {"b": "2"})
        for n in range(3):
            for recording in (first, second):
                batch = recording.write(judged(2, START_S + n), tally(2))
                recording.alert([alert(batch, owner=f"o{k}") for k in range(n + 1)], batch)
    rows = all_rows(path, "SELECT recording, owner, hits FROM alert ORDER BY recording, owner")
    assert rows == [(number, f"o{k}", 3 - k) for number in (1, 2) for k in range(3)]


def test_rules_are_tried_on_the_schema_beforehand():
    """`prepare` finds a predicate that cannot run, and nothing wrong with one that can."""
    assert prepare([("verdict = 'OUT' AND bytes_out > 5", "a.yml")]) == []
    (error,) = prepare([("no_such_column = 1", "b.yml")])
    assert error.where == "b.yml"
    assert "no_such_column" in error.what


def test_a_broken_rule_is_noted(store, path):
    """The reason why a rule was set aside is in the database."""
    recording = record(store)
    recording.broken({"r-1": "took too long"})
    assert all_rows(path, "SELECT id, title, broken FROM rule") == [("r-1", "A rule", "took too long")]


def test_a_rule_that_cannot_run_is_noted_until_it_is_mended(store, path):
    """Where and why is in the database at once, beside what broke; the next recording, or reload, starts anew."""
    recording = record(store, unsound=[("my/b.yml:2:5", "unknown field")])
    recording.broken({"r-1": "took too long"})
    assert standing(str(path))["broken_rules"] == [
        {"title": "A rule", "broken": "took too long"}, {"title": "b.yml:2:5", "broken": "unknown field"}
    ]  # fmt: skip
    with Screens(str(path)) as screens:
        assert [row["title"] for row in screens.status().set_aside] == ["A rule", "b.yml:2:5"]
    recording.reload(DATA, [RULE], [("my/c.yml", "not UTF-8")])
    assert [row["title"] for row in standing(str(path))["broken_rules"]] == ["c.yml"]
    recording.broken({"r-1": "no such column"})
    assert len(standing(str(path))["broken_rules"]) == 2
    record(store, {"b": "2"})
    assert standing(str(path))["broken_rules"] == []


def test_a_lookup_forgets_and_finds_again(store):
    """Memory is bounded: beyond the limit all is dropped, and the numbers stay the same."""
    lookup = Lookup(Kept[str](store._db, "name", ("name",), lambda name: (name,)), limit=3)
    numbers = lookup.numbers(["a", "b", "a", "c", "d"])
    assert numbers == [1, 2, 1, 3, 4]
    lookup.trim()
    assert not lookup._known
    assert lookup.numbers(["d", "a"]) == [4, 1]


@given(st.lists(st.lists(st.text("ab", max_size=3), max_size=8), max_size=6), st.integers(0, 9))
@settings(deadline=None, max_examples=30)
def test_a_key_has_one_number_whatever_was_there(batches, limit):
    """New keys, known ones, forgotten ones and those of another lookup: each has one row, in order of appearance."""
    with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/a.db") as store:
        lookups = [Lookup(Kept[str](store._db, "name", ("name",), lambda name: (name,)), limit) for _ in range(2)]
        seen: dict[str, int] = {}
        for n, keys in enumerate(batches):
            wanted = [seen.setdefault(key, len(seen) + 1) for key in keys]
            assert lookups[n % 2].numbers(keys) == wanted
            lookups[n % 2].trim()
        assert store._db.execute("SELECT name, id FROM name ORDER BY id").fetchall() == list(seen.items())


def test_places_under_two_zones_are_two(store, path):
    """The same place is judged anew under another zone, and its rows say under which."""
    for zone in ("eea", "ch"):
        recording = record(store, {zone: zone}, zone)
        recording.write(Judged(judged(1).flows, np.array([0]), [AWAY], [Verdict("OUT", "x")]), tally(1))
        recording.finish(tally(1), {zone: zone})
    assert all_rows(path, "SELECT DISTINCT zone FROM flows") == [("eea",), ("ch",)]


NO_DATABASE = {
    "a text file": b"dear diary\n" * 300,
    "a capture": b"\x0a\x0d\x0d\x0a" + bytes(4096),
    "one byte": b"x",
    "a short note": b"buy milk\n",
    "a cut header": b"SQLite format 3\0",
}


@pytest.mark.parametrize("content", NO_DATABASE.values(), ids=NO_DATABASE.keys())
@pytest.mark.parametrize("opened", [Store, Reader])
def test_a_file_that_is_no_database_is_left_alone(path, opened, content):
    """What is no database is refused with a remedy and not changed by a byte."""
    Path(path).write_bytes(content)
    with pytest.raises(StoreError) as caught:
        opened(path)
    assert caught.value.where == path
    assert caught.value.remedy
    assert Path(path).read_bytes() == content


@pytest.mark.parametrize("version", [0, 1, 99])
@pytest.mark.parametrize("opened", [Store, Reader])
def test_a_database_of_something_else_is_left_alone(path, opened, version):
    """What another program wrote is refused, whatever version it gives itself, and not changed by a byte."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE cookies(a)")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
    before = Path(path).read_bytes()
    with pytest.raises(StoreError, match="something else"):
        opened(path)
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("opened", [Store, Reader])
def test_a_newer_schema_is_left_alone(path, opened):
    """A file that a newer egress-watch wrote is refused with the versions and a remedy."""
    Store(path).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {NEWEST + 1}")
    with pytest.raises(StoreError, match=f"schema {NEWEST + 1}, newer than .* \\({NEWEST}\\)") as caught:
        opened(path)
    assert "newer one" in caught.value.remedy


def test_an_empty_file_becomes_a_database(path):
    """An empty file is a new database to write, and nothing to read."""
    Path(path).touch()
    with pytest.raises(StoreError, match="is empty"):
        Reader(path)
    Store(path).close()
    with Reader(path) as reader:
        assert reader.snapshot().recordings == ()


def test_a_missing_database_is_not_made_by_reading(path):
    """Reading what is not there is a mistake of usage, names the command that would make it, and makes nothing."""
    with pytest.raises(UsageError, match="no such database") as caught:
        Reader(path)
    assert "egress-watch replay" in caught.value.remedy
    assert not Path(path).exists()


@pytest.mark.parametrize("name", ["missing/a.db", ".", "x" * 300, "loop", "fifo"])
@pytest.mark.parametrize("opened", [Store, Reader])
def test_a_path_that_can_hold_no_database_is_named(tmp_path, opened, name):
    """The error says where, what and what to do."""
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises((StoreError, UsageError)) as caught:
        opened(str(tmp_path / name))
    assert caught.value.where == str(tmp_path / name)
    assert caught.value.what
    assert caught.value.remedy


def test_a_device_is_no_database():
    """/dev/null is no place for a database."""
    with pytest.raises(StoreError):
        Store(os.devnull)
    assert Path(os.devnull).is_char_device()


def test_two_that_make_the_same_database_make_it_once(path, monkeypatch):
    """Of two processes that find a new file, the second waits and takes it as the first has made it."""
    first, *later = file.MIGRATIONS
    made = []

    def second_comes(db):
        made.append(1)
        first(db)

    monkeypatch.setattr(file, "MIGRATIONS", [second_comes, *later])
    version = file._version
    opening = []

    def first_looks(db, where):
        found = version(db, where)
        if found == 0 and not opening:
            opening.append(1)
            Store(path).close()
        return found

    monkeypatch.setattr(file, "_version", first_looks)
    Store(path).close()
    assert made == [1]
    assert sound(path)


@pytest.mark.parametrize("statement", range(10))
def test_a_file_that_another_makes_meanwhile_is_ours(path, monkeypatch, statement):
    """Between any two statements of one that opens a new file, another may make it: both find their database."""
    asked = []

    class Overtaken(file.Database):
        def execute(self, sql, parameters=None):
            asked.append(sql)
            if len(asked) == statement + 1:
                Store(path).close()
            return super().execute(sql, parameters)

    monkeypatch.setattr(file, "Database", Overtaken)
    Store(path).close()
    assert len(asked) > statement
    assert sound(path)


def test_a_locked_database_says_who_to_wait_for(path, monkeypatch):
    """Where another process keeps the file locked, the message says so."""
    monkeypatch.setattr(file, "BUSY_S", 0.05)
    with Store(path) as store, contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked") as caught:
            record(store)
        assert "wait" in caught.value.remedy


def test_a_damaged_database_is_put_into_words(tmp_path):
    """A database with a torn page is trouble in data, said once, whatever is read of it."""
    whole = tmp_path / "whole.db"
    with Store(str(whole)) as store:
        recording = record(store)
        recording.write(judged(2000, names=tuple(f"n{n}.example" for n in range(500))), tally(2000))
        recording.finish(tally(2000), {"a": "b"})
    data = whole.read_bytes()
    found = 0
    for at in range(4096, len(data), 4096):
        torn = tmp_path / "torn.db"
        torn.write_bytes(data[:at] + b"\xff" * 4096 + data[at + 4096 :])
        try:
            with Reader(str(torn)) as reader:
                list(reader.flows({}))
                reader.snapshot()
        except StoreError:
            found += 1
    assert found > 10


def test_a_database_cut_anywhere_is_put_into_words(tmp_path):
    """A database that lost its end is no traceback either."""
    whole = tmp_path / "whole.db"
    with Store(str(whole)) as store:
        recording = record(store)
        recording.write(judged(500), tally(500))
        recording.finish(tally(500), {"a": "b"})
    data = whole.read_bytes()
    for at in [*range(0, 200, 7), *range(200, len(data), 2999)]:
        cut = tmp_path / "cut.db"
        cut.write_bytes(data[:at])
        with contextlib.suppress(StoreError), Reader(str(cut)) as reader:
            list(reader.flows({}))
            reader.snapshot()
