"""Frames in words: `tcp("10.0.0.1:1000", "3.5.140.7:443", flags="S", t=1.5)` is a SYN 1.5 s after 1970."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple

import numpy as np

from egress_watch.decode import decode
from egress_watch.model import PAD_BYTES, Frames, Packets

HERE, THERE = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
IPV4, IPV6 = 0x0800, 0x86DD
ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
FLAGS = "FSRPAUEC"


class Wire(NamedTuple):
    """A frame as a source hands it over."""

    data: bytes
    time_ns: int = 0
    wire: int = -1
    """Length on the wire, -1 for that of the data."""
    link: int = 1


def frames(*wires: Wire, between: bytes = b"") -> Frames:
    """Return frames as columns; ``between`` is laid before each frame in the buffer."""
    caught = np.array([len(one.data) for one in wires], np.int64)
    gaps = np.arange(1, len(wires) + 1) * len(between)
    return Frames(
        data=np.frombuffer(b"".join(between + one.data for one in wires) + bytes(PAD_BYTES), np.uint8),
        start=np.cumsum(caught) - caught + gaps,
        caught=caught,
        wire=np.array([len(one.data) if one.wire < 0 else one.wire for one in wires], np.int64),
        time_ns=np.array([one.time_ns for one in wires], np.int64),
        link=np.array([one.link for one in wires], np.int32),
        interface=np.zeros(len(wires), np.int32),
    )


def packets(*wires: Wire) -> Packets:
    """Return the packets in these frames."""
    return decode(frames(*wires))


def mac(text: str) -> bytes:
    """Return the six bytes of a MAC."""
    return bytes.fromhex(text.replace(":", ""))


def ether(
    body: bytes, kind: int = 0, *, tags: Sequence[tuple[int, int]] = (), src: str = HERE, dst: str = THERE
) -> bytes:
    """Return an Ethernet frame; ``tags`` are (EtherType, TCI) from the outside in; the kind of IP is seen if 0."""
    kind = kind or (IPV6 if body[:1] and body[0] >> 4 == 6 else IPV4)
    chain = b"".join(struct.pack("!HH", *tag) for tag in tags)
    return mac(dst) + mac(src) + chain + struct.pack("!H", kind) + body


def sll(body: bytes, kind: int = IPV4, *, src: str = HERE, address_bytes: int = 6) -> bytes:
    """Return a Linux cooked frame (LINKTYPE_LINUX_SLL)."""
    return struct.pack("!HHH8sH", 0, 1, address_bytes, mac(src) + bytes(2), kind) + body


def sll2(body: bytes, kind: int = IPV4, *, src: str = HERE, address_bytes: int = 6) -> bytes:
    """Return a Linux cooked frame, version 2 (LINKTYPE_LINUX_SLL2)."""
    return struct.pack("!HHIHBB8s", kind, 0, 3, 1, 0, address_bytes, mac(src) + bytes(2)) + body


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip(
    src: str, dst: str, protocol: int, body: bytes, *, options: bytes = b"", ident: int = 1, fragment: int = 0,
    chain: Sequence[tuple[int, bytes]] = (), length: int = -1,
) -> bytes:  # fmt: skip
    """Return an IP packet of the addresses' version.

    ``fragment`` is the IPv4 flags-and-offset word, ``chain`` the IPv6 extension headers as (number, bytes without the
    next-header byte), ``length`` the length field where it shall not be the true one.
    """
    ends = ip_address(src).packed + ip_address(dst).packed
    if len(ends) == 8:
        words = 5 + len(options) // 4
        length = words * 4 + len(body) if length < 0 else length
        head = struct.pack("!BBHHHBB", 0x40 | words, 0, length, ident, fragment, 64, protocol)
        return head + struct.pack("!H", checksum(head + ends + options)) + ends + options + body
    for number, rest in reversed(chain):
        body, protocol = bytes([protocol]) + rest + body, number
    return struct.pack("!IHBB", 6 << 28, len(body) if length < 0 else length, protocol, 64) + ends + body


def transport_sum(src: str, dst: str, protocol: int, body: bytes) -> int:
    """Return the checksum over pseudo header and body (RFC 9293, section 3.1; RFC 8200, section 8.1)."""
    ends = ip_address(src).packed + ip_address(dst).packed
    return checksum(ends + struct.pack("!II", len(body), protocol) + body)


def end(text: str) -> tuple[str, int]:
    """Return address and port of ``10.0.0.1:1000`` or ``[2001:db8::1]:443``."""
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)


def tcp_body(src: str, dst: str, flags: str = "", payload: bytes = b"", options: bytes = b"") -> bytes:
    """Return a TCP segment (RFC 9293)."""
    (here, port), (there, other) = end(src), end(dst)
    bits = sum(1 << FLAGS.index(flag) for flag in flags)
    head = struct.pack("!HHIIBBH", port, other, 0, 0, (5 + len(options) // 4) << 4, bits, 8192)
    check = transport_sum(here, there, TCP, head + bytes(4) + options + payload)
    return head + struct.pack("!HH", check, 0) + options + payload


def udp_body(src: str, dst: str, payload: bytes = b"") -> bytes:
    """Return a UDP datagram (RFC 768)."""
    (here, port), (there, other) = end(src), end(dst)
    head = struct.pack("!HHH", port, other, 8 + len(payload))
    check = transport_sum(here, there, UDP, head + bytes(2) + payload) or 0xFFFF
    return head + struct.pack("!H", check) + payload


def tcp_ip(
    src: str, dst: str, flags: str = "", payload: bytes = b"", *, segment_options: bytes = b"", **ip_fields
) -> bytes:
    """Return a TCP segment within IP; ``ip_fields`` as in `ip`."""
    return ip(end(src)[0], end(dst)[0], TCP, tcp_body(src, dst, flags, payload, segment_options), **ip_fields)


def udp_ip(src: str, dst: str, payload: bytes = b"", **ip_fields) -> bytes:
    """Return a UDP datagram within IP; ``ip_fields`` as in `ip`."""
    return ip(end(src)[0], end(dst)[0], UDP, udp_body(src, dst, payload), **ip_fields)


def ns(seconds: float) -> int:
    """Return nanoseconds."""
    return round(seconds * 1_000_000_000)


def tcp(src: str, dst: str, flags: str = "", payload: bytes = b"", t: float = 0, vlan: int = 0) -> Wire:
    """Return a frame with a TCP segment at ``t`` seconds."""
    return framed(tcp_ip(src, dst, flags, payload), t, vlan)


def udp(src: str, dst: str, payload: bytes = b"", t: float = 0, vlan: int = 0) -> Wire:
    """Return a frame with a UDP datagram at ``t`` seconds."""
    return framed(udp_ip(src, dst, payload), t, vlan)


def framed(body: bytes, t: float = 0, vlan: int = 0) -> Wire:
    """Return an IP packet as an Ethernet frame at ``t`` seconds."""
    return Wire(ether(body, tags=[(0x8100, vlan)] if vlan else ()), ns(t))


def pieces(src: str, dst: str, payload: bytes, ident: int, size: int = 32) -> list[bytes]:
    """Return a UDP datagram as IP fragments of ``size`` bytes each, the first one first."""
    body = udp_body(src, dst, payload)
    cuts = [(at, body[at : at + size], at + size < len(body)) for at in range(0, len(body), size)]
    here, there = end(src)[0], end(dst)[0]
    if ":" not in here:
        return [ip(here, there, UDP, part, ident=ident, fragment=at >> 3 | more << 13) for at, part, more in cuts]
    chain = [[(44, struct.pack("!BHI", 0, at | more, ident))] for at, _, more in cuts]
    return [ip(here, there, UDP, part, chain=one) for (_, part, _), one in zip(cuts, chain, strict=True)]
