"""Link types beyond Ethernet that have no capture of their own: IP is found, and what is no IP has a name."""

from __future__ import annotations

import struct

import pytest
from build import Wire, ether, packets, udp_ip

from egress_watch.decode import reasons
from egress_watch.decode.linktypes import LINKS, WRAPPED
from egress_watch.model import address_text, mac_text

PACKET = udp_ip("10.7.0.5:1000", "3.5.140.7:443", b"load")
SNAP = b"\xaa\xaa\x03\0\0\0\x08\0" + PACKET
A, B, C = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2", b"\2\0\0\0\0\3"
DATA_UP = b"\x08\1\0\0" + B + A + C + bytes(2) + SNAP

CARRIED = {
    "token ring": (6, b"\x10\x40" + B + A + SNAP),
    "arcnet, bsd": (7, b"\1\2\xd4\0\0\0" + PACKET),
    "arcnet, an exception frame": (7, b"\1\2\xd4\xff\0\0\0\0\0\0" + PACKET),
    "arcnet, rfc 1051": (129, b"\1\2\0\0\xf0" + PACKET),
    "slip": (8, bytes(16) + PACKET),
    "ppp without framing": (9, b"\0\x21" + PACKET),
    "cisco hdlc on a ppp line": (50, b"\x0f\0\x08\0" + PACKET),
    "ppp over ethernet alone": (51, b"\x11\0\0\7\0\x20\0\x21" + PACKET),
    "atm": (100, SNAP),
    "frame relay, snap": (107, b"\x18\x41\x03\0\x80\0\0\0\x08\0" + PACKET),
    "frame relay, cisco": (107, b"\x18\x41\x08\0" + PACKET),
    "ipsec log": (109, struct.pack("<I", 2) + bytes(8) + PACKET),
    "ipsec log, big-endian": (109, struct.pack(">I", 2) + bytes(8) + PACKET),
    "prism": (119, bytes(144) + DATA_UP),
    "avs for prism": (119, struct.pack("!II", 0x80211001, 64) + bytes(56) + DATA_UP),
    "avs": (163, struct.pack("!II", 0x80211002, 64) + bytes(56) + DATA_UP),
    "fibre channel": (122, bytes(16) + SNAP),
    "sun atm": (123, b"\2\0\0\5" + SNAP),
    "radiotap with a time": (127, struct.pack("<BBHI", 0, 0, 17, 3) + bytes(8) + b"\0" + DATA_UP),
    "radiotap with more words": (127, struct.pack("<BBHIII", 0, 0, 16, 1 << 31, 1 << 31, 0) + DATA_UP),
    "firewire": (138, A + bytes(2) + B + bytes(2) + b"\x08\0" + PACKET),
    "ppp of a daemon": (166, b"\1\x03\0\x21" + PACKET),
    "juniper": (178, b"\x4d\x47\x43\x80\0\4" + bytes(4) + ether(PACKET)),
    "ppp with a direction": (204, b"\1\xff\x03\0\x21" + PACKET),
    "ipnet": (226, b"\1\2" + bytes(22) + PACKET),
    "brcm tag": (282, b"\0\0\0\1" + ether(PACKET)),
    "dsa": (284, B + A + b"\xc0\0\0\0\x08\0" + PACKET),
    "edsa": (285, B + A + b"\xda\xda\0\0\xc0\0\0\0\x08\0" + PACKET),
    "ppi around 802.11": (192, struct.pack("<BBHI", 0, 0, 8, 105) + DATA_UP),
}


@pytest.mark.parametrize("name", CARRIED)
def test_ip_is_found_behind(name):
    """The packet behind the link header is the same as without it, cut anywhere it is accounted for."""
    link, data = CARRIED[name]
    found = packets(Wire(data, link=link))
    assert (found.skipped, [address_text(*row) for row in found.src.tolist()]) == ({}, ["10.7.0.5"])
    assert (found.dst_port[0], found.size[0], found.payload_bytes[0]) == (443, len(PACKET), 4)
    cuts = packets(*[Wire(data[:caught], wire=len(data), link=link) for caught in range(len(data))])
    assert len(cuts) + sum(cuts.skipped.values()) == len(data)


@pytest.mark.parametrize(
    ("flags", "source", "target"), [(0, 2, 1), (1, 2, 3), (2, 3, 1), (3, 4, 3)], ids=["direct", "up", "down", "relayed"]
)
def test_the_direction_bits_say_which_address_is_whose(flags, source, target):
    """IEEE 802.11 has up to four addresses; sender and receiver are where the two bits say."""
    ends = [bytes(5) + bytes([number]) for number in (1, 2, 3, 4)]
    head = b"\x08" + bytes([flags]) + bytes(2) + b"".join(ends[:3]) + bytes(2) + (ends[3] if flags == 3 else b"")
    found = packets(Wire(head + SNAP, link=105))
    assert (int(found.src_mac[0]), int(found.dst_mac[0])) == (source, target)


REFUSED = {
    "a beacon": (105, b"\x80\0" + bytes(60), "802.11 without data"),
    "an acknowledgement": (105, b"\xd4\0" + bytes(8), "802.11 without data"),
    "no data": (105, b"\x48\1" + bytes(40), "802.11 without data"),
    "encrypted": (105, b"\x08\x41" + DATA_UP[2:], "802.11 encrypted"),
    "several in one": (105, b"\x88\1" + DATA_UP[2:24] + b"\x80\0" + SNAP, "802.11 aggregate"),
    "ppp link control": (9, b"\xff\x03\xc0\x21" + bytes(20), "ppp control"),
    "compressed headers on slip": (8, bytes(16) + b"\x70" + bytes(40), "not ip"),
    "a token ring of other kinds": (6, b"\x10\0" + B + A + SNAP, "not ip"),
    "juniper without a frame": (178, b"\x4d\x47\x43\2" + bytes(40), "not ip"),
    "netfilter's log without a packet": (239, b"\2\0\0\0" + b"\5\0\1\0x\0\0\0" * 40, "not ip"),
    "netfilter's log that is cut": (239, b"\2\0\0\0" + b"\5\0\1\0x\0\0\0", "frame cut in link header"),
    "ppi within ppi": (192, struct.pack("<BBHI", 0, 0, 8, 192) + bytes(40), "link type 192"),
    "usb": (249, bytes(64), "link type 249, usb (windows)"),
    "bluetooth": (251, bytes(64), "link type 251, bluetooth low energy"),
    "can": (227, bytes(16), "link type 227, can bus"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_ip_has_a_name(name):
    """A frame that carries no IP, or none that can be read, is counted under a name that says so."""
    link, data, reason = REFUSED[name]
    found = packets(Wire(data, link=link))
    assert (len(found), found.skipped) == (0, {reason: 1})


def test_a_sender_on_a_token_ring_has_no_route_bit():
    """The bit that announces a source route is no part of the address."""
    link, data = CARRIED["token ring"]
    routed = data[:8] + bytes([data[8] | 0x80]) + data[9:14] + b"\2\0" + data[14:]
    assert mac_text(int(packets(Wire(routed, link=link)).src_mac[0])) == "02:00:00:00:00:01"


def test_no_link_type_is_read_and_refused():
    """A name for what is refused stands only where there is no reader."""
    assert not reasons.LINK_NAMES.keys() & (LINKS | WRAPPED).keys()
