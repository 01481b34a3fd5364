"""Live sources on real interfaces: a cable between two name spaces, frames sent by tcpreplay."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from build import ether, ip, udp_ip
from build_capture import NANO, Frame, pcap
from namespaces import LATE_S, MTU, Pair, connected, entered, needs_namespaces, until
from running import CITY

from egress_watch.errors import CaptureError, UsageError
from egress_watch.model import LEFT_OUT, PAD_BYTES
from egress_watch.sources import live as live_module
from egress_watch.sources import open_inputs
from egress_watch.sources.filter import Filter
from egress_watch.sources.live import Live
from egress_watch.sources.narrowing import Narrowing
from egress_watch.sources.nics import nic
from egress_watch.sources.packet_socket import RingError, opened

pytestmark = [needs_namespaces, pytest.mark.usefixtures("way")]
RING_BYTES = 1 << 26
PROMISCUOUS = 0x100
"""IFF_PROMISC of linux/if.h, as /sys shows it."""
ONE, TWO = "10.20.0.5:4000", "52.208.0.10:443"


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Give two spaces, of which this process is in the watched one: its sockets are made there."""
    with connected() as found, entered(found):
        yield found


_open: list[Live] = []


@pytest.fixture(autouse=True)
def _all_closed() -> Iterator[None]:
    """Let go of what a test that failed still listens to: it would keep the interface promiscuous."""
    yield
    while _open:
        _open.pop().close()


def listen(*names: str, **options) -> Live:
    """Listen to interfaces until the test is over."""
    _open.append(Live(names or ("mon0",), **{"ring_bytes": RING_BYTES, **options}))
    return _open[-1]


def timely(batches: Iterator) -> Iterator:
    """Yield batches, but not for ever: what a test waits for has to come."""
    end_s = time.monotonic() + LATE_S
    for batch in batches:
        yield batch
        assert time.monotonic() < end_s, "waited in vain"


def listening(*names: str, most: int, during=lambda: None, **options) -> tuple[Live, list]:
    """Return what comes from some interfaces until so many frames were there, while something else happens."""
    live = listen(*names, **options)
    doing = threading.Timer(0.05, during)
    doing.start()
    batches = list(timely(live.frames(most)))
    doing.join()
    live.close()
    return live, batches


def shown(batches) -> list[tuple[int, bytes]]:
    """Return the frames as (wire, bytes)."""
    rows = []
    for batch in batches:
        assert not batch.data[-PAD_BYTES:].any()
        spans = zip(batch.wire.tolist(), batch.start.tolist(), batch.caught.tolist(), strict=True)
        rows += [(wire, batch.data[start : start + caught].tobytes()) for wire, start, caught in spans]
    return rows


def captured(path) -> list[tuple[int, bytes]]:
    """Return the frames of a capture as they are when sent: of one that was cut, what is left."""
    return [(len(frame), frame) for _, frame in shown(open_inputs([str(path)]).frames())]


def written(tmp_path, *frames: bytes):
    """Write a capture of these frames, padded to what Ethernet carries."""
    path = tmp_path / "sent.pcap"
    path.write_bytes(pcap([Frame(n * 1000, frame.ljust(60, b"\0")) for n, frame in enumerate(frames)], magic=NANO))
    return path


def test_frames_are_those_that_were_sent(pair):
    """Every frame of the city, VLAN tags included, comes in order, whole, with rising times of now."""
    sent = captured(CITY)
    live, batches = listening(most=len(sent), during=lambda: pair.send(CITY))
    assert shown(batches) == sent
    assert live.notes == []
    times = [time_ns for batch in batches for time_ns in batch.time_ns.tolist()]
    assert times == sorted(times)
    assert sum(batch.lost for batch in batches) == 0
    minutes = live.health()
    assert (sum(one.frames for one in minutes), sum(one.bytes for one in minutes)) == (
        len(sent), sum(wire for wire, _ in sent),
    )  # fmt: skip


def test_tags_come_back_as_they_were_on_the_wire(pair, tmp_path):
    """One tag, two tags, and a provider's tag: the kernel takes the outer one off, the frame has it again."""
    body = udp_ip(ONE, TWO, b"payload")
    frames = [ether(body, tags=tags).ljust(60, b"\0") for tags in ([(0x8100, 7)], [(0x88A8, 30), (0x8100, 7)], [])]
    path = written(tmp_path, *frames)
    _, batches = listening(most=3, during=lambda: pair.send(path))
    assert [frame for _, frame in shown(batches)] == frames


@pytest.mark.parametrize("expression", ["udp", "not udp", "vlan", "vlan 7 and udp", "not vlan", "ether[12:2] = 0x8100",
                                        "greater 100"])  # fmt: skip
def test_a_filter_keeps_what_it_keeps_of_the_capture(pair, tmp_path, expression):
    """The kernel's filter and ours behind it give what the same filter gives of a file, with and without tags."""
    udp, icmp = udp_ip(ONE, TWO, bytes(100)), ip("10.20.0.5", "52.208.0.10", 1, bytes(20))
    frames = [ether(body, tags=tags) for body in (udp, icmp) for tags in ([], [(0x8100, 7)], [(0x8100, 9)])]
    path = written(tmp_path, *frames)
    by = Filter(expression)
    hoped = shown(Narrowing(filter=by).narrowed(open_inputs([str(path)]).frames()))
    live = listen(filtered=by)
    pair.send(path)
    found, out = [], 0
    for batch in Narrowing(filter=by).narrowed(timely(live.frames())):
        found += shown([batch])
        out += batch.left_out.get(LEFT_OUT[2], 0)
        if len(found) >= len(hoped) and not len(batch):
            break
    live.close()
    assert found == hoped
    assert out <= 4, "what the kernel passes and we leave out is tagged"


def test_frames_from_before_the_filter_never_come(pair, tmp_path):
    """A socket hears nothing before its filter is in place, whatever the traffic."""
    path = written(tmp_path, ether(ip("10.20.0.5", "52.208.0.10", 1, bytes(20))))
    with subprocess.Popen(pair.inside("tcpreplay", "-q", "-t", "-l", "0", "-i", "gen0", str(path), far=True),
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as busy:  # fmt: skip
        for _ in range(5):
            live = listen(filtered=Filter("udp"))
            assert len(next(live.frames())) == 0
            live.close()
        busy.terminate()


def test_several_interfaces_are_one_stream_in_order_of_time(pair, tmp_path):
    """Each frame says which interface it is of; origin names all."""
    pair.connect("mon1", "gen1")
    path = written(tmp_path, ether(udp_ip(ONE, TWO, b"x")))

    def send() -> None:
        for far in ("gen0", "gen1", "gen0"):
            pair.run("tcpreplay", "-q", "-t", "-i", far, str(path), far=True)

    _, batches = listening("mon0", "mon1", most=3, during=send)
    pair.run("ip", "link", "del", "mon1")
    assert [number for batch in batches for number in batch.interface.tolist()] == [0, 1, 0]
    assert {batch.origin for batch in batches} == {"mon0,mon1"}


def test_what_the_ring_has_no_room_for_is_counted(pair):
    """A ring nobody reads overflows; what was sent is what came out and what was lost."""
    sent = len(captured(CITY))
    live = listen(ring_bytes=1 << 21)
    pair.send(CITY)
    seen = lost = 0
    for batch in timely(live.frames()):
        seen, lost = seen + len(batch), lost + batch.lost
        if seen + lost >= sent:
            break
    live.close()
    assert 0 < lost < sent
    assert seen + lost == sent
    assert sum(one.lost for one in live.health()) == lost


def test_an_interface_that_goes_down_and_up_is_waited_for(pair, monkeypatch):
    """Down and up are told, and frames come again."""
    monkeypatch.setattr(live_module, "LOOK_S", 0.05)
    live = listen()
    steps = iter((("down",), ("up",)))
    told, batches = [], []
    pair.run("ip", "link", "set", "mon0", "down")
    for batch in timely(live.frames()):
        batches.append(batch)
        for one in live.happened():
            told.append(one.what)
            next(steps, None)
            if one.what == "down":
                pair.run("ip", "link", "set", "mon0", "up")
            if one.what == "up":
                threading.Timer(0.01, lambda: pair.send(CITY)).start()
        if sum(map(len, batches)) >= 4000:
            break
    live.close()
    assert told[0] == "down"
    assert told[-1] == "up"


def test_an_interface_that_disappears_is_listened_to_again_when_it_is_back(pair, monkeypatch):
    """Gone and back are told; the new interface of the old name is promiscuous and heard, without any new right."""
    monkeypatch.setattr(live_module, "LOOK_S", 0.05)
    pair.connect("mon2", "gen2")
    live = listen("mon2")
    pair.run("ip", "link", "del", "mon2")
    told, seen = [], 0
    for batch in timely(live.frames()):
        seen += len(batch)
        for one in live.happened():
            told.append(one.what)
            if one.what == "gone":
                pair.connect("mon2", "gen2")
            if told[-1] == "up":
                flags = int(pair.run("cat", "/sys/class/net/mon2/flags"), 16)
                assert live.states() == [("mon2", "up")]
                assert flags & PROMISCUOUS
                sending = threading.Timer(
                    0.01, lambda: pair.run("tcpreplay", "-q", "-t", "-i", "gen2", str(CITY), far=True)
                )
                sending.start()
        if seen >= 4000:
            break
    sending.join()
    live.close()
    pair.run("ip", "link", "del", "mon2")
    assert "gone" in told
    assert "back" in told


@pytest.mark.usefixtures("pair")
def test_no_descriptor_left_is_not_taken_for_no_interface(monkeypatch):
    """Many readers of many interfaces need many sockets: what ran out is said, with a remedy."""

    def none_left(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", none_left)
    with pytest.raises(UsageError, match="too many open files") as caught:
        opened("mon0")
    assert "LimitNOFILE" in caught.value.remedy


@pytest.mark.usefixtures("pair")
def test_without_frames_the_clock_goes_on():
    """Silence gives empty batches that say up to when nothing earlier will come."""
    live = listen()
    batches = [batch for _, batch in zip(range(3), live.frames(), strict=False)]
    live.close()
    assert all(len(batch) == 0 for batch in batches)
    clocks = [batch.clock_ns for batch in batches]
    assert clocks == sorted(clocks)
    assert clocks[0] > 1_700_000_000 * 10**9


def test_what_this_machine_sends_is_seen_as_tcpdump_shows_it(pair, tmp_path):
    """A frame that leaves through the interface is there too; on the loopback, which has each twice, once."""
    frame = ether(udp_ip(ONE, TWO, b"from here")).ljust(60, b"\0")
    path = written(tmp_path, frame)
    _, batches = listening(most=1, during=lambda: pair.run("tcpreplay", "-q", "-i", "mon0", str(path)))
    assert [sent for _, sent in shown(batches)] == [frame]
    pair.run("ip", "link", "set", "lo", "up")
    live = listen("lo")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talking:
        for word in (b"one", b"two", b"three"):
            talking.sendto(word, ("127.0.0.1", 9))
    heard = shown(batch for _, batch in zip(range(4), live.frames(), strict=False))
    live.close()
    assert [frame[42:] for _, frame in heard if frame[23] == 17] == [b"one", b"two", b"three"]


def test_without_a_ring_scapy_stands_in_and_says_so(pair, monkeypatch):
    """Where the kernel gives no ring, the same frames come through scapy's sockets, and the slower way is told."""

    def refused(*_: object, **__: object) -> None:
        raise RingError(12, "Cannot allocate memory")

    monkeypatch.setattr(live_module, "PacketSocket", refused)
    sent = captured(CITY)[:200]
    live, batches = listening(most=len(sent), during=lambda: pair.send(CITY, "--limit=200"))
    assert shown(batches) == sent
    assert "Cannot allocate memory" in live.notes[0]
    assert "scapy" in live.notes[0]


@pytest.mark.usefixtures("pair")
def test_what_cannot_be_listened_to_is_a_usage_error():
    """No interface of the name, and no right to listen, end the start with a remedy."""
    with pytest.raises(UsageError, match="no such interface") as wrong:
        Live(["nowhere9"], ring_bytes=RING_BYTES)
    assert "mon0" in wrong.value.remedy


def test_a_filter_the_kernel_refuses_is_told():
    """Nothing runs on without the filter that was asked for."""
    from egress_watch.sources.bpf import Step
    from egress_watch.sources.packet_socket import attach, opened

    with opened("lo") as listening_socket, pytest.raises(CaptureError, match="refuses the filter"):
        attach(listening_socket, [Step(0x06, 0, 0, 1), Step(0xFFFF, 0, 0, 0)])


def test_the_interface_is_told_as_it_is(pair):
    """State, MTU, addresses, offloads and what is wrong for a mirrored port, each with the command that mends it."""
    plain = nic("mon0")
    assert (plain.state, plain.link, plain.mtu, plain.addresses, plain.findings) == ("up", 1, MTU, (), ())
    pair.run("ip", "addr", "add", "192.0.2.9/24", "dev", "mon0")
    pair.run("ethtool", "-K", "mon0", "gro", "on")
    pair.run("ip", "link", "set", "mon0", "arp", "on")
    told = nic("mon0")
    pair.run("ip", "addr", "flush", "dev", "mon0")
    pair.run("ip", "link", "set", "mon0", "arp", "off")
    pair.run("ethtool", "-K", "mon0", "gro", "off")
    assert told.addresses == ("192.0.2.9",)
    assert told.offloads == ("gro",)
    for remedy in ("ip addr flush dev mon0", "ip link set mon0 arp off", "ethtool -K mon0 gro off"):
        assert any(remedy in finding for finding in told.findings)
    assert nic("nowhere9").state == "gone"


def test_promiscuous_mode_ends_with_the_socket(pair):
    """The interface is promiscuous once more while it is listened to, and as before after that."""

    def count() -> int:
        return json.loads(pair.run("ip", "-j", "-d", "link", "show", "mon0"))[0]["promiscuity"]

    before = count()  # whatever a test that failed left open
    live = listen()
    assert count() == before + 1
    live.close()
    until(lambda: count() == before, "the end of promiscuous mode")


@pytest.mark.usefixtures("pair")
def test_a_frame_that_comes_as_reading_ends_does_no_harm(monkeypatch):
    """A round that took nothing, and after which something waits, is followed by another one."""
    live = listen("mon0")
    waits = iter([True, True])
    monkeypatch.setattr(live, "_waiting", lambda: next(waits, False))
    live.end()
    assert sum(map(len, timely(live.frames()))) == 0
