"""The builders of `build` against scapy: two that were written apart agree on every byte."""

from __future__ import annotations

import struct
import warnings

import pytest
from build import HERE, THERE, ether, ip, pieces, sll, sll2, tcp_ip, udp_ip

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what scapy imports
    from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
    from scapy.layers.inet6 import (
        ICMPv6EchoRequest,
        IPv6,
        IPv6ExtHdrDestOpt,
        IPv6ExtHdrFragment,
        IPv6ExtHdrHopByHop,
        IPv6ExtHdrRouting,
        PadN,
    )
    from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether
    from scapy.packet import Raw

FOUR, SIX = ("10.0.0.1", "3.5.140.7"), ("2001:db8::1", "2001:db8::2")
PAYLOAD = b"payload"


def link():
    """Return scapy's Ethernet header."""
    return Ether(src=HERE, dst=THERE)


def layer(ends, **settings):
    """Return scapy's IP header of the addresses' version."""
    src, dst = ends
    return (IPv6 if ":" in src else IP)(src=src, dst=dst, **settings)


def with_port(address: str, port: int) -> str:
    """Return an end as `build` wants it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def pair(ends) -> tuple[str, str]:
    """Return both ends with the ports of all tests here."""
    return with_port(ends[0], 1000), with_port(ends[1], 443)


@pytest.mark.parametrize("ends", [FOUR, SIX])
@pytest.mark.parametrize("flags", ["S", "SA", "PA", "FRUEC"])
def test_tcp(ends, flags):
    """Ethernet, IP of either version and TCP, with both checksums."""
    theirs = link() / layer(ends) / TCP(sport=1000, dport=443, flags=flags) / Raw(PAYLOAD)
    assert ether(tcp_ip(*pair(ends), flags, PAYLOAD)) == bytes(theirs)


@pytest.mark.parametrize("ends", [FOUR, SIX])
def test_udp(ends):
    """UDP with an odd number of bytes."""
    theirs = link() / layer(ends) / UDP(sport=1000, dport=443) / Raw(PAYLOAD)
    assert ether(udp_ip(*pair(ends), PAYLOAD)) == bytes(theirs)


def test_tcp_options():
    """The data offset counts TCP options."""
    theirs = layer(FOUR) / TCP(sport=1000, dport=443, flags="S", options=[("MSS", 1460)])
    assert tcp_ip(*pair(FOUR), "S", segment_options=struct.pack("!BBH", 2, 4, 1460)) == bytes(theirs)


def test_icmp_and_any_other_protocol():
    """A protocol without ports is its number and its bytes."""
    theirs = bytes(layer(FOUR) / ICMP())
    assert ip(*FOUR, 1, theirs[20:]) == theirs
    theirs = bytes(layer(SIX) / ICMPv6EchoRequest())
    assert ip(*SIX, 58, theirs[40:]) == theirs
    assert ip(*FOUR, 253, PAYLOAD) == bytes(layer(FOUR, proto=253) / Raw(PAYLOAD))


def test_ipv4_options():
    """The header length counts options."""
    from scapy.layers.inet import IPOption_Router_Alert

    theirs = layer(FOUR, options=[IPOption_Router_Alert()]) / UDP(sport=1000, dport=443)
    assert udp_ip(*pair(FOUR), options=bytes([0x94, 4, 0, 0])) == bytes(theirs)


def test_tags():
    """802.1Q within 802.1ad."""
    theirs = link() / Dot1AD(vlan=30) / Dot1Q(vlan=7, prio=5) / layer(FOUR) / UDP(sport=1000, dport=443)
    assert ether(udp_ip(*pair(FOUR)), tags=[(0x88A8, 30), (0x8100, 5 << 13 | 7)]) == bytes(theirs)


def test_cooked():
    """Linux cooked capture, both versions."""
    body = udp_ip(*pair(FOUR))
    source = bytes.fromhex(HERE.replace(":", "")) + bytes(2)
    settings = {"pkttype": 0, "lladdrtype": 1, "src": source, "lladdrlen": 6, "proto": 0x0800}
    assert sll(body) == bytes(CookedLinux(**settings) / Raw(body))
    settings = {"pkttype": 0, "lladdrtype": 1, "src": source, "lladdrlen": 6, "proto": 0x0800, "ifindex": 3}
    assert sll2(body) == bytes(CookedLinuxV2(**settings) / Raw(body))


def test_extension_headers():
    """Hop-by-hop, routing and destination options before UDP."""
    theirs = layer(SIX) / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))]) / IPv6ExtHdrRouting(addresses=[SIX[0]])
    theirs = theirs / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / UDP(sport=1000, dport=443)
    raw = bytes(theirs)
    chain = [(0, raw[41:48]), (43, raw[49:72]), (60, raw[73:80])]
    assert ip(*SIX, 17, raw[80:], chain=chain) == raw


def test_ipv4_fragments():
    """Offsets, more-fragments flags and identification."""
    theirs = fragment(layer(FOUR, id=7) / UDP(sport=1000, dport=443) / Raw(bytes(80)), fragsize=32)
    assert pieces(*pair(FOUR), bytes(80), ident=7) == [bytes(one) for one in theirs]


def test_ipv6_fragments():
    """The fragment header."""
    body = bytes(layer(SIX) / UDP(sport=1000, dport=443) / Raw(bytes(80)))[40:]
    cuts = [(at, body[at : at + 32]) for at in range(0, len(body), 32)]
    theirs = [
        bytes(layer(SIX) / IPv6ExtHdrFragment(nh=17, offset=at // 8, m=at + 32 < len(body), id=7) / Raw(part))
        for at, part in cuts
    ]
    assert pieces(*pair(SIX), bytes(80), ident=7) == theirs
