"""Reading: filters, pages, sums and a snapshot that agrees with the rows."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from judging import START_S, judged, tally
from running import as_a_user, city_db, complaints, spawn

from egress_watch.cli.options import ALERT_FILTERS, FLOW_FILTERS
from egress_watch.errors import StoreError
from egress_watch.model import EMPTY
from egress_watch.store import Reader, Store, reader
from egress_watch.store.foremost import destination
from egress_watch.store.reader import FILTERS, LEVELS


@pytest.fixture
def city(tmp_path):
    """Return the city's database, open for reading."""
    with Reader(str(city_db(tmp_path))) as opened:
        yield opened


@pytest.mark.parametrize(
    ("filters", "holds"),
    [
        ({"verdict": "out"}, lambda row: row["verdict"] == "OUT"),
        ({"country": "cn"}, lambda row: row["country"] == "CN"),
        ({"country": "us"}, lambda row: row["country"] == "US" or "US" in row["countries"]),
        ({"id": 7346613138370560}, lambda row: row["id"] == 7346613138370560),
        ({"owner": "HIKVIS"}, lambda row: row["owner"] == "Hikvision"),
        ({"provider": "amazon"}, lambda row: row["provider"] == "Amazon"),
        ({"device": "10.20.110.11"}, lambda row: row["device_ip"] == "10.20.110.11"),
        ({"device": "44:19:B6:0B:6E:11"}, lambda row: row["device_mac"] == "44:19:b6:0b:6e:11"),
        ({"remote": "8.8.8.8"}, lambda row: row["remote_ip"] == "8.8.8.8"),
        ({"name": "Hik-Connect"}, lambda row: "hik-connect" in (row["name"] or "")),
        ({"port": 443}, lambda row: row["remote_port"] == 443),
        ({"protocol": "UDP"}, lambda row: row["protocol"] == "udp"),
        ({"since_ns": 1793608000 * 10**9}, lambda row: row["last_ns"] >= 1793608000 * 10**9),
        ({"until_ns": 1793608000 * 10**9}, lambda row: row["first_ns"] <= 1793608000 * 10**9),
        ({"verdict": "OWN", "port": 443}, lambda row: (row["verdict"], row["remote_port"]) == ("OWN", 443)),
    ],
    ids=str,
)
def test_a_filter_keeps_what_it_says(city, filters, holds):
    """Each filter keeps the rows it describes, all of them, and nothing else."""
    every = list(city.flows({}))
    kept = list(city.flows(filters))
    assert kept == [row for row in every if holds(row)]
    assert 0 < len(kept) < len(every)


def test_the_command_line_knows_every_filter():
    """Each filter of the store is an option of `flows`, and each one of `alerts` is among them."""
    assert set(FLOW_FILTERS) == set(FILTERS)
    assert set(ALERT_FILTERS) < set(FILTERS)


@pytest.mark.parametrize("name", ALERT_FILTERS)
def test_each_filter_of_alerts_runs(city, name):
    """The view of alerts has the columns that its filters ask for."""
    value = {"since_ns": 0, "until_ns": 0}.get(name, "x")
    assert city.alerts({name: value}) == (city.alerts({}) if name == "since_ns" else [])


@pytest.mark.parametrize("value", ["' OR 1=1 --", '"', "%", "_", "\x00", "x\ny"])
def test_a_value_is_never_taken_for_sql(city, value):
    """Whatever stands in a filter's value is looked for as it is."""
    for name in ("verdict", "country", "owner", "provider", "device", "remote", "name", "protocol"):
        assert list(city.flows({name: value})) == []


@pytest.mark.parametrize("limit", [1, 7, 100, 347, 348, 349, 0])
def test_pages_give_every_row_once_in_order(city, monkeypatch, limit):
    """However rows are paged, they come once, in the order of their ids, and no more than asked for."""
    whole = [row["id"] for row in city.flows({})]
    monkeypatch.setattr(reader, "PAGE_ROWS", 7)
    assert [row["id"] for row in city.flows({}, limit)] == whole[: limit or None]


def test_a_reader_that_stops_half_way_holds_no_lock(tmp_path):
    """A list that nobody reads to its end keeps no transaction open: the writer can fold its log in."""
    path = str(tmp_path / "a.db")
    with Store(path) as store, Reader(path) as opened:
        recording = store.record(zone="eea", as_of="", data=[], rules=[], version="0", inputs={})
        recording.write(judged(20), tally(20))
        next(opened.flows({}))
        recording.write(judged(20, START_S + 1), tally(40))
        busy, _, _ = store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert busy == 0


def test_alerts_come_by_gravity_then_size(city):
    """The gravest alerts come first, and among equals the largest."""
    order = [(LEVELS.index(row["level"]), -row["bytes_out"], row["id"]) for row in city.alerts({})]
    assert order == sorted(order)
    assert len(order) == 23
    assert city.alerts({}, limit=3) == city.alerts({})[:3]


def test_the_sums_of_a_snapshot_are_those_of_the_rows(city):
    """Verdicts, countries, owners and devices add up to the flows."""
    snapshot, flows = city.snapshot(), list(city.flows({}))
    for name in ("bytes_out", "bytes_in"):
        assert sum(row[name] for row in snapshot.verdicts) == sum(row[name] for row in flows)
        for rows in (snapshot.countries, snapshot.owners, snapshot.devices):
            assert sum(row[name] for row in rows) == sum(row[name] for row in flows)
    assert {row["verdict"]: row["flows"] for row in snapshot.verdicts} == Counter(row["verdict"] for row in flows)
    assert sum(row["flows"] for row in snapshot.devices) == len(flows)
    assert all(sum(row["verdicts"].values()) == row["bytes_out"] for row in snapshot.devices)
    assert snapshot.recordings[0]["flows"] == len(flows)


def test_a_snapshot_of_the_foremost_is_the_beginning_of_all(city):
    """A report asks for the first devices and destinations of thousands, and is told how many there are."""
    whole, some = city.snapshot(), city.snapshot(most=2)
    assert (whole.device_count, whole.alert_count) == (len(whole.devices), len(whole.alerts))
    assert some.devices == whole.devices[:2]
    told = list(dict.fromkeys(map(destination, whole.alerts)))
    assert some.alerts == tuple(row for row in whole.alerts if destination(row) in told[:2])
    assert some.destination_count == len(told) > 2
    assert replace(some, devices=whole.devices, alerts=whole.alerts) == whole
    assert list(whole.devices) == sorted(whole.devices, key=lambda row: (-row["bytes_out"], row["ip"]))


def test_a_snapshot_can_be_of_some_recordings(tmp_path):
    """What other recordings hold is left out."""
    path = str(tmp_path / "a.db")
    with Store(path) as store:
        for n, count in enumerate((3, 5)):
            made = store.record(zone="eea", as_of="", data=[], rules=[], version="0", inputs={str(n): str(n)})
            made.write(judged(count, START_S + n), tally(count))
            made.finish(tally(count), {str(n): str(n)})
    with Reader(path) as opened:
        assert [sum(row["flows"] for row in opened.snapshot(of).verdicts) for of in ([1], [2], [], [1, 2])] == [
            3,
            5,
            8,
            8,
        ]
        assert opened.recordings_of(["1"]) == [2]
        assert opened.recordings_of([]) == []
        assert opened.snapshot([99]) == EMPTY


def test_an_empty_database_has_an_empty_snapshot(tmp_path):
    """A database without recordings shows nothing and breaks nothing."""
    path = str(tmp_path / "a.db")
    Store(path).close()
    with Reader(path) as opened:
        assert opened.snapshot() == EMPTY
        assert list(opened.flows({})) == opened.alerts({}) == []
        assert opened.newest_ns() == 0


def test_a_reader_cannot_write(city):
    """The connection refuses every change."""
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        city._db.execute("DELETE FROM flow")


@pytest.mark.parametrize("left", [(), ("city.db-wal",)], ids=str)
def test_a_database_in_a_read_only_place_can_be_read(tmp_path, left):
    """A database where nothing can be written is read as it stands, also with the empty log that a reader left."""
    place = tmp_path / "place"
    place.mkdir()
    db = city_db(place)
    db.chmod(0o400)
    for name in left:
        (place / name).touch()
    place.chmod(0o500)
    done = spawn("flows", db, "--format", "ndjson", limits=as_a_user)
    assert (done.returncode, complaints(done)) == (0, [])
    assert len(done.stdout.splitlines()) == 348
    assert {path.name for path in place.iterdir()} == {"city.db", *left}


def test_an_odd_text_in_the_database_is_trouble_in_data(tmp_path):
    """A column that should hold JSON and does not is said to be broken, not met with a traceback."""
    db = city_db(tmp_path)
    with contextlib.closing(sqlite3.connect(db)) as connection:
        connection.execute("UPDATE place SET laws = '[oops'")
        connection.commit()
    with Reader(str(db)) as opened, pytest.raises(StoreError) as caught:
        list(opened.flows({}))
    assert caught.value.where == str(db)
    assert Path(db).exists()
