"""The ring: slots laid out as the kernel lays them out come back as frames, in C and in NumPy alike."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress_watch.sources.nics import slot_bytes
from egress_watch.sources.ring import Ring

pytestmark = pytest.mark.usefixtures("way")

SLOTS, STRIDE, MAC = 8, 256, 82
OURS, VLAN, TPID = 1, 0x10, 0x40


def lay(
    memory: np.ndarray, slot: int, data: bytes, *, wire: int = -1, status: int = OURS, tci: int = 0, mac: int = MAC
):
    """Fill one slot as the kernel would (struct tpacket2_hdr, linux/if_packet.h)."""
    length = len(data) if wire < 0 else wire
    head = struct.pack("=IIIHHIIHHI", status, length, len(data), mac, mac + 14, 1000 + slot, 7, tci, 0x88A8, 0)
    at = slot * STRIDE
    memory[at : at + STRIDE] = 0xEE
    memory[at : at + len(head)] = np.frombuffer(head, np.uint8)
    room = memory[at + mac : at + STRIDE]
    room[: len(data)] = np.frombuffer(data[: len(room)], np.uint8)


def taken(ring: Ring, most: int = 100, room: int = 8192):
    """Return what comes out as (time, wire, bytes), and the buffer's use."""
    data = np.full(room, 0xAA, np.uint8)
    found = ring.take(data, 0, most)
    columns = zip(found.start.tolist(), found.caught.tolist(), found.wire.tolist(), found.time_ns.tolist(), strict=True)
    assert found.used <= room
    return [(time_ns, wire, data[at : at + caught].tobytes()) for at, caught, wire, time_ns in columns]


frame = st.tuples(
    st.binary(min_size=0, max_size=170), st.integers(0, 70_000), st.sampled_from([0, VLAN, VLAN | TPID]),
    st.integers(0, 0xFFFF), st.sampled_from([MAC, MAC, 78]),
)  # fmt: skip


def wanted(slot: int, one: tuple) -> tuple:
    """Return what a slot should come to."""
    data, wire, status, tci, _ = one
    tag = struct.pack("!HH", 0x88A8 if status & TPID else 0x8100, tci) if status & VLAN and len(data) >= 12 else b""
    return (1000 + slot) * 10**9 + 7, wire + len(tag), data[:12] + tag + data[12:]


@given(st.lists(st.lists(frame, max_size=SLOTS), max_size=5), st.integers(1, 9))
@settings(deadline=None)
def test_frames_come_out_as_they_were_on_the_wire(rounds, most):
    """Round after round every frame comes out once, in order, its tag put back, and every slot is handed back."""
    memory = np.zeros(SLOTS * STRIDE, np.uint8)
    ring, at = Ring(memory, SLOTS, STRIDE, tagged=True), 0
    for frames in rounds:
        hoped = []
        for one in frames:
            data, wire, status, tci, mac = one
            lay(memory, at, data, wire=wire, status=OURS | status, tci=tci, mac=mac)
            hoped.append(wanted(at, one))
            at = (at + 1) % SLOTS
        found = []
        while some := taken(ring, most):
            found += some
        assert found == hoped
        assert not (memory.reshape(SLOTS, STRIDE)[:, :1] & OURS).any()


def test_a_slot_that_the_kernel_still_fills_stops_the_reading():
    """Frames behind one that is not there yet wait, so that the order stays."""
    memory = np.zeros(SLOTS * STRIDE, np.uint8)
    ring = Ring(memory, SLOTS, STRIDE, tagged=True)
    lay(memory, 0, b"first frame!")
    lay(memory, 2, b"third frame!")
    assert [data for _, _, data in taken(ring)] == [b"first frame!"]
    lay(memory, 1, b"second frame")
    assert [data for _, _, data in taken(ring)] == [b"second frame", b"third frame!"]


def test_a_buffer_that_is_full_leaves_the_rest_in_the_ring():
    """What has no room stays where it is and comes next time."""
    memory = np.zeros(SLOTS * STRIDE, np.uint8)
    ring = Ring(memory, SLOTS, STRIDE, tagged=True)
    for slot in range(6):
        lay(memory, slot, bytes([slot]) * 100)
    found = []
    while some := taken(ring, room=2 * 104):
        assert len(some) <= 3
        found += some
    assert [data[0] for _, _, data in found] == list(range(6))


def test_a_header_that_lies_leads_nowhere():
    """A start or a length beyond the slot is cut to it: nothing outside of a slot is read."""
    memory = np.zeros(SLOTS * STRIDE, np.uint8)
    ring = Ring(memory, SLOTS, STRIDE, tagged=True)
    lay(memory, 0, bytes(500), mac=100)
    lay(memory, 1, bytes(10), mac=60_000)
    assert [len(data) for _, _, data in taken(ring)] == [STRIDE - 100, 0]


def test_a_frame_without_ethernet_gets_no_tag():
    """Where frames are bare IP, there is no place for a tag."""
    memory = np.zeros(SLOTS * STRIDE, np.uint8)
    lay(memory, 0, bytes(40), status=OURS | VLAN, tci=5)
    assert [len(data) for _, _, data in taken(Ring(memory, SLOTS, STRIDE, tagged=False))] == [40]


def test_a_slot_holds_a_whole_frame_or_its_start():
    """The usual frame has room; of a jumbo frame and the loopback's the start has, or few would fit into the ring."""
    assert [slot_bytes(mtu) for mtu in (68, 1500, 1900, 2000, 9000, 65536)] == [2048, 2048, 2048, 4096, 4096, 4096]


@given(st.integers(0, SLOTS), st.integers(0, SLOTS - 1), st.integers(0, 20))
def test_how_many_frames_wait_is_asked_without_taking_them(filled, taken_before, ahead):
    """More than so many wait exactly where that many and one were laid, around the ring's end too, up to half of it."""
    memory = np.zeros(SLOTS * STRIDE, np.uint8)
    ring = Ring(memory, SLOTS, STRIDE, tagged=True)
    for slot in range(taken_before):
        lay(memory, slot, b"gone by then")
    assert len(taken(ring)) == taken_before
    for one in range(filled):
        lay(memory, (taken_before + one) % SLOTS, b"waits")
    assert ring.waiting(ahead) == (filled > min(ahead, SLOTS // 2))
    assert ring.waiting() == bool(filled)
