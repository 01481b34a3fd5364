"""What screens ask: sums beside the flows are exact, whole, and found again after every cut, kill and rejudgement."""

from __future__ import annotations

import itertools
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from judging import SECOND_NS, START_S, judged, tally

from egress_watch.model import Tally
from egress_watch.store import Store, sums
from egress_watch.store.lists import FLOW_ORDERS, KINDS
from egress_watch.store.scope import Scope
from egress_watch.store.screens import Screens
from egress_watch.store.seek import LAST, _ranges, seek
from egress_watch.store.sought import sought
from egress_watch.store.terms import FilterError

BATCH, STEP_S = 400, 7_200
HOUR_NS = 3_600 * SECOND_NS


def written(
    path: Path, batches: int, *, finish: bool = True, names: tuple[str, ...] = ("a.example", "b.example")
) -> None:
    """Write batches an hour and a half apart, so that they lie in many slots."""
    with Store(str(path)) as store:
        recording = store.record(zone="eea", as_of="2026-11-01", data=[], rules=[], version="0", inputs={"a": "1"})
        for number in range(batches):
            some = judged(BATCH, START_S + number * STEP_S, names)
            recording.write(some, counted(number + 1))
        if finish:
            recording.finish(counted(batches), {"a": "1"})


def counted(batches: int) -> Tally:
    """Return counters that fit so many batches."""
    return replace(tally(batches * BATCH), last_ns=(START_S + batches * STEP_S) * SECOND_NS)


@pytest.fixture(scope="module", params=[1_000, 10**9], ids=["summed", "not summed"])
def path(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Return a database with sums, and the same without; no test changes it."""
    path = tmp_path_factory.mktemp("screens") / "some.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sums, "CHUNK_FLOWS", request.param)
        written(path, 40)
    return path


def told(path: Path, kind: str, scope: Scope) -> dict[object, tuple[int, int]]:
    """Return flows and bytes out by id."""
    with Screens(str(path)) as screens:
        return {row["id"]: (row["flows"], row["bytes_out"]) for row in screens.sums(kind, scope, 10_000)}


def by_hand(path: Path, key: str, where: str = "1") -> dict[object, tuple[int, int]]:
    """Return the same from the flows themselves."""
    query = (
        f"SELECT {key}, count(*), sum(bytes_out) FROM flow JOIN place ON place.id = flow.place WHERE {where} GROUP BY 1"
    )
    return {row[0]: (row[1], row[2]) for row in sqlite3.connect(path).execute(query)}


KEYS = {
    "devices": "device",
    "destinations": "remote || ':' || coalesce(name, 0) || ':' || place",
    "owners": "owner",
    "verdicts": "verdict",
}
SCOPES = {
    "all": (Scope(), "1"),
    "until a full day": (
        Scope(until_ns=START_S // 86_400 * 86_400 * SECOND_NS + 86_400 * SECOND_NS),
        f"first_ns + duration_ns < {START_S // 86_400 * 86_400 * SECOND_NS + 86_400 * SECOND_NS}",
    ),
    "ten full hours": (
        Scope(since_ns=START_S // 3_600 * HOUR_NS + HOUR_NS, until_ns=START_S // 3_600 * HOUR_NS + 11 * HOUR_NS),
        f"(first_ns + duration_ns) / {HOUR_NS} BETWEEN {START_S // 3_600 + 1} AND {START_S // 3_600 + 10}",
    ),
    "half an hour": (
        Scope(since_ns=START_S * SECOND_NS, until_ns=START_S * SECOND_NS + HOUR_NS // 2),
        f"first_ns + duration_ns BETWEEN {START_S * SECOND_NS} AND {START_S * SECOND_NS + HOUR_NS // 2 - 1}",
    ),
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("span", SCOPES)
def test_sums_are_those_of_the_flows(path: Path, kind: str, span: str) -> None:
    """Whatever answers, a table of sums or the flows, flows and bytes are those counted by hand."""
    scope, where = SCOPES[span]
    assert told(path, kind, scope) == by_hand(path, KEYS[kind], where)


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("device:10.0.0.1", "device IN (SELECT id FROM device WHERE ip = '10.0.0.1')"),
        ("owner:baidu device:10.0.0.2", "owner = 'Baidu' AND device IN (SELECT id FROM device WHERE ip = '10.0.0.2')"),
        ("!port:443", "remote_port <> 443"),
        ("verdict:in name:a.example", "verdict = 'IN' AND name IN (SELECT id FROM name WHERE name = 'a.example')"),
    ],
)
def test_filters_narrow_sums_and_flows_alike(path: Path, line: str, where: str) -> None:
    """A filter leaves the same flows in every kind of sum and in the list of flows."""
    with Screens(str(path)) as screens:
        scope = Scope(screens.filtered(line))
        ids = []
        while not (found := screens.flow_rows(scope, 200, before=ids[-1] if ids else 0)).ended:
            ids += found.ids
        ids += found.ids
    for kind, key in KEYS.items():
        assert told(path, kind, scope) == by_hand(path, key, where)
    query = f"SELECT flow.id FROM flow JOIN place ON place.id = flow.place WHERE {where} ORDER BY flow.id DESC"
    assert ids == [row[0] for row in sqlite3.connect(path).execute(query)]


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("", "1"),
        ("port:443", "remote_port = 443"),
        ("port:9999", "0"),
        ("bytes>900 verdict:out", "bytes_out > 900 AND verdict = 'OUT'"),
        ("bytes>=900,2000 in<500 device:10.0.0.1", "bytes_out >= 900 AND bytes_in < 500 AND device_ip = '10.0.0.1'"),
        ("!bytes>900 !owner:baidu", "bytes_out <= 900 AND owner IS NOT 'Baidu'"),
        ("!name:a.example !device:10.0.0.1", "name IS NOT 'a.example' AND device_ip <> '10.0.0.1'"),
        ("name:a.example name:b.example", "0"),
        ("/baidu/ remote:203.0.113.1", "owner = 'Baidu' AND remote_ip = '203.0.113.1'"),
    ],
)
@pytest.mark.parametrize("upwards", [False, True])
def test_a_search_in_pieces_finds_every_flow_once(path: Path, line: str, where: str, upwards: bool) -> None:
    """However often it stops, it goes on where it came to, in both directions, in the order of ids."""
    ids: list[int] = []
    with Screens(str(path)) as screens:
        scope, at, ended = Scope(screens.filtered(line)), -1 if upwards else 0, False
        while not ended:
            beside = {"after": at} if upwards else {"before": at}
            found = seek(screens._db.conn, scope, 70, first_s=-1.0, **beside)
            ids, at, ended = [*ids, *found.ids], found.reached, found.ended
    order = "" if upwards else "DESC"
    query = f"SELECT id FROM flows WHERE {where} ORDER BY id {order}"
    assert ids == [row[0] for row in sqlite3.connect(path).execute(query)]


def test_sums_say_where_flows_of_so_many_bytes_can_be(path: Path) -> None:
    """An hour in which no remote was sent as much is not searched; what is not summed always is."""
    with Screens(str(path)) as screens:
        db = screens._db.conn
        summed = db.execute("SELECT flow FROM summed").fetchone()[0]
        for line, left in (("bytes>100G", {(summed + 1, LAST)}), ("bytes<100G", set())):
            scope = Scope(screens.filtered(line))
            ranges = _ranges(db, scope, sought(db, scope.filter))
            assert (set(ranges) == left) if left else (ranges[0][0] < 0)
            assert ranges == sorted(ranges)
            assert all(end < begin for (_, end), (begin, _) in itertools.pairwise(ranges))


def test_pages_are_the_list_in_pieces(path: Path) -> None:
    """Pages beside each other, downwards and upwards, are the whole list, once each, in every order."""
    with Screens(str(path)) as screens:
        for order in KINDS["destinations"].orders:
            for rising in (False, True):
                whole = screens.sums("destinations", Scope(), 1_000, order=order, rising=rising)
                down: list[dict[str, object]] = []
                while page := screens.sums(
                    "destinations", Scope(), 3, order=order, rising=rising, beside=down[-1]["_key"] if down else None
                ):
                    down += page
                assert [row["id"] for row in down] == [row["id"] for row in whole]
                up = screens.sums(
                    "destinations", Scope(), 3, order=order, rising=rising, beside=whole[5]["_key"], back=True
                )
                assert [row["id"] for row in up] == [row["id"] for row in whole[2:5]]


def test_bytes_over_time_are_all_bytes(path: Path) -> None:
    """The line over time holds every byte of the scope, in no more slots than asked for, more or less."""
    with Screens(str(path)) as screens:
        for scope, where in (SCOPES["all"], SCOPES["half an hour"], SCOPES["ten full hours"]):
            _, width_s, rows = screens.series(scope, 40)
            assert sum(row["bytes_out"] for row in rows) == sum(
                out for _, out in by_hand(path, "verdict", where).values()
            )
            assert width_s >= 60
            assert max(row["slot"] for row in rows) <= 41


def test_cuts_and_kills_leave_the_same_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that was never finished has its newest flows beside the sums, and the answers are the same."""
    monkeypatch.setattr(sums, "CHUNK_FLOWS", 1_000)
    written(tmp_path / "whole.db", 16)
    written(tmp_path / "killed.db", 16, finish=False)
    db = sqlite3.connect(tmp_path / "killed.db")
    summed, newest = (
        db.execute(query).fetchone()[0] for query in ("SELECT flow FROM summed", "SELECT max(id) FROM flow")
    )
    assert 0 < summed < newest
    for kind in KEYS:
        assert told(tmp_path / "killed.db", kind, Scope()) == told(tmp_path / "whole.db", kind, Scope())


def test_a_recording_that_is_replaced_leaves_no_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a killed recording comes again, only the new flows count."""
    monkeypatch.setattr(sums, "CHUNK_FLOWS", 1_000)
    written(tmp_path / "a.db", 9, finish=False)
    db = sqlite3.connect(tmp_path / "a.db")
    db.execute("UPDATE recording SET writer = '1:0'")
    db.commit()
    written(tmp_path / "a.db", 4)
    for kind, key in KEYS.items():
        assert told(tmp_path / "a.db", kind, Scope()) == by_hand(tmp_path / "a.db", key)


def test_an_older_file_gets_its_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made anew, as for a file of an earlier version, sums are what they were."""
    monkeypatch.setattr(sums, "CHUNK_FLOWS", 1_000)
    written(tmp_path / "a.db", 20)
    db = sqlite3.connect(tmp_path / "a.db")
    tables = [cube.table for cube in sums.CUBES]
    before = {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    assert all(before.values())
    with Store(str(tmp_path / "a.db")) as store:
        store._db.conn.execute("BEGIN")
        sums.again(store._db, [1])
        store._db.conn.execute("COMMIT")
    assert {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in tables} == before


def test_a_term_that_a_screen_cannot_be_asked_is_told(path: Path) -> None:
    """What only flows or only alerts know is refused elsewhere, with the term to take out."""
    with Screens(str(path)) as screens:
        for line, question in (("end:fin", screens.sums), ("level:high", screens.sums)):
            with pytest.raises(FilterError, match=line.partition(":")[0]):
                question("devices", Scope(screens.filtered(line)), 5)
        with pytest.raises(FilterError, match="port"):
            screens.alert_rows(Scope(screens.filtered("port:443")), 5)


def test_a_killed_recorder_is_told(tmp_path: Path) -> None:
    """A recording that says it runs while its process is gone has stopped."""
    written(tmp_path / "a.db", 1, finish=False)
    db = sqlite3.connect(tmp_path / "a.db")
    with Screens(str(tmp_path / "a.db")) as screens:
        assert screens.status().recordings[0]["state"] == "running"
        db.execute("UPDATE recording SET writer = '1:0'")
        db.commit()
        assert screens.status().recordings[0]["state"] == "stopped"


@pytest.mark.parametrize("line", ["", "verdict:out", "device:10.0.0.1"])
def test_flows_in_any_order_are_pages_of_all_of_them(path: Path, line: str) -> None:
    """Downwards and upwards, every flow stands once, where its key says; a tie goes by its id."""
    with Screens(str(path)) as screens:
        scope = Scope(screens.filtered(line))
        for order, key in FLOW_ORDERS.items():
            for rising in (False, True):
                whole = screens.flows_by(order, scope, 100_000, rising=rising)
                keys = [(row[key], row["id"]) for row in whole]
                assert keys == sorted(keys, reverse=not rising)
                first = screens.flows_by(order, scope, 7, rising=rising)
                after = screens.flows_by(order, scope, 7, rising=rising, beside=first[-1]["_key"])
                assert [row["id"] for row in (*first, *after)] == [row["id"] for row in whole[:14]]
                back = screens.flows_by(order, scope, 3, rising=rising, beside=after[0]["_key"], back=True)
                assert [row["id"] for row in back] == [row["id"] for row in first[-3:]]
        assert len(whole) == sum(flows for flows, _ in told(path, "verdicts", scope).values())
