"""A filter keeps exactly what tcpdump keeps, names nothing from the network, and loses no frame in silence."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from build import SCTP, Wire, ether, frames, ip, pieces, sll, sll2, tcp_ip, udp_ip
from build_capture import Frame, pcap
from corpus import CORPUS
from hypothesis import given, settings
from hypothesis import strategies as st
from one_by_one import accepted
from running import CITY, STRICT, content, run

from egress_watch.errors import UsageError
from egress_watch.sources import filter as filter_room
from egress_watch.sources import open_inputs
from egress_watch.sources.bpf import MEMORY_WORDS, MOST_STEPS, OPCODES, ProgramError, Step, check, matches
from egress_watch.sources.filter import Filter
from egress_watch.sources.filter_words import looked_up
from egress_watch.sources.narrowing import Narrowing

EXPRESSIONS = (
    "tcp", "udp", "icmp or icmp6", "arp", "ip", "ip6", "not ip", "sctp", "port 443", "src port 53", "src port 80",
    "tcp port 443 or udp port 53", "portrange 1-1023", "host 10.20.110.11", "src host 10.0.0.1", "net 10.20.0.0/16",
    "dst net 10", "not net 10.0.0.0/8", "host 2001:db8::1", "ip6 net 2001:db8::/32", "vlan", "vlan and port 443",
    "vlan 7 and udp", "vlan and vlan and ip", "mpls", "mpls and ip", "pppoes", "pppoes and ip",
    "ether host 02:00:00:00:00:0a", "ether src 02:00:00:00:00:0a", "ether proto 0x88cc", "ether multicast",
    "ether broadcast", "greater 100", "less 80", "len > 60 and len < 90", "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "tcp[tcpflags] == tcp-syn", "tcp[13] - 2 = 0", "ip[8] > 60 and ip[0] & 0xf = 5", "ip[6:2] & 0x1fff != 0",
    "udp[8:4] = 0x7061796c", "((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0", "ip6[6] = 17",
    "ip proto \\tcp", "ip proto 47", "port http or domain", "tcp and not (port 22 or port 443)", "ip[2:2] % 7 = 3",
    "ip multicast", "len = 60 or len ^ 1 = 75", "ether[0] & 1 != 0", "ip[9] * 3 / 2 > 20", "tcp[4:4] > 0x7fffffff",
)  # fmt: skip
BODIES = [
    udp_ip("10.0.0.1:1000", "3.5.140.7:443", b"payload"), udp_ip("[2001:db8::1]:1000", "[2001:db8::2]:53", b"payload"),
    tcp_ip("10.0.0.1:1000", "3.5.140.7:443", "S"), tcp_ip("[2001:db8::1]:80", "[2001:db8::2]:443", "FA", bytes(100)),
    tcp_ip("10.20.110.11:80", "10.20.0.1:1000", "PA", bytes(60), options=bytes(8)),
    ip("10.0.0.1", "1.2.3.4", 1, bytes(30)),
    ip("10.0.0.1", "224.0.0.5", 47, bytes(9)), ip("10.0.0.1", "1.2.3.4", SCTP, bytes(30)),
    *pieces("10.0.0.1:1000", "10.20.140.7:443", bytes(80), 7),
]  # fmt: skip
TAGS = ([(0x8100, 7)], [(0x88A8, 30), (0x8100, 7)], [(0x9100, 2), (0x8100, 7)])
MPLS = [ether(bytes((0, 1, 0x41, 64)) + body, 0x8847) for body in BODIES]
ETHERNET = [
    *map(ether, BODIES), *(ether(body, tags=tags) for body in BODIES for tags in TAGS), *MPLS,
    *(ether(bytes(range(60)), kind) for kind in (0x0806, 0x88CC, 0x8864, 38, 0x86DD, 0x0800)),
    *(ether(b"\x11\0\0\x01\0\x40" + b"\0\x21" + body, 0x8864) for body in BODIES[:3]), bytes(7), b"\xff" * 70,
]  # fmt: skip
OWN = {
    1: [data[:cut] for data in ETHERNET for cut in (len(data), 60, 30, 20)],
    101: BODIES,
    113: [sll(body, 0x86DD if body[0] >> 4 == 6 else 0x0800) for body in BODIES],
    276: [sll2(body, 0x86DD if body[0] >> 4 == 6 else 0x0800) for body in BODIES],
    0: [(30 if body[0] >> 4 == 6 else 2).to_bytes(4, "little") + body for body in BODIES],
}
"""Frames by link type."""
SHARED = (
    "mercury/pppoe_double_vlan_tagging.pcap", "mercury/http_rawip.pcap", "ndpi/KakaoTalk_chat.pcap", "ndpi/ajp.pcap",
    "arkime/mongo.pcap", "arkime/http2-nghttp2.pcap", "arkime/80211http.pcap", "arkime/ah-esp.pcap",
)  # fmt: skip
HERE = "02:00:00:00:00:0a"


@pytest.fixture(scope="module")
def tcpdump() -> str:
    """Return the real tcpdump; without it skip, or fail where EGRESS_WATCH_STRICT=1 asks for it."""
    found = shutil.which("tcpdump")
    if not found and STRICT:
        pytest.fail("no tcpdump")
    if not found:
        pytest.skip("no tcpdump")
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return a capture of our own for each link type, the city, and some of the shared corpus where it is."""
    folder = tmp_path_factory.mktemp("own")
    for link, wires in OWN.items():
        whole = [Frame(n * 10**9, data, max(len(data), 40 + n)) for n, data in enumerate(wires)]
        (folder / f"{link}.pcap").write_bytes(pcap(whole, network=link))
    shared = [path for path in (CORPUS / "pcaps" / name for name in SHARED) if path.exists()]
    assert shared or not STRICT
    return [*sorted(folder.glob("*.pcap")), CITY, *shared]


def read(path: Path, by: Filter | None = None) -> list[tuple[int, bytes]]:
    """Return time and bytes of the frames that a filter keeps, all of them without one."""
    found = []
    for whole in open_inputs([str(path)]).frames():
        batch = Narrowing(filter=by).narrow(whole)
        assert len(batch) + sum(batch.left_out.values()) == len(whole)
        spans = zip(batch.time_ns.tolist(), batch.start.tolist(), batch.caught.tolist(), strict=True)
        found += [(time_ns, batch.data[at : at + caught].tobytes()) for time_ns, at, caught in spans]
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_filter_keeps_what_tcpdump_keeps(tcpdump, files, tmp_path, expression):
    """Frame by frame the same choice as `tcpdump -r FILE EXPRESSION`; where tcpdump refuses the file, no frame."""
    by = Filter(expression)
    for path in files:
        theirs = tmp_path / "theirs.pcap"
        command = [tcpdump, "-r", path, "-w", theirs, "--nano", expression]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        kept = read(theirs) if done.returncode == 0 else []
        assert [data for _, data in read(path, by)] == [data for _, data in kept], path


def test_the_expressions_choose():
    """The comparison with tcpdump is no comparison of nothing: over all captures every expression keeps some frame."""
    own = [frames(*(Wire(data, link=link) for data in wires)) for link, wires in OWN.items()]
    for expression in EXPRESSIONS:
        kept = sum(int(Filter(expression).keep(batch)[0].sum()) for batch in own)
        assert 0 < kept < sum(map(len, own)) or len(read(CITY, Filter(expression))), expression


@pytest.mark.parametrize(
    ("expression", "said"),
    [("tcp and", "syntax error"), ("port 99999", "illegal port number"), ("vlan 5000", "VLAN tag 5000 greater"),
     ("ip6 protochain 6", "a jump back"), ("host 1.2.3.4.5", "no name is looked up"), ("x\0", "zero byte"),
     ("tcp or " * 3000 + "tcp", "longer than")],
)  # fmt: skip
def test_a_wrong_expression_is_refused_in_words(expression, said):
    """What cannot be compiled or run is a mistake of usage, told in libpcap's own words where it has any."""
    with pytest.raises(UsageError, match=said):
        Filter(expression)


def test_a_wrong_expression_ends_the_run_before_anything_is_read(capsys, tmp_path):
    """Exit code 2, and not even a database is made."""
    code, out, err = run(capsys, "replay", CITY, "--db", tmp_path / "a.db", "--filter", "tcp prot 80")
    assert (code, out, list(tmp_path.iterdir())) == (2, "", [])
    assert "--filter: " in err
    assert "pcap-filter(7)" in err


def test_without_libpcap_the_remedy_is_told(capsys, tmp_path, monkeypatch):
    """Where there is no libpcap, --filter is refused with the package to install, and a run without it works."""
    monkeypatch.setattr(filter_room, "LIBRARIES", ("libpcap-that-is-not-here.so",))
    code, _, err = run(capsys, "replay", CITY, "--db", tmp_path / "a.db", "--filter", "tcp")
    assert code == 2
    assert "libpcap, which compiles filters, is not here" in err
    assert "apt install libpcap0.8" in err
    assert run(capsys, "replay", CITY, "--db", tmp_path / "a.db")[0] == 0


@pytest.mark.parametrize(
    "expression",
    ["example.com", "host example", "tcp and src example.com", "net example", "ether host example", "TCP",
     "port 80 or src example", "port 80 and (dst example)", "host 1.2.3.4 or example", "host dead:beef", "1and1.com",
     "ip host example", "gateway example", "tcp port 80 and host example-tcp", "host \\tcp", "proto tcp or host x",
     f"host {'1' * 5000}a"],
)  # fmt: skip
def test_no_word_is_left_to_the_resolver(expression):
    """A word that libpcap would look up in the network is refused before libpcap sees it."""
    assert looked_up(expression)
    with pytest.raises(UsageError, match="no name is looked up"):
        Filter(expression)


@pytest.mark.parametrize(
    "expression",
    ["port https or domain", "ip proto \\udp", "ether host 02-00-00-00-00-0a", "host ::1", "ip6 host fe80::1",
     "net 10", "net 192.168.0.0 mask 255.255.0.0", "portrange 6000-6010", "tcp[0:2]=0x50", "udp[8]-1=2",
     "icmp[icmptype]=icmp-echo", "wlan type mgt subtype beacon", "ether host 0200.0000.000a", "not port ssh"],
)  # fmt: skip
def test_addresses_numbers_and_words_of_files_may_stand(expression):
    """What needs no network to be understood is no word to refuse."""
    assert looked_up(expression) == ""
    assert Filter(expression).expression == expression


def test_link_types_without_a_meaning_are_named():
    """`ether host` says nothing of raw IP: such frames are left out under a name of their own."""
    mixed = frames(Wire(ETHERNET[0]), Wire(BODIES[0], link=101), Wire(BODIES[0], link=101), Wire(MPLS[0]))
    kept = Narrowing(filter=Filter(f"ether host {HERE} and udp")).narrow(mixed)
    assert len(kept) == 1
    assert kept.left_out == {"filtered out": 1, "filtered out: no meaning for link type 101": 2}


words = st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1), st.sampled_from([2**31, 2**32 - 1, 31, 32, 33]))


@st.composite
def programs(draw) -> list[Step]:
    """Return a program that ends, its jumps within reach."""
    count = draw(st.integers(0, 14))
    steps = []
    for at in range(count):
        code, left = draw(st.sampled_from(sorted(OPCODES))), count - at - 1
        k = draw(words)
        if code == 5:
            k = draw(st.integers(0, left))
        if code in (2, 3, 0x60, 0x61):
            k = draw(st.integers(0, MEMORY_WORDS - 1))
        steps.append(Step(code, draw(st.integers(0, min(left, 255))), draw(st.integers(0, min(left, 255))), k))
    return [*steps, Step(draw(st.sampled_from([6, 0x16])), 0, 0, draw(st.integers(0, 1)))]


wires_of_any_length = st.lists(st.tuples(st.binary(max_size=50), st.integers(0, 2**33)), max_size=6)


@given(programs(), wires_of_any_length, st.binary(max_size=9))
@settings(deadline=None, max_examples=400)
def test_columns_and_single_frames_agree(steps, wires, between):
    """Whatever a program does, over columns it accepts the frames that it accepts one by one."""
    check(steps)
    batch = frames(*(Wire(data, 0, wire) for data, wire in wires), between=between)
    found = matches(steps, batch)
    assert found.tolist() == [accepted(steps, data, wire) for data, wire in wires]


@pytest.mark.parametrize(
    "steps",
    [[], [Step(0, 0, 0, 1)], [Step(5, 0, 0, 1), Step(6, 0, 0, 1)], [Step(5, 0, 0, 2**32 - 2), Step(6, 0, 0, 1)],
     [Step(0x15, 9, 0, 1), Step(6, 0, 0, 1)], [Step(2, 0, 0, 16), Step(6, 0, 0, 1)], [Step(0xFF, 0, 0, 0)] * 2,
     [Step(6, 0, 0, 1)] * (MOST_STEPS + 1)],
)  # fmt: skip
def test_what_is_no_program_is_refused(steps):
    """No end, a jump back or out, memory that is not there, an unknown opcode, too many instructions."""
    with pytest.raises(ProgramError):
        check(steps)


def test_a_narrowed_replay_is_the_replay_of_what_tcpdump_writes(tcpdump, capsys, tmp_path):
    """--filter gives the flows, names, verdicts and alerts of the capture that tcpdump makes with the same filter."""
    expression, less = "not port 123 and (tcp or udp)", tmp_path / "less.pcap"
    done = subprocess.run([tcpdump, "-r", CITY, "-w", less, "--nano", expression], capture_output=True, check=True)
    assert done.returncode == 0
    assert run(capsys, "replay", CITY, "--db", tmp_path / "a.db", "--filter", expression)[0] == 0
    assert run(capsys, "replay", less, "--db", tmp_path / "b.db")[0] == 0
    ours, theirs = content(tmp_path / "a.db"), content(tmp_path / "b.db")
    assert ours["flows"] == theirs["flows"]
    assert ours["alerts"] == theirs["alerts"]
    assert ours["ids"] == theirs["ids"]


FIRST, LAST = "2026-11-02T08:15:00Z", "2026-11-02T08:30:00Z"


def summary(capsys, *arguments) -> dict:
    """Return what `replay --json` says."""
    code, out, err = run(capsys, "replay", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_times_narrow_and_every_frame_is_counted(capsys, tmp_path):
    """--from and --to are both inclusive; frames = packets + skipped, with what was left out among it by name."""
    times = np.concatenate([batch.time_ns for batch in open_inputs([str(CITY)]).frames()])
    first, last = 1793606400_000_000_000 + 15 * 60 * 10**9, 1793606400_000_000_000 + 30 * 60 * 10**9
    found = summary(capsys, CITY, "--db", tmp_path / "a.db", "--from", FIRST, "--to", LAST)
    assert found["frames"] == len(times) == found["packets"] + sum(found["skipped"].values())
    assert found["skipped"]["before --from"] == int((times < first).sum()) > 0
    assert found["skipped"]["after --to"] == int((times > last).sum()) > 0
    flows = content(tmp_path / "a.db")["flows"]
    assert all(first <= row["first_ns"] <= row["last_ns"] <= last for row in flows)
    edge = str(np.datetime64(int(times[len(times) // 2]), "ns").astype("datetime64[us]"))
    exact = summary(capsys, CITY, "--db", tmp_path / "b.db", "--from", edge, "--to", edge)
    moment = int(np.datetime64(edge).astype("datetime64[ns]").astype(np.int64))
    assert exact["frames"] - exact["skipped"].get("before --from", 0) - exact["skipped"].get("after --to", 0) == int(
        (times == moment).sum()
    )


def test_a_narrowed_recording_is_not_the_whole_one(capsys, tmp_path):
    """Narrowed otherwise, the same file is recorded anew; narrowed in the same way it is held; each says how."""
    db = tmp_path / "a.db"
    narrow = (CITY, "--db", db, "--filter", "tcp  port 443", "--from", "2026-11-02T09:10+01:00")
    first = summary(capsys, *narrow)
    assert first["narrowed"] == "--from 2026-11-02T08:10:00Z --filter 'tcp port 443'"
    whole = summary(capsys, CITY, "--db", db)
    assert (whole["held"], whole["narrowed"], "filtered out" in whole["skipped"]) == ([], "", False)
    again = summary(capsys, CITY, "--db", db, "--filter", "tcp port 443", "--from", "2026-11-02T08:10Z")
    assert (again["held"], again["recordings"]) == ([str(CITY)], first["recordings"])
    _, report, _ = run(capsys, "replay", *narrow)
    assert "narrowed: --from 2026-11-02T08:10:00Z --filter 'tcp port 443'\n" in report
    assert "Left out as asked: filtered out " in report
    assert "Skipped (no IP packet)" not in report  # the filter left them out first


def test_nothing_asked_for_leaves_a_sound_recording(capsys, tmp_path):
    """A file wholly outside the times has no flows, no times, and all its frames counted."""
    found = summary(capsys, CITY, "--db", tmp_path / "a.db", "--from", "2030-01-01")
    assert (found["packets"], found["flows"]) == (0, 0)
    assert found["skipped"] == {"before --from": found["frames"]}
    assert [row["first_ns"] for row in content(tmp_path / "a.db")["recording"]] == [0]


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--from", "2h"), "is a span"), (("--to", "7d"), "is a span"), (("--from", "noon"), "is no time"),
     (("--from", "2026-11-03", "--to", "2026-11-02"), "is later than")],
)  # fmt: skip
def test_times_that_cannot_be_meant_are_refused(capsys, tmp_path, options, said):
    """A span has nothing to count from before anything is read; exit code 2, and nothing is written."""
    code, _, err = run(capsys, "replay", CITY, "--db", tmp_path / "a.db", *options)
    assert (code, list(tmp_path.iterdir())) == (2, [])
    assert said in err


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(0, 30), st.integers(0, 50), st.integers(0, 50))
@settings(deadline=None)
def test_narrowing_does_not_depend_on_batches(times, cut, first, last):
    """Law 3: cut into batches anywhere, the same frames stay and the same counts are left out."""
    narrow = Narrowing(first, last, Filter("udp"))
    wires = [Wire(ETHERNET[time % 5], time) for time in times]
    whole = narrow.narrow(frames(*wires))
    parts = [narrow.narrow(frames(*some)) for some in (wires[:cut], wires[cut:])]
    assert [time for part in parts for time in part.time_ns.tolist()] == whole.time_ns.tolist()
    reasons = {reason for part in parts for reason in part.left_out}
    assert {reason: sum(part.left_out.get(reason, 0) for part in parts) for reason in reasons} == whole.left_out
