"""Every encapsulation with a capture of its own: how it wraps a packet, and whether it is a mirror or a tunnel.

In: packets. Out: frames. Never: a header that its specification does not describe.

The table of all of them is in `wraps_table`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from scapy.contrib.erspan import ERSPAN, ERSPAN_II, ERSPAN_III
from scapy.contrib.nsh import NSH
from scapy.layers.dot11 import Dot11, RadioTap
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, GRE, LLC, SNAP, Ether
from scapy.packet import Packet, Raw

BEFORE, ALWAYS, COLLECTED, TUNNEL, REFUSED = "before ip", "mirror", "mirror to a collector", "tunnel", "refused"
CAMERA, ROUTER, SWITCH, COLLECTOR = "02:00:00:00:07:05", "02:00:00:00:07:01", "02:00:00:00:01:01", "02:00:00:00:01:09"
DEVICE, REMOTE, DEVICE6, REMOTE6 = "10.7.0.5", "198.51.100.7", "fd00:7::5", "2001:db8:1::7"
HERE, PUBLIC, SINK = "10.1.0.1", "203.0.113.9", "10.9.9.9"
Talk = tuple[str, str, int, str]
WEB: Talk = (DEVICE, REMOTE, 443, "tcp")
ASK: Talk = (DEVICE6, REMOTE6, 8883, "udp")
NUMBERS = {4: "4", 6: "tcp", 17: "udp", 41: "ipv6", 47: "gre", 97: "97", 115: "115", 137: "137", 143: "143"}
Wrapper = Callable[[Packet, bool], Packet | bytes]


class Seen(NamedTuple):
    """A frame, what it holds inside (no talk: a frame that is no IP packet), and what it is outside."""

    frame: bytes
    talk: Talk | None
    size: int
    out: bool
    reason: str
    outer_talk: Talk
    outer_size: int
    outer_out: bool


def packets(*, four: bool, six: bool) -> list[tuple[Packet, Talk, bool]]:
    """Return the talk: packets with what they belong to and whether the device sent them."""
    syn = IP(src=DEVICE, dst=REMOTE, id=7) / TCP(sport=40001, dport=443, flags="S", seq=1)
    answer = IP(src=REMOTE, dst=DEVICE, id=9) / TCP(sport=443, dport=40001, flags="SA", seq=5, ack=2)
    ask = IPv6(src=DEVICE6, dst=REMOTE6) / UDP(sport=40002, dport=8883) / Raw(b"how is the weather")
    told = IPv6(src=REMOTE6, dst=DEVICE6) / UDP(sport=8883, dport=40002) / Raw(b"dry")
    web, asked = [(syn, WEB, True), (answer, WEB, False)], [(ask, ASK, True), (told, ASK, False)]
    return (web if four else []) + (asked if six else [])


def frame(packet: Packet, *, out: bool) -> Packet:
    """Return a packet in the Ethernet frame that the camera or its router sends."""
    return Ether(src=CAMERA, dst=ROUTER) / packet if out else Ether(src=ROUTER, dst=CAMERA) / packet


class Wrap(NamedTuple):
    """An encapsulation."""

    name: str
    title: str
    story: str
    kind: str
    wrap: Wrapper
    """From an IP packet (or, where ``frames``, an Ethernet frame) to the whole frame, or to what the carrier holds."""
    link: int = 1
    four: bool = True
    six: bool = True
    frames: bool = False
    protocol: int = 17
    port: int = 0
    carriers: tuple[str, ...] = ()
    reason: str = ""

    def seen(self) -> list[Seen]:
        """Return the frames of the capture."""
        rows: list[Seen] = []
        for packet, talk, out in packets(four=self.four, six=self.six):
            whole = frame(packet, out=out) if self.frames else packet
            told = None if self.kind == REFUSED else talk
            rows.append(self._row(whole, told, len(packet), self.reason, out=out))
        if self.frames and self.kind in (ALWAYS, COLLECTED):
            asks = Ether(src=CAMERA, dst="ff:ff:ff:ff:ff:ff") / ARP(psrc=DEVICE, pdst="10.7.0.1", hwsrc=CAMERA)
            rows.append(self._row(asks, None, 0, "arp", out=True))
        return rows

    def _row(self, inner: Packet, talk: Talk | None, size: int, reason: str, *, out: bool) -> Seen:
        wrapped = self.wrap(inner, out)
        if self.kind in (BEFORE, REFUSED):
            return Seen(bytes(wrapped), talk, size, out, reason, WEB, 0, out)
        away = out or self.kind != TUNNEL  # a mirror sends everything one way
        outer = self._outer(wrapped, away=away)
        far = PUBLIC if self.kind == TUNNEL else SINK
        body = Ether(src=SWITCH, dst=COLLECTOR) / outer if away else Ether(src=COLLECTOR, dst=SWITCH) / outer
        told = (HERE, far, self.port, NUMBERS[self.protocol])
        return Seen(bytes(body), talk, size, out, reason, told, len(outer), away)

    def _outer(self, body: Packet | bytes, *, away: bool) -> Packet:
        far = PUBLIC if self.kind == TUNNEL else SINK
        src, dst = (HERE, far) if away else (far, HERE)
        head = IP(src=src, dst=dst, id=1, proto=self.protocol)
        if self.port:
            sport = self.port if self.kind == TUNNEL else 50001
            head = head / UDP(sport=sport, dport=self.port, chksum=0)
        built: Packet = IP(bytes(head / Raw(bytes(body))))
        return built


def kind_of(packet: Packet) -> int:
    """Return the EtherType of an IP packet."""
    return 0x86DD if isinstance(packet, IPv6) else 0x0800


def typed(number: int, head: bytes, *, whole: bool = False) -> Wrapper:
    """Return a wrapper: Ethernet of this type, a header, and the packet behind its EtherType, or the whole frame."""

    def wrap(inner: Packet, out: bool) -> Packet:
        ends = {"src": CAMERA, "dst": ROUTER} if out else {"src": ROUTER, "dst": CAMERA}
        body = bytes(inner) if whole else struct.pack("!H", kind_of(inner)) + bytes(inner)
        return Ether(type=number, **ends) / Raw(head + body)

    return wrap


def behind(head: bytes, tail: bytes = b"") -> Wrapper:
    """Return a wrapper that lays bytes before (and behind) the packet."""
    return lambda inner, _: head + bytes(inner) + tail


def amid(tag: bytes) -> Wrapper:
    """Return a wrapper that lays bytes between the addresses of a frame and its EtherType."""

    def wrap(inner: Packet, out: bool) -> bytes:
        whole = bytes(frame(inner, out=out))
        return whole[:12] + tag + whole[12:]

    return wrap


def by_version(four: bytes, six: bytes) -> Wrapper:
    """Return a wrapper whose header says which version of IP follows."""
    return lambda inner, _: (six if kind_of(inner) == 0x86DD else four) + bytes(inner)


def tagged(*tags: Packet) -> Wrapper:
    """Return a wrapper that lays tags between Ethernet and IP."""

    def wrap(inner: Packet, out: bool) -> Packet:
        built = Ether(src=CAMERA, dst=ROUTER) if out else Ether(src=ROUTER, dst=CAMERA)
        for tag in tags:
            built = built / tag.copy()
        return built / inner

    return wrap


def snap(inner: Packet, out: bool) -> Packet:
    """IEEE 802.3 with LLC and SNAP (RFC 1042)."""
    body = LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=kind_of(inner)) / inner
    ends = (ROUTER, CAMERA) if out else (CAMERA, ROUTER)
    return Ether(bytes(Ether(dst=ends[0], src=ends[1], type=len(body)) / Raw(bytes(body))))


def snap_bytes(inner: Packet) -> bytes:
    """Return LLC, SNAP and the packet."""
    return b"\xaa\xaa\x03\0\0\0" + struct.pack("!H", kind_of(inner)) + bytes(inner)


def mac(text: str) -> bytes:
    """Return the six bytes of a MAC."""
    return bytes.fromhex(text.replace(":", ""))


def isl(inner: Packet, _: bool) -> bytes:
    """Cisco ISL around a frame of VLAN 7; the checksum behind it is left 0."""
    body = b"\xaa\xaa\x03" + mac(CAMERA)[:3] + struct.pack("!HHH", 7 << 1, 1, 0) + bytes(inner)
    return bytes.fromhex("01000c0000") + b"\0" + mac(SWITCH) + struct.pack("!H", len(body)) + body + bytes(4)


def wifi(inner: Packet, out: bool) -> Packet:
    """IEEE 802.11 data between the camera and its access point."""
    ends = (ROUTER, CAMERA, ROUTER) if out else (CAMERA, ROUTER, ROUTER)
    if out:
        head = Dot11(type=2, FCfield=1, addr1=ends[0], addr2=ends[1], addr3=ends[0])
    else:
        head = Dot11(type=2, FCfield=2, addr1=ends[0], addr2=ends[1], addr3=ends[1])
    return head / Raw(snap_bytes(inner))


def wifi_qos(inner: Packet, out: bool) -> bytes:
    """Radiotap that says the header is padded, and IEEE 802.11 data with quality of service."""
    body = bytes(wifi(inner, out))
    padded = b"\x88" + body[1:24] + bytes(2) + bytes(2) + body[24:]
    return bytes(RadioTap(present="Flags", Flags=0x20)) + padded


def ppi(inner: Packet, out: bool) -> bytes:
    """Per-packet information before Ethernet."""
    return struct.pack("<BBHI", 0, 0, 8, 1) + bytes(frame(inner, out=out))


def tap(inner: Packet, out: bool) -> bytes:
    """Packet tap header of a Mac before Ethernet."""
    return struct.pack("<III", 108, 1, 1) + bytes(96) + bytes(frame(inner, out=out))


def cooked2(inner: Packet, _: bool) -> bytes:
    """Linux cooked capture, version 2."""
    return struct.pack("!HHIHBB8s", kind_of(inner), 0, 3, 1, 0, 6, mac(CAMERA) + bytes(2)) + bytes(inner)


def nflog(inner: Packet, _: bool) -> bytes:
    """Netfilter's log: a prefix, then the packet."""
    family = 10 if kind_of(inner) == 0x86DD else 2
    body = struct.pack("<HH", 4 + len(inner), 9) + bytes(inner)
    return struct.pack("!BBH", family, 0, 0) + struct.pack("<HH4s", 7, 10, b"in\0\0") + body


def capwap(native: bool) -> Wrapper:
    """CAPWAP data around Ethernet, or around IEEE 802.11."""

    def wrap(inner: Packet, out: bool) -> bytes:
        head = struct.pack("!BBBBI", 0, 2 << 3, 1 << 1 | native, 0, 0)
        return head + bytes(wifi(inner, out) if native else inner)

    return wrap


def over(head: Packet) -> Wrapper:
    """Return a wrapper that lays a header of scapy's before the packet."""
    return lambda inner, _: head.copy() / inner


def gre(**fields: object) -> Wrapper:
    """Return a wrapper: GRE whose type is that of the packet."""
    return lambda inner, _: GRE(proto=kind_of(inner), **fields) / inner


def frames_in_gre(inner: Packet, _: bool) -> Packet:
    """Ethernet in GRE with a key (NVGRE, RFC 7637)."""
    return GRE(proto=0x6558, key_present=1, key=0x00BEEF01) / Raw(bytes(inner))


def span(version: int) -> Wrapper:
    """ERSPAN of a version, for VLAN 7."""

    def wrap(inner: Packet, _: bool) -> Packet:
        body = Raw(bytes(inner))
        if version == 1:
            return GRE(proto=0x88BE) / ERSPAN() / body
        head = ERSPAN_II(vlan=7, session_id=3) if version == 2 else ERSPAN_III(vlan=7, session_id=3)
        return GRE(proto=0x88BE if version == 2 else 0x22EB, seqnum_present=1, sequence_number=1) / head / body

    return wrap


def nested(inner: Packet, _: bool) -> Packet:
    """IP in GRE in IP, within GRE to the public end: three tunnels, one in another."""
    middle = IP(src="10.2.0.1", dst="192.0.2.1", proto=47) / GRE(proto=kind_of(inner)) / inner
    return IP(src="10.3.0.1", dst="192.0.2.3", proto=4) / middle


LABEL = struct.pack("!I", 18 << 12 | 1 << 8 | 64)
TZSP_HEAD = b"\x01\0\0\x01" + b"\x0a\x01\x55" + b"\0" + b"\x01"
SERVICE_INDEX = {"ttl": 63, "mdtype": 1, "spi": 5, "si": 255}


def nsh(inner: Packet, out: bool) -> bytes:
    """Network service header before IP."""
    following = 2 if kind_of(inner) == 0x86DD else 1
    ends = {"src": CAMERA, "dst": ROUTER} if out else {"src": ROUTER, "dst": CAMERA}
    return bytes(Ether(type=0x894F, **ends) / NSH(nextproto=following, **SERVICE_INDEX) / Raw(bytes(inner)))
