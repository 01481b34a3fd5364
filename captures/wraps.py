"""Every encapsulation with a capture of its own: how it wraps a packet, and whether it is a mirror or a tunnel.

In: packets. Out: frames. Never: a header that its specification does not describe.

To add one: one row in WRAPS, then `python captures/build_wraps.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from scapy.contrib.erspan import ERSPAN, ERSPAN_II, ERSPAN_III
from scapy.contrib.geneve import GENEVE
from scapy.contrib.gtp import GTP_U_Header
from scapy.contrib.mpls import MPLS
from scapy.contrib.nsh import NSH
from scapy.layers.dot11 import Dot11, RadioTap
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, GRE, LLC, SNAP, CookedLinux, Dot1AD, Dot1Q, Ether
from scapy.layers.l2tp import L2TP
from scapy.layers.ppp import HDLC, PPP, PPPoE
from scapy.layers.vxlan import VXLAN
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


WRAPS: tuple[Wrap, ...] = (
    Wrap("vlan", "802.1Q", "One tag.", BEFORE, tagged(Dot1Q(vlan=7))),
    Wrap("qinq", "802.1ad", "Two tags, the outer one of the provider.", BEFORE, tagged(Dot1AD(vlan=30), Dot1Q(vlan=7))),
    Wrap("mpls", "MPLS", "Two labels.", BEFORE, tagged(MPLS(label=17, s=0), MPLS(label=18, s=1))),
    Wrap("mpls-pseudowire", "Ethernet over MPLS", "A label, a control word, a frame.", BEFORE,
         typed(0x8847, LABEL + bytes(4), whole=True), frames=True),
    Wrap("pppoe", "PPP over Ethernet", "A session.", BEFORE,
         lambda p, o: tagged(PPPoE(sessionid=7), PPP(proto=0x57 if kind_of(p) == 0x86DD else 0x21))(p, o)),
    Wrap("snap", "LLC and SNAP", "IEEE 802.3 frames.", BEFORE, snap),
    Wrap("isl", "Cisco ISL", "A trunk of Cisco's own.", BEFORE, isl, frames=True),
    Wrap("cisco-metadata", "Cisco metadata", "A security group tag.", BEFORE, typed(0x8909, b"\x01\x01\0\1\0\2")),
    Wrap("macsec", "MACsec", "Frames signed, not encrypted.", BEFORE,
         lambda p, o: bytes(typed(0x88E5, bytes(6))(p, o)) + bytes(16)),
    Wrap("nsh", "Network service header", "A service path.", BEFORE, nsh),
    Wrap("mac-in-mac", "802.1ah", "A provider's backbone.", BEFORE,
         typed(0x88E7, b"\0\x1e\xbb\x30", whole=True), frames=True),
    Wrap("trill", "TRILL", "From one routing bridge to another.", BEFORE,
         typed(0x22F3, b"\0\x3f\0\2\0\1", whole=True), frames=True),
    Wrap("fabric-path", "Cisco FabricPath", "A tree of switches.", BEFORE,
         typed(0x8903, b"\0\x20", whole=True), frames=True),
    Wrap("vn-tag", "VN-Tag", "An extended port.", BEFORE, typed(0x8926, bytes(4))),
    Wrap("e-tag", "802.1BR", "An extended port.", BEFORE, typed(0x893F, b"\x10\0\0\xd3\0\0")),
    Wrap("hsr", "HSR", "A ring in which every frame goes both ways round.", BEFORE, typed(0x892F, b"\0\x40\0\1")),
    Wrap("redundancy-tag", "802.1CB", "Numbered copies.", BEFORE, typed(0xF1C1, b"\0\0\0\1")),
    Wrap("ppp", "PPP", "A serial line with HDLC framing.", BEFORE, by_version(b"\xff\x03\0\x21", b"\xff\x03\0\x57"), 9),
    Wrap("ppp-compressed", "PPP with a short protocol number", "One byte instead of two.", BEFORE,
         by_version(b"\x21", b"\x57"), 9),
    Wrap("ppp-hdlc", "PPP as routers capture it", "HDLC framing.", BEFORE,
         lambda p, _: HDLC() / PPP(proto=0x57 if kind_of(p) == 0x86DD else 0x21) / p, 50),
    Wrap("cisco-hdlc", "Cisco HDLC", "A serial line.", BEFORE, by_version(b"\x0f\0\x08\0", b"\x0f\0\x86\xdd"), 104),
    Wrap("frame-relay", "Frame relay", "NLPID of IP.", BEFORE,
         by_version(b"\x18\x41\x03\xcc", b"\x18\x41\x03\x8e"), 107),
    Wrap("wifi", "IEEE 802.11", "An open network.", BEFORE, wifi, 105),
    Wrap("radiotap", "Radiotap", "A padded header with quality of service.", BEFORE, wifi_qos, 127),
    Wrap("ppi", "Per-packet information", "Ethernet behind it.", BEFORE, ppi, 192),
    Wrap("pktap", "Packet tap of a Mac", "Ethernet behind it.", BEFORE, tap, 258),
    Wrap("cooked", "Linux cooked capture", "Version 1.", BEFORE,
         lambda p, _: CookedLinux(proto=kind_of(p), lladdrlen=6, src=mac(CAMERA) + bytes(2)) / p, 113),
    Wrap("cooked2", "Linux cooked capture", "Version 2.", BEFORE, cooked2, 276),
    Wrap("loopback", "BSD loopback", "Little-endian.", BEFORE, by_version(b"\2\0\0\0", b"\x1e\0\0\0"), 0),
    Wrap("loopback-openbsd", "OpenBSD loopback", "Network byte order.", BEFORE,
         by_version(b"\0\0\0\2", b"\0\0\0\x18"), 108),
    Wrap("pflog", "BSD packet filter log", "61 bytes of header, rounded up.", BEFORE,
         by_version(b"\x3d\x02" + bytes(62), b"\x3d\x18" + bytes(62)), 117),
    Wrap("nflog", "Netfilter log", "A prefix, then the packet.", BEFORE, nflog, 239),
    Wrap("raw", "Bare IP", "No link header.", BEFORE, behind(b""), 101),
    Wrap("fddi", "FDDI", "A ring of glass.", BEFORE,
         lambda p, _: b"\x50" + mac(ROUTER) + mac(CAMERA) + snap_bytes(p), 10),
    Wrap("token-ring", "Token ring", "With a source route.", BEFORE,
         lambda p, _: b"\x10\x40" + mac(ROUTER) + b"\x82" + mac(CAMERA)[1:] + b"\x04\0\0\1" + snap_bytes(p), 6),
    Wrap("arcnet", "ARCnet", "As Linux captures it.", BEFORE,
         by_version(b"\1\2\0\0\xd4\0\0\0", b"\1\2\0\0\xc4\0\0\0"), 129),
    Wrap("switch-tag", "Broadcom's switch tag", "Four bytes behind the addresses.", BEFORE,
         lambda p, o: bytes(frame(p, out=o))[:12] + b"\0\0\0\1" + bytes(frame(p, out=o))[12:], 281),
    Wrap("wifi-encrypted", "IEEE 802.11, encrypted", "Nothing to read.", REFUSED,
         lambda p, o: b"\x08\x41" + bytes(wifi(p, o))[2:], 105, reason="802.11 encrypted"),
    Wrap("usb", "USB", "No network at all.", REFUSED, behind(bytes(64)), 189, reason="link type 189, usb (linux)"),
    Wrap("bluetooth", "Bluetooth", "No network at all.", REFUSED, behind(b"\0"), 201,
         reason="link type 201, bluetooth hci with direction"),
    Wrap("erspan-1", "ERSPAN I", "A mirror without a header of its own.", ALWAYS, span(1), frames=True, protocol=47,
         carriers=("erspan",)),
    Wrap("erspan-2", "ERSPAN II", "A mirror that tells the VLAN.", ALWAYS, span(2), frames=True, protocol=47,
         carriers=("erspan",)),
    Wrap("erspan-3", "ERSPAN III", "A mirror with time stamps.", ALWAYS, span(3), frames=True, protocol=47,
         carriers=("erspan iii",)),
    Wrap("tzsp", "TZSP", "A mirror of a MikroTik router.", ALWAYS, behind(TZSP_HEAD), frames=True, port=37008,
         carriers=("tzsp",)),
    Wrap("vxlan-mirror", "VXLAN to a collector", "A cloud's traffic mirroring.", COLLECTED, over(VXLAN(vni=77)),
         frames=True, port=4789, carriers=("vxlan",)),
    Wrap("vxlan-gpe", "VXLAN-GPE to a collector", "Ethernet told by number.", COLLECTED,
         behind(b"\x0c\0\0\3\0\0\x4d\0"), frames=True, port=4790, carriers=("vxlan-gpe",)),
    Wrap("geneve", "Geneve to a collector", "With one option.", COLLECTED,
         behind(b"\2\0\x65\x58\0\0\x4d\0" + b"\1\2\3\1" + bytes(4)), frames=True, port=6081, carriers=("geneve",)),
    Wrap("gre-mirror", "Ethernet in GRE to a collector", "A mirror of Open vSwitch.", COLLECTED, frames_in_gre,
         frames=True, protocol=47, carriers=("ethernet in gre",)),
    Wrap("vxlan-overlay", "VXLAN between sites", "A tunnel: the other end is public.", TUNNEL, over(VXLAN(vni=77)),
         frames=True, port=4789, carriers=("vxlan",)),
    Wrap("geneve-overlay", "Geneve between sites", "IP without frames.", TUNNEL,
         lambda p, _: GENEVE(vni=7, proto=kind_of(p)) / p, port=6081, carriers=("geneve",)),
    Wrap("nvgre", "NVGRE between sites", "Ethernet in GRE with a key.", TUNNEL, frames_in_gre, frames=True, protocol=47,
         carriers=("ethernet in gre",)),
    Wrap("gre", "GRE", "No options.", TUNNEL, gre(), protocol=47, carriers=("gre",)),
    Wrap("gre-options", "GRE with everything", "Checksum, key and sequence number.", TUNNEL,
         gre(chksum_present=1, key_present=1, seqnum_present=1, key=9, sequence_number=4), protocol=47,
         carriers=("gre",)),
    Wrap("pptp", "PPTP", "PPP in GRE of version 1, with an acknowledgement.", TUNNEL,
         by_version(b"\x30\x81\x88\x0b\0\x20\0\1\0\0\0\5\0\0\0\4\xff\x03\0\x21",
                    b"\x30\x81\x88\x0b\0\x20\0\1\0\0\0\5\0\0\0\4\xff\x03\0\x57"), protocol=47, carriers=("gre",)),
    Wrap("mpls-in-gre", "MPLS in GRE", "One label.", TUNNEL, behind(b"\0\0\x88\x47" + LABEL), protocol=47,
         carriers=("gre",)),
    Wrap("wccp", "WCCP", "A router's redirection to a cache.", TUNNEL, behind(b"\0\0\x88\x3e\0\0\0\1"), six=False,
         protocol=47, carriers=("wccp",)),
    Wrap("gre-in-udp", "GRE in UDP", "RFC 8086.", TUNNEL, gre(), port=4754, carriers=("gre in udp",)),
    Wrap("ip-in-ip", "IP in IP", "RFC 2003.", TUNNEL, behind(b""), six=False, protocol=4, carriers=("ip in ip",)),
    Wrap("nested", "Tunnels in tunnels", "IP in GRE in IP in IP.", TUNNEL, nested, protocol=4,
         carriers=("ip in ip", "ip in ip", "gre")),
    Wrap("ether-ip", "EtherIP", "RFC 3378.", TUNNEL, behind(b"\x30\0"), frames=True, protocol=97,
         carriers=("ethernet in ip",)),
    Wrap("mpls-in-ip", "MPLS in IP", "RFC 4023.", TUNNEL, behind(LABEL), protocol=137, carriers=("mpls in ip",)),
    Wrap("mpls-in-udp", "MPLS in UDP", "RFC 7510.", TUNNEL, behind(LABEL), port=6635, carriers=("mpls in udp",)),
    Wrap("gtp-u", "GTP-U", "A mobile network.", TUNNEL, over(GTP_U_Header(teid=7, gtp_type=255)), port=2152,
         carriers=("gtp-u",)),
    Wrap("gtp-u-extended", "GTP-U of 5G", "A PDU session container.", TUNNEL,
         lambda p, _: struct.pack("!BBHIHBB", 0x34, 255, 8 + len(p), 7, 0, 0, 0x85) + b"\1\x10\1\0" + bytes(p),
         port=2152, carriers=("gtp-u",)),
    Wrap("gtp-0", "GTP version 0", "An old mobile network.", TUNNEL,
         lambda p, _: struct.pack("!BBHHHB3sQ", 0x1E, 255, len(p), 1, 1, 0, bytes(3), 0) + bytes(p), port=3386,
         carriers=("gtp version 0",)),
    Wrap("l2tp", "L2TP", "Version 2, with a length.", TUNNEL,
         lambda p, _: L2TP(bytes(L2TP(hdr=0x4002, len=12 + len(p), tunnel_id=1, session_id=2)))
         / Raw((b"\xff\x03\0\x57" if kind_of(p) == 0x86DD else b"\xff\x03\0\x21") + bytes(p)), port=1701,
         carriers=("l2tp",)),
    Wrap("l2tpv3", "L2TPv3", "Over IP, with a cookie of four bytes.", TUNNEL, behind(b"\0\0\0\7" + b"\xde\xad\xbe\xef"),
         frames=True, protocol=115, carriers=("l2tpv3",)),
    Wrap("lisp", "LISP", "Data between sites.", TUNNEL, behind(b"\x80\0\0\1\0\0\0\1"), port=4341, carriers=("lisp",)),
    Wrap("capwap", "CAPWAP", "Ethernet between access point and controller.", TUNNEL, capwap(native=False), frames=True,
         port=5247, carriers=("capwap",)),
    Wrap("capwap-wifi", "CAPWAP", "IEEE 802.11 between access point and controller.", TUNNEL, capwap(native=True),
         port=5247, carriers=("capwap",)),
    Wrap("6in4", "6in4", "IPv6 within IPv4.", TUNNEL, behind(b""), four=False, protocol=41, carriers=("ipv6 in ip",)),
    Wrap("teredo", "Teredo", "Behind an origin indication.", TUNNEL, behind(bytes(8)), four=False, port=3544,
         carriers=("teredo",)),
    Wrap("ayiya", "AYIYA", "A tunnel broker.", TUNNEL, behind(b"\x44\x52\x11\x29" + bytes(4 + 16 + 20)), four=False,
         port=5072, carriers=("ayiya",)),
)  # fmt: skip
