"""When a flow's name was heard, which others its address had, and what was heard at all: in the store and shown."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
from judging import PLACES, VERDICTS, flows, judged, tally
from running import run
from sqlite_utils import Database

from egress_watch.library import shipped
from egress_watch.model import Judged, Tally
from egress_watch.store import Reader, Store
from egress_watch.store.schema import MIGRATIONS, NEWEST, _version_9

NOTHING = {"zone": "eea", "as_of": "", "data": [], "rules": [], "version": "0"}
CITY = shipped("captures") / "city.pcapng"


def named(before_ns: list[int], others: list[str]) -> Judged:
    """Return flows whose names were heard so long before their first packet; 0 stands for no name."""
    count = len(before_ns)
    plain = flows(count, names=tuple("cam.example" if before else "" for before in before_ns))
    heard_ns = np.where(np.array(before_ns) != 0, plain.first_ns - np.array(before_ns), 0)
    told = replace(plain, name_ns=heard_ns, other_names=tuple(others))
    return Judged(told, np.arange(count) % 2, PLACES, VERDICTS)


def stored(path: str, what: Judged) -> list[dict]:
    """Return the rows of the view `flows` once these were written."""
    with Store(path) as store:
        recording = store.record(inputs={"a": "1"}, **NOTHING)
        recording.write(what, tally(len(what.flows)))
        recording.finish(tally(len(what.flows)), {"a": "1"})
    with Reader(path) as reader:
        return list(reader.flows({}))


def test_the_time_of_a_name_is_kept_to_the_millisecond(tmp_path):
    """Names from before, from within and from a day before the flow come back within a millisecond; none stays none."""
    what = named([5_300_000, -20_700_000, 86_400 * 10**9, 0], ["", "", "", ""])
    rows = stored(str(tmp_path / "a.db"), what)
    told = zip(rows, what.flows.name_ns.tolist(), strict=True)
    assert all(row["name_ns"] is None if not ns else abs(row["name_ns"] - ns) < 10**6 for row, ns in told)
    assert [row["name_ns"] is None for row in rows] == [False, False, False, True]


def test_other_names_stay_a_list_and_are_kept_once(tmp_path):
    """Several names of one address come back as a list; the same list is one row, whatever is in a name."""
    odd = 'a"b\\092c.example [x].example'
    rows = stored(str(tmp_path / "a.db"), named([1] * 4, ["x.example y.example", "", odd, "x.example y.example"]))
    assert [row["other_names"] for row in rows] == [
        ["x.example", "y.example"], None, odd.split(" "), ["x.example", "y.example"],
    ]  # fmt: skip
    with closing(sqlite3.connect(tmp_path / "a.db")) as db:
        assert db.execute("SELECT count(*) FROM alias").fetchone() == (2,)


def test_a_time_costs_two_bytes_a_flow(tmp_path):
    """What is nearly always true, a name heard less than half a minute before, is stored in at most two bytes."""
    stored(str(tmp_path / "a.db"), named([30 * 10**9, 10**6, -127 * 10**6], ["", "", ""]))
    with closing(sqlite3.connect(tmp_path / "a.db")) as db:
        assert all(-(2**15) <= ms < 2**15 for (ms,) in db.execute("SELECT name_ms FROM flow"))


def test_flows_without_their_names_are_written_too(tmp_path):
    """Columns that are empty before names has run give NULL."""
    rows = stored(str(tmp_path / "a.db"), judged(3))
    assert {(row["name_ns"], row["other_names"]) for row in rows} == {(None, None)}


def test_a_database_of_the_step_before_grows(tmp_path):
    """Its views keep every column they had, and flows that knew no time of their name have none."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        for step in MIGRATIONS[: MIGRATIONS.index(_version_9)]:
            step(Database(connection))
        before = {view: columns(connection, view) for view in ("flows", "alerts")}
        connection.execute(f"PRAGMA user_version = {MIGRATIONS.index(_version_9)}")
        connection.commit()
    Store(str(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (NEWEST,)
        assert columns(connection, "flows")[: len(before["flows"])] == before["flows"]
        assert columns(connection, "alerts")[: len(before["alerts"])] == before["alerts"]
        assert {"name_ns", "other_names"} <= set(columns(connection, "flows"))


def columns(connection: sqlite3.Connection, view: str) -> list[str]:
    """Return the columns of a view."""
    return [row[1] for row in connection.execute(f"PRAGMA table_info({view})")]


def test_what_was_heard_is_counted_as_it_stands(tmp_path):
    """The counters of the last batch stand, not those of one before; a recording that goes takes them with it."""
    with Store(str(tmp_path / "a.db")) as store:
        recording = store.record(inputs={"a": "1"}, **NOTHING)
        recording.write(judged(1), Tally(flows=1, heard={"heard: dns": 1, "waiting": 2}))
        recording.write(judged(1, 2_000_000_000), Tally(flows=2, heard={"heard: dns": 3, "refused: quic: cut": 1}))
        with Reader(str(tmp_path / "a.db")) as reader:
            counted = {row["counter"]: row["count"] for row in reader.snapshot().heard}
        assert counted == {"heard: dns": 3, "refused: quic: cut": 1}
        store.remove(recording)
        with Reader(str(tmp_path / "a.db")) as reader:
            assert reader.snapshot().heard == ()


def test_the_city_says_when_and_what_else(tmp_path, capsys):
    """A flow of the city shows source and time of its name, and --why the others its address had."""
    db = tmp_path / "city.db"
    code, out, _ = run(capsys, "replay", CITY, "--db", db, "--config", shipped("captures") / "city.conf.toml")
    assert code == 0
    assert "Names heard: dns 141, tls 49" in out
    with Reader(str(db)) as reader:
        rows = list(reader.flows({}))
    heard = [row for row in rows if row["name"]]
    assert heard
    assert all(row["name_ns"] <= row["last_ns"] + 10**6 for row in heard)
    assert all(row["first_ns"] - row["name_ns"] <= 86_400 * 10**9 for row in heard)
    _, why, _ = run(capsys, "flows", db, "--id", heard[0]["id"], "--why")
    assert f"heard in {heard[0]['name_source']} " in why
