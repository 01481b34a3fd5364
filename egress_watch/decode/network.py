"""IPv4 and IPv6: addresses, length, fragments, and the protocol behind any extension headers.

In: a walk and the rows that stand at an IP header. Out: the address columns, and the walk at the transport header.
Never: an exception, or a length taken from the link layer where the IP header states one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from egress_watch.decode.columns import Header, Rows, Walk
from egress_watch.decode.reasons import BAD_IPV4, BAD_IPV6, CUT_IP
from egress_watch.model import Ints

IPV4 = np.dtype(  # RFC 791, section 3.1
    [("version_ihl", "u1"), ("tos", "u1"), ("length", ">u2"), ("id", ">u2"), ("fragment", ">u2"),
     ("ttl", "u1"), ("protocol", "u1"), ("checksum", ">u2"), ("src", ">u4"), ("dst", ">u4")]
)  # fmt: skip
IPV6 = np.dtype(  # RFC 8200, section 3
    [("version_flow", ">u4"), ("length", ">u2"), ("protocol", "u1"), ("hops", "u1"),
     ("src_high", ">u8"), ("src_low", ">u8"), ("dst_high", ">u8"), ("dst_low", ">u8")]
)  # fmt: skip
EXTENSION = np.dtype([("next", "u1"), ("length", "u1"), ("offset", ">u2"), ("id", ">u4")])  # RFC 8200, section 4

MAPPED = np.uint64(0xFFFF << 32)
WHOLE, FIRST, LATER = 0, 1, 2
FRAGMENT, AUTHENTICATION, NO_NEXT = 44, 51, 59
EXTENSIONS = np.zeros(256, np.bool_)
EXTENSIONS[[0, 43, FRAGMENT, AUTHENTICATION, 60, 140]] = True
"""IPv6 extension headers (IANA), but Mobility and HIP: nothing follows those (RFC 6275, 6.1.1; RFC 7401, 5.1)."""
DEEPEST_CHAIN = 8
PADDED_BYTES = 100  # no link pads a frame to more than this


def ipv4(walk: Walk, rows: Rows) -> None:
    """Read IPv4 headers (RFC 791), options included."""
    rows = walk.whole(rows, IPV4.itemsize, CUT_IP)
    header = walk.read(rows, IPV4)
    header_bytes = (header["version_ihl"] & 15).astype(np.int64) * 4
    size = _size(walk, rows, header["length"].astype(np.int64), stated=header["length"] != 0)
    good = (header["version_ihl"] >> 4 == 4) & (header_bytes >= IPV4.itemsize) & (size >= header_bytes)
    if not good.all():
        walk.skip(rows[~good], BAD_IPV4)
        rows, header, header_bytes, size = rows[good], header[good], header_bytes[good], size[good]
    walk.version[rows] = 4
    later = header["fragment"] & 0x1FFF
    walk.ident[rows] = header["id"]
    if later.any():
        walk.ident[rows] |= later.astype(np.uint32) << np.uint32(16)
    walk.src[rows, 1] = MAPPED | header["src"]
    walk.dst[rows, 1] = MAPPED | header["dst"]
    _fragment(walk, rows, later > 0, (header["fragment"] & 0x2000) > 0, header["id"])
    _enter(walk, rows, size, header_bytes, header["protocol"])


def ipv6(walk: Walk, rows: Rows) -> None:
    """Read IPv6 headers (RFC 8200)."""
    rows = walk.whole(rows, IPV6.itemsize, CUT_IP)
    header = walk.read(rows, IPV6)
    good = header["version_flow"] >> 28 == 6
    if not good.all():
        walk.skip(rows[~good], BAD_IPV6)
        rows, header = rows[good], header[good]
    walk.version[rows] = 6
    for column, side in ((walk.src, "src"), (walk.dst, "dst")):
        column[rows, 0] = header[f"{side}_high"]
        column[rows, 1] = header[f"{side}_low"]
    # A payload length of 0 stands for a jumbogram (RFC 2675) or an offloaded super-frame, unless nothing follows.
    long = (header["length"] == 0) & (header["protocol"] != NO_NEXT) & (_remaining(walk, rows) > PADDED_BYTES)
    size = _size(walk, rows, header["length"].astype(np.int64) + IPV6.itemsize, stated=~long)
    _enter(walk, rows, size, np.full(len(rows), IPV6.itemsize), header["protocol"])


def extensions(walk: Walk, rows: Rows) -> None:
    """Follow IPv6 extension headers and the authentication header of either version to the transport header.

    A chain that is cut or deeper than DEEPEST_CHAIN keeps the number of the header where reading stopped.
    """
    for _ in range(DEEPEST_CHAIN):
        rows = rows[EXTENSIONS[walk.protocol[rows]]]
        if not len(rows):
            return
        rows = rows[walk.fragment[rows] != LATER]
        rows = rows[(walk.version[rows] == 6) | (walk.protocol[rows] == AUTHENTICATION)]
        rows = rows[walk.at[rows] + EXTENSION.itemsize <= walk.end[rows]]
        _extension(walk, rows, walk.read(rows, EXTENSION))


def _extension(walk: Walk, rows: Rows, header: Header) -> None:
    kind = walk.protocol[rows]
    units = header["length"].astype(np.int64)
    length = np.where(kind == AUTHENTICATION, (units + 2) * 4, (units + 1) * 8)  # RFC 4302, section 2.2
    length[kind == FRAGMENT] = 8
    cut = kind == FRAGMENT
    offset = header["offset"][cut]
    _fragment(walk, rows[cut], offset >> 3 > 0, offset & 1 > 0, header["id"][cut])
    walk.protocol[rows] = header["next"]
    walk.at[rows] = np.minimum(walk.at[rows] + length, walk.end[rows])


def _remaining(walk: Walk, rows: Rows) -> Ints:
    """Return the bytes each frame had on the wire from here to its end."""
    return walk.wire[rows] - (walk.at[rows] - walk.start[rows])


def _size(walk: Walk, rows: Rows, length: Ints, *, stated: NDArray[np.bool_]) -> Ints:
    """Return the IP length, or the wire's where segmentation offload left the field 0."""
    return length if stated.all() else np.where(stated, length, _remaining(walk, rows))


def _fragment(
    walk: Walk, rows: Rows, later: NDArray[np.bool_], more: NDArray[np.bool_], identity: NDArray[np.unsignedinteger]
) -> None:
    if not (later.any() or more.any()):
        return
    state = np.where(later, LATER, np.where(more, FIRST, WHOLE))
    walk.fragment[rows] = state
    walk.fragment_id[rows] = np.where(state, identity, 0)


def _enter(walk: Walk, rows: Rows, size: Ints, header_bytes: Ints, protocol: NDArray[np.uint8]) -> None:
    """Move behind the IP header; link padding behind the datagram is cut off."""
    walk.size[rows] = size
    walk.protocol[rows] = protocol
    walk.end[rows] = np.minimum(walk.end[rows], walk.at[rows] + size)
    walk.at[rows] = np.minimum(walk.at[rows] + header_bytes, walk.end[rows])
