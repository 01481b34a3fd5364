"""Write pcap and pcapng bytes for tests: as valid or as wrong as a test wants them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MICRO, NANO, KUZNETZOV = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34


class Frame(NamedTuple):
    """A frame to write."""

    time_ns: int
    data: bytes
    wire: int = -1
    """Length on the wire, -1 for that of the data."""
    interface: int = 0

    @property
    def wire_bytes(self) -> int:
        """Length on the wire."""
        return len(self.data) if self.wire < 0 else self.wire


def some_frames(count: int = 9, first_ns: int = 1_700_000_000_000_000_000) -> list[Frame]:
    """Return frames of different lengths, the empty one among them, whole microseconds apart."""
    return [
        Frame(first_ns + n * 1_001_000, bytes((n + k) & 255 for k in range(n * 7 % 64)), 100 + n) for n in range(count)
    ]


def pcap_head(order: str = "<", magic: int = MICRO, version: tuple[int, int] = (2, 4), network: int = 1) -> bytes:
    """Return a pcap file header."""
    return struct.pack(order + "IHHiIII", magic, *version, 0, 0, 65535, network)


def pcap_record(frame: Frame, order: str = "<", magic: int = MICRO, *, swap: bool = False) -> bytes:
    """Return a pcap record; with ``swap`` its two lengths change places."""
    seconds, rest = divmod(frame.time_ns, 1_000_000_000)
    lengths = (frame.wire_bytes, len(frame.data)) if swap else (len(frame.data), frame.wire_bytes)
    head = struct.pack(order + "IIII", seconds, rest if magic == NANO else rest // 1000, *lengths)
    more = struct.pack(order + "IHBB", 1, 0x0800, 0, 0) if magic == KUZNETZOV else b""
    return head + more + frame.data


def pcap(
    frames: Iterable[Frame], order: str = "<", magic: int = MICRO, version: tuple[int, int] = (2, 4), network: int = 1
) -> bytes:
    """Return a whole pcap file; before version 2.3 the lengths are written the other way round."""
    records = (pcap_record(frame, order, magic, swap=version < (2, 4)) for frame in frames)
    return pcap_head(order, magic, version, network) + b"".join(records)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Return a pcapng block around a body, padded."""
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """Return a pcapng option, padded."""
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<", version: tuple[int, int] = (1, 0)) -> bytes:
    """Return a Section Header Block."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, *version, -1), order)


def interface(link: int = 1, snaplen: int = 0, options: bytes = b"", order: str = "<") -> bytes:
    """Return an Interface Description Block."""
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + options, order)


def resolution(value: int, order: str = "<") -> bytes:
    """Return the option if_tsresol."""
    return option(9, bytes((value,)), order)


def offset_s(seconds: int, order: str = "<") -> bytes:
    """Return the option if_tsoffset."""
    return option(14, struct.pack(order + "q", seconds), order)


def enhanced(
    data: bytes, ticks: int = 0, iface: int = 0, wire: int = -1, options: bytes = b"", order: str = "<"
) -> bytes:
    """Return an Enhanced Packet Block."""
    length = len(data) if wire < 0 else wire
    head = struct.pack(order + "IIIII", iface, ticks >> 32, ticks & 0xFFFFFFFF, len(data), length)
    return block(6, head + data + bytes(-len(data) % 4) + options, order)


def old_packet(data: bytes, ticks: int = 0, iface: int = 0, drops: int = 0xFFFF, order: str = "<") -> bytes:
    """Return an obsolete Packet Block."""
    numbers = (iface, drops, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(2, struct.pack(order + "HHIIII", *numbers) + data, order)


def simple(data: bytes, wire: int = -1, order: str = "<") -> bytes:
    """Return a Simple Packet Block."""
    return block(3, struct.pack(order + "I", len(data) if wire < 0 else wire) + data, order)


def statistics(iface: int = 0, options: bytes = b"", order: str = "<") -> bytes:
    """Return an Interface Statistics Block."""
    return block(5, struct.pack(order + "III", iface, 0, 0) + options, order)


def dropped(code: int, count: int, order: str = "<") -> bytes:
    """Return a 64-bit counter option: 4 epb_dropcount, 5 isb_ifdrop, 7 isb_osdrop."""
    return option(code, struct.pack(order + "Q", count), order)


def pcapng(frames: Sequence[Frame], order: str = "<") -> bytes:
    """Return a whole pcapng file of one section, in nanoseconds, with as many interfaces as the frames name."""
    count = max((frame.interface for frame in frames), default=0) + 1
    described = interface(options=resolution(9, order) + option(0, b"", order), order=order) * count
    packets = (enhanced(f.data, f.time_ns, f.interface, f.wire_bytes, order=order) for f in frames)
    return section(order) + described + b"".join(packets)


class Dribble:
    """A stream that gives at most ``step`` bytes at a time, and fails behind the last where an error is given."""

    def __init__(self, data: bytes, step: int = 1, error: OSError | None = None) -> None:
        self._data = memoryview(data)
        self._step = step
        self._error = error

    def readinto(self, room: memoryview) -> int:
        """Fill some of the room."""
        count = min(len(room), self._step, len(self._data))
        if not count and self._error:
            raise self._error
        room[:count] = self._data[:count]
        self._data = self._data[count:]
        return count
