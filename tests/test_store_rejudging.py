"""Judged again: what changed is told, nothing is written unasked, once is as good as twice, and history stays."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import AWAY, HOME, START_S, flows, tally
from running import environment, sound

from egress_watch.errors import StoreError, UsageError
from egress_watch.model import IN, OUT, OWN, UNKNOWN, Judged, Verdict
from egress_watch.store import NEWEST, Law, Reader, Store, compare, rejudging, rewrite, schema
from egress_watch.store.difference import KINDS
from egress_watch.store.recording import writer

OLD = [{"name": "d", "kind": "country", "built": "2026-01-01", "licence": "", "attribution": "", "sha256": "00"}]
NEW = [{**OLD[0], "built": "2026-06-01", "sha256": "11"}]
SAID = (HOME, Verdict(IN, "in NL"))
ANSWERS = (
    SAID,
    (AWAY, Verdict(OUT, "in CN")),
    (HOME._replace(country="DE", countries=("DE",)), Verdict(IN, "in DE")),
    (HOME._replace(owner="KPN"), Verdict(IN, "in NL")),
    (HOME._replace(location_status="single"), Verdict(IN, "in NL")),
    (HOME._replace(note="\x1b[31mmine"), Verdict(IN, "in NL")),
)
KIND_OF = ("data", "verdict", "country", "owner", "status", "words")


class Oracle:
    """A judge that gives the remote of number n (203.0.113.n) the answer of that number, round and round."""

    def __init__(self, answers=ANSWERS):
        self.places = [place for place, _ in answers]
        self.verdicts = [verdict for _, verdict in answers]

    def answers(self, addresses, names):
        """Return which answer each address has."""
        assert len(addresses) == len(names)
        return ((addresses[:, 1] & np.uint64(255)).astype(np.int64) - 1) % len(self.places)


def law(answers=ANSWERS, zone="", as_of="2026-11-23"):
    """Return a law that answers so, under the recording's own zone."""
    return lambda own: Law(zone or own, as_of, Oracle(answers))


def filled(path, count=60, zones=("eea",), judged_as=SAID, finish=True):
    """Make a database of recordings in which every flow has the same answer; return its path."""
    with Store(str(path)) as store:
        for n, zone in enumerate(zones):
            mark = {str(n): str(n)}
            made = store.record(zone=zone, as_of="2020-02-01", data=OLD, rules=[], version="0", inputs=mark)
            some = flows(count, START_S + n, ("", "a.example", "b.example"))
            made.write(Judged(some, np.zeros(count, np.int64), [judged_as[0]], [judged_as[1]]), tally(count))
            if finish:
                made.finish(tally(count), mark)
    return str(path)


def told(path):
    """Return every flow as a reader sees it, and what the recordings say of their data."""
    with Reader(path) as reader:
        return list(reader.flows({})), reader.snapshot()


def dump(path):
    """Return everything in a database, as text, but for the times of storing, which are the clock's."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return [line for line in db.iterdump() if not line.startswith('INSERT INTO "mark"')]


def test_every_change_is_counted_under_its_gravest_kind(tmp_path):
    """Verdict before country before hands before status before words; what stays is counted as judged by other data."""
    path = filled(tmp_path / "a.db")
    with compare(path, law(), NEW) as found:
        changes, matrix = found.changes(), found.matrix()
        listed = list(found.destinations(every=True))
    assert [changes[kind]["flows"] for kind in KINDS] == [12, 12, 12, 12, 0, 12]
    assert sum(row["flows"] for row in matrix) == 60
    assert {(row["before"], row["after"]): row["flows"] for row in matrix} == {(IN, IN): 48, (IN, OUT): 12}
    assert sum(row["flows"] for row in listed) == 48
    assert [KINDS.index(row["changed"]) for row in listed] == sorted(KINDS.index(row["changed"]) for row in listed)
    for row in listed:
        at = int(row["remote_ip"].rpartition(".")[2]) - 1
        assert row["changed"] == KIND_OF[at]
        assert row["before"]["why"] == "in NL"
        assert row["after"]["why"] == ANSWERS[at][1].why
        assert row["before"]["data"] == [{"name": "d", "built": "2026-01-01"}]


def test_a_list_is_as_long_as_asked_for_and_the_largest_come_first(tmp_path):
    """--limit cuts the list and nothing else."""
    path = filled(tmp_path / "a.db")
    with compare(path, law(), NEW) as found:
        whole = list(found.destinations())
        assert list(found.destinations(2)) == whole[:2]
    assert {row["changed"] for row in whole} == {"verdict"}
    assert [row["bytes_out"] for row in whole] == sorted((row["bytes_out"] for row in whole), reverse=True)
    assert {row["name"] for row in whole} == {None, "a.example", "b.example"}


def test_comparing_writes_nothing(tmp_path):
    """A look at the difference changes no byte of what the database says."""
    path = filled(tmp_path / "a.db", zones=("eea", "ch"))
    before = dump(path)
    with compare(path, law(), NEW) as found:
        assert found.differs()
        assert list(found.destinations())
    assert dump(path) == before


def test_a_write_gives_every_flow_the_new_answer(tmp_path):
    """Flows, sums and the recordings' data are those of today; counts and times stay."""
    path = filled(tmp_path / "a.db", zones=("eea", "ch"))
    old, _ = told(path)
    with rewrite(path, law(), NEW, "9"):
        pass
    new, snapshot = told(path)
    changed = {"country", "location_status", "countries", "owner", "owner_seat", "asn", "as_name", "provider", "laws",
               "ties", "note", "evidence", "verdict", "why", "dataset", "data"}  # fmt: skip
    for before, after in zip(old, new, strict=True):
        at = int(after["remote_ip"].rpartition(".")[2]) - 1
        assert {name: after[name] for name in after.keys() - changed} == {n: before[n] for n in before.keys() - changed}
        assert (after["verdict"], after["why"]) == tuple(ANSWERS[at][1])
        assert after["data"] == [{"name": "d", "built": "2026-06-01"}]
    assert snapshot.data == tuple(NEW)
    assert {row["zone_as_of"] for row in snapshot.recordings} == {"2026-11-23"}
    assert {row["verdict"]: row["flows"] for row in snapshot.verdicts} == {IN: 96, OUT: 24}


def test_twice_is_once(tmp_path):
    """A second write by the same data changes nothing, and says so."""
    path = filled(tmp_path / "a.db", zones=("eea", "ch"))
    with rewrite(path, law(), NEW, "9") as found:
        assert found.differs()
    before = dump(path)
    with rewrite(path, law(), NEW, "9") as found:
        assert not found.differs()
        assert all(row["before"] == row["after"] for row in found.matrix())
    assert dump(path) == before


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(0, len(ANSWERS) - 1), min_size=1, max_size=5), min_size=1, max_size=4))
def test_every_earlier_answer_can_be_told(tmp_path_factory, rounds):
    """However often a database is judged again, each flow's answers come back in order, the newest first."""
    path = filled(tmp_path_factory.mktemp("again") / "a.db", 15)
    wanted = {row["id"]: [SAID[1].why + "/" + OLD[0]["built"]] for row in told(path)[0]}
    for n, numbers in enumerate(rounds):
        data = [{**OLD[0], "built": f"2026-07-{n + 1:02}"}]
        answers = tuple(ANSWERS[number] for number in numbers)
        with rewrite(path, law(answers), data, "9"):
            pass
        for row in told(path)[0]:
            wanted[row["id"]].insert(0, f"{row['why']}/{row['data'][0]['built']}")
    with Reader(path) as reader:
        for number, (_, *earlier) in wanted.items():
            assert [f"{row['why']}/{row['data'][0]['built']}" for row in reader.earlier(number)] == earlier


def test_places_never_change(tmp_path):
    """A new judgement makes new rows; every row of before is as it was."""
    path = filled(tmp_path / "a.db")
    with contextlib.closing(sqlite3.connect(path)) as db:
        before = db.execute("SELECT * FROM place").fetchall()
        with rewrite(path, law(), NEW, "9"):
            pass
        after = db.execute("SELECT * FROM place").fetchall()
    assert before[0] in after
    assert len(after) == len(before) + 5


@pytest.mark.parametrize(("page", "window"), [(1, 1), (7, 13), (10_000, 10_000)])
def test_batches_of_any_size_come_to_the_same(tmp_path, monkeypatch, page, window):
    """How many groups and flows are taken at a time, and how much is remembered, changes nothing."""
    whole, cut = filled(tmp_path / "a.db", zones=("eea", "ch")), filled(tmp_path / "b.db", zones=("eea", "ch"))
    monkeypatch.setattr(rejudging.time, "time_ns", lambda: 7)
    with rewrite(whole, law(), NEW, "9") as found:
        wanted = found.matrix(), found.changes(), list(found.destinations())
    monkeypatch.setattr(rejudging, "PAGE_GROUPS", page)
    monkeypatch.setattr(rejudging, "WINDOW_FLOWS", window)
    monkeypatch.setattr(rejudging, "MOST_REMEMBERED", 0)
    with rewrite(cut, law(), NEW, "9") as found:
        assert (found.matrix(), found.changes(), list(found.destinations())) == wanted
    assert dump(cut) == dump(whole)


def test_a_recording_keeps_its_zone(tmp_path):
    """Under another zone the difference is told and a write is refused, with what to do instead."""
    path = filled(tmp_path / "a.db", zones=("eea", "ch"))
    before = dump(path)
    with compare(path, law(zone="eu27"), OLD) as found:
        assert {(row["zone"], row["zone_now"]) for row in found.laws()} == {("eea", "eu27"), ("ch", "eu27")}
    with (
        pytest.raises(UsageError, match="made under eea and keeps that zone") as caught,
        rewrite(path, law(zone="ch"), NEW, "9"),
    ):
        pass
    assert "replay --again" in caught.value.remedy
    assert dump(path) == before


def test_a_database_that_is_being_recorded_is_left_alone(tmp_path):
    """While a living process records, a write is refused; what a dead one left is judged again."""
    path = filled(tmp_path / "a.db", finish=False)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE recording SET writer = ?", [writer(process.pid)])
        before = dump(path)
        with (
            pytest.raises(StoreError, match=f"process {process.pid} is recording here") as caught,
            rewrite(path, law(), NEW, "9"),
        ):
            pass
        assert caught.value.remedy
        with compare(path, law(), NEW) as found:
            assert found.differs()
        assert dump(path) == before
        process.communicate(b"\n")
    with rewrite(path, law(), NEW, "9"):
        pass
    assert {row["dataset"] for row in told(path)[0]} == {2}


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from egress_watch.store import rejudging, rewrite
from test_store_rejudging import NEW, law
rejudging.WINDOW_FLOWS = 20
move, moved = rejudging._Rejudging._move, []
def die_at_the_second(self, window):
    move(self, window)
    moved.append(window)
    if len(moved) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
rejudging._Rejudging._move = die_at_the_second
with rewrite({path!r}, law(), NEW, "9"):
    pass
"""


def test_a_kill_in_the_middle_changes_nothing(tmp_path):
    """Killed with some flows moved, the database is sound and says what it said before; the next run is whole."""
    path = filled(tmp_path / "a.db")
    before = dump(path)
    script = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parent), path=path)
    done = subprocess.run([sys.executable, "-c", script], env=environment(), check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert sound(path)
    assert dump(path) == before
    with rewrite(path, law(), NEW, "9"):
        pass
    assert {row["dataset"] for row in told(path)[0]} == {2}


def test_a_reader_sees_the_old_answers_until_all_are_new(tmp_path, monkeypatch):
    """In the middle of a write a reader still has every old answer."""
    path = filled(tmp_path / "a.db")
    before, seen = told(path), []
    move = rejudging._Rejudging._move

    def looked_at(self, window):
        move(self, window)
        seen.append(told(path) == before)

    monkeypatch.setattr(rejudging._Rejudging, "_move", looked_at)
    monkeypatch.setattr(rejudging, "WINDOW_FLOWS", 20)
    with rewrite(path, law(), NEW, "9"):
        pass
    assert seen == [True, True, True]
    assert told(path) != before


def test_a_full_disk_changes_nothing(tmp_path, monkeypatch):
    """Where there is no room for the new answers, the old ones stay and the message says what to do."""
    path = filled(tmp_path / "a.db", 5000)
    before = dump(path)
    opened = rejudging.open_for_writing

    def without_room(*arguments, **more):
        db = opened(*arguments, **more)
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
        return db

    monkeypatch.setattr(rejudging, "open_for_writing", without_room)
    with pytest.raises(StoreError, match="full") as caught, rewrite(path, law(), NEW, "9"):
        pass
    assert "make room" in caught.value.remedy
    assert dump(path) == before


def test_a_recording_that_is_replaced_takes_its_history_along(tmp_path):
    """What is recorded anew leaves no earlier answers of flows that are gone."""
    path = filled(tmp_path / "a.db", finish=False)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE recording SET state = 'interrupted'")
    with rewrite(path, law(), NEW, "9"):
        pass
    with Store(path) as store:
        store.record(zone="eea", as_of="", data=OLD, rules=[], version="0", inputs={"0": "0"})
    with contextlib.closing(sqlite3.connect(path)) as db:
        for table in ("rejudged", "rejudgement", "flow"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_nothing_recorded_is_nothing_to_judge(tmp_path):
    """A database without recordings or flows is no trouble, and one that is not there is not made."""
    path = str(tmp_path / "a.db")
    with pytest.raises(UsageError, match="no such database"), rewrite(path, law(), NEW, "9"):
        pass
    assert not os.path.lexists(path)
    Store(path).close()
    for opened in (compare(path, law(), NEW), rewrite(path, law(), NEW, "9")):
        with opened as found:
            assert (found.matrix(), found.laws(), list(found.destinations()), found.differs()) == ([], [], [], False)


def test_a_judge_that_cannot_tell_leaves_the_flows_their_bytes(tmp_path):
    """Every flow and byte is in the matrix, whatever the answers are."""
    path = filled(tmp_path / "a.db", zones=("eea", "eu27"))
    answers = tuple((AWAY, Verdict(verdict, "so")) for verdict in (OWN, UNKNOWN, OUT))
    with compare(path, law(answers), NEW) as found:
        matrix = found.matrix()
    rows, _ = told(path)
    for name in ("bytes_out", "bytes_in"):
        assert sum(row[name] for row in matrix) == sum(row[name] for row in rows)
    assert [(row["before"], row["after"]) for row in matrix] == [(IN, OWN), (IN, OUT), (IN, UNKNOWN)]


def test_flows_are_looked_at_in_their_order(tmp_path):
    """New answers are found by key for each flow of a stretch: no pass over all changes for each flow."""
    path = filled(tmp_path / "a.db")
    with contextlib.closing(sqlite3.connect(path)) as db:
        for statement in rejudging._TABLES.split(";\n"):
            db.execute(statement.replace(":newest", "9"))
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {rejudging._MOVE}", (0, 1))]
    assert plan[0].startswith("SEARCH flow USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)")
    assert all(step.startswith("SEARCH") for step in plan)


def test_a_damaged_address_is_put_into_words(tmp_path):
    """A remote that is no address any more is trouble in data, with a remedy."""
    path = filled(tmp_path / "a.db")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE remote SET ip = 'camera' WHERE id = 1")
    with pytest.raises(StoreError, match="camera") as caught, compare(path, law(), NEW):
        pass
    assert caught.value.remedy


@pytest.fixture
def of_schema_1(tmp_path):
    """Return a database as the first schema made it, with flows in it."""
    path = str(tmp_path / "one.db")
    with sqlite3.connect(path, isolation_level=None) as connection:
        schema.MIGRATIONS[0](schema.Database(connection))
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO dataset VALUES (1, 'x', ?)", ['[{"name": "d", "built": "2026-01-01"}]'])
        connection.execute(
            "INSERT INTO recording(state, zone, zone_as_of, dataset, version) VALUES ('finished', 'eea', '', 1, '')"
        )
        connection.execute("INSERT INTO device VALUES (1, '10.0.0.1', '')")
        connection.execute("INSERT INTO remote VALUES (1, '203.0.113.1')")
        place = (
            "p",
            "eea",
            1,
            "NL",
            "agreed",
            '["NL"]',
            1103,
            "SURF",
            "SURF",
            "",
            "SURF",
            "NL",
            "[]",
            "asn",
            "[]",
            IN,
            "in NL",
        )
        connection.execute(f"INSERT INTO place VALUES (1, {', '.join('?' * len(place))})", place)
        flow = (77, 1, 5, 1, 6, 1, 40000, 1, 443, 0, 1, 60, 1, 40, 0, 0, 1, None, 0, 1)
        connection.execute(f"INSERT INTO flow VALUES ({', '.join('?' * len(flow))})", flow)
    connection.close()
    return path


def test_an_older_schema_is_brought_up_to_date(of_schema_1):
    """Opened for writing, a file of schema 1 keeps its flows, and each says which data judged it."""
    with pytest.raises(StoreError, match=r"schema 1, older") as caught:
        Reader(of_schema_1)
    assert "for writing" in caught.value.remedy
    Store(of_schema_1).close()
    (row,), snapshot = told(of_schema_1)
    assert (row["id"], row["remote_ip"], row["verdict"], row["note"]) == (77, "203.0.113.1", IN, None)
    assert (row["countries"], row["evidence"], row["dataset"]) == (["NL"], "asn", 1)
    assert row["data"] == [{"name": "d", "built": "2026-01-01"}]
    assert len(snapshot.verdicts) == 1
    with contextlib.closing(sqlite3.connect(of_schema_1)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (NEWEST,)
    with rewrite(of_schema_1, law(), NEW, "9"):
        pass
    assert told(of_schema_1)[0][0]["dataset"] == 2
    with contextlib.closing(sqlite3.connect(of_schema_1)) as db:
        now = "SELECT place, {} FROM {} GROUP BY place"
        by_hour, by_flow = (
            db.execute(now.format(*what)).fetchall() for what in (("sum(flows)", "hour"), ("count(*)", "flow"))
        )
        assert by_hour == by_flow != []
    assert sound(of_schema_1)
