"""What may stand between the link and IP: each header is stepped over, and none is trusted."""

from __future__ import annotations

import struct

import pytest
from build import HERE, Wire, ether, frames, ip, packets, sll, udp_ip

from egress_watch.decode import MOST_TAGS, decode
from egress_watch.model import address_text, mac_text

pytestmark = pytest.mark.usefixtures("way")

PACKET = udp_ip("10.0.0.1:1000", "3.5.140.7:443", b"load")
PACKET6 = udp_ip("[2001:db8::1]:1000", "[2001:db8::2]:443", b"load")
INNER = "02:00:00:00:00:aa"
HOST_FRAME = ether(PACKET, src=INNER)
TYPE4, TYPE6 = b"\x08\x00", b"\x86\xdd"


def label(number: int, *, bottom: bool) -> bytes:
    """Return an MPLS label stack entry (RFC 3032)."""
    return struct.pack("!I", number << 12 | bottom << 8 | 64)


def session(protocol: int, body: bytes, code: int = 0) -> bytes:
    """Return a PPPoE session packet (RFC 2516)."""
    return struct.pack("!BBHHH", 0x11, code, 7, len(body) + 2, protocol) + body


def service(following: int, body: bytes, words: int = 6) -> bytes:
    """Return a network service header of metadata type 1 (RFC 8300)."""
    return struct.pack("!HBB", words, 1, following) + bytes(max(words * 4 - 4, 0)) + body


CARRIED = {
    "snap": ether(b"\xaa\xaa\x03\0\0\0" + TYPE4 + PACKET, 8 + len(PACKET)),
    "snap of 802.1H": ether(b"\xaa\xaa\x03\0\0\xf8" + TYPE4 + PACKET, 8 + len(PACKET)),
    "llc": ether(b"\x06\x06\x03" + PACKET, 3 + len(PACKET)),
    "llc behind a vlan": ether(b"\xaa\xaa\x03\0\0\0" + TYPE4 + PACKET, 8 + len(PACKET), tags=[(0x8100, 5)]),
    "mpls": ether(label(17, bottom=False) + label(18, bottom=True) + PACKET, 0x8847),
    "mpls multicast": ether(label(18, bottom=True) + PACKET, 0x8848),
    "as many labels as there may be": ether(
        label(17, bottom=False) * (MOST_TAGS - 1) + label(18, bottom=True) + PACKET, 0x8847
    ),
    "pseudowire": ether(label(18, bottom=True) + bytes(4) + HOST_FRAME, 0x8847),
    "pppoe": ether(session(0x21, PACKET), 0x8864),
    "mpls in pppoe": ether(session(0x281, label(18, bottom=True) + PACKET), 0x8864),
    "cisco metadata": ether(b"\x01\x01\0\1\0\2" + TYPE4 + PACKET, 0x8909),
    "cisco metadata of two words": ether(b"\x01\x02" + bytes(8) + TYPE4 + PACKET, 0x8909),
    "vn-tag": ether(bytes(4) + TYPE4 + PACKET, 0x8926),
    "e-tag": ether(b"\x10\0\0\xd3\0\0" + TYPE4 + PACKET, 0x893F),
    "fabric path": ether(b"\x00\x20" + HOST_FRAME, 0x8903),
    "mac in mac": ether(b"\x00\x1e\xbb\x30" + HOST_FRAME, 0x88E7),
    "macsec, signed only": ether(bytes(6) + TYPE4 + PACKET + bytes(16), 0x88E5),
    "macsec with a channel id": ether(b"\x20" + bytes(13) + TYPE4 + PACKET + bytes(16), 0x88E5),
    "nsh": ether(service(1, PACKET), 0x894F),
    "nsh around a frame": ether(service(3, HOST_FRAME), 0x894F),
}


@pytest.mark.parametrize("frame", CARRIED.values(), ids=CARRIED)
def test_ip_is_found_behind(frame: bytes) -> None:
    """The packet behind the header is the same as without it."""
    found = packets(Wire(frame))
    assert found.skipped == {}
    assert address_text(*found.src[0].tolist()) == "10.0.0.1"
    assert (found.dst_port[0], found.size[0], found.payload_bytes[0]) == (443, len(PACKET), 4)


@pytest.mark.parametrize(
    "frame",
    [
        ether(label(18, bottom=True) + PACKET6, 0x8847),
        ether(session(0x57, PACKET6), 0x8864),
        ether(bytes(4) + TYPE6 + PACKET6, 0x8926),
        ether(service(2, PACKET6), 0x894F),
    ],
)
def test_ipv6_is_found_behind(frame: bytes) -> None:
    """IPv6 travels in the same headers."""
    found = packets(Wire(frame))
    assert (found.skipped, found.version.tolist(), found.src_port.tolist()) == ({}, [6], [1000])


@pytest.mark.parametrize("name", ["pseudowire", "fabric path", "mac in mac", "nsh around a frame"])
def test_the_host_is_named_and_not_the_switch(name: str) -> None:
    """Where a whole frame is carried, the MAC is that of the inner frame."""
    assert mac_text(int(packets(Wire(CARRIED[name])).src_mac[0])) == INNER


def test_the_outer_frame_is_named_where_there_is_no_other() -> None:
    """Labels and tags leave the MAC as it is."""
    assert mac_text(int(packets(Wire(CARRIED["mpls"])).src_mac[0])) == HERE


REFUSED = {
    "spanning tree": (ether(b"\x42\x42\x03" + bytes(40), 43), "llc"),
    "snap of a vendor": (ether(b"\xaa\xaa\x03\0\0\x0c\x20\0" + bytes(40), 48), "llc"),
    "snap without an ethertype": (ether(b"\xaa\xaa\x03\0\0\0\0\x05" + bytes(40), 48), "llc"),
    "too short for snap": (ether(b"\xaa\xaa\x03", 3), "llc"),
    "neither ip nor a control word": (ether(label(18, bottom=True) + b"\x10" + bytes(40), 0x8847), "mpls"),
    "link control of ppp": (ether(session(0xC021, bytes(40)), 0x8864), "ppp control"),
    "pppoe that is no session data": (ether(session(0x21, PACKET, code=9), 0x8864), "pppoe"),
    "macsec, encrypted": (ether(b"\x0c" + bytes(60), 0x88E5), "macsec"),
    "nsh before something else": (ether(service(9, PACKET), 0x894F), "nsh"),
    "nsh of no length": (ether(service(4, PACKET, words=0), 0x894F), "too many tags"),
    "one label too many": (ether(label(17, bottom=False) * 20 + label(18, bottom=True) + PACKET, 0x8847),
                           "too many tags"),
    "metadata longer than the frame": (ether(b"\x01\xff" + bytes(40), 0x8909), "frame cut in link header"),
    "arp behind a tag": (ether(bytes(4) + b"\x08\x06" + bytes(28), 0x8926), "arp"),
}  # fmt: skip


@pytest.mark.parametrize(("frame", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_ip_has_its_own_reason(frame: bytes, reason: str) -> None:
    """A frame without IP behind the header is counted under a name that says where reading stopped."""
    found = packets(Wire(frame))
    assert (len(found), found.skipped) == (0, {reason: 1})


@pytest.mark.parametrize("frame", CARRIED.values(), ids=CARRIED)
def test_a_cut_anywhere_is_counted(frame: bytes) -> None:
    """Cut at each byte, every piece is a packet or skipped, and nothing is read from the bytes of the next frame."""
    wires = [Wire(frame[:cut], wire=len(frame)) for cut in range(len(frame) + 1)]
    found = decode(frames(*wires, between=bytes([0x45]) * 64))
    assert len(found) + sum(found.skipped.values()) == len(wires)
    assert {address_text(*row) for row in found.src.tolist()} == {"10.0.0.1"}


def test_cooked_frames_may_carry_llc() -> None:
    """Linux numbers 802.2 frames 4; its other small numbers are no IP, whatever follows."""
    body = b"\xaa\xaa\x03\0\0\0" + TYPE4 + PACKET
    assert len(packets(Wire(sll(body, 4), link=113))) == 1
    assert packets(Wire(sll(body, 1), link=113)).skipped == {"not ip": 1}


@pytest.mark.parametrize("number", [135, 139])
def test_mobility_and_hip_are_where_the_chain_ends(number: int) -> None:
    """Nothing follows a mobility or host identity header, so its own number is the protocol."""
    found = packets(Wire(ether(ip("2001:db8::1", "2001:db8::2", number, b"\x3b\x01" + bytes(14)))))
    assert found.protocol.tolist() == [number]
