"""The accelerator and NumPy give the same answers, on any bytes; and where a compiler is there, it is really in use."""

from __future__ import annotations

import os
import runpy
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from build import Wire, frames, tcp, udp
from corpus import captures, corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws import REAL

from egress_watch import fast
from egress_watch.decode import KINDS, MIRRORS, decode
from egress_watch.decode.carriers import Policy, Tables
from egress_watch.decode.marks import mark_tables
from egress_watch.decode.reasons import LLDP
from egress_watch.devices import WISHES, Devices
from egress_watch.fast import devices as finding
from egress_watch.fast.compile import LIBRARY, compile_library
from egress_watch.fast.library import load
from egress_watch.flows import FlowTable
from egress_watch.flows.duplicates import Duplicates
from egress_watch.flows.fragments import take
from egress_watch.flows.sides import Sides
from egress_watch.flows.slots import ROW
from egress_watch.model import DEVICES, NAME_COLUMNS, NAMES, PAD_BYTES, EasyTables, Flows, Frames, Packets
from egress_watch.names import Names
from egress_watch.sources import open_inputs, pcap, pcapng, window

ROOT = Path(__file__).parent.parent
HERE = Path(fast.__file__).parent
CITY = ROOT / "captures" / "city.pcapng"
FAST = fast.accelerator()
PACKETS = [column.name for column in fields(Packets) if column.name not in ("data", "skipped", "unwrapped", "beacons")]
MARKS = mark_tables({NAMES: Names().wishes(), DEVICES: WISHES})
POLICIES = [Tables(Policy(prints=True), MARKS), Tables(Policy("all", prints=True), MARKS), Tables(Policy("none"))]
FLOWS = [column.name for column in fields(Flows) if column.name not in NAME_COLUMNS]
FRAMES = ("start", "caught", "wire", "time_ns", "link", "interface")
SECOND = 1_000_000_000

built = pytest.mark.skipif(FAST is None, reason="the accelerator is not built or turned off")


def both(work: Callable[[], Any]) -> tuple[Any, Any]:
    """Return what comes of the work with the accelerator and without."""
    with pytest.MonkeyPatch.context() as patch:
        accelerated = work()
        patch.setattr(fast, "_loaded", None)
        return accelerated, work()


def columns(rows: Any, names: list[str] | tuple[str, ...]) -> list[tuple[str, Any, bytes]]:
    """Return columns as kinds, shapes and bytes: equal only where everything is."""
    return [(name, getattr(rows, name).dtype.str, getattr(rows, name).tobytes()) for name in names]


def read(batch: Frames) -> list[Any]:
    """Return everything about one batch of frames but its buffer."""
    return [columns(batch, FRAMES), len(batch.data), batch.lost, batch.damage]


def decoded(batch: Frames) -> list[Any]:
    """Return everything that decoding gives."""
    every = [decode(batch, tables) for tables in POLICIES]
    return [(columns(found, PACKETS), dict(sorted(found.skipped.items())), found.unwrapped) for found in every]


def all_of(path: Path) -> list[Any]:
    """Return frames, packets, flows and what devices say in a capture, where each packet counts once."""
    table, duplicates, devices = FlowTable(), Duplicates(), Devices(Sides(()).ours)
    found: list[Any] = []
    for batch in open_inputs([str(path)]).frames():
        found += [read(batch), decoded(batch), columns(table.update(decode(batch)), FLOWS)]
        once = duplicates.once(decode(batch, POLICIES[0]), batch.origin)
        devices.hear(once)
        found += [columns(once, PACKETS), once.skipped]
    found += [devices.take(), devices.refused]
    return [*found, columns(table.flush(), FLOWS), table.evicted, table.late_fragments]


def test_it_is_built_and_in_use_where_a_compiler_is():
    """Nobody who has a compiler is left with the slower way without a word."""
    if os.environ.get("EGRESS_WATCH_STRICT") != "1":
        pytest.skip("only where EGRESS_WATCH_STRICT=1 asks for it")
    assert shutil.which(os.environ.get("CC") or "cc")
    assert FAST is not None


def test_the_switch_turns_it_off():
    """EGRESS_WATCH_FAST=0 leaves all work to NumPy."""
    script = "from egress_watch.fast import accelerator; print(accelerator())"
    told = {**os.environ, "EGRESS_WATCH_FAST": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=told, check=True, capture_output=True, text=True)
    assert done.stdout == "None\n"


def test_without_a_compiler_there_is_no_library(tmp_path, monkeypatch):
    """A build without a compiler goes through, and leaves no library of an earlier build behind."""
    for source in HERE.glob("*.c"):
        shutil.copy(source, tmp_path)
    (tmp_path / LIBRARY).write_bytes(b"old")
    monkeypatch.setenv("CC", str(tmp_path / "no-compiler"))
    assert compile_library(tmp_path) is None
    assert {path.suffix for path in tmp_path.iterdir()} == {".c"}


def test_a_source_that_does_not_compile_leaves_no_library(tmp_path, monkeypatch):
    """A compiler that fails is as good as none."""
    (tmp_path / "broken.c").write_text("not C at all")
    monkeypatch.setenv("CC", "false")
    assert compile_library(tmp_path) is None
    assert not (tmp_path / LIBRARY).exists()


@pytest.mark.parametrize("content", [b"", b"no library"])
def test_what_is_no_library_is_not_loaded(content, tmp_path):
    """A damaged library is passed over."""
    (tmp_path / LIBRARY).write_bytes(content)
    assert load(tmp_path) is None


@built
def test_a_library_of_other_sources_is_not_loaded(tmp_path):
    """Whoever changes a C file and does not compile is not given the old answers."""
    shutil.copytree(HERE, tmp_path, dirs_exist_ok=True)
    assert load(tmp_path) is not None
    (tmp_path / "flows.c").write_text("changed")
    assert load(tmp_path) is None


def test_the_build_runs_the_script(monkeypatch):
    """The build hook finds the function by its name."""
    monkeypatch.setenv("CC", "true")
    script = runpy.run_path(str(ROOT / "egress_watch" / "data" / "unpack.py"))
    assert (ROOT / script["COMPILE"]).read_text(encoding="utf-8").count("def compile_library(") == 1


@built
def test_a_row_of_the_flow_table_is_the_same_on_both_sides():
    """C and NumPy lay out a flow in the same number of bytes: three cache lines."""
    assert FAST is not None
    assert FAST.row_bytes == ROW.itemsize == 192


@built
def test_the_city_capture_is_the_same():
    """The shipped capture gives the same frames, packets and flows, to the byte."""
    accelerated, plain = both(lambda: all_of(CITY))
    assert accelerated == plain


@built
def test_the_corpus_is_the_same():
    """Every capture of the shared corpus gives the same frames, packets and flows, to the byte."""
    paths = captures(corpus())
    assert [path for path in paths if len({str(one) for one in both(lambda path=path: all_of(path))}) > 1] == []


@built
def test_most_frames_take_the_short_way():
    """In the shipped capture the accelerator leaves few frames but LLDP to the columns: it is no ornament."""
    assert FAST is not None
    batches = list(open_inputs([str(CITY)]).frames())
    kinds = KINDS.copy()
    kinds[LLDP] = 0
    left = sum(
        len(FAST.frames(batch, EasyTables(kinds, MIRRORS.busy, prints=False, marks=None)).left) for batch in batches
    )
    assert left < 0.1 * sum(map(len, batches))


@built
def test_ports_that_may_carry_others_are_left():
    """A UDP packet to or from such a port is left; TCP is not, nor another port."""
    assert FAST is not None
    here, there = "10.0.0.1:5000", "10.0.0.2:4789"
    batch = frames(udp(here, there), udp(there, here), udp(here, "10.0.0.2:4788"), tcp(here, there))
    assert FAST.frames(batch, EasyTables(KINDS, MIRRORS.busy, prints=True, marks=None)).left.tolist() == [0, 1]


def crowd(seed: int, count: int = 60_000) -> Packets:
    """Return packets of many flows of either version: more than the table has slots at first, some of them twice."""
    random = np.random.default_rng(seed)
    ends = random.integers(0, 2**64, (15_000, 2), np.uint64)
    ends[::2] = (ends[::2] & np.uint64(0xFF)) | np.array([0, 0xFFFF0A000000], np.uint64)
    ends[::2, 0] = 0
    src, dst = random.integers(0, len(ends), (2, count))
    ours = random.random(count) < 0.9
    dst[ours] = (src[ours] * 7 + 1) % len(ends)
    numbers = {name: random.integers(0, 2**16, count) for name in ("src_mac", "dst_mac", "size", "fragment_id")}
    return Packets(
        data=np.zeros(PAD_BYTES, np.uint8), time_ns=np.sort(random.integers(0, 900 * SECOND, count)),
        src_mac=numbers["src_mac"].astype(np.uint64), dst_mac=numbers["dst_mac"].astype(np.uint64),
        vlan=random.choice(np.array([0, 0, 7, 9], np.uint16), count), version=np.full(count, 4, np.uint8),
        src=ends[src], dst=ends[dst], src_port=(src % 3).astype(np.uint16), dst_port=(dst % 3).astype(np.uint16),
        protocol=random.choice(np.array([6, 6, 17], np.uint8), count),
        tcp_flags=random.choice(np.array([16, 16, 24, 2, 18, 17, 4], np.uint8), count), size=numbers["size"],
        fragment=np.zeros(count, np.uint8), fragment_id=np.zeros(count, np.uint32),
        payload=np.zeros(count, np.int64), payload_bytes=np.zeros(count, np.int64),
    )  # fmt: skip


@built
@pytest.mark.parametrize("limit", [1_000_000, 500])
@pytest.mark.parametrize("seed", range(3))
def test_a_crowd_of_flows_is_the_same(seed, limit):
    """Tables that grow, evict, cut and sweep thousands of flows end the same flows in the same order."""
    some = crowd(seed)

    def ended() -> list[Any]:
        table = FlowTable(["10.0.0.16/28"], active_s=200, idle_s=30, tcp_idle_s=90, limit=limit, seed=seed)
        found = [columns(table.update(take(some, slice(at, at + 7_001))), FLOWS) for at in range(0, len(some), 7_001)]
        return [*found, columns(table.flush(), FLOWS), table.evicted, len(table)]

    accelerated, plain = both(ended)
    assert accelerated == plain


prints = st.sampled_from([0, 1, 2, 3, 5, *(place << 40 | odd for place in (1, 2, 65536) for odd in (0, 1, 2))])
moments = st.integers(0, 60_000) | st.integers(-(2**63), 2**63 - 1)


@built
@given(st.lists(st.tuples(prints, moments), max_size=60), st.integers(1, 60))
@settings(deadline=None, max_examples=300)
def test_any_packets_have_the_same_copies(some, size):
    """Few fingerprints, some in one place of the table, at any times and in any batches: the same copies."""
    batch = take(crowd(0, 60), slice(0, len(some)))
    print_, time_ns = (np.array([row[n] for row in some], kind) for n, kind in enumerate((np.uint64, np.int64)))
    batch = replace(batch, print=print_, time_ns=time_ns)

    def kept() -> list[Any]:
        duplicates = Duplicates()
        return [columns(duplicates.once(batch_), PACKETS) for batch_ in cut(batch, size)]

    accelerated, plain = both(kept)
    assert accelerated == plain


def cut(packets: Packets, size: int) -> list[Packets]:
    """Return the packets in batches of this size, with their fingerprints."""
    spans = [slice(at, at + size) for at in range(0, len(packets), size)]
    return [replace(take(packets, span), print=packets.print[span]) for span in spans]


said = st.sampled_from(
    [b"GET / HTTP/1.1\r\nUser-Agent: cam\r\n\r\n", b"HTTP/1.1 200 OK\r\nServer: b\r\n\r\n", b"SSH-2.0-x\r\n",
     b"220 mail\r\n", b"GET", b"", b"NOTIFY * HTTP/1.1\r\nSERVER: x\r\n\r\n", b"\x16\x03\x01\0\0\0\0\0\0"]
)  # fmt: skip
speakers = st.builds(
    lambda way, here, there, port, other, said, chop: way(f"{here}:{port}", f"{there}:{other}", payload=said[:chop]),
    st.sampled_from([udp, tcp]), st.sampled_from(["10.0.0.1", "192.0.2.1"]), st.sampled_from(["10.0.0.2", "192.0.2.2"]),
    st.sampled_from([80, 1900, 5353, 40_000]), st.sampled_from([67, 68, 547, 80, 1900, 5353]), said,
    st.sampled_from([None, 3, 8]),
)  # fmt: skip


@built
@given(st.lists(speakers, max_size=20), st.sampled_from([1, 3, 2048]))
@settings(deadline=None, max_examples=200)
def test_devices_are_heard_the_same(some, room):
    """Greetings, requests and announcements, ours and others', of any length, any number of which may wait."""

    def heard() -> list[Any]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(finding, "ROOM", room)
            devices = Devices(Sides(()).ours)
        devices.hear(decode(frames(*some)))
        return [devices.take(), devices.refused]

    accelerated, plain = both(heard)
    assert accelerated == plain


mutations = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=12)


def mutated(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    """Return the bytes with some of them exchanged."""
    changed = bytearray(data)
    for at, value in changes:
        if changed:
            changed[at % len(changed)] = value
    return bytes(changed)


wires = st.one_of(
    st.sampled_from(REAL),
    st.builds(
        lambda wire, changes, cut: Wire(mutated(wire.data, changes)[:cut], link=1),
        st.sampled_from([wire for wire in REAL if wire.link == 1]), mutations, st.integers(0, 200),
    ),
    st.builds(lambda data: Wire(data, link=1), st.binary(max_size=120)),
)  # fmt: skip


@built
@given(st.lists(wires, max_size=30))
@settings(deadline=None, max_examples=300)
def test_any_frames_give_the_same_packets(some):
    """Sound frames, mutated ones and random bytes: the same columns, kinds and counts."""
    accelerated, plain = both(lambda: decoded(frames(*some)))
    assert accelerated == plain


@built
@given(st.lists(wires, min_size=1, max_size=20), st.lists(st.integers(-200, 3000), min_size=20, max_size=20))
@settings(deadline=None, max_examples=100)
def test_any_snap_length_gives_the_same_packets(some, cuts):
    """Frames cut anywhere: what lies behind them in the buffer is never taken for theirs."""
    batch = frames(*some)
    caught = np.clip(batch.caught + np.array(cuts[: len(batch)]), 0, batch.caught)
    cut = Frames(batch.data, batch.start, caught, batch.wire, batch.time_ns, batch.link, batch.interface)
    accelerated, plain = both(lambda: decoded(cut))
    assert accelerated == plain


def pcap_file(order: str, magic: int, version: tuple[int, int], records: list[tuple[int, ...]], body: bytes) -> bytes:
    """Return a pcap file whose records claim what they like."""
    head = struct.pack(order + "IHHiIII", magic, *version, 0, 0, 65535, 1)
    extra = bytes(8) if magic == 0xA1B2CD34 else b""
    parts = [struct.pack(order + "IIII", *fields) + extra + body[: fields[2] % 97] for fields in records]
    return head + b"".join(parts)


word = st.integers(0, 2**32 - 1)
length = st.one_of(st.integers(0, 96), st.integers(0, 300), word)
records = st.lists(st.tuples(word, word, length, length), max_size=12)


@built
@given(
    st.sampled_from("<>"), st.sampled_from([0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34]),
    st.sampled_from([(2, 4), (2, 3), (2, 2), (543, 0)]), records, st.binary(min_size=97, max_size=97), mutations,
)  # fmt: skip
@settings(deadline=None, max_examples=300)
def test_any_pcap_file_gives_the_same_frames(order, magic, version, some, body, changes):
    """Every byte order, clock and age of the format, with lengths that lie and bytes exchanged."""
    data = pcap_file(order, magic, version, some, body)
    data = data[:24] + mutated(data[24:], changes)
    accelerated, plain = both(lambda: [read(batch) for batch in pcap.frames(BytesIO(data), "x")])
    assert accelerated == plain


@built
@given(mutations, st.integers(0, 20_000))
@settings(deadline=None, max_examples=200)
def test_any_pcapng_file_gives_the_same_frames(changes, cut):
    """The shipped capture's beginning, cut anywhere and with bytes exchanged."""
    data = mutated(CITY.read_bytes()[:cut], changes)
    if not pcapng.knows(data):
        return
    accelerated, plain = both(lambda: [read(batch) for batch in pcapng.frames(BytesIO(data), "x")])
    assert accelerated == plain


def test_a_buffer_that_somebody_holds_is_not_used_again():
    """Whoever keeps an earlier batch, or a part of one, keeps its bytes."""
    rooms = window.Rooms()
    held = rooms.room(1000)[10:20]
    held[:] = 7
    free = rooms.room(1000)
    place = free.__array_interface__["data"][0]
    free[:] = 8
    del free
    assert rooms.room(900).__array_interface__["data"][0] == place
    assert held.tolist() == [7] * 10


@built
def test_records_shorter_than_likely_are_all_read():
    """A file of empty records has more of them than there is room for at first."""
    data = pcap_file("<", 0xA1B2C3D4, (2, 4), [(1, 2, 0, 60)] * 5000, bytes(97))
    assert sum(map(len, pcap.frames(BytesIO(data), "x"))) == 5000


@built
@given(
    st.sampled_from("<>"), st.integers(0, 2**32 - 1), st.sampled_from([(0, 90), (0, 3000), (1400, 1500), (0, 20_000)]),
    st.integers(0, 2**16), st.lists(st.tuples(st.integers(24, 500_000), st.integers(0, 255)), max_size=4),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_leaps_arrive_where_the_walk_does(order, seconds, span, cut, changes):
    """Large files of short and long frames, full of what looks like headers, damaged anywhere: the same records."""
    random = np.random.default_rng(cut)
    longs = random.integers(*span, 1 << 20 >> 8).tolist() * 2
    head = struct.pack(order + "II", seconds, 5)
    records = [(seconds, number, long, long) for number, long in enumerate(longs)]
    parts = [struct.pack(order + "IIII", *one) + (head * (one[2] // 8 + 1))[: one[2]] for one in records]
    data = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(parts)
    data = bytearray(data[: len(data) - cut] if cut % 2 else data)
    for at, value in changes:
        data[min(at, len(data) - 1)] = value
    accelerated, plain = both(lambda: [read(batch) for batch in pcap.frames(BytesIO(bytes(data)), "x")])
    assert accelerated == plain
