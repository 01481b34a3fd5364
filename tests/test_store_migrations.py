"""A database of any earlier schema, with data in it, is brought up to date and says what it said before, and more."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest
from judging import START_S, judged, tally
from running import sound
from sqlite_utils import Database

from egress_watch.errors import StoreError
from egress_watch.model import Pace
from egress_watch.store import NEWEST, Reader, Store
from egress_watch.store.schema import MIGRATIONS

NS = 10**9
DAY_NS = 86_400 * NS
START_NS = START_S * NS
FILES = json.dumps([{"name": "d", "kind": "country", "built": "2026-01-01", "sha256": "00"}])
V3, V5, V6 = 3, 5, 6
ALERT = {
    "recording": 1, "dataset": 1, "rule": "r", "title": "t", "level": "high", "device": 1, "remote_ip": "203.0.113.1",
    "country": "CN", "verdict": "OUT", "first_ns": START_NS, "hits": 5, "bytes_out": 50, "bytes_in": 5,
    "first_flow": 4096, "last_flow": 8192, "why": "so", "network": "",
}  # fmt: skip
EPISODE = {"kind": "episode", "due_ns": START_NS, "updates": 0, "told_bytes": 50}


def old(path: Path, version: int) -> None:
    """Write a database as an egress-watch of this schema left it: two flows, two alerts, a fact, a listed device."""
    db = Database(sqlite3.connect(path))
    for step in MIGRATIONS[:version]:
        step(db)
    db.execute(f"PRAGMA user_version = {version}")
    db["dataset"].insert({"id": 1, "digest": "d", "files": FILES})
    db["recording"].insert({"id": 1, "state": "finished", "zone": "eea", "zone_as_of": "2020-02-01", "dataset": 1,
                            "version": "0", "flows": 2, "last_ns": START_NS + 3 * DAY_NS})  # fmt: skip
    db["input"].insert({"recording": 1, "path": "a.pcap", "fingerprint": "f"})
    db["device"].insert({"id": 1, "ip": "10.0.0.1", "mac": "02:00:00:00:00:01"})
    db["remote"].insert({"id": 1, "ip": "203.0.113.1"})
    db["name"].insert({"id": 1, "name": "api.map.baidu.com"})
    db["place"].insert({"id": 1, "digest": "p", "zone": "eea", "dataset": 1, "country": "CN", "countries": '["CN"]',
                        "location_status": "agreed", "owner": "Baidu", "owner_seat": "CN", "provider": "Baidu",
                        "laws": "[]", "ties": "[]", "verdict": "OUT", "why": "in CN"})  # fmt: skip
    flow = {
        "recording": 1, "duration_ns": NS, "protocol": 6, "device": 1, "device_port": 40000, "remote": 1,
        "remote_port": 443, "vlan": 110, "packets_out": 3, "bytes_out": 300, "packets_in": 2, "bytes_in": 200,
        "flags_out": 18, "flags_in": 18, "end_reason": 1, "name": 1, "name_source": 1, "place": 1,
    }  # fmt: skip
    db["flow"].insert_all([{"id": 4096, "first_ns": START_NS, **flow}, {"id": 8192, "first_ns": START_NS + NS, **flow}])
    alerts = [
        {"id": 4, "owner": "Baidu", "last_ns": START_NS},
        {"id": 7, "owner": "x", "last_ns": START_NS + 3 * DAY_NS},
    ]
    more = EPISODE if version >= V6 else {}
    db["alert"].insert_all([{**ALERT, **alert, **more} for alert in alerts])
    if version >= V6:
        db.execute(
            "INSERT INTO act(kind, alert, who, made_ns, reason, subject) VALUES ('ack', 4, 'me', 1, 'seen', 't')"
        )
        db.execute("UPDATE alert SET closed_ns = ? WHERE id = 4", (START_NS + DAY_NS,))
        db["alert_event"].insert({"alert": 4, "kind": "create", "cause": "hit", "time_ns": START_NS, "level": "high",
                                  "hits": 5, "bytes_out": 50, "bytes_in": 5})  # fmt: skip
    if version >= V3:
        db["fact"].insert({"recording": 1, "mac": "02:00:00:00:00:01", "ip": "10.0.0.1", "vlan": 110, "source": "dhcp",
                           "kind": "host_name", "value": "kiosk", "first_ns": 1, "last_ns": 2})  # fmt: skip
        db["asset"].insert({"id": 1, "digest": "a", "segment": "parking", "supplier": "Baidu", "listed": 1})
        db["listing"].insert({"recording": 1, "device": 1, "vlan": 110, "asset": 1})
    if version >= V5:
        db.execute("UPDATE device SET first_ns = ?", (START_NS,))
        db["contact"].insert_all({"device": 1, "kind": kind, "value": value, "first_ns": START_NS, "recording": 1}
                                 for kind, value in enumerate(("CN", "Baidu", "Baidu")))  # fmt: skip
    if version > V6:
        db.execute("INSERT INTO hour VALUES (1, ?, 1, 110, 1, 2, 6, 600, 4, 400)", (START_NS // (3600 * NS),))
    db.conn.commit()
    db.close()


def query(path: Path, text: str) -> list[tuple]:
    """Return what a query finds."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(text).fetchall()


@pytest.mark.parametrize("version", range(1, NEWEST))
def test_what_a_file_of_an_earlier_schema_held_is_all_there(tmp_path: Path, version: int) -> None:
    """Flows, alerts, what people did, facts and listings; and what came since is made of them."""
    path = tmp_path / "a.db"
    old(path, version)
    Store(str(path)).close()
    assert sound(path)
    assert query(path, "PRAGMA user_version") == [(NEWEST,)]
    assert query(path, "SELECT id, device_ip, name, owner, verdict, bytes_out, vlan, data FROM flows") == [
        (
            number,
            "10.0.0.1",
            "api.map.baidu.com",
            "Baidu",
            "OUT",
            300,
            110,
            query(path, "SELECT dates FROM dataset")[0][0],
        )
        for number in (4096, 8192)
    ]
    assert query(path, "SELECT id, owner, hits, bytes_out, kind, state FROM alerts ORDER BY id") == [
        (4, "Baidu", 5, 50, "episode", "closed"), (7, "x", 5, 50, "episode", "open"),
    ]  # fmt: skip
    assert query(path, "SELECT kind, value, first_ns FROM contact ORDER BY kind") == [
        (0, "CN", START_NS), (1, "Baidu", START_NS), (2, "Baidu", START_NS),
    ]  # fmt: skip
    assert query(path, "SELECT sum(flows), sum(bytes_out), sum(bytes_in) FROM hours") == [(2, 600, 400)]
    assert query(path, "SELECT DISTINCT device_age_s >= 0, habit_times, contract_zone FROM flows") == [(1, None, None)]
    listed = query(path, "SELECT DISTINCT segment, supplier, listed FROM flows")
    assert listed == [("parking", "Baidu", 1) if version >= V3 else (None, None, None)]
    assert len(query(path, "SELECT 1 FROM fact")) == (version >= V3)
    assert query(path, "SELECT acked_by FROM alerts WHERE id = 4") == [("me" if version >= V6 else None,)]


@pytest.mark.parametrize("version", range(1, NEWEST))
def test_a_file_of_an_earlier_schema_goes_on(tmp_path: Path, version: int) -> None:
    """It is refused for reading with a remedy; once written, a new recording stands beside the old one."""
    path = tmp_path / "a.db"
    old(path, version)
    with pytest.raises(StoreError, match=f"schema {version}, older"):
        Reader(str(path)).close()
    with Store(str(path)) as store:
        assert store.recorded(["f", "g"]) == {"f"}
        recording = store.record(
            zone="eea", as_of="2020-02-01", data=[], rules=[], version="1", inputs={"b.pcap": "g"}, pace=Pace()
        )
        batch = recording.write(judged(20), tally(20))
        recording.alert([], batch)
        recording.finish(tally(20), {"b.pcap": "g"})
    with Reader(str(path)) as reader:
        assert len(list(reader.flows({}))) == 22
        assert {row["id"] for row in reader.alerts({})} == {4, 7}
    new = query(path, f"SELECT DISTINCT id > 8192, first_owner FROM flows WHERE recording = {recording.id:d}")
    assert (1, 1) in new
