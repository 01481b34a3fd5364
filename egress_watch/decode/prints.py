"""A number for what a packet is, by which a second copy of it is known again.

In: a walk whose rows stand behind their IP headers. Out: a column of fingerprints, 0 where no copy could be told from
another packet. Never: a field that a switch or a router changes between two copies.

A copy has the same addresses, protocol, length, IP identification and first bytes behind the IP header (16 of TCP,
which has numbers of its own, 64 of others). What may differ is the frame around it, the TTL, and the checksum that a
network card fills in late. What is sent again, by TCP or by an application, has a new identification. Where there is
none (IPv6, and IPv4 that leaves it 0, as RFC 6864 allows), only TCP with data or with SYN, FIN or RST is taken, for a
shorter time: equal acknowledgements and equal datagrams are sent on purpose. The lowest bit of a fingerprint says which
it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.decode.columns import Header, Rows, Walk, gather
from egress_watch.decode.network import WHOLE
from egress_watch.model import Bytes, Flags, Ints, Words

TCP, UDP = 6, 17
HEAD = np.dtype([("first", "<u8"), ("second", "<u8")])
MORE = np.dtype([(f"word{number}", "<u8") for number in range(6)])
UDP_CHECKSUM = np.uint64(0x0000FFFFFFFFFFFF)  # its bytes 6 and 7 end the first word (RFC 768)
TCP_BYTES = 20
OPENS_OR_ENDS = 0x07  # FIN, SYN, RST
NUMBERED = np.uint64(1)
"""In a fingerprint: the packet has an IP identification."""
NEVER_ZERO = np.uint64(2)
_MULTIPLY = tuple(map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)))
_SHIFT = np.uint64(31)


class Seen(NamedTuple):
    """What of some packets goes into their fingerprints, in columns."""

    data: Bytes
    at: Ints
    """Offset behind the IP header."""
    left: Ints
    """Bytes of the packet from there on."""
    src: Words
    dst: Words
    size: Ints
    ident: NDArray[np.uint32]
    """IPv4 identification and, above it, the offset of a later fragment; 0 elsewhere."""
    protocol: Flags
    whole: NDArray[np.bool_]
    """No fragment."""
    header: Header
    """The 16 bytes there as ``first`` and ``second``; other bytes follow a shorter packet."""


def fingerprint(walk: Walk, rows: Rows | slice) -> None:
    """Set the fingerprint of each packet; where a slice is all frames, those that are no packets get any number."""
    at = np.minimum(walk.at[rows], len(walk.data) - HEAD.itemsize)
    seen = Seen(walk.data, at, walk.end[rows] - at, walk.src[rows], walk.dst[rows], walk.size[rows], walk.ident[rows],
                walk.protocol[rows], walk.fragment[rows] == WHOLE, gather(walk.data, at, HEAD))  # fmt: skip
    walk.print[rows] = prints(seen)


def prints(seen: Seen) -> Words:
    """Return the fingerprint of each packet; `packets.c` does the same."""
    header, left, protocol, ident = seen.header, seen.left, seen.protocol, seen.ident
    first, second = _content(header, protocol, left)
    kind = seen.size.astype(np.uint64) << np.uint64(32) | ident
    mixed = _mix(first ^ seen.src[:, 1] * _MULTIPLY[1] ^ protocol, kind ^ seen.src[:, 0])
    mixed = _mix(mixed ^ second, seen.dst[:, 1] * _MULTIPLY[2] ^ seen.dst[:, 0])
    _more(seen, mixed, np.flatnonzero(protocol != TCP))
    numbered = ident & np.uint32(0xFFFF) > 0
    found: Words = np.where(numbered & (left > 0), mixed | NUMBERED, 0)
    _unnumbered(seen, header, mixed, np.flatnonzero(~numbered & (protocol == TCP) & (left >= TCP_BYTES)), found)
    return found


def _mix(one: Words, other: Words) -> Words:
    mixed: Words = (one ^ other >> _SHIFT ^ other << _SHIFT) * _MULTIPLY[0]
    return mixed ^ mixed >> _SHIFT


def _more(seen: Seen, mixed: Words, rows: Rows) -> None:
    """Mix in further bytes of these packets, which have no numbers by which one differs from the next."""
    rows = rows[seen.left[rows] > HEAD.itemsize]
    start = np.minimum(seen.at[rows], len(seen.data) - HEAD.itemsize - MORE.itemsize) + HEAD.itemsize
    header, over, found = gather(seen.data, start, MORE), seen.left[rows] - HEAD.itemsize, mixed[rows]
    for name in MORE.names or ():
        word = header[name].astype(np.uint64)
        short = np.flatnonzero(over < 8)
        word[short] = _first_bytes(word[short], over[short])
        found = _mix(found, word)
        over -= 8
    mixed[rows] = found


def _first_bytes(word: Words, count: Ints) -> Words:
    """Return so many bytes of each word, at its upper end; 0 where there are none."""
    gone = np.uint64(8) * (8 - np.minimum(np.maximum(count, 1), 8)).astype(np.uint64)
    found: Words = np.where(count > 0, word << gone, 0)
    return found


def _content(header: Header, protocol: Flags, left: Ints) -> tuple[Words, Words]:
    """Return the first bytes behind the IP header as two words, without a UDP checksum or bytes of the next frame."""
    first, second = header["first"], header["second"]
    first = np.where(protocol == UDP, first & UDP_CHECKSUM, first)
    short = np.flatnonzero(left < HEAD.itemsize)
    if len(short):
        second = second.copy()
        for number, word in enumerate((first, second)):
            word[short] = _first_bytes(word[short], left[short] - 8 * number)
    return first, second


def _unnumbered(seen: Seen, header: Header, mixed: Words, some: Rows, found: Words) -> None:
    """Set the fingerprints of TCP without identification that is not sent twice in a moment: no acknowledgements."""
    some = some[seen.whole[some]]
    second = header["second"][some]  # the acknowledgement; in bytes 12 and 13 the length of the header and the flags
    length = (second >> np.uint64(36) & np.uint64(15)).astype(np.int64) * 4
    told = (second >> np.uint64(40) & np.uint64(OPENS_OR_ENDS) > 0) | (seen.left[some] > length)
    found[some[told]] = mixed[some[told]] & ~NUMBERED | NEVER_ZERO
