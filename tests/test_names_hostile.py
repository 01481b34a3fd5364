"""Bad names from the wire, from the packet to every way out: bounded, harmless, counted, and nothing raised."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from unicodedata import category

import pytest
from build import ether, tcp_ip, udp_ip
from build_capture import Frame, pcap
from running import run
from test_names_dns import at, response
from test_names_tls import hello, in_records

from egress_watch.exports.plain import UNSAFE

NOON = 1_700_000_000_000_000_000
DEVICE, RESOLVER, REMOTE = "10.0.0.5", "10.0.0.1", "52.1.2.3"
LABELS_255 = b"".join(bytes([len(part)]) + part for part in [b"a" * 63] * 3 + [b"b" * 61]) + b"\0"
NAMES = {
    "255 bytes": LABELS_255,
    "control characters": b"\x05a\x07\rb\n\x00",
    "an escape": b"\x05\x1b[31m\x00",
    "a mark from right to left": b"\x06a\xe2\x80\xaebc\x00",
    "NULs": b"\x03a\0b\x00",
    "no UTF-8": b"\x03\xff\xfea\x00",
    "IDN on the wire": b"\x0dxn--bcher-kva\x07example\x00",
    "IDN in the clear": b"\x07b\xc3\xbccher\x00",
    "mark-up and a formula": b"\x0f=cmd|<b>[red]\"'\x00",
}


def recorded(folder: Path, *frames: bytes, settings: str = "") -> Path:
    """Return the database of some frames, a tenth of a second apart."""
    (folder / "a.pcap").write_bytes(pcap(Frame(NOON + n * 10**8, data) for n, data in enumerate(frames)))
    (folder / "settings.toml").write_text(settings, encoding="utf-8")
    return folder / "a.db"


def replayed(capsys, folder: Path, *frames: bytes, settings: str = "") -> tuple[Path, str]:
    """Return the database and the report of a replay."""
    db = recorded(folder, *frames, settings=settings)
    words = ("replay", folder / "a.pcap", "--db", db, "--config", folder / "settings.toml")
    code, out, err = run(capsys, *words)
    assert code == 0, err
    return db, out


def counters(db: Path) -> dict[str, int]:
    """Return what was heard and refused."""
    with closing(sqlite3.connect(db)) as connection:
        return dict(connection.execute("SELECT counter, count FROM heard").fetchall())


def answer(name: bytes, address: str = REMOTE) -> bytes:
    """Return the frame of an answer to the device."""
    return ether(udp_ip(f"{RESOLVER}:53", f"{DEVICE}:4000", response(name, at(address))))


def talk(payload: bytes = b"x", port: int = 443) -> bytes:
    """Return a segment of the device to the remote."""
    return ether(tcp_ip(f"{DEVICE}:5000", f"{REMOTE}:{port}", "A", payload))


def harmless(text: str) -> bool:
    """Return whether a text holds nothing that acts on a terminal."""
    return all(char == "\n" or category(char) not in UNSAFE for char in text)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_a_hostile_answer_goes_out_as_harmless_text(capsys, tmp_path, name):
    """In the report, in every list and every export of text: no control or direction character, and sound JSON."""
    db, report = replayed(capsys, tmp_path, answer(name), talk())
    assert harmless(report)
    lists = [("flows", db, "--format", form) for form in ("table", "ndjson", "csv")]
    lists += [("export", db, "--flows", "--format", form) for form in ("ecs", "ocsf", "cef", "leef", "eve", "zeek")]
    lists += [("flows", db, "--why"), ("devices", db), ("alerts", db)]
    for words in lists:
        code, out, err = run(capsys, *words)
        assert code == 0, err
        assert harmless(out.replace("\t", " ")), words
    for line in run(capsys, *lists[1])[1].splitlines():
        row = json.loads(line)
        assert len(row["name"] or "") <= 253
        assert row["name_source"] in ("dns", None)
    assert counters(db)["heard: dns"] == 1


@pytest.mark.parametrize("name", [name for key, name in NAMES.items() if "IDN on" not in key and "255" not in key])
def test_what_is_no_host_name_is_counted_and_named(capsys, tmp_path, name):
    """In a hello such a name is refused, and the report says how often, under the reason."""
    db, report = replayed(capsys, tmp_path, talk(hello(name.strip(b"\0")[1:])))
    assert counters(db) == {"refused: tls: not a host name": 1}
    assert "Names not read: tls: not a host name 1" in report


def test_a_loop_of_pointers_is_counted(capsys, tmp_path):
    """A name that leads to itself is refused, and what came before it is kept."""
    looped = response(b"\x01a\x00", at(REMOTE), at(REMOTE, owner=b"\xc0\x2f"))
    frame = ether(udp_ip(f"{RESOLVER}:53", f"{DEVICE}:4000", looped))
    db, report = replayed(capsys, tmp_path, frame, talk())
    assert counters(db)["refused: dns: bad pointer"] == 1
    assert "dns: bad pointer 1" in report


def test_a_hello_that_claims_16_mb_costs_no_memory(capsys, tmp_path):
    """It is refused at its first record and counted."""
    db, _ = replayed(capsys, tmp_path, talk(in_records(b"\x01\xff\xff\xff" + bytes(100))))
    assert list(counters(db)) == ["refused: tls: hello too long"]


def test_names_without_end_are_bounded_and_counted(capsys, tmp_path):
    """One device asks for ever more names: what is kept stays within the limit, the rest is counted and told."""
    limit, asked = 100, 1500
    names = (f"n{n}.example".encode() for n in range(asked))
    wire = (bytes([len(name) - 8]) + name[:-8] + b"\x07example\x00" for name in names)
    frames = [answer(name, f"52.2.{n >> 8}.{n & 255}") for n, name in enumerate(wire)]
    db, report = replayed(capsys, tmp_path, *frames, settings=f"[names]\nlimit = {limit}\n")
    counted = counters(db)
    assert counted["heard: dns"] == asked
    assert counted["forgotten"] == 2 * (asked - limit)  # each name stands in two books
    assert f"Names forgotten, since there were too many (names.limit): {counted['forgotten']:,}" in report
