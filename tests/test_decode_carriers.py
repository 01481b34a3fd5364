"""Mirrors and tunnels: what is opened, what stays closed, and what counts where nothing inside can be read."""

from __future__ import annotations

import struct

import pytest
from build import Wire, ether, frames, ip, tcp_ip, udp_ip

from egress_watch.decode import MOST_TUNNELS, decode
from egress_watch.decode.carriers import Policy, Tables
from egress_watch.model import Packets, address_text, mac_text

PACKET = udp_ip("10.7.0.5:1000", "3.5.140.7:443", b"load")
PACKET6 = udp_ip("[fd00::5]:1000", "[2001:db8::2]:443", b"load")
CAMERA = "02:00:00:00:07:05"
FRAME = ether(PACKET, src=CAMERA)
HERE, SINK, PUBLIC = "10.1.0.1", "10.9.9.9", "203.0.113.9"
IPIP, GRE = 4, 47
VXLAN_HEAD, GRE4 = b"\x08\0\0\0\0\0\x4d\0", b"\0\0\x08\0"


def opened(body: bytes, unwrap: str = "all", *collectors: str, tags=()) -> Packets:
    """Return what comes of one IP packet under a policy."""
    policy = Policy(unwrap, collectors) if collectors else Policy(unwrap)
    return decode(frames(Wire(ether(body, tags=tags))), Tables(policy))


def src(found: Packets) -> str:
    """Return the sender of the only packet."""
    assert (len(found), found.skipped) == (1, {})
    return address_text(*found.src[0].tolist())


def vxlan(inner: bytes, far: str = SINK, near: str = HERE, head: bytes = VXLAN_HEAD) -> bytes:
    """Return VXLAN from one host to another."""
    return udp_ip(f"{near}:50001", f"{far}:4789", head + inner)


def wrapped(times: int) -> bytes:
    """Return a packet in so many tunnels of IP."""
    body = PACKET
    for number in range(times):
        body = ip(f"10.1.0.{number + 1}", PUBLIC, IPIP, body)
    return body


def test_as_many_tunnels_as_may_be_and_no_more():
    """Eight tunnels are opened; a ninth is an attack or a loop, and named."""
    found = opened(wrapped(MOST_TUNNELS))
    assert (src(found), found.unwrapped) == ("10.7.0.5", {"ip in ip": MOST_TUNNELS})
    assert opened(wrapped(MOST_TUNNELS + 1)).skipped == {"too many tunnels": 1}
    assert src(opened(wrapped(MOST_TUNNELS + 1), "mirrors")) == "10.1.0.9"


@pytest.mark.parametrize(
    "body",
    [
        ip(HERE, PUBLIC, GRE, GRE4 + b"\x45" + bytes(8)),
        ip(HERE, PUBLIC, GRE, b"\x40\0\x08\0" + PACKET),
        ip(HERE, PUBLIC, GRE, b"\0\0\x88\x0b\xff\x03\xc0\x21" + bytes(20)),
        ip(HERE, PUBLIC, GRE, b"\0\0"),
        ip(HERE, PUBLIC, IPIP, b"\x65" + bytes(40)),
        udp_ip(f"{HERE}:2152", f"{PUBLIC}:2152", struct.pack("!BBHI", 0x30, 1, 0, 0)),
        udp_ip(f"{HERE}:2152", f"{PUBLIC}:2152", b"\x34\xff\0\0\0\0\0\0\0\0\0\x85\0"),
        udp_ip(f"{HERE}:3544", f"{PUBLIC}:3544", b"hello, I am no Teredo"),
        udp_ip(f"{HERE}:1701", f"{PUBLIC}:1701", struct.pack("!HHHHHH", 0xC802, 12, 0, 0, 0, 0)),
        ip(HERE, PUBLIC, 115, bytes(4) + b"control"),
        ip(HERE, PUBLIC, 115, b"\0\0\0\7" + bytes(40)),
        vxlan(FRAME, PUBLIC, head=bytes(8)),
        vxlan(ether(bytes(28), 0x0806), PUBLIC),
        udp_ip(f"{HERE}:5247", f"{PUBLIC}:5247", b"\x01" + bytes(30)),
        udp_ip(f"{HERE}:5247", f"{PUBLIC}:5247", b"\0\x10\2\x80\0\0\0\x08" + FRAME),
    ],
    ids=["a cut header", "gre with routes", "ppp control", "half a gre header", "no ip", "gtp echo", "gtp's extension",
         "no teredo", "l2tp control", "l2tpv3 control", "l2tpv3 without a frame", "vxlan without a network",
         "arp", "capwap encrypted", "a later capwap fragment"],
)  # fmt: skip
def test_a_tunnel_in_which_nothing_can_be_read_counts_outside(body):
    """The outer packet stays what it is, with all its columns: no packet is lost for being odd inside."""
    found, closed = opened(body), opened(body, "none")
    assert (src(found), found.unwrapped) == (HERE, {})
    for name in (
        "size",
        "src",
        "dst",
        "src_port",
        "dst_port",
        "protocol",
        "payload",
        "payload_bytes",
        "src_mac",
        "vlan",
    ):
        assert getattr(found, name).tolist() == getattr(closed, name).tolist(), name


def test_the_last_tunnel_that_can_be_read_counts():
    """Of two tunnels of which the inner one is broken, the outer one is opened."""
    found = opened(ip(HERE, PUBLIC, IPIP, ip("10.2.0.1", PUBLIC, GRE, GRE4 + b"\x45")))
    assert (src(found), found.protocol[0], found.unwrapped) == ("10.2.0.1", GRE, {"ip in ip": 1})


def test_a_mirrored_frame_that_is_no_ip_has_its_own_reason():
    """ARP within ERSPAN is ARP, and no packet from the switch to the collector."""
    span = b"\x10\0\x88\xbe\0\0\0\1" + bytes(8) + ether(bytes(28), 0x0806)
    found = opened(ip(HERE, SINK, GRE, span), "mirrors")
    assert (len(found), found.skipped, found.unwrapped) == (0, {"arp": 1}, {"erspan": 1})


@pytest.mark.parametrize(
    ("near", "far", "collectors", "inside"),
    [
        (HERE, SINK, (), True),
        (HERE, PUBLIC, (), False),
        (PUBLIC, HERE, (), False),
        (HERE, SINK, ("10.9.9.0/24",), True),
        (HERE, "10.8.8.8", ("10.9.9.0/24",), False),
        (HERE, PUBLIC, (f"{PUBLIC}/32",), True),
        ("203.0.113.1", PUBLIC, ("203.0.113.0/24",), True),
    ],
)
def test_a_mirror_is_what_a_private_address_sends_to_a_collector(near, far, collectors, inside):
    """VXLAN between a site and a public address is a tunnel in both directions, unless the settings say otherwise."""
    found = opened(vxlan(FRAME, far, near), "mirrors", *collectors)
    assert src(found) == ("10.7.0.5" if inside else near)
    assert found.unwrapped == ({"vxlan": 1} if inside else {})


def test_the_innermost_frame_names_device_and_vlan():
    """The MAC and VLAN outside are those of the mirror's own path; ERSPAN tells the VLAN where the frame does not."""
    found = opened(vxlan(FRAME), "mirrors", tags=[(0x8100, 99)])
    assert (mac_text(int(found.src_mac[0])), found.vlan[0]) == (CAMERA, 0)
    span = b"\x10\0\x88\xbe\0\0\0\1" + struct.pack("!HHI", 0x1007, 3, 0) + FRAME
    found = opened(ip(HERE, SINK, GRE, span), "mirrors", tags=[(0x8100, 99)])
    assert (mac_text(int(found.src_mac[0])), found.vlan[0]) == (CAMERA, 7)
    assert opened(ip(HERE, PUBLIC, GRE, GRE4 + PACKET), tags=[(0x8100, 99)]).vlan[0] == 99, "no frame of its own inside"


def test_columns_of_the_outer_packet_do_not_stay():
    """IPv4 within IPv6 has no word of the outer address, no outer port and no outer fragment."""
    found = opened(
        ip("2001:db8::9", "2001:db8::8", IPIP, ip("10.7.0.5", "3.5.140.7", 1, bytes(8)), chain=[(44, bytes(7))])
    )
    assert (src(found), found.src_port[0], found.protocol[0], found.fragment[0]) == ("10.7.0.5", 0, 1, 0)


def test_a_super_frame_inside_counts_by_the_wire():
    """Where offload left the inner length 0, what the frame had on the wire behind it counts."""
    inner = tcp_ip("10.7.0.5:1000", "3.5.140.7:443", "A", bytes(3000), length=0)
    assert opened(ip(HERE, PUBLIC, GRE, GRE4 + inner)).size[0] == len(inner)


def test_a_later_fragment_stays_closed():
    """What lies in a later fragment is no header; the first one is opened."""
    whole = vxlan(FRAME + bytes(200))[20:]
    parts = [ip(HERE, SINK, 17, whole[:96], fragment=0x2000), ip(HERE, SINK, 17, whole[96:], fragment=12)]
    found = decode(frames(*[Wire(ether(part)) for part in parts]))
    assert [address_text(*row) for row in found.src.tolist()] == ["10.7.0.5", HERE]


def test_ipv6_travels_in_tunnels_too():
    """Both versions are found behind the same carriers."""
    for body in (ip(HERE, PUBLIC, 41, PACKET6), ip(HERE, PUBLIC, GRE, b"\0\0\x86\xdd" + PACKET6),
                 vxlan(ether(PACKET6), PUBLIC)):  # fmt: skip
        assert src(opened(body)) == "fd00::5"


def test_neighbours_do_not_matter():
    """Opened, closed, skipped and plain packets in one batch come out in their order, as each does alone."""
    bodies = [PACKET, wrapped(2), wrapped(9), ip(HERE, PUBLIC, GRE, b"\0\0"), PACKET6, vxlan(FRAME, PUBLIC), PACKET]
    found = decode(frames(*[Wire(ether(body)) for body in bodies]), Tables(Policy("all")))
    alone = [opened(body) for body in bodies]
    assert found.src.tolist() == [row for one in alone for row in one.src.tolist()]
    assert found.size.tolist() == [size for one in alone for size in one.size.tolist()]
    assert found.skipped == {"too many tunnels": 1}
    assert found.unwrapped == {"ip in ip": 10, "vxlan": 1}
