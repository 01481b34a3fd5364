"""Plain frames as columns: what the accelerator does where there is none, for the plainest of them.

In: frames. Out: packets of Ethernet frames without tags that hold a whole IPv4 header without options and TCP, UDP or
ICMP, and which frames are left. Never: an answer that differs from the walk's.

One gather brings all headers of a frame, where the walk takes one for each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from egress_watch.decode.columns import Rows, gather, words
from egress_watch.decode.link import IPV4, LOWEST_ETHERTYPE
from egress_watch.decode.network import MAPPED
from egress_watch.decode.prints import Seen
from egress_watch.decode.prints import prints as fingerprints
from egress_watch.fast import Easy, packet_columns
from egress_watch.model import Flags, Frames

HEADERS = np.dtype(  # IEEE 802.3, RFC 791 without options, RFC 9293 up to the flags
    [
        ("dst_high", ">u2"), ("dst_low", ">u4"), ("src_high", ">u2"), ("src_low", ">u4"), ("type", ">u2"),
        ("version_ihl", "u1"), ("tos", "u1"), ("length", ">u2"), ("id", ">u2"), ("fragment", ">u2"), ("ttl", "u1"),
        ("protocol", "u1"), ("checksum", ">u2"), ("src", ">u4"), ("dst", ">u4"),
        ("src_port", ">u2"), ("dst_port", ">u2"), ("seq", ">u4"), ("ack", ">u4"), ("offset", "u1"), ("flags", "u1"),
    ]
)  # fmt: skip
OPAQUE = np.dtype(f"V{HEADERS.itemsize}")
"""The same as one value: a structure of many fields is picked field by field, twenty times as slowly."""
ETHERNET = 1
IP_AT, TRANSPORT_AT = 14, 34
SIMPLE = 0x45
"""Version 4, and a header of five words: no options."""
CUT_PIECE = 0x3FFF
TCP, UDP = 6, 17

LEAST = np.full(256, 1 << 20)
"""By protocol, the shortest IP length that holds its whole transport header; others are not read here."""
LEAST[[1, TCP, UDP, 58]] = (28, 40, 28, 28)


def plain(frames: Frames, kinds: Flags, ports: Flags, *, prints: bool) -> Easy:
    """Return what `Accelerator.frames` does, with fewer frames read and more left."""
    ethernet = (frames.link == ETHERNET) & (frames.caught >= IP_AT)
    header = gather(frames.data, frames.start, HEADERS)
    kind = header["type"].astype(np.uint16)
    nobody = (kinds[kind] == 0) & (kind >= LOWEST_ETHERTYPE) & ethernet
    simple = ethernet & (kind == IPV4) & (header["version_ihl"] == SIMPLE)
    size = header["length"].astype(np.int64)
    least = LEAST[header["protocol"]]
    simple &= (size >= least) & (frames.caught >= IP_AT + least) & (header["fragment"] & CUT_PIECE == 0)
    carrying = ports[header["src_port"]] | ports[header["dst_port"]]
    if carrying.any():
        simple &= (carrying == 0) | (header["protocol"] != UDP)
    kept = ~nobody
    count = int(np.count_nonzero(kept))
    place = np.zeros(len(kept), np.intp)
    place[kept] = np.arange(count)  # a sum over the mask takes many times as long
    columns = packet_columns(count, prints=prints)
    columns["time_ns"][:] = frames.time_ns[kept]
    rows, left = np.flatnonzero(simple), np.flatnonzero(kept & ~simple)
    _fill(columns, place[rows], header.view(OPAQUE)[rows].view(HEADERS), frames, rows)
    return Easy(columns, left, place[left], kind[nobody].astype(np.int32))


def _fill(columns: dict[str, NDArray[Any]], place: Rows, header: NDArray[Any], frames: Frames, rows: Rows) -> None:
    """Write the packets of these rows in their places."""
    protocol, size, start = header["protocol"], header["length"].astype(np.int64), frames.start[rows]
    tcp = protocol == TCP
    ported = tcp | (protocol == UDP)
    transport_bytes = np.where(tcp, np.maximum(20, (header["offset"] >> 4).astype(np.int64) * 4), 8)
    end = start + np.minimum(frames.caught[rows], IP_AT + size)
    payload = np.minimum(start + (TRANSPORT_AT + transport_bytes), end)
    for name in ("vlan", "fragment", "fragment_id", "src", "dst"):
        columns[name][:] = 0
    columns["version"][:] = 4
    filled = {
        "src_mac": words(header, "src_high", "src_low"), "dst_mac": words(header, "dst_high", "dst_low"),
        "src_port": header["src_port"] * ported, "dst_port": header["dst_port"] * ported, "protocol": protocol,
        "tcp_flags": header["flags"] * tcp, "size": size, "payload": payload, "payload_bytes": end - payload,
    }  # fmt: skip
    for name, column in filled.items():
        columns[name][place] = column
    src, dst = (np.stack([np.zeros(len(rows), np.uint64), MAPPED | header[name]], axis=1) for name in ("src", "dst"))
    columns["src"][place], columns["dst"][place] = src, dst
    if "print" in columns:
        at = np.minimum(start + TRANSPORT_AT, end)
        whole = np.ones(len(rows), np.bool_)
        seen = Seen(frames.data, at, end - at, src, dst, size, header["id"].astype(np.uint32), protocol, whole)
        columns["print"][place] = fingerprints(seen)
