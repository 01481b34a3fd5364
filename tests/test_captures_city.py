"""The demo capture: everything its story promises comes true, and another program counts the same."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import subprocess
import tomllib
from collections import Counter, defaultdict
from contextlib import redirect_stdout
from pathlib import Path

import pyshark
import pytest
from running import CITY, STRICT

from egress_watch.cli import main
from egress_watch.config import Config
from egress_watch.library import rules

TOLD = tomllib.loads(CITY.with_suffix(".toml").read_text(encoding="utf-8"))
EXPECT, TALKS, ALERTS = TOLD["expect"], TOLD["talk"], TOLD["alert"]
COUNTS = ("packets_out", "packets_in", "bytes_out", "bytes_in")
JUDGED = {"verdict": "verdict", "country": "country", "provider": "provider", "owner": "owner", "seat": "owner_seat"}
TSHARK = shutil.which("tshark")
if not TSHARK and STRICT:
    pytest.fail("tshark is missing, and EGRESS_WATCH_STRICT=1 allows no skipped part", pytrace=False)


def key(row):
    """Return what tells one talk from another."""
    device, remote = (row[name] if name in row else row[f"{name}_ip"] for name in ("device", "remote"))
    return device, remote, row["remote_port"], row["protocol"]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """Return the flows, the alerts and the summary of the capture under its own settings."""
    folder = tmp_path_factory.mktemp("city")
    db, config = folder / "city.db", folder / "city.toml"
    config.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in TOLD["config"].items()))
    summary = printed("replay", CITY, "--db", db, "--config", config, "--json")[0]
    return printed("flows", db, "--format", "ndjson"), printed("alerts", db, "--format", "ndjson"), summary


def printed(*arguments):
    """Return the JSON lines that a command prints."""
    out = io.StringIO()
    with redirect_stdout(out):
        assert main([str(argument) for argument in arguments]) == 0
    return [json.loads(line) for line in out.getvalue().splitlines()]


def summed(flows):
    """Return the flows' counters by talk."""
    talks = defaultdict(Counter)
    for row in flows:
        talks[key(row)].update({name: row[name] for name in COUNTS})
    return talks


def test_every_frame_is_accounted_for(replayed):
    """Frames, packets, reasons for skipping and bytes are those that were counted while the capture was built."""
    flows, _, summary = replayed
    assert (summary["frames"], summary["packets"], summary["lost"]) == (EXPECT["frames"], EXPECT["packets"], 0)
    assert summary["skipped"] == EXPECT["skipped"]
    assert (summary["bytes_out"], summary["bytes_in"]) == (EXPECT["bytes_out"], EXPECT["bytes_in"])
    assert sum(row["packets_out"] + row["packets_in"] for row in flows) == EXPECT["packets"]
    times = [row[name] for row in flows for name in ("first_ns", "last_ns")]
    assert EXPECT["first_s"] * 10**9 <= min(times) <= max(times) <= EXPECT["last_s"] * 10**9


def test_the_talks_are_the_ones_told(replayed):
    """There is no talk that was not told, and none is missing; packets and bytes of each are as built."""
    told = {key(row): {name: row[name] for name in COUNTS} for row in TALKS}
    assert {talk: dict(counts) for talk, counts in summed(replayed[0]).items()} == told


@pytest.mark.parametrize(
    "talk", [row for row in TALKS if "verdict" in row], ids=lambda row: "-".join(map(str, key(row)))
)
def test_each_talk_is_judged_as_told(replayed, talk):
    """All flows of a talk carry the verdict, country, network operator, owner, seat and name that the story gives."""
    flows = [row for row in replayed[0] if key(row) == key(talk)]
    for name, column in JUDGED.items():
        assert {row[column] or "" for row in flows} == {talk[name]}, name
    assert talk["name"] in {row["name"] or "" for row in flows}
    assert talk["name_source"] in {row["name_source"] or "" for row in flows}
    assert all(row["why"] for row in flows)


def test_verdicts_are_as_many_as_told(replayed):
    """The number of talks under each verdict is the one told, whatever stays local aside."""
    flows, _, summary = replayed
    verdicts = {key(row): row["verdict"] for row in flows if row["location_status"] != "local"}
    assert Counter(verdicts.values()) == EXPECT["verdicts"]
    assert all(row["verdict"] == "IN" for row in flows if row["location_status"] == "local")
    remote = [row for row in flows if row["location_status"] != "local"]
    assert {name: sum(row[name] for row in remote) for name in COUNTS} == EXPECT["remote"]
    for name in ("flows", "bytes_out", "bytes_in"):
        total = sum(summary["verdicts"][verdict][name] for verdict in summary["verdicts"])
        assert total == summary[name], name


def test_the_alerts_are_the_ones_told(replayed):
    """Each rule speaks of each device, owner and country it was told to, and of no other."""
    stems = {rule.id: Path(rule.origin).stem for rule in rules(Config())[0]}
    found = {(row["device_ip"], stems[row["rule"]], row["owner"] or "", row["country"] or "") for row in replayed[1]}
    assert found == {(row["device"], row["rule"], row["owner"], row["country"]) for row in ALERTS}
    assert replayed[2]["alerts"] == len(found)


def test_the_devices_carry_their_macs(replayed):
    """Every device of the story is seen under its own MAC and VLAN."""
    flows = replayed[0]
    for device in TOLD["device"]:
        seen = [row for row in flows if row["device_ip"] == device["ip"]]
        assert {row["device_mac"] for row in seen} <= {device["mac"]}, device["what"]
        assert {row["vlan"] or 0 for row in seen} <= {device["vlan"]}, device["what"]


def test_the_alerts_add_up_to_their_flows(replayed):
    """An alert's hits and bytes are those of flows in the database between its first and its last."""
    flows, alerts, _ = replayed
    for alert in alerts:
        of = [
            row
            for row in flows
            if alert["first_flow"] <= row["id"] <= alert["last_flow"] and row["device_ip"] == alert["device_ip"]
            and (row["owner"], row["country"]) == (alert["owner"], alert["country"])
        ]  # fmt: skip
        assert alert["hits"] <= len(of)
        assert alert["bytes_out"] <= sum(row["bytes_out"] for row in of)
        assert {alert["first_flow"], alert["last_flow"]} <= {row["id"] for row in of}


needs_tshark = pytest.mark.skipif(not TSHARK, reason="tshark is not installed")


@needs_tshark
def test_wireshark_counts_the_same_packets_and_bytes(replayed):
    """Wireshark's dissectors find the same packets and layer-3 bytes from each address to each other one."""
    fields = ("ip.src", "ip.dst", "ip.len", "ipv6.src", "ipv6.dst", "ipv6.plen")
    told = (TSHARK, "-r", CITY, "-Y", "ip or ipv6", "-T", "fields", *(part for name in fields for part in ("-e", name)))
    lines = subprocess.run(told, capture_output=True, text=True, check=True).stdout.splitlines()
    pairs = defaultdict(Counter)
    for src, dst, size, src6, dst6, payload in (line.split("\t") for line in lines):
        # the payload length of IPv6 leaves out its header of 40 bytes (RFC 8200, section 3)
        pairs[src or src6, dst or dst6].update({"packets": 1, "bytes": int(size) if size else int(payload) + 40})
    assert pairs == our_pairs(replayed[0])


@needs_tshark
def test_pyshark_reads_the_same_server_names(replayed):
    """The TLS server names and HTTP hosts that pyshark finds are the names of the flows of those connections."""
    heard = set()
    wanted = "tcp and (tls.handshake.extensions_server_name or http.host)"
    for packet in dissected(wanted):
        name = packet.http.host if "http" in packet else packet.tls.handshake_extensions_server_name
        layer = packet.ip if "ip" in packet else packet.ipv6
        heard.add((layer.src, int(packet.tcp.srcport), layer.dst, int(packet.tcp.dstport), str(name)))
    columns = ("device_ip", "device_port", "remote_ip", "remote_port", "name")
    flows = [row for row in replayed[0] if row["name_source"] in ("tls", "http")]
    assert heard
    assert {tuple(row[column] for column in columns) for row in flows} == heard


@needs_tshark
def test_pyshark_counts_the_same_for_one_camera(replayed):
    """Pyshark finds as many packets and bytes each way for the Hikvision camera's tunnel as its flows hold."""
    camera, cloud = "10.20.110.11", "52.16.120.34"
    ways = defaultdict(Counter)
    wanted = f"ip.addr == {camera} and ip.addr == {cloud}"
    for packet in dissected(wanted):
        ways[packet.ip.src].update({"packets": 1, "bytes": int(packet.ip.len)})
    pairs = our_pairs(replayed[0])
    assert ways == {camera: pairs[camera, cloud], cloud: pairs[cloud, camera]}


def dissected(wanted):
    """Yield the capture's packets that pass a display filter, as pyshark sees them, in an event loop of their own.

    The iteration ends tshark; pyshark's `close` would end it once more and sometimes take that for a crash.
    """
    loop = asyncio.new_event_loop()
    capture = pyshark.FileCapture(str(CITY), display_filter=wanted, keep_packets=False, eventloop=loop)
    try:
        yield from capture
    finally:
        capture._running_processes.clear()
        for task in asyncio.all_tasks(loop):
            loop.run_until_complete(task)
        loop.close()


def our_pairs(flows):
    """Return packets and IP bytes from each address to each other one, as stored."""
    pairs = defaultdict(Counter)
    for row in flows:
        here, there = row["device_ip"], row["remote_ip"]
        for pair, way in (((here, there), "out"), ((there, here), "in")):
            if row[f"packets_{way}"]:
                pairs[pair].update({"packets": row[f"packets_{way}"], "bytes": row[f"bytes_{way}"]})
    return pairs
