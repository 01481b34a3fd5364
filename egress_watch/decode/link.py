"""From the first byte of a frame to its EtherType: Ethernet, Linux cooked captures, bare IP and loopback.

In: a walk and the rows that stand at this header. Out: the walk moved on. Never: an exception, whatever the bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from egress_watch.decode.columns import Rows, Walk, words
from egress_watch.decode.reasons import CUT_IP, CUT_LINK, LLC, NOT_IP

IPV4, IPV6 = 0x0800, 0x86DD
LOWEST_ETHERTYPE = 0x600  # IEEE 802.3, clause 3.2.6: below it the field is a length

Step = Callable[[Walk, Rows], None]

ETHERNET = np.dtype([("dst_high", ">u2"), ("dst_low", ">u4"), ("src_high", ">u2"), ("src_low", ">u4"), ("type", ">u2")])
COOKED = np.dtype(  # LINKTYPE_LINUX_SLL
    [
        ("kind", ">u2"),
        ("arphrd", ">u2"),
        ("length", ">u2"),
        ("high", ">u2"),
        ("low", ">u4"),
        ("pad", "V2"),
        ("type", ">u2"),
    ]
)
COOKED2 = np.dtype(  # LINKTYPE_LINUX_SLL2
    [("type", ">u2"), ("pad", "V2"), ("index", ">u4"), ("arphrd", ">u2"), ("kind", "u1"), ("length", "u1"),
     ("high", ">u2"), ("low", ">u4"), ("rest", "V2")]
)  # fmt: skip
FAMILY = np.dtype("<u4")
TYPE = np.dtype(">u2")
FIRST_BYTE = np.dtype("u1")

MAC_BYTES, ADDRESSES_BYTES = 6, 12
COOKED_LLC = 4  # the number Linux gives frames that begin with IEEE 802.2


def ethernet(walk: Walk, rows: Rows) -> None:
    """Ethernet II and IEEE 802.3 (LINKTYPE_ETHERNET)."""
    rows = walk.whole(rows, ETHERNET.itemsize, CUT_LINK)
    header = walk.read(rows, ETHERNET)
    walk.dst_mac[rows] = words(header, "dst_high", "dst_low")
    walk.src_mac[rows] = words(header, "src_high", "src_low")
    walk.at[rows] += ETHERNET.itemsize
    announce(walk, rows, header["type"])


def tagged(tag_bytes: int) -> Step:
    """Return the reader of Ethernet with the tag of a switch chip behind the addresses (LINKTYPE_DSA_TAG_...)."""

    def read(walk: Walk, rows: Rows) -> None:
        rows = walk.whole(rows, ADDRESSES_BYTES + tag_bytes + TYPE.itemsize, CUT_LINK)
        header = walk.read(rows, ETHERNET)
        walk.dst_mac[rows] = words(header, "dst_high", "dst_low")
        walk.src_mac[rows] = words(header, "src_high", "src_low")
        walk.at[rows] += ADDRESSES_BYTES + tag_bytes
        kind = walk.read(rows, TYPE)
        walk.at[rows] += TYPE.itemsize
        announce(walk, rows, kind)

    return read


def prepended(walk: Walk, rows: Rows) -> None:
    """Ethernet behind the four bytes of a switch chip (LINKTYPE_DSA_TAG_BRCM_PREPEND)."""
    walk.at[rows] += 4
    ethernet(walk, rows)


def cooked(walk: Walk, rows: Rows) -> None:
    """Linux cooked capture v1 (LINKTYPE_LINUX_SLL): only the sender's address is there."""
    rows = walk.whole(rows, COOKED.itemsize, CUT_LINK)
    header = walk.read(rows, COOKED)
    walk.src_mac[rows] = np.where(header["length"] == MAC_BYTES, words(header, "high", "low"), np.uint64(0))
    walk.at[rows] += COOKED.itemsize
    _cooked_type(walk, rows, header["type"])


def cooked2(walk: Walk, rows: Rows) -> None:
    """Linux cooked capture v2 (LINKTYPE_LINUX_SLL2)."""
    rows = walk.whole(rows, COOKED2.itemsize, CUT_LINK)
    header = walk.read(rows, COOKED2)
    walk.src_mac[rows] = np.where(header["length"] == MAC_BYTES, words(header, "high", "low"), np.uint64(0))
    walk.at[rows] += COOKED2.itemsize
    _cooked_type(walk, rows, header["type"])


def raw(walk: Walk, rows: Rows) -> None:
    """Bare IP, either version (LINKTYPE_RAW); the first nibble says which (RFC 791, RFC 8200)."""
    rows = walk.whole(rows, 1, CUT_IP)
    version = walk.read(rows, FIRST_BYTE) >> 4
    walk.next[rows] = np.where(version == 4, IPV4, IPV6)
    walk.skip(rows[(version != 4) & (version != 6)], NOT_IP)


def ipv4(walk: Walk, rows: Rows) -> None:
    """Bare IPv4 (LINKTYPE_IPV4)."""
    walk.next[rows] = IPV4


def ipv6(walk: Walk, rows: Rows) -> None:
    """Bare IPv6 (LINKTYPE_IPV6)."""
    walk.next[rows] = IPV6


def loopback(walk: Walk, rows: Rows) -> None:
    """BSD loopback (LINKTYPE_NULL, LINKTYPE_LOOP): the address family, in the byte order of whoever captured.

    AF_INET is 2 everywhere; AF_INET6 is 24 (NetBSD, OpenBSD), 28 (FreeBSD), 30 (Darwin), 10 (Linux), 23 (Windows).
    """
    rows = walk.whole(rows, FAMILY.itemsize, CUT_LINK)
    family = walk.read(rows, FAMILY)
    family = np.where(family > 0xFFFF, family.byteswap(), family)
    walk.at[rows] += FAMILY.itemsize
    walk.next[rows] = np.where(family == 2, IPV4, IPV6)
    walk.skip(rows[~np.isin(family, (2, 10, 23, 24, 28, 30))], NOT_IP)


def announce(walk: Walk, rows: Rows, kind: NDArray[np.uint16]) -> None:
    """Go on with an EtherType; a number too small to be one is a length, and IEEE 802.2 follows."""
    walk.next[rows] = np.where(kind < LOWEST_ETHERTYPE, LLC, kind.astype(np.int32))


def _cooked_type(walk: Walk, rows: Rows, kind: NDArray[np.uint16]) -> None:
    """Go on with an EtherType as Linux writes it: small numbers are its own, and none but COOKED_LLC carries IP."""
    announce(walk, rows, kind)
    walk.skip(rows[(kind < LOWEST_ETHERTYPE) & (kind != COOKED_LLC)], NOT_IP)
