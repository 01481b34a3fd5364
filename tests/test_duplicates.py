"""A port mirrored both ways: a second copy is known and dropped, and nothing else is."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
from build import ICMP, UDP, Wire, ether, frames, ip, ns, pieces, tcp_body, udp_body, udp_ip
from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws import POLICIES, any_frames, one_of, rows

from egress_watch.decode import decode
from egress_watch.decode.carriers import Policy, Tables
from egress_watch.flows.duplicates import MOMENT_NS, WINDOW_NS, Duplicates
from egress_watch.model import PAD_BYTES

PRINTS = Tables(Policy(prints=True))
HERE, THERE, ONE, TWO = "10.0.0.1", "3.5.140.7", "10.0.0.1:1000", "3.5.140.7:443"
HERE6, THERE6, ONE6, TWO6 = "fd00::1", "2001:db8::2", "[fd00::1]:1000", "[2001:db8::2]:443"
LOAD = bytes(range(40))


def left(*wires: Wire) -> int:
    """Return how many packets count."""
    found = Duplicates().once(decode(frames(*wires), PRINTS))
    assert len(found) + sum(found.skipped.values()) == len(wires)
    return len(found)


def twice(body: bytes, apart_ns: int = 20_000, other: bytes = b"", **second) -> int:
    """Return how many packets count of one that is seen again."""
    return left(Wire(ether(body), 0), Wire(ether(other or body, **second), apart_ns))


def segment(ident: int, flags: str = "A", payload: bytes = b"", seq: int = 7, checksum: int = 0) -> bytes:
    """Return a TCP segment over IPv4 with these numbers."""
    body = bytearray(tcp_body(ONE, TWO, flags, payload))
    body[4:8], body[16:18] = struct.pack("!I", seq), struct.pack("!H", checksum)
    return ip(HERE, THERE, 6, bytes(body), ident=ident)


def segment6(flags: str = "A", payload: bytes = b"") -> bytes:
    """Return a TCP segment over IPv6."""
    return ip(HERE6, THERE6, 6, tcp_body(ONE6, TWO6, flags, payload))


def test_a_packet_seen_again_counts_once():
    """The same packet within the window, of any protocol with an IP identification."""
    ping = ip(HERE, THERE, ICMP, LOAD, ident=5)
    for body in (segment(5), segment(5, "PA", LOAD), udp_ip(ONE, TWO, LOAD, ident=5), ping):
        assert twice(body) == 1


def test_a_routed_copy_counts_once():
    """Mirrored before and after a router: other MACs, another VLAN, one TTL less, another IP checksum."""
    routed = bytearray(segment(5, "PA", LOAD))
    routed[8], routed[10:12] = 63, b"\x12\x34"
    assert twice(segment(5, "PA", LOAD), other=bytes(routed), src="02:00:00:00:00:99", tags=[(0x8100, 7)]) == 1


@pytest.mark.parametrize("checksum", [1, 0xFFFF])
def test_a_checksum_filled_in_late_does_not_tell_packets_apart(checksum):
    """A card that computes checksums shows one copy without."""
    assert twice(segment(5, "PA", LOAD), other=segment(5, "PA", LOAD, checksum=checksum)) == 1
    body = bytearray(udp_ip(ONE, TWO, LOAD, ident=5))
    body[26:28] = struct.pack("!H", checksum)
    assert twice(udp_ip(ONE, TWO, LOAD, ident=5), other=bytes(body)) == 1


@pytest.mark.parametrize(
    "other",
    [
        segment(6, "PA", LOAD), segment(5, "PA", LOAD, seq=8), segment(5, "PA", LOAD + b"x"), segment(5, "A", LOAD),
        ip(HERE, "3.5.140.8", 6, tcp_body(ONE, TWO, "PA", LOAD), ident=5),
    ],
    ids=["identification", "sequence number", "length", "flags", "address"],
)  # fmt: skip
def test_a_packet_that_differs_is_another_one(other):
    """TCP sent again has a new identification; what differs in anything a sender writes counts."""
    assert twice(segment(5, "PA", LOAD), other=other) == 2


def test_a_retransmission_counts():
    """Sent again with a new identification, or late without one: both were on the wire."""
    assert twice(segment(5, "PA", LOAD), 1_000_000, other=segment(6, "PA", LOAD)) == 2
    assert twice(segment6("PA", LOAD), MOMENT_NS + 1) == 2
    assert twice(segment(0, "PA", LOAD), MOMENT_NS + 1) == 2


def test_without_identification_only_a_moment_and_only_what_tells():
    """IPv6 and identification 0: data, SYN, FIN and RST at once are copies; acknowledgements and datagrams are not."""
    telling = [("PA", LOAD), ("S", b""), ("FA", b""), ("R", b"")]
    assert [twice(segment6(flags, load)) for flags, load in telling] == [1] * 4
    assert twice(segment(0, "PA", LOAD)) == 1
    assert twice(segment6("A")) == twice(segment(0)) == 2
    assert twice(udp_ip(ONE6, TWO6, LOAD)) == twice(udp_ip(ONE, TWO, LOAD, ident=0)) == 2


def test_the_window_has_an_end():
    """A copy at the end of the window is one, a nanosecond later a packet; a third copy counts from the second."""
    assert (twice(segment(5), WINDOW_NS), twice(segment(5), WINDOW_NS + 1)) == (1, 2)
    assert left(*[Wire(ether(segment(5)), n * WINDOW_NS) for n in range(4)]) == 1
    assert twice(segment(5), -WINDOW_NS) == 1, "time may run backwards"


def test_fragments_are_told_apart():
    """The pieces of one datagram have the same identification and may have the same bytes: their offsets differ."""
    parts = pieces(ONE, TWO, bytes(200), 9)
    assert left(*[Wire(ether(part)) for part in parts]) == len(parts)
    assert left(*[Wire(ether(part)) for part in [*parts, *parts]]) == len(parts)


def test_datagrams_of_a_sender_that_numbers_nothing_are_told_by_their_bytes():
    """A constant identification does not make all datagrams one."""
    bodies = [ip(HERE, THERE, UDP, udp_body(ONE, TWO, bytes(30) + bytes([n])), ident=1) for n in range(9)]
    assert left(*[Wire(ether(body)) for body in bodies]) == 9


def test_a_copy_within_a_mirror_counts_once():
    """What is compared is what counts: the packet inside."""
    span = [struct.pack("!HHI", 0x1000, 0x88BE, n) + bytes(8) + ether(segment(5, "PA", LOAD)) for n in (1, 2)]
    wires = [Wire(ether(ip("10.1.0.1", "10.9.9.9", 47, body, ident=n))) for n, body in enumerate(span, 1)]
    assert left(*wires) == 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40), st.integers(0, 40))
@settings(deadline=None)
def test_copies_do_not_depend_on_batches(packets, cut):
    """Law 3: however the same packets are cut into batches, the same ones are copies."""
    wires = [Wire(ether(segment(ident + 1, "PA", LOAD)), n * 700_000 + step * 900_000)
             for n, (ident, step) in enumerate(packets)]  # fmt: skip
    whole, parts = Duplicates().once(decode(frames(*wires), PRINTS)), Duplicates()
    batch = frames(*wires)
    found = [parts.once(decode(one_of(batch, part), PRINTS)) for part in (slice(None, cut), slice(cut, None))]
    assert [row for part in found for row in rows(part)] == rows(whole)
    assert len(whole) == _one_by_one(wires)


def _one_by_one(wires: list[Wire]) -> int:
    last: dict[bytes, int] = {}
    count = 0
    for wire in wires:
        count += wire.data not in last or abs(wire.time_ns - last[wire.data]) > WINDOW_NS
        last[wire.data] = wire.time_ns
    return count


@given(any_frames, st.integers(0, 12))
@settings(deadline=None)
def test_any_frames_are_accounted_for(wires, cut):
    """Laws 1 to 3 with copies dropped: no exception, every frame a packet or skipped, whatever the batches."""
    batch, memory = frames(*wires), Duplicates()
    parts = [memory.once(decode(one_of(batch, part), PRINTS)) for part in (slice(None, cut), slice(cut, None))]
    whole = Duplicates().once(decode(batch, PRINTS))
    assert [row for part in parts for row in rows(part)] == rows(whole)
    assert len(whole) + sum(whole.skipped.values()) == len(wires)


def test_bytes_behind_a_cut_packet_are_not_looked_at():
    """A fingerprint is made of the packet's own captured bytes, whatever lies behind it in the buffer."""
    body = udp_ip(ONE, TWO, LOAD, ident=5)
    for caught in range(34, 14 + len(body)):
        wires = [Wire(ether(body)[:caught], 0, 14 + len(body))]
        prints = {int(decode(frames(*wires, between=bytes([byte]) * 80), PRINTS).print[0]) for byte in (0, 0x45)}
        last = frames(*wires)
        last.data.flags.writeable = False
        behind = np.frombuffer(last.data.tobytes()[:-PAD_BYTES] + b"\xff" * PAD_BYTES, np.uint8)
        prints.add(int(decode(frames_over(last, behind), PRINTS).print[0]))
        assert len(prints) == 1


def frames_over(batch, data):
    """Return the same frames over other bytes."""
    return replace(batch, data=data)


def test_another_view_of_the_same_time_begins_anew():
    """Captures of two sensors are not put together; the next piece of one capture goes on."""
    first = decode(frames(Wire(ether(segment(5)), ns(10)), Wire(ether(segment(6)), ns(20))), PRINTS)
    again = decode(frames(Wire(ether(segment(5)), ns(10))), PRINTS)
    next_piece = decode(frames(Wire(ether(segment(6)), ns(20) + 1)), PRINTS)
    memory = Duplicates()
    assert [len(memory.once(*one)) for one in ((first, "a"), (next_piece, "b"), (again, "c"))] == [2, 0, 1]


def test_nobody_asked():
    """Without the policy there are no fingerprints, and nothing is dropped."""
    wires = [Wire(ether(segment(5)), ns(0)), Wire(ether(segment(5)), 1)]
    found = decode(frames(*wires), POLICIES["mirrors"])
    assert len(found.print) == 0
    assert len(Duplicates().once(found)) == 2
