"""The laws that hold for any bytes: every frame is accounted for, nothing is raised, and nothing depends on batches."""

from __future__ import annotations

import struct
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from build import (
    ICMP,
    ICMPV6,
    IPV6,
    SCTP,
    Wire,
    ether,
    frames,
    ip,
    pieces,
    sll,
    sll2,
    tcp_ip,
    udp_ip,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from test_decode import EXTENSION_HEADERS, HERE4, HERE6, ONE, ONE6, THERE4, THERE6, TWO, TWO6

from egress_watch.decode import decode
from egress_watch.decode.carriers import Policy, Tables
from egress_watch.decode.linktypes import LINKS, WRAPPED
from egress_watch.flows import FlowTable
from egress_watch.model import UNWRAP, Frames, Packets
from egress_watch.names import Names
from egress_watch.sources import open_inputs

pytestmark = pytest.mark.usefixtures("way")

BODIES = [
    udp_ip(ONE, TWO, b"payload"), udp_ip(ONE6, TWO6, b"payload"), tcp_ip(ONE, TWO, "PA", bytes(100)),
    tcp_ip(ONE6, TWO6, "S"), tcp_ip(ONE, TWO, "S", segment_options=bytes(20), options=bytes(8)),
    tcp_ip(ONE, TWO, "A", bytes(200), length=0), tcp_ip(ONE6, TWO6, "A", bytes(200), length=0),
    ip(HERE4, THERE4, ICMP, bytes(30)), ip(HERE6, THERE6, ICMPV6, bytes(30)), ip(HERE4, THERE4, SCTP, bytes(30)),
    ip(HERE4, THERE4, 47, bytes(9)), ip(HERE6, THERE6, 59, b""), *pieces(ONE, TWO, bytes(80), 7),
    *pieces(ONE6, TWO6, bytes(80), 7), udp_ip(ONE6, TWO6, b"abc", chain=list(EXTENSION_HEADERS.values())),
]  # fmt: skip
KINDS = [0x0806, 0x88CC, 0x8847, 0x8864, 0x88E5, 0x894F, 0x8909, 0x8903, 0x88E7, 0x893F, 0x8926, 0x6558, 38, 0xFFFF]
REAL = [
    *[Wire(ether(body)) for body in BODIES],
    *[Wire(ether(body, tags=[(0x88A8, 30), (0x8100, 7)])) for body in BODIES],
    *[Wire(ether(body) + bytes(20)) for body in BODIES[:3]],
    *[Wire(body, link=101) for body in BODIES],
    *[Wire(struct.pack("<I", 30 if body[0] >> 4 == 6 else 2) + body, link=0) for body in BODIES],
    *[Wire(sll(body, IPV6 if body[0] >> 4 == 6 else 0x0800), link=113) for body in BODIES],
    *[Wire(sll2(body, IPV6 if body[0] >> 4 == 6 else 0x0800), link=276) for body in BODIES],
    *[Wire(ether(bytes(range(60)), kind)) for kind in KINDS],
    *[Wire(ether(ether(BODIES[0]), kind)) for kind in KINDS],
]
ROOT = Path(__file__).parent.parent
POLICIES = {unwrap: Tables(Policy(unwrap)) for unwrap in UNWRAP}


def shipped() -> list[Wire]:
    """Return every frame of the captures that show one encapsulation each."""
    found = []
    for batch in open_inputs([str(ROOT / "captures" / "wraps")]).frames():
        spans = zip(batch.start.tolist(), batch.caught.tolist(), batch.link.tolist(), strict=True)
        found += [Wire(batch.data[at : at + count].tobytes(), link=link) for at, count, link in spans]
    return found


WRAPS = shipped()
SOUND = [wire for wire in REAL + WRAPS if len(decode(frames(wire)))]
COLUMNS = [
    column.name
    for column in fields(Packets)
    if column.name not in ("data", "skipped", "unwrapped", "payload", "print", "mark", "beacons")
]

links = st.one_of(st.sampled_from([*LINKS, *WRAPPED, 147]), st.integers(0, 2**16 - 1))
lengths = st.one_of(st.just(-1), st.integers(0, 2**40))
times_ns = st.integers(-(2**63), 2**63 - 1)
arbitrary = st.builds(Wire, st.binary(max_size=120), times_ns, lengths, links)
real = st.one_of(st.sampled_from(REAL), st.sampled_from(WRAPS))
policies = st.sampled_from([*POLICIES.values()])


@st.composite
def mutated(draw) -> Wire:
    """Return a real frame with a few bytes changed, perhaps cut, perhaps of another link type or length."""
    one = draw(real)
    data = bytearray(one.data)
    for at, byte in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=6)):
        data[at] = byte
    cut = draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))
    return Wire(bytes(data[:cut]), draw(times_ns), draw(lengths), draw(st.one_of(st.just(one.link), links)))


any_frames = st.lists(st.one_of(arbitrary, mutated(), real), max_size=12)


def row(packets: Packets, at: int) -> tuple:
    """Return all columns of a packet, its payload as bytes."""
    start, count = int(packets.payload[at]), int(packets.payload_bytes[at])
    return *(getattr(packets, name)[at].tolist() for name in COLUMNS), packets.data[start : start + count].tobytes()


def rows(packets: Packets) -> list[tuple]:
    """Return all packets as tuples."""
    return [row(packets, at) for at in range(len(packets))]


@given(any_frames, policies)
@settings(deadline=None)
def test_every_frame_is_a_packet_or_has_a_named_reason(wires, policy):
    """Laws 1 and 2: nothing is raised on any bytes, and frames = packets + the sum of what was skipped."""
    found = decode(frames(*wires), policy)
    assert len(found) + sum(found.skipped.values()) == len(wires)
    assert all(found.skipped)
    assert all(count > 0 for count in found.skipped.values())


@given(any_frames, policies)
@settings(deadline=None)
def test_a_payload_lies_within_its_frame(wires, policy):
    """Law 2: whatever the headers claim, no span leads out of the bytes of its own frame."""
    batch = frames(*wires)
    for at in range(len(batch)):
        single = decode(one_of(batch, slice(at, at + 1)), policy)
        for start, count in zip(single.payload.tolist(), single.payload_bytes.tolist(), strict=True):
            assert batch.start[at] <= start <= start + count <= batch.start[at] + batch.caught[at]
            assert count >= 0


def one_of(batch: Frames, which: slice) -> Frames:
    """Return some frames of a batch, over the same buffer."""
    columns = ("start", "caught", "wire", "time_ns", "link", "interface")
    return replace(batch, **{name: getattr(batch, name)[which] for name in columns})


@given(any_frames, st.binary(max_size=40), st.integers(0, 12), policies)
@settings(deadline=None)
def test_packets_do_not_depend_on_how_frames_lie_in_batches(wires, between, cut, policy):
    """Law 3 for `decode`: another buffer, other neighbours, another batch: the same packets."""
    whole = decode(frames(*wires), policy)
    apart = frames(*wires, between=between)
    parts = [decode(one_of(apart, slice(None, cut)), policy), decode(one_of(apart, slice(cut, None)), policy)]
    assert [one for part in parts for one in rows(part)] == rows(whole)
    reasons = {reason for part in parts for reason in part.skipped}
    assert {reason: sum(part.skipped.get(reason, 0) for part in parts) for reason in reasons} == whole.skipped


@pytest.mark.parametrize("wire", SOUND)
def test_a_snaplen_changes_nothing_but_the_payload(wire):
    """Cut anywhere behind its headers, a frame gives the same columns; only less payload was caught."""
    whole = decode(frames(wire))
    for caught in range(int(whole.payload[0]), len(wire.data)):
        cut = decode(frames(Wire(wire.data[:caught], wire.time_ns, len(wire.data), wire.link)))
        for name in set(COLUMNS) - {"payload_bytes"}:
            assert getattr(cut, name).tolist() == getattr(whole, name).tolist(), name
        assert cut.payload.tolist() == whole.payload.tolist()
        left = caught - int(whole.payload[0])
        assert cut.payload_bytes.tolist() == [min(left, int(whole.payload_bytes[0]))]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("wire", WRAPS)
def test_a_wrapped_packet_cut_anywhere_is_accounted_for(wire, policy):
    """Cut at each byte, a wrapped packet counts inside or outside, or is skipped by name; it never counts twice."""
    cuts = [Wire(wire.data[:caught], wire=len(wire.data), link=wire.link) for caught in range(len(wire.data) + 1)]
    found = decode(frames(*cuts, between=b"\x45" * 64), POLICIES[policy])
    assert len(found) + sum(found.skipped.values()) == len(cuts)
    sizes = {int(decode(frames(wire), tables).size.sum()) for tables in POLICIES.values()}
    outer = {size for size in found.size.tolist() if size not in sizes}
    assert len(outer) <= 3, "sizes of nested tunnels at most"


@pytest.mark.parametrize("wire", REAL)
def test_a_snaplen_within_the_headers_changes_no_size(wire):
    """Cut within its headers, a frame is skipped by name or counts with its full size and addresses."""
    whole = decode(frames(wire))
    for caught in range(len(wire.data)):
        cut = decode(frames(Wire(wire.data[:caught], wire.time_ns, len(wire.data), wire.link)))
        assert len(cut) + sum(cut.skipped.values()) == 1
        if len(cut) and len(whole):
            kept = [(one.size.tolist(), one.src.tolist(), one.dst.tolist(), one.vlan.tolist()) for one in (cut, whole)]
            assert kept[0] == kept[1]


@given(any_frames, st.integers(0, 12))
@settings(deadline=None)
def test_names_and_flows_take_whatever_decode_gives(wires, cut):
    """Nothing downstream is raised by hostile frames, and every packet and byte is in a flow (law 1)."""
    batch = frames(*wires)
    table, names = FlowTable(idle_s=1, active_s=2), Names(limit=3)
    sums = np.zeros(4, np.int64)
    for packets in (decode(one_of(batch, slice(None, cut))), decode(one_of(batch, slice(cut, None))), None):
        flows = table.flush() if packets is None else table.update(packets)
        if packets is not None:
            names.hear(packets)
            sums[:2] += len(packets), packets.size.sum()
        named = names.name(flows)
        assert len(named.name) == len(named.name_source) == len(flows)
        sums[2:] += (flows.packets_in + flows.packets_out).sum(), (flows.bytes_in + flows.bytes_out).sum()
    assert sums[:2].tolist() == sums[2:].tolist()
