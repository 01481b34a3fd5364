"""Plain frames as columns: what the accelerator does where there is none.

In: frames. Out: packets of Ethernet frames with at most one VLAN tag that hold a whole IPv4 header without options, or
one of IPv6 without extension, and TCP, UDP or ICMP; and which frames are left. Never: an answer that differs from the
walk's.

One gather brings all headers of a frame, where the walk takes one for each. Every row is written as if it were IPv4,
which is quicker than to choose; the others are then written over, those that are left by whoever reads them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.decode.columns import Header, Rows, gather
from egress_watch.decode.link import IPV4, IPV6, LOWEST_ETHERTYPE
from egress_watch.decode.marks import marks as marked
from egress_watch.decode.network import MAPPED
from egress_watch.decode.prints import Seen
from egress_watch.decode.prints import prints as fingerprints
from egress_watch.fast import packet_columns
from egress_watch.model import Bytes, Easy, Flags, Frames, Ints, MarkTables, Ports

IP_AT, TAG_BYTES, ADDRESSES_BYTES = 14, 4, 12
IP_BYTES, IP6_BYTES = 20, 40


def _layout(ip_bytes: int, fields: dict[str, tuple[int, str]]) -> np.dtype[Any]:
    """Return the layout of a frame up to 16 bytes behind its IP header (RFC 9293 up to the flags, RFC 768)."""
    behind = IP_AT + ip_bytes
    places = fields | {
        "src_port": (behind, ">u2"), "dst_port": (behind + 2, ">u2"), "offset": (behind + 12, "u1"),
        "flags": (behind + 13, "u1"), "first": (behind, "<u8"), "second": (behind + 8, "<u8"),
    }  # fmt: skip
    offsets, formats = zip(*places.values(), strict=True)
    return np.dtype({"names": list(places), "formats": formats, "offsets": offsets, "itemsize": behind + 16})


HEADERS = _layout(IP_BYTES, {  # IEEE 802.3, RFC 791 without options
    "dst_mac": (0, ">u8"), "src_mac": (6, ">u8"), "type": (12, ">u2"), "version": (14, "u1"), "length": (16, ">u2"),
    "id": (18, ">u2"), "fragment": (20, ">u2"), "protocol": (23, "u1"), "src": (26, ">u4"), "dst": (30, ">u4"),
})  # fmt: skip
"""A MAC is the upper six bytes of its field."""
HEADERS6 = _layout(IP6_BYTES, {  # RFC 8200 without extension
    "version": (14, "u1"), "length": (18, ">u2"), "protocol": (20, "u1"), "src_high": (22, ">u8"),
    "src_low": (30, ">u8"), "dst_high": (38, ">u8"), "dst_low": (46, ">u8"),
})  # fmt: skip
OPAQUE = np.dtype(f"V{HEADERS.itemsize}")
"""The same as one value: a structure of many fields is picked field by field, twenty times as slowly."""
TYPE = np.dtype(">u2")
BEHIND = np.dtype(f"V{HEADERS.itemsize - ADDRESSES_BYTES}")
SPLIT = np.dtype([("addresses", f"V{ADDRESSES_BYTES}"), ("behind", BEHIND)])
ETHERNET = 1
SIMPLE = 0x45
"""Version 4, and a header of five words: no options."""
CUT_PIECE = 0x3FFF
TCP, UDP = 6, 17
VLAN, VLAN_ID = 1, 0x0FFF
"""What the table of EtherTypes says of a VLAN tag; its lower 12 bits (IEEE 802.1Q, clause 9.6)."""
_MAC_SHIFT = np.uint64(16)

LEAST = np.full(256, 1 << 20)
"""By protocol, the shortest length behind the IP header that holds its whole transport header; others are not read."""
LEAST[[1, TCP, UDP, 58]] = (8, 20, 8, 8)

Columns = dict[str, NDArray[Any]]


class Heads(NamedTuple):
    """Ethernet frames without their tags, in columns."""

    data: Bytes
    start: Ints
    """Offset of a frame that begins behind its tag, if there is one."""
    end: Ints
    header: Header

    def over(self, rows: Rows, layout: np.dtype[Any]) -> Heads:
        """Return some of them, with headers of another layout."""
        start = self.start[rows]
        return Heads(self.data, start, self.end[rows], gather(self.data, start, layout))


def plain(frames: Frames, kinds: Flags, ports: Flags, *, prints: bool, marks: MarkTables | None = None) -> Easy:
    """Return what `Accelerator.frames` does, with fewer frames read and more left."""
    ethernet = (frames.link == ETHERNET) & (frames.caught >= IP_AT)
    heads, vlan = _untagged(frames, kinds)
    kind = heads.header["type"].astype(np.uint16)
    nobody = ethernet & (kinds.take(kind) == 0) & (kind >= LOWEST_ETHERTYPE)
    rows = np.flatnonzero(~nobody)
    reason = kind[nobody].astype(np.int32)
    if len(reason):
        header = heads.header.view(OPAQUE)[rows].view(HEADERS)
        heads = Heads(heads.data, heads.start[rows], heads.end[rows], header)
        ethernet, kind, vlan = ethernet[rows], kind[rows], vlan[rows]
    columns = packet_columns(len(rows), prints=prints, marks=marks is not None)
    columns["vlan"], columns["time_ns"] = vlan, frames.time_ns[rows]
    read = ethernet & (kind == IPV4) & _ipv4(columns, heads, ports)
    six = np.flatnonzero(ethernet & (kind == IPV6))
    if len(six):
        read[six] = _ipv6(columns, six, heads.over(six, HEADERS6), ports)
    if marks:
        pair = columns["src_port"], columns["dst_port"]
        columns["mark"] = marked(
            marks, heads.data, columns["protocol"], pair, columns["payload"], columns["payload_bytes"]
        )
    left = np.flatnonzero(~read)
    return Easy(columns, rows[left], left, reason)


def _untagged(frames: Frames, kinds: Flags) -> tuple[Heads, Ports]:
    """Return the frames behind the first VLAN tag of each, and its number."""
    header, start, vlan = gather(frames.data, frames.start, HEADERS), frames.start, np.zeros(len(frames), np.uint16)
    tags = (kinds.take(header["type"]) == VLAN) & (frames.link == ETHERNET)
    tagged = np.flatnonzero(tags & (frames.caught >= IP_AT + TAG_BYTES))
    if len(tagged):
        at = start[tagged] + IP_AT
        vlan[tagged] = gather(frames.data, at, TYPE) & VLAN_ID
        header.view(SPLIT)["behind"][tagged] = gather(frames.data, at + TYPE.itemsize, BEHIND)
        start = start.copy()
        start[tagged] += TAG_BYTES
    return Heads(frames.data, start, frames.start + frames.caught, header), vlan


def _ipv4(columns: Columns, heads: Heads, ports: Flags) -> NDArray[np.bool_]:
    """Write all rows as if they were IPv4; return which were plain, if they were IPv4."""
    header, every = heads.header, slice(None)
    size = header["length"].astype(np.int64)
    for name in ("src", "dst"):
        columns[name][:, 0] = 0
        columns[name][:, 1] = MAPPED | header[name]
        columns[f"{name}_mac"] = header[f"{name}_mac"].astype(np.uint64) >> _MAC_SHIFT
    for name in ("fragment", "fragment_id"):
        columns[name][:] = 0
    columns["version"][:] = 4
    whole = (header["version"] == SIMPLE) & (header["fragment"] & CUT_PIECE == 0)
    plain: NDArray[np.bool_] = whole & _behind(
        columns, every, heads, IP_BYTES, size, header["id"].astype(np.uint32), ports
    )
    return plain


def _ipv6(columns: Columns, rows: Rows, heads: Heads, ports: Flags) -> NDArray[np.bool_]:
    """Write these rows, which are IPv6; return which were plain."""
    header = heads.header
    for name in ("src", "dst"):
        for word, part in enumerate(("high", "low")):
            columns[name][rows, word] = header[f"{name}_{part}"]
    columns["version"][rows] = 6
    size = header["length"].astype(np.int64) + IP6_BYTES
    ident = np.zeros(len(rows), np.uint32)
    plain: NDArray[np.bool_] = (header["version"] >> 4 == 6) & _behind(
        columns, rows, heads, IP6_BYTES, size, ident, ports
    )
    return plain


def _behind(
    columns: Columns,
    rows: Rows | slice,
    heads: Heads,
    ip_bytes: int,
    size: Ints,
    ident: NDArray[np.uint32],
    ports: Flags,
) -> NDArray[np.bool_]:
    """Write what is behind the IP header; return which rows have a whole transport header that is read here."""
    header, at = heads.header, heads.start + (IP_AT + ip_bytes)
    protocol = header["protocol"]
    tcp = protocol == TCP
    ported = tcp | (protocol == UDP)
    end = np.minimum(heads.end, at + (size - ip_bytes))
    length = np.where(tcp, np.maximum(20, (header["offset"] >> 4).astype(np.int64) << 2), 8)
    payload = np.minimum(at + length, end)
    src_port, dst_port = header["src_port"] * ported, header["dst_port"] * ported
    filled = {
        "src_port": src_port, "dst_port": dst_port, "protocol": protocol, "tcp_flags": header["flags"] * tcp,
        "size": size, "payload": payload, "payload_bytes": end - payload,
    }  # fmt: skip
    if "print" in columns:
        seen = Seen(heads.data, np.minimum(at, end), end - at, columns["src"][rows], columns["dst"][rows], size, ident,
                    protocol, np.ones(len(at), np.bool_), header)  # fmt: skip
        filled["print"] = fingerprints(seen)
    for name, column in filled.items():
        columns[name][rows] = column
    carrying = ports.take(src_port) | ports.take(dst_port)
    least = LEAST.take(protocol)
    fits: NDArray[np.bool_] = (end - at >= least) & ((carrying == 0) | tcp)
    return fits
