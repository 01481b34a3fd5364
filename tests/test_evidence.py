"""Evidence: the first packets of flows that raised an alert, bounded, linked to it, and readable by its owner only."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import stat
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit

import numpy as np
import pytest
from build import Wire, frames, packets, tcp, udp
from hypothesis import given
from hypothesis import strategies as st
from running import run
from sqlite_utils import Database

from egress_watch.decode import decode
from egress_watch.errors import ConfigError
from egress_watch.evidence import Evidence
from egress_watch.evidence.firsts import Firsts, marks
from egress_watch.evidence.ring import Ring
from egress_watch.evidence.waiting import ROW_BYTES, Waiting, Waits
from egress_watch.flows import FlowTable
from egress_watch.library import shipped
from egress_watch.model import Link
from egress_watch.sources import open_inputs
from egress_watch.store.retention import sweep

CITY = shipped("captures") / "city.pcapng"
SETTINGS = (shipped("captures") / "city.conf.toml").read_text(encoding="utf-8")
NS = 10**9
TIMES = {"active_s": 300.0, "idle_s": 60.0, "tcp_idle_s": 600.0}
SIZES = {"packets": 20, "flows": 10, "file_bytes": 10**6, "files": 3, "waiting_bytes": 10**7}
FIN, SYN, RST, ACK = 1, 2, 4, 16


def settings(folder: Path, **asked: int) -> Path:
    """Return a file of the city's settings that keeps evidence in ``folder``/ring."""
    path = folder / "settings.toml"
    more = "".join(f"{key} = {value}\n" for key, value in asked.items())
    path.write_text(f'{SETTINGS}\n[evidence]\nfolder = "ring"\n{more}', encoding="utf-8")
    return path


def replay(capsys, folder: Path, *more: str, capture: Path = CITY, **asked: int) -> dict:
    """Return the summary of a replay of the city that keeps evidence."""
    config = settings(folder, **asked)
    code, out, _ = run(capsys, "replay", capture, "--db", folder / "a.db", "--config", config, "--json", *more)
    assert code == 0
    return json.loads(out)


def ask(folder: Path, query: str) -> list[tuple]:
    """Return the rows of a query."""
    with closing(sqlite3.connect(folder / "a.db")) as db:
        return db.execute(query).fetchall()


def dissected(path: Path, *names: str) -> list[list[str]]:
    """Return fields of each packet, as tshark reads them."""
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "separator=\t"]
    command += [part for name in names for part in ("-e", name)]
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return [line.split("\t") for line in found.stdout.splitlines()]


def test_nothing_is_kept_unless_a_folder_is_named(capsys, tmp_path, monkeypatch):
    """Without a folder in the settings no packet is written anywhere, and no alert says otherwise."""
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "replay", CITY, "--db", tmp_path / "a.db")[0] == 0
    assert not list(tmp_path.rglob("*.pcapng"))
    assert ask(tmp_path, "SELECT count(*) FROM evidence") == [(0,)]
    assert {row[0] for row in ask(tmp_path, "SELECT evidence_flows FROM alerts")} == {0}


def test_a_trial_of_rules_keeps_nothing(capsys, tmp_path):
    """`rules test --pcap` with settings that keep evidence leaves no packet in the ring."""
    words = ("rules", "test", shipped("rules"), "--pcap", CITY, "--config", settings(tmp_path))
    assert "no such" not in run(capsys, *words)[2]
    assert not list(tmp_path.rglob("*.pcapng"))


def test_the_city_keeps_the_first_packets_of_each_flow_that_alerts(capsys, tmp_path):
    """Of each such flow the ring has the very packets with which it begins in the capture, byte for byte."""
    found = replay(capsys, tmp_path)
    assert found["evidence"]
    assert not sum(row["missing"] for row in found["evidence"])
    expected = all_packets()
    kept: dict[int, list[tuple[int, bytes]]] = {}
    for path in sorted((tmp_path / "ring").iterdir()):
        numbers = [int(re.search(r"flow (\d+),", row[0])[1]) for row in dissected(path, "frame.comment")]
        for number, packet in zip(numbers, raw(path), strict=True):
            kept.setdefault(number, []).append(packet)
    flows = "SELECT id, device_ip, device_port, remote_ip, remote_port, protocol, first_ns, last_ns FROM flows"
    for number, *ends, first_ns, last_ns in ask(tmp_path, flows):
        if number in kept:
            wanted = [one for one in expected[conversation(*ends)] if first_ns <= one[0] <= last_ns]
            assert kept[number] == wanted[:20]
    assert len(kept) > 50


def raw(path: Path) -> list[tuple[int, bytes]]:
    """Return time and bytes of each frame of a capture, as our own reader finds them."""
    return [
        (int(batch.time_ns[row]), batch.data[batch.start[row] : batch.start[row] + batch.caught[row]].tobytes())
        for batch in open_inputs([str(path)]).frames()
        for row in range(len(batch))
    ]


def conversation(one_ip, one_port, other_ip, other_port, protocol) -> tuple:
    """Return what both directions share."""
    return (*sorted([(one_ip, int(one_port)), (other_ip, int(other_port))]), protocol)


def all_packets() -> dict[tuple, list[tuple[int, bytes]]]:
    """Return all frames of the city by conversation, as tshark tells their ends apart."""
    names = ("ip.src", "ipv6.src", "ip.dst", "ipv6.dst", "tcp.srcport", "udp.srcport", "tcp.dstport", "udp.dstport")
    found: dict[tuple, list[tuple[int, bytes]]] = {}
    for fields, frame in zip(dissected(CITY, *names), raw(CITY), strict=True):
        src, dst = fields[0] or fields[1], fields[2] or fields[3]
        protocol = "tcp" if fields[4] else "udp"
        if (fields[4] or fields[5]) and "," not in src:
            ends = src, fields[4] or fields[5], dst, fields[6] or fields[7]
            found.setdefault(conversation(*ends, protocol), []).append(frame)
    return found


def test_the_files_say_when_where_and_for_which_alert(capsys, tmp_path):
    """In tshark each packet has its time, the capture as its interface, and a comment that names its alerts."""
    replay(capsys, tmp_path)
    alerts = dict(ask(tmp_path, "SELECT id, title FROM alerts"))
    linked = set(ask(tmp_path, "SELECT alert, flow FROM evidence"))
    told = set()
    for path in (tmp_path / "ring").iterdir():
        for comment, interface, time_s in dissected(path, "frame.comment", "frame.interface_name", "frame.time_epoch"):
            flow = int(re.match(r"egress-watch flow (\d+), ", comment)[1])
            for alert, title in re.findall(r"alert (\d+): ([^;]+)", comment):
                assert alerts[int(alert)] == title
                told.add((int(alert), flow))
            assert interface == str(CITY)
            assert 1_793_606_400 <= float(time_s) <= 1_793_610_000
    assert told == linked


def test_only_the_owner_can_read_it(capsys, tmp_path):
    """Files and the folder that was made for them are closed to everybody else."""
    replay(capsys, tmp_path)
    folder = tmp_path / "ring"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_the_ring_stays_within_its_bounds_and_its_oldest_goes(capsys, tmp_path):
    """Never more files or bytes than configured; the numbers rise, so what is left is the newest."""
    replay(capsys, tmp_path, file_bytes=10_000, files=3)
    held = sorted((tmp_path / "ring").iterdir())
    assert len(held) == 3
    assert all(path.stat().st_size <= 10_000 for path in held)
    assert held[0].name > "evidence-00000001.pcapng"
    paths = {row[0] for row in ask(tmp_path, "SELECT path FROM evidence")}
    assert {str(path) for path in held} <= paths
    assert len(paths) > 3


def test_what_was_gone_is_counted(capsys, tmp_path):
    """With little memory packets are gone when the alert comes: each is counted and the report says so."""
    found = replay(capsys, tmp_path, waiting_bytes=20_000)
    missing = sum(row["missing"] for row in found["evidence"])
    assert missing > 0
    whole = replay(capsys, _folder(tmp_path, "whole"))
    packets_ = sum(row["packets"] for row in whole["evidence"])
    assert sum(row["packets"] for row in found["evidence"]) + missing == packets_
    out = run(capsys, "replay", CITY, "--db", tmp_path / "a.db", "--config", tmp_path / "settings.toml")[1]
    assert f"gone already: {missing:,} packets" in out


def _folder(path: Path, name: str) -> Path:
    (path / name).mkdir()
    return path / name


def test_at_most_so_many_flows_of_an_alert(capsys, tmp_path):
    """One alert that goes on for ever does not push all others out."""
    replay(capsys, tmp_path, flows=2)
    counts = Counter(row[0] for row in ask(tmp_path, "SELECT alert FROM evidence"))
    assert counts
    assert max(counts.values()) == 2


def test_a_helper_process_changes_nothing(capsys, tmp_path):
    """Frames that another process read and decoded leave the same evidence."""
    one, two = _folder(tmp_path, "one"), _folder(tmp_path, "two")
    replay(capsys, one)
    replay(capsys, two, "--jobs", "2")
    query = "SELECT alert, flow, packets, missing FROM evidence ORDER BY 1, 2"
    assert ask(one, query) == ask(two, query)
    assert [raw(path) for path in (one / "ring").iterdir()] == [raw(path) for path in (two / "ring").iterdir()]


def test_inspect_opens_the_capture_and_when_it_is_gone_the_evidence(capsys, tmp_path):
    """By flow and by alert; when the ring has let it go too, it says so."""
    capture = tmp_path / "city.pcapng"
    shutil.copy(CITY, capture)
    replay(capsys, tmp_path, capture=capture)
    alert, flow = ask(tmp_path, "SELECT alert, flow FROM evidence ORDER BY 1, 2 LIMIT 1")[0]
    seen = run(capsys, "inspect", tmp_path / "a.db", flow, "--limit", "3")[1]
    assert f"from {capture}" in seen
    capture.unlink()
    kept = run(capsys, "inspect", tmp_path / "a.db", flow, "--limit", "3")[1]
    assert "from " + str(next((tmp_path / "ring").iterdir())) in kept
    assert times(kept) == times(seen)
    assert times(run(capsys, "inspect", tmp_path / "a.db", "--alert", alert, "--limit", "3")[1]) == times(seen)
    for path in (tmp_path / "ring").iterdir():
        path.unlink()
    code, _, err = run(capsys, "inspect", tmp_path / "a.db", flow)
    assert code == 1
    assert "not there any more" in err


def test_what_was_read_live_is_opened_from_its_evidence_alone(capsys, tmp_path):
    """No capture is missed where there was none; a flow without kept packets is told so, with a remedy."""
    replay(capsys, tmp_path)
    with closing(sqlite3.connect(tmp_path / "a.db")) as db, db:
        db.execute("UPDATE input SET path = 'mon0', fingerprint = 'live 1796048835797101079 13999 mon0'")
    kept, bare = (
        ask(tmp_path, f"SELECT id FROM flows WHERE id {which} IN (SELECT flow FROM evidence) LIMIT 1")[0][0]
        for which in ("", "NOT")
    )
    code, out, err = run(capsys, "inspect", tmp_path / "a.db", kept, "--limit", "1")
    assert (code, "not looked into" in out, err) == (0, False, "")
    code, out, err = run(capsys, "inspect", tmp_path / "a.db", bare)
    assert (code, out) == (1, "")
    assert "mon0: was read live, and no packet of this flow was kept" in err
    assert "try: set evidence.folder" in err


def times(text: str) -> list[str]:
    """Return the times of the packets that inspect shows."""
    return re.findall(r"\d{10}\.\d{9}", text)


def test_inspect_says_what_it_needs(capsys, tmp_path):
    """Neither flow nor alert, both, or a number that is none: exit code 2 and a remedy."""
    replay(capsys, tmp_path)
    for words in ((), ("1", "--alert", "1"), ("--alert", "x"), ("--alert", "99999")):
        code, _, err = run(capsys, "inspect", tmp_path / "a.db", *words)
        assert code == 2
        assert "try:" in err


def test_retention_takes_what_leads_to_evidence_too(capsys, tmp_path):
    """Flows that are gone are said to be, with a way to their packets; lists of names go with the flows."""
    replay(capsys, tmp_path)
    alert = ask(tmp_path, "SELECT min(alert) FROM evidence")[0][0]
    with closing(sqlite3.connect(tmp_path / "a.db")) as db:
        db.execute("INSERT INTO alias(names) VALUES ('[\"a.example\"]')")
        db.execute("DELETE FROM flow")
        db.commit()
        sweep(Database(db), str(tmp_path / "a.db"))
    code, _, err = run(capsys, "inspect", tmp_path / "a.db", "--alert", alert)
    assert code == 2
    assert f"no flow of alert {alert} is stored any more" in err
    assert f'frame.comment contains "alert {alert}:"' in err
    assert ask(tmp_path, "SELECT count(*) FROM alias") == [(0,)]


@pytest.mark.parametrize("what", ["a file", "below a file"])
def test_a_folder_that_is_none_stops_the_start(capsys, tmp_path, what):
    """A file in its place is told with what, where and a remedy before a packet is read."""
    path = tmp_path / "ring"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        Ring(path if what == "a file" else path / "deeper", 10**6, 3)
    assert caught.value.remedy
    code, _, err = run(capsys, "replay", CITY, "--db", tmp_path / "a.db", "--config", settings(tmp_path))
    assert (code, path.read_text(encoding="utf-8")) == (2, "mine")
    assert "evidence.folder" in err


def test_a_file_too_small_for_packets_is_a_mistake(capsys, tmp_path):
    """The settings are refused with the key and the least size."""
    code, _, err = run(capsys, "replay", CITY, "--config", settings(tmp_path, file_bytes=99))
    assert code == 2
    assert "evidence.file_bytes" in err


def waits(time_ns: int, size: int = 60, interface: str = "a.pcap", link: int = 1) -> Waits:
    """Return a frame that waits."""
    return Waits(time_ns, bytes(size), size, link, interface)


def test_what_else_lies_in_the_folder_stays(tmp_path):
    """The ring touches only files of its own name."""
    (tmp_path / "evidence.pcapng").write_bytes(b"mine")
    (tmp_path / "evidence-1.pcapng").write_bytes(b"mine")
    kept = Ring(tmp_path, 10_000, 1)
    for n in range(30):
        assert kept.write([waits(n, 3000)], "c")[1] == 1
    assert (tmp_path / "evidence.pcapng").read_bytes() == (tmp_path / "evidence-1.pcapng").read_bytes() == b"mine"
    assert len(list(tmp_path.iterdir())) == 3


def test_another_start_goes_on_with_the_next_file(tmp_path):
    """No file of an earlier start is written over."""
    first, _ = Ring(tmp_path, 10_000, 3).write([waits(1)], "c")
    second, _ = Ring(tmp_path, 10_000, 3).write([waits(2)], "c")
    assert first < second
    assert len(raw(Path(first))) == len(raw(Path(second))) == 1


def test_a_full_disk_costs_evidence_and_no_older_file(tmp_path):
    """Packets that cannot be written count as missing, the reason is kept, and what lies there stays as it was."""
    kept = Ring(tmp_path, 10_000, 1)
    path, _ = kept.write([waits(1)], "c")
    before = Path(path).read_bytes()
    with no_file_beyond(len(before) + 100):
        assert kept.write([waits(2, 3000)], "c") == ("", 0)
        assert kept.write([waits(2, 9000)], "c") == ("", 0)
    assert kept.trouble
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [before]
    assert kept.write([waits(3)], "c") == (path, 1)
    assert len(raw(Path(path))) == 2


@contextmanager
def no_file_beyond(size_bytes: int) -> Iterator[None]:
    """Let the kernel refuse to make any file larger (setrlimit(2))."""
    soft, hard = getrlimit(RLIMIT_FSIZE)
    setrlimit(RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        setrlimit(RLIMIT_FSIZE, (soft, hard))


def test_interfaces_of_several_captures_and_link_types_stay_apart(tmp_path):
    """A file describes each interface once; hostile names of files come out as text."""
    kept = Ring(tmp_path, 100_000, 2)
    some = [waits(1), waits(2, link=101), waits(3, interface="b\udcff\n.pcap"), waits(4)]
    path, count = kept.write(some, "c\x1b[31m\u202e" + "é" * 5000)
    path, more = kept.write(some, "again")
    assert (count, more) == (4, 4)
    rows = dissected(Path(path), "frame.interface_id", "frame.time_epoch")
    assert [row[0] for row in rows] == ["0", "1", "2", "0"] * 2


def test_a_frame_larger_than_a_file_is_missing(tmp_path):
    """It is not written, and the file before stays as it is."""
    kept = Ring(tmp_path, 10_000, 2)
    assert kept.write([waits(1, 20_000)], "c") == ("", 0)
    assert kept.write([waits(1, 4_000)] * 3, "c")[1] == 2


@given(st.lists(st.integers(1, 3000), max_size=60), st.integers(2_000, 40_000))
def test_memory_is_bounded_whatever_comes(sizes, limit):
    """What waits takes no more than the limit and one batch, and the newest are those that wait."""
    waiting = Waiting(limit)
    for number, size in enumerate(sizes):
        batch = frames(Wire(bytes(size), number))
        waiting.add(batch, np.array([0]), np.array([number + 1], np.uint64))
        assert waiting.size_bytes <= limit + size + ROW_BYTES
    found = waiting.of([(number + 1, 0, 2**62) for number in range(len(sizes))])
    held = [bool(one) for one in found]
    assert held == sorted(held)
    assert [len(one[0].data) for one in found if one] == sizes[len(sizes) - sum(held) :]


def one_by_one(rows, most: int) -> list[bool]:
    """Return which packets are among the first of their run, told packet by packet; times in seconds."""
    runs: dict[int, list] = {}
    chosen = []
    for mark, time_ns, flags in rows:
        run_ = runs.get(mark)  # count, first, last, closed
        opens = flags & (SYN | ACK) == SYN
        if run_ is None or time_ns - run_[2] > 600 * NS or time_ns - run_[1] > 300 * NS or (opens and run_[3]):
            run_ = runs[mark] = [0, time_ns, time_ns, False]
        chosen.append(run_[0] < most)
        run_[:] = run_[0] + 1, run_[1], time_ns, run_[3] or bool(flags & (FIN | RST))
    return chosen


ROWS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 700), st.sampled_from([ACK, ACK, SYN, SYN | ACK, FIN | ACK, RST])),
    max_size=40,
)


@given(ROWS, st.integers(1, 4), st.lists(st.integers(0, 40), max_size=4))
def test_the_first_packets_are_the_same_however_they_come(rows, most, cuts):
    """Any cutting into batches chooses the packets that a walk packet by packet would choose."""
    gone = np.cumsum([row[1] for row in rows]) * NS
    rows = [(mark, int(ns), flags) for (mark, _, flags), ns in zip(rows, gone, strict=True)]
    firsts, chosen = Firsts(most, 300, 60, 600), []
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    for start, end in pairwise(edges):
        if some := rows[start:end]:
            mark, time_ns, flags = (np.array(column) for column in zip(*some, strict=True))
            tcp_ = np.full(len(some), 6, np.uint8)
            chosen += firsts.choose(mark.astype(np.uint64), time_ns, flags.astype(np.uint8), tcp_).tolist()
    assert chosen == one_by_one(rows, most)


def test_both_directions_have_one_mark_and_others_another():
    """Ends may be swapped; another port, address, protocol or seed gives another mark."""
    here, there = "10.0.0.1", "10.0.0.2"
    wires = [
        udp(f"{here}:1", f"{there}:2"), udp(f"{there}:2", f"{here}:1"), udp(f"{here}:2", f"{there}:1"),
        tcp(f"{here}:1", f"{there}:2"), udp(f"{here}:1", "10.0.0.3:2"),
    ]  # fmt: skip
    some = packets(*wires)
    told = marks(some.src, some.dst, (some.src_port, some.dst_port), some.protocol, 7).tolist()
    assert told[0] == told[1]
    assert len(set(told)) == 4
    other = marks(some.src, some.dst, (some.src_port, some.dst_port), some.protocol, 8).tolist()
    assert not set(told) & set(other)


def test_any_cutting_of_the_frames_keeps_the_same_packets(tmp_path):
    """One batch or one frame at a time, in the middle of a handshake or not: the same bytes are kept."""
    wires = [tcp("10.0.0.5:4000", "52.1.2.3:443", "S", t=10)]
    wires += [tcp("10.0.0.5:4000", "52.1.2.3:443", "A", b"x" * n, t=10 + n) for n in range(1, 9)]
    found = []
    for number, cut in enumerate(([9], [1] * 9, [4, 5])):
        evidence = Evidence(str(tmp_path / str(number)), **{**SIZES, "packets": 5}, **TIMES, seed=3)
        table = FlowTable()
        left = list(wires)
        for count in cut:
            batch, left = frames(*left[:count]), left[count:]
            evidence.hear(batch, decode(batch))
            table.update(decode(batch))
        flows = table.flush()
        kept = evidence.keep(flows, np.array([77]), [Link(1, 77, "t"), Link(2, 77, "u"), Link(3, 99, "elsewhere")])
        assert [(one.alert, one.packets, one.missing) for one in kept] == [(1, 5, 0), (2, 5, 0)]
        found.append(raw(Path(kept[0].path)))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 5
