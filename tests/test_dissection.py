"""A deep look: the packets of one flow, as Wireshark's dissectors see them, and nothing else."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from build import Wire, ether, udp_ip
from build_capture import Frame, pcap
from corpus import corpus
from running import CITY, city_db, rows, run

from egress_watch.dissection import dissections, flow_filter, summaries
from egress_watch.errors import UsageError

FLOW = {
    "device_ip": "10.0.0.5", "device_port": 4000, "remote_ip": "52.1.2.3", "remote_port": 443, "protocol": "tcp",
    "first_ns": 1_500_000_000, "last_ns": 2_000_000_001,
}  # fmt: skip
STRICT = os.environ.get("EGRESS_WATCH_STRICT") == "1"
needs_tshark = pytest.mark.skipif(not STRICT and shutil.which("tshark") is None, reason="no tshark here")


def flow_of(capsys, db: Path, **wanted) -> dict:
    """Return the flow with most packets that has these values."""
    found = [row for row in rows(capsys, "flows", db) if all(row[key] == value for key, value in wanted.items())]
    return max(found, key=lambda row: row["packets_out"] + row["packets_in"])


def test_the_filter_takes_both_ways_within_the_times():
    """Addresses and ports as pairs, times to the nanosecond."""
    said = flow_filter(FLOW)
    assert said.startswith("frame.time_epoch >= 1.500000000 && frame.time_epoch <= 2.000000001 && (")
    assert "(ip.src == 10.0.0.5 && ip.dst == 52.1.2.3 && tcp.srcport == 4000 && tcp.dstport == 443)" in said
    assert "(ip.src == 52.1.2.3 && ip.dst == 10.0.0.5 && tcp.srcport == 443 && tcp.dstport == 4000)" in said


def test_the_filter_of_what_has_no_ports_goes_by_protocol():
    """By the number of the protocol in IPv4, by the addresses alone in IPv6."""
    assert "ip.proto == 1)" in flow_filter({**FLOW, "protocol": "icmp"})
    assert "ip.proto == 200)" in flow_filter({**FLOW, "protocol": "200"})
    six = flow_filter({**FLOW, "protocol": "ipv6-icmp", "device_ip": "fe80::1", "remote_ip": "fe80::2"})
    assert "(ipv6.src == fe80::1 && ipv6.dst == fe80::2)" in six


@needs_tshark
def test_a_flow_of_tls_shows_every_packet_of_its_own(tmp_path, capsys):
    """As many packets as were counted, all of them between the two ends, and the server's name in the hello."""
    db = city_db(tmp_path)
    flow = flow_of(capsys, db, device_ip="10.20.120.21", name_source="tls")
    code, out, err = run(capsys, "inspect", db, flow["id"], "--limit", 10_000)
    assert code == 0, err
    head, origin, *packets = out.splitlines()
    assert head.startswith(f"flow {flow['id']}: 10.20.120.21")
    assert origin == f"from {CITY}"
    assert len(packets) == flow["packets_out"] + flow["packets_in"]
    assert all("10.20.120.21" in line and flow["remote_ip"] in line for line in packets)
    assert "Client Hello" in out
    assert f"Server Name: {flow['name']}" in out


@needs_tshark
@pytest.mark.parametrize(
    ("capture", "port", "said"),
    [
        ("suricata-verify/mqtt31-pub-qos2/input.pcap", 1883, ("Connect Command", "Publish Message", "Topic: ")),
        ("iti-ics/ModbusTCP/modbus_test_data_part1.pcap", 502, ("Function Code: Read Coils (1)",)),
    ],
)
def test_real_flows_of_the_field_are_told(tmp_path, capsys, capture, port, said):
    """MQTT and Modbus from the corpus: every packet counted is shown, with what it says."""
    db = tmp_path / "a.db"
    assert run(capsys, "replay", corpus() / "pcaps" / capture, "--db", db)[0] == 0
    flow = flow_of(capsys, db, remote_port=port)
    code, out, err = run(capsys, "inspect", db, flow["id"], "--limit", 10_000)
    assert code == 0, err
    assert len(out.splitlines()) == 2 + flow["packets_out"] + flow["packets_in"]
    assert [words for words in said if words not in out] == []


@needs_tshark
def test_full_shows_every_field_and_limit_holds(tmp_path, capsys):
    """Layers with their fields, for as many packets as were asked for."""
    db = city_db(tmp_path)
    flow = flow_of(capsys, db, device_ip="10.20.120.21", name_source="tls")
    code, out, _ = run(capsys, "inspect", db, flow["id"], "--full", "--limit", 2)
    assert code == 0
    assert out.count("\npacket ") == 2
    assert "    Time to Live: " in out
    assert len(run(capsys, "inspect", db, flow["id"], "--limit", 3)[1].splitlines()) == 5


@needs_tshark
def test_hostile_strings_are_made_harmless(tmp_path, capsys):
    """An escape in a payload reaches the terminal as text."""
    payload = b"GET / HTTP/1.1\r\nHost: a\x1b[31mb\xe2\x80\xae\r\n\r\n"
    wire = Wire(ether(udp_ip("10.0.0.5:4000", "239.255.255.250:1900", payload)), 1_700_000_000_000_000_000)
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap([Frame(wire.time_ns, wire.data)]))
    db = tmp_path / "a.db"
    run(capsys, "replay", path, "--db", db)
    for more in ((), ("--full",)):
        code, out, _ = run(capsys, "inspect", db, rows(capsys, "flows", db)[0]["id"], *more)
        assert code == 0
        assert not set(out) & {"\x1b", "\u202e"}
        assert "Host" in out


def test_a_changed_capture_is_refused(tmp_path, capsys):
    """Other bytes at the same place are not shown; the right file elsewhere is taken with --capture."""
    path = tmp_path / "city.pcapng"
    shutil.copy(CITY, path)
    db = tmp_path / "a.db"
    run(capsys, "replay", path, "--db", db)
    flow = str(rows(capsys, "flows", db, "--limit", "1")[0]["id"])
    with path.open("ab") as file:
        file.write(b"more")
    code, out, err = run(capsys, "inspect", db, flow)
    assert (code, out) == (1, "")
    assert "is not the file that was recorded" in err
    assert "is not the file" in run(capsys, "inspect", db, flow, "--capture", path)[2]
    path.unlink()
    assert "not there any more" in run(capsys, "inspect", db, flow)[2]


@needs_tshark
def test_a_capture_that_moved_is_found_by_name(tmp_path, capsys):
    """--capture names it, and its fingerprint says that it is the one."""
    path = tmp_path / "city.pcapng"
    shutil.copy(CITY, path)
    db = tmp_path / "a.db"
    run(capsys, "replay", path, "--db", db)
    flow = str(rows(capsys, "flows", db, "--limit", "1")[0]["id"])
    moved = path.rename(tmp_path / "moved.pcapng")
    assert run(capsys, "inspect", db, flow, "--capture", moved)[0] == 0


@needs_tshark
def test_a_flow_over_two_files_is_shown_from_both(tmp_path, capsys):
    """Packets of rotated captures follow each other; a file that is gone is said to be."""
    from build import tcp

    wires = [tcp("10.0.0.5:4000", "52.1.2.3:443", flags, t=1 + at) for at, flags in enumerate(["S", "A", "A"])]
    for at, wire in enumerate(wires):
        (tmp_path / f"{at}.pcap").write_bytes(pcap([Frame(wire.time_ns, wire.data)]))
    db = tmp_path / "a.db"
    assert run(capsys, "replay", *(tmp_path / f"{at}.pcap" for at in range(3)), "--db", db)[0] == 0
    (tmp_path / "2.pcap").unlink()
    code, out, _ = run(capsys, "inspect", db, rows(capsys, "flows", db)[0]["id"])
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["flow", "from", "1", "from", "1", "not"]


def test_a_number_that_no_flow_has_is_told(tmp_path, capsys):
    """Exit code 2, with how to find one."""
    for number in ("5", "x"):
        assert run(capsys, "inspect", city_db(tmp_path), number)[0] == 2


def test_without_pyshark_it_says_how_to_get_it(monkeypatch):
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "pyshark", None)
    with pytest.raises(UsageError, match=r"egress-watch\[inspect\]"):
        next(summaries(str(CITY), "tcp", 1))


def test_without_tshark_it_says_how_to_get_it(monkeypatch, tmp_path):
    """The package is named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="apt-get install tshark"):
        next(dissections(str(CITY), "tcp", 1))
