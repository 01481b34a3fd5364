"""Put packets on the demo's wire: paths with their MACs, whole TCP connections, and the pcapng file.

In: payloads and times. Out: frames, and a tally of what each talk carried. Never: a clock or unseeded chance.

Times are integer nanoseconds since the beginning of the hour. Sizes are layer-3 bytes, counted here from the packets as
they are built, so that what is expected of the program does not come from the program.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000
SHORTEST_FRAME = 60
MSS_V4, MSS_V6 = 1460, 1440
SNAPLEN = 2048

Key = tuple[str, str, int, int]
"""Device, remote, the remote's port, IANA protocol number."""


class End(NamedTuple):
    """One end of a path: its address, and the MAC and VLAN it shows on the mirrored link."""

    ip: str
    mac: str
    vlan: int = 0
    ttl: int = 64


@dataclass
class Count:
    """Packets and layer-3 bytes of one talk, from the device's point of view."""

    packets_out: int = 0
    packets_in: int = 0
    bytes_out: int = 0
    bytes_in: int = 0

    def add(self, size: int, *, out: bool) -> None:
        """Count one packet of ``size`` bytes."""
        if out:
            self.packets_out += 1
            self.bytes_out += size
        else:
            self.packets_in += 1
            self.bytes_in += size


@dataclass
class Wire:
    """Everything that was seen: frames with their times, and the tallies."""

    frames: list[tuple[int, bytes, int]] = field(default_factory=list)
    """Time, captured bytes, bytes on the wire."""
    counts: dict[Key, Count] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    identities: dict[str, int] = field(default_factory=dict)
    """Next IPv4 identification of each sender."""

    def other(self, at_ns: int, frame: Packet, reason: str) -> None:
        """Add a frame that is no IP packet."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1
        self._frame(at_ns, frame)

    def packet(self, at_ns: int, head: Packet, packet: Packet, key: Key, *, out: bool = True) -> None:
        """Add an IP packet behind its link header, counted for ``key``."""
        self.counts.setdefault(key, Count()).add(len(bytes(packet)), out=out)
        self._frame(at_ns, head / packet)

    def identity(self, sender: str) -> int:
        """Return the next identification of a sender."""
        self.identities[sender] = self.identities.get(sender, int.from_bytes(sender.encode()[-2:])) + 1 & 0xFFFF
        return self.identities[sender]

    def _frame(self, at_ns: int, frame: Packet) -> None:
        data = bytes(frame).ljust(SHORTEST_FRAME, b"\0")
        self.frames.append((at_ns, data[:SNAPLEN], len(data)))


def link(src: End, dst: End, vlan: int) -> Packet:
    """Return the Ethernet header, tagged where the VLAN is not 0."""
    head = Ether(src=src.mac, dst=dst.mac)
    return head / Dot1Q(vlan=vlan) if vlan else head


def ip(wire: Wire, src: End, dst: End) -> Packet:
    """Return the IP header of either version."""
    if ":" in src.ip:
        return IPv6(src=src.ip, dst=dst.ip, hlim=src.ttl)
    return IP(src=src.ip, dst=dst.ip, ttl=src.ttl, id=wire.identity(src.ip), flags="DF")


@dataclass
class Path:
    """A device and a remote, and the wire between them."""

    wire: Wire
    device: End
    remote: End

    def send(self, at_ns: int, transport: Packet, key: Key, *, out: bool) -> None:
        """Send one packet, from the device where ``out``."""
        src, dst = (self.device, self.remote) if out else (self.remote, self.device)
        packet = ip(self.wire, src, dst) / transport
        self.wire.packet(at_ns, link(src, dst, self.device.vlan), packet, key, out=out)

    def udp(self, at_ns: int, ports: tuple[int, int], payload: bytes | Packet, *, out: bool) -> None:
        """Send one UDP datagram; ``ports`` are the device's and the remote's."""
        sport, dport = ports if out else ports[::-1]
        key = (self.device.ip, self.remote.ip, ports[1], 17)
        body = payload if isinstance(payload, Packet) else Raw(payload)
        self.send(at_ns, UDP(sport=sport, dport=dport) / body, key, out=out)


@dataclass
class Connection:
    """A TCP connection (RFC 9293): handshake, segments, acknowledgements, and an end."""

    path: Path
    ports: tuple[int, int]
    now_ns: int
    half_ns: int
    """Half the round trip, as the sensor beside the device sees it."""
    chance: random.Random

    def __post_init__(self) -> None:
        self.next = {side: self.chance.getrandbits(32) for side in (True, False)}
        self.mss = MSS_V6 if ":" in self.path.device.ip else MSS_V4

    def open(self) -> None:
        """SYN, SYN-ACK, ACK."""
        options = [("MSS", self.mss), ("SAckOK", b""), ("NOP", None), ("WScale", 7)]
        self._segment("S", out=True, options=options)
        self._wait(2 * self.half_ns)
        self._segment("SA", out=False, options=options)
        self._segment("A", out=True)

    def attempt(self, times: int = 4) -> None:
        """Send a SYN that nobody answers, again after 1, 2 and 4 seconds (RFC 6298)."""
        first = self.next[True]
        for turn in range(times):
            self.next[True] = first
            self._segment("S", out=True, options=[("MSS", self.mss), ("SAckOK", b"")])
            self._wait(SECOND_NS << turn)

    def send(self, payload: bytes, *, out: bool, merged: bool = False) -> None:
        """Send bytes in full segments; every second segment and the last are acknowledged.

        ``merged`` makes it one long segment, as a network card with receive offload hands it to the sensor.
        """
        step = len(payload) if merged else self.mss
        pieces = [payload[at : at + step] for at in range(0, len(payload), step)]
        self._wait(0 if out else 2 * self.half_ns)
        for number, piece in enumerate(pieces, 1):
            self._segment("PA" if number == len(pieces) else "A", piece, out=out)
            if number % 2 == 0 or number == len(pieces):
                self._wait(self.half_ns if out else 0)
                self._segment("A", out=not out)

    def idle(self, seconds: float) -> None:
        """Let time pass."""
        self._wait(int(seconds * SECOND_NS))

    def close(self, how: str) -> None:
        """End with FIN both ways, with RST from the device, or not at all (``open``)."""
        if how == "rst":
            self._segment("RA", out=True)
        elif how == "fin":
            self._segment("FA", out=True)
            self._wait(2 * self.half_ns)
            self._segment("FA", out=False)
            self._segment("A", out=True)

    def _wait(self, duration_ns: int) -> None:
        self.now_ns += duration_ns + self.chance.randrange(20_000, 400_000)

    def _segment(
        self, flags: str, payload: bytes = b"", *, out: bool, options: list[tuple[str, object]] | None = None
    ) -> None:
        sport, dport = self.ports if out else self.ports[::-1]
        ack = self.next[not out] if "A" in flags else 0
        window = 64240 if "S" in flags else 502
        segment = TCP(
            sport=sport, dport=dport, seq=self.next[out], ack=ack, flags=flags, window=window, options=options or []
        )
        key = (self.path.device.ip, self.path.remote.ip, self.ports[1], 6)
        self.path.send(self.now_ns, segment / Raw(payload) if payload else segment, key, out=out)
        taken = len(payload) + ("S" in flags or "F" in flags)
        self.next[out] = self.next[out] + taken & 0xFFFFFFFF
        self._wait(0)


def pcapng(frames: list[tuple[int, bytes, int]], begin_ns: int) -> bytes:
    """Return the frames, in order of time, as one pcapng section (draft-ietf-opsawg-pcapng) of nanosecond stamps."""
    head = _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _options({4: b"egress-watch demo capture"}))
    face = _block(1, struct.pack("<HHI", 1, 0, SNAPLEN) + _options({2: b"mirror", 9: b"\x09"}))
    return head + face + b"".join(_record(begin_ns + at_ns, data, wire) for at_ns, data, wire in frames)


def _record(time_ns: int, data: bytes, wire: int) -> bytes:
    return _block(6, struct.pack("<IIIII", 0, time_ns >> 32, time_ns & 0xFFFFFFFF, len(data), wire) + _padded(data))


def _options(values: dict[int, bytes]) -> bytes:
    rows = [struct.pack("<HH", code, len(value)) + _padded(value) for code, value in values.items()]
    return b"".join(rows) + bytes(4)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size
