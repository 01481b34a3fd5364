"""The list of devices: what it shows, how it filters, and that nothing hostile gets through."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from build import ether, tcp_ip, udp_ip
from build_capture import Frame, pcap
from corpus import corpus
from running import city_db, rows, run
from sqlite_utils import Database
from test_devices import CAM, SPEAKER, discover

from egress_watch.store import Store
from egress_watch.store.schema import MIGRATIONS, NEWEST

NOON = 1_700_000_000_000_000_000
HOSTILE = b"a\x1b[31m\xe2\x80\xae=cmd\x00|"


def recorded(folder: Path, *frames: bytes) -> Path:
    """Return the database of some frames, a second apart."""
    path = folder / "a.pcap"
    path.write_bytes(pcap(Frame(NOON + at * 1_000_000_000, data) for at, data in enumerate(frames)))
    from egress_watch.cli import main

    assert main(["replay", str(path), "--db", str(folder / "a.db"), "--json"]) == 0
    return folder / "a.db"


def test_the_city_s_devices_have_makers_and_seats(tmp_path, capsys):
    """A camera by its maker's registered name, group, seat and ties; a switch that only LLDP shows; a lease's name."""
    found = {row["mac"]: row for row in rows(capsys, "devices", city_db(tmp_path))}
    camera = found["44:19:b6:0b:6e:11"]
    assert (camera["group"], camera["seat"], camera["known_by"]) == ("Hikvision", "CN", ["MAC"])
    assert any("China Electronics Technology Group" in tie for tie in camera["ties"])
    assert found["00:90:e8:10:20:fe"]["name"] == "veld-sw-01"
    assert found["24:0a:c4:7f:02:52"]["name"] == "tracker-park"
    assert found["24:0a:c4:7f:02:52"]["addresses"] == ["10.20.0.52"]


@pytest.mark.parametrize(
    ("told", "macs"),
    [
        (("--device", "10.20.110.11"), {"44:19:b6:0b:6e:11"}),
        (("--device", "44-19-B6-0B-6E-11"), {"44:19:b6:0b:6e:11"}),
        (("--maker", "hikvision"), {"44:19:b6:0b:6e:11", "44:19:b6:0b:6e:12"}),
        (("--seat", "lt"), {"00:1e:42:33:90:22"}),
        (("--segment", "cameras"), set()),
        (("--recording", "7"), set()),
    ],
)
def test_filters_keep_what_they_name(tmp_path, capsys, told, macs):
    """By address, MAC, maker, seat, segment and recording."""
    found = {row["mac"] for row in rows(capsys, "devices", city_db(tmp_path), *told)}
    assert found == macs


@pytest.mark.parametrize("told", [("--seat", "CHN"), ("--device", "x"), ("--recording", "x")])
def test_a_filter_that_nothing_can_match_is_refused(tmp_path, capsys, told):
    """Exit code 2, with what to write."""
    code, out, err = run(capsys, "devices", city_db(tmp_path), *told)
    assert (code, out) == (2, "")
    assert "try:" in err


@pytest.mark.parametrize("form", ["table", "ndjson", "csv"])
def test_hostile_names_are_made_harmless(tmp_path, capsys, form):
    """A host name with an escape, a direction mark, a formula and a NUL goes out as text in every format."""
    frame = ether(udp_ip("0.0.0.0:68", "255.255.255.255:67", discover(HOSTILE)), src=CAM)
    code, out, _ = run(capsys, "devices", recorded(tmp_path, frame), "--format", form)
    assert code == 0
    assert "cmd" in out
    assert not set(out) & {"\x1b", "\u202e", "\0"}


def test_behind_a_router_each_address_is_a_device(tmp_path, capsys):
    """One MAC before two subnets at one time: two devices behind it; a made-up MAC is said to be one."""
    made_up = "02:42:13:37:13:37"
    ends = [("10.1.1.5", SPEAKER), ("10.1.2.5", SPEAKER), ("10.1.1.5", SPEAKER), ("10.1.3.5", made_up)]
    db = recorded(tmp_path, *(ether(tcp_ip(f"{ip}:4000", "52.1.2.3:443", "S"), src=mac) for ip, mac in ends))
    found = {tuple(row["addresses"]): row for row in rows(capsys, "devices", db)}
    assert found["10.1.1.5",]["known_by"] == ["address behind a router"]
    assert found["10.1.1.5",]["behind"] == SPEAKER
    assert found["10.1.2.5",]["mac"] is None
    assert found["10.1.3.5",]["made_up"]
    assert found["10.1.3.5",]["maker"] == "(made up by software)"


@pytest.mark.parametrize(
    ("capture", "mac", "said"),
    [
        ("HueBridge/Setup-A-5-STA.pcap", "00:17:88:24:76:ff", {"name": "Philips-hue.local", "seat": "NL"}),
        ("D-LinkHomeHub/Setup-A-3-STA.pcap", "1c:5f:2b:aa:fd:4e", {"name": "dchg.local", "seat": "TW"}),
        ("D-LinkCam/Setup-A-1-STA.pcap", "b0:c5:54:25:5b:0e", {"name": "DCS-935L-B0C554255B0E.local", "seat": "TW"}),
    ],
)
def test_real_devices_are_known(tmp_path, capsys, capture, mac, said):
    """Three captures of real devices: name and maker, heard in multicast DNS, DHCP and SSDP."""
    path = corpus() / "pcaps" / "iot-sentinel" / capture
    assert run(capsys, "replay", path, "--db", tmp_path / "a.db")[0] == 0
    row = next(row for row in rows(capsys, "devices", tmp_path / "a.db") if row["mac"] == mac)
    assert {key: row[key] for key in said} == said
    assert {"MAC", "mdns", "dhcp", "ssdp"} <= set(row["known_by"])


@pytest.mark.parametrize(
    ("capture", "mac", "both"),
    [
        ("D-LinkDayCam/Setup-A-3-STA.pcap", "b0:c5:54:1c:71:85", {"10.10.10.58", "192.168.0.20"}),
        ("EdimaxPlug1101W/Setup-A-4-STA.pcap", "74:da:38:4a:76:49", {"10.10.10.186", "192.168.20.3"}),
        ("WeMoInsightSwitch/Setup-A-11-STA.pcap", "94:10:3e:41:c2:05", {"10.10.10.158", "10.22.22.2"}),
    ],
)
def test_real_devices_that_are_set_up_are_no_routers(tmp_path, capsys, capture, mac, both):
    """They speak from the address they left the factory with and from the one they were given: one device each."""
    assert run(capsys, "replay", corpus() / "pcaps" / "iot-sentinel" / capture, "--db", tmp_path / "a.db")[0] == 0
    found = rows(capsys, "devices", tmp_path / "a.db")
    row = next(row for row in found if row["mac"] == mac)
    assert not row["router"]
    assert both <= set(row["addresses"])
    spans = [(one["first_ns"], one["last_ns"]) for one in row["seen"] if one["ip"] in both]
    assert len(spans) == 2
    assert all(row["first_ns"] <= first_ns <= last_ns <= row["last_ns"] for first_ns, last_ns in spans)
    assert spans == sorted(spans)
    assert not [row for row in found if row["behind"]]


@pytest.mark.parametrize(
    ("capture", "mac", "maker"),
    [
        ("ndpi/ethersio.pcap", "00:50:c2:bf:20:5e", "Saia-Burgess Controls AG"),
        ("ndpi/knxip.pcapng", "00:50:c2:79:3e:03", "Enertex Bayern GmbH"),
        ("arkime/dns-punycode.pcap", "52:54:00:67:a8:e6", "(made up by software)"),
    ],
)
def test_small_blocks_and_made_up_macs_are_said(tmp_path, capsys, capture, mac, maker):
    """Real captures with a controller and a gateway out of blocks of 36 bits, and with a virtual machine."""
    assert run(capsys, "replay", corpus() / "pcaps" / capture, "--db", tmp_path / "a.db")[0] == 0
    found = {row["mac"]: row for row in rows(capsys, "devices", tmp_path / "a.db")}
    assert (found[mac]["maker"], found[mac]["made_up"]) == (maker, maker.startswith("("))


def test_a_database_of_schema_2_grows(tmp_path):
    """Opened for writing it gets the tables of devices, and its flows still show."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        for step in MIGRATIONS[:2]:
            step(Database(connection))
        connection.execute("PRAGMA user_version = 2")
        connection.commit()
    Store(str(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (NEWEST,)
        assert connection.execute("SELECT segment, listed FROM flows").fetchall() == []
        assert connection.execute("SELECT count(*) FROM fact").fetchone() == (0,)


def test_recording_the_same_again_keeps_each_fact_once(tmp_path, capsys):
    """Facts of two recordings of one capture are one row each in the list."""
    frame = ether(udp_ip("0.0.0.0:68", "255.255.255.255:67", discover(b"cam")), src=CAM)
    db = recorded(tmp_path, frame)
    assert run(capsys, "replay", tmp_path / "a.pcap", "--db", db, "--again")[0] == 0
    found = rows(capsys, "devices", db)
    assert [fact["value"] for row in found for fact in row["facts"]] == ["cam", "udhcp 1.30"]
