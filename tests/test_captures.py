"""Every shipped capture gives what the file beside it tells, under each choice of what is opened."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tomllib
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from running import ROOT, STRICT

from egress_watch.cli import main
from egress_watch.decode import walked
from egress_watch.decode.carriers import CARRIERS, Policy, Tables
from egress_watch.decode.linktypes import LINKS, WRAPPED
from egress_watch.decode.tags import TAGS
from egress_watch.sources import open_inputs

FOLDER = ROOT / "captures"
PAIRS = {path.stem: path for path in sorted(FOLDER.rglob("*.pcapng"))}
TOLD = {name: tomllib.loads(path.with_suffix(".toml").read_text(encoding="utf-8")) for name, path in PAIRS.items()}
VIEWS = [(name, view) for name, told in TOLD.items() for view in ("mirrors", "all", "none")
         if view in {"mirrors", *told}]  # fmt: skip
COUNTS = ("packets_out", "packets_in", "bytes_out", "bytes_in")
TSHARK = shutil.which("tshark")
NOT_BY_TSHARK = {
    "bluetooth": "no IP", "usb": "no IP", "wifi-encrypted": "no IP",
    **dict.fromkeys(["switch-tag", "switch-tag-before", "marvell-tag", "marvell-tag-typed", "slip", "ppp-daemon"],
                    "a link type it does not know; tcpdump reads it"),
    "vlan-old": "knows one of the three numbers",
    "l2tpv3": "wants to be told the cookie", "capwap-wifi": "expects the first two bytes swapped",
    "mpls-pseudowire": "guesses that there is no control word",
}  # fmt: skip
"""Captures in which tshark finds no IP packet where we do, or rightly none."""


def printed(*arguments):
    """Return the JSON lines that a command prints."""
    out = io.StringIO()
    with redirect_stdout(out):
        assert main([str(argument) for argument in arguments]) == 0
    return [json.loads(line) for line in out.getvalue().splitlines()]


def toml(settings):
    """Return settings, with tables one deep, as TOML."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items() if not isinstance(value, dict)]
    for table, values in settings.items():
        if isinstance(values, dict):
            lines += [f"[{table}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
    return "\n".join(lines)


def talks(rows):
    """Return counters by device, remote, port and protocol, of flows or of what is told."""
    found = defaultdict(Counter)
    for row in rows:
        ends = (row[end] if end in row else row[f"{end}_ip"] for end in ("device", "remote"))
        found[*ends, row["remote_port"], row["protocol"]].update({name: row[name] for name in COUNTS})
    return {key: dict(counts) for key, counts in found.items()}


@pytest.mark.parametrize(("name", "view"), VIEWS)
def test_a_capture_gives_what_is_told(name, view, tmp_path):
    """Frames, packets, bytes, reasons, what was opened, and every talk are those counted while it was built."""
    told = TOLD[name] if view == "mirrors" else TOLD[name][view]
    config, db = tmp_path / "conf.toml", tmp_path / "one.db"
    config.write_text(toml(TOLD[name]["config"] | told.get("config", {})))
    summary = printed("replay", PAIRS[name], "--db", db, "--config", config, "--json")[0]
    expect = told["expect"]
    for counter in ("frames", "packets", "bytes_out", "bytes_in", "skipped"):
        assert summary[counter] == expect[counter], counter
    assert summary["unwrapped"] == expect.get("unwrapped", {})
    assert summary["frames"] == summary["packets"] + sum(summary["skipped"].values())
    flows = printed("flows", db, "--format", "ndjson") if summary["flows"] else []
    assert talks(flows) == talks(told.get("talk", []))


def carried(told):
    """Return the number of packets between the camera and its remotes."""
    rows = [row for row in told.get("talk", []) if row["device"] in ("10.7.0.5", "fd00:7::5")]
    return sum(row["packets_out"] + row["packets_in"] for row in rows)


def found_by_tshark(name):
    """Return in how many frames of a capture tshark finds TCP over IPv4 or UDP over IPv6 innermost."""
    told = (TSHARK, "-n", "-r", PAIRS[name], "-T", "fields", "-e", "frame.protocols")
    chains = subprocess.run(told, capture_output=True, text=True, check=True).stdout.split()
    return sum(f":{chain}".endswith(":ip:tcp") or ":ipv6:udp" in f":{chain}" for chain in chains)


@pytest.mark.skipif(not TSHARK and not STRICT, reason="tshark is not installed")
def test_wireshark_finds_the_same_packets_inside():
    """Wireshark's dissectors, an independent work, find TCP and UDP behind every encapsulation but those named."""
    names = [name for name, path in PAIRS.items() if path.parent.name == "wraps"]
    with ThreadPoolExecutor() as pool:  # tshark takes most of its time to start
        seen = dict(zip(names, pool.map(found_by_tshark, names), strict=True))
    blind = {name for name in names if not seen[name] or seen[name] < carried(TOLD[name]["all"])}
    assert blind == set(NOT_BY_TSHARK)


def test_every_carrier_has_a_capture():
    """No way to wrap a packet is without a capture of its own."""
    shown = {kind for told in TOLD.values() for kind in told.get("all", {}).get("expect", {}).get("unwrapped", {})}
    assert shown == {carrier.name for carrier in CARRIERS[1:]}


@pytest.mark.parametrize("table", [LINKS, WRAPPED, TAGS], ids=["link types", "link types that wrap", "tags"])
def test_every_reader_has_a_capture(table, monkeypatch):
    """No line of the tables of link types and tags is without a capture that goes through it."""
    used = set()

    def noted(kind, reader):
        def read(walk, rows):
            used.update([kind] if len(rows) else [])
            reader(walk, rows)

        return read

    for kind, reader in list(table.items()):
        monkeypatch.setitem(table, kind, noted(kind, reader))
    for frames in open_inputs([str(Path(FOLDER) / "wraps")]).frames():
        walked(frames, Tables(Policy("all")))
    assert used == set(table)


def test_a_folder_of_captures_is_the_sum_of_its_files(tmp_path):
    """Replayed together, all the small captures give the sum of what each is told to give."""
    summary = printed("replay", Path(FOLDER) / "wraps", "--db", tmp_path / "all.db", "--json")[0]
    told = [TOLD[name]["expect"] for name, path in PAIRS.items() if path.parent.name == "wraps"]
    assert summary["packets"] == sum(expect["packets"] for expect in told)
    assert summary["skipped"] == dict(sum((Counter(expect["skipped"]) for expect in told), Counter()))
    assert summary["unwrapped"] == dict(sum((Counter(expect["unwrapped"]) for expect in told), Counter()))
