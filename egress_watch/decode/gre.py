"""GRE, and the mirrors and tunnels that are a kind of it.

In: a walk and the rows that stand behind the outer IP header. Out: the walk at what is inside, or the rows skipped,
which leaves the tunnel closed. Never: an exception, whatever the bytes.
"""

from __future__ import annotations

import numpy as np

from egress_watch.decode.columns import Rows, Walk
from egress_watch.decode.link import IPV4, announce
from egress_watch.decode.reasons import NOT_CARRIED, RAW, WIFI
from egress_watch.decode.tags import FRAME, VLAN_ID
from egress_watch.decode.tunnels import frame, sound

GRE = np.dtype([("flags", ">u2"), ("type", ">u2")])  # RFC 2784, 2890; version 1: RFC 2637
SPAN2 = np.dtype([("vlan", ">u2"), ("session", ">u2"), ("index", ">u4")])
SPAN3 = np.dtype([("vlan", ">u2"), ("session", ">u2"), ("time", ">u4"), ("group", ">u2"), ("kind", ">u2")])

CHECKSUM, ROUTING, KEY, SEQUENCE, ACKNOWLEDGED = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080
PPTP = 1
ARUBA = range(0x8200, 0x8211)  # IEEE 802.11 in GRE, as Aruba's access points number it
SPAN3_PLATFORM, SPAN3_PLATFORM_BYTES, SPAN3_FRAME, SPAN3_IP = 1, 8, 0, 2


def gre(walk: Walk, rows: Rows) -> None:
    """GRE (RFC 2784) with checksum, key and sequence number (RFC 2890), and that of PPTP (RFC 2637)."""
    rows = sound(walk, rows, GRE.itemsize)
    header = walk.read(rows, GRE)
    flags, version = header["flags"], header["flags"] & 7
    wanted = (flags & ROUTING == 0) & (version <= PPTP)
    wanted &= (version != PPTP) | (flags & SEQUENCE > 0)  # without a number it acknowledges and carries nothing
    walk.skip(rows[~wanted], NOT_CARRIED)
    rows, header, flags, version = (column[wanted] for column in (rows, header, flags, version))
    words = 1 + (flags & CHECKSUM > 0) + (flags & KEY > 0).astype(np.int64) + (flags & SEQUENCE > 0)
    walk.at[rows] += 4 * (words + ((version == PPTP) & (flags & ACKNOWLEDGED > 0)))
    announce(walk, rows, header["type"])
    walk.next[rows[np.isin(header["type"], ARUBA)]] = WIFI
    framed = rows[header["type"] == FRAME]
    walk.vlan[framed] = 0


def erspan(walk: Walk, rows: Rows) -> None:
    """ERSPAN I and II (draft-foschiano-erspan): a header of eight bytes where GRE numbers its packets, else none."""
    rows = sound(walk, rows, GRE.itemsize)
    numbered = walk.read(rows, GRE)["flags"] & SEQUENCE > 0
    gre(walk, rows)
    frame(walk, rows[~numbered])
    rows = sound(walk, rows[numbered], SPAN2.itemsize)
    header = walk.read(rows, SPAN2)
    walk.at[rows] += SPAN2.itemsize
    frame(walk, rows)
    walk.vlan[rows] = header["vlan"] & VLAN_ID


def erspan3(walk: Walk, rows: Rows) -> None:
    """ERSPAN III (draft-foschiano-erspan): twelve bytes, and eight more where the last bit says so."""
    gre(walk, rows)
    rows = sound(walk, rows[walk.reason[rows] == 0], SPAN3.itemsize)
    header = walk.read(rows, SPAN3)
    more = header["kind"] & SPAN3_PLATFORM > 0
    walk.at[rows] += SPAN3.itemsize + np.where(more, SPAN3_PLATFORM_BYTES, 0)
    frame(walk, rows)
    walk.vlan[rows] = header["vlan"] & VLAN_ID
    kind = header["kind"] >> 10 & 0x1F
    walk.next[rows[kind == SPAN3_IP]] = RAW
    walk.skip(rows[(kind != SPAN3_FRAME) & (kind != SPAN3_IP)], NOT_CARRIED)


def wccp(walk: Walk, rows: Rows) -> None:
    """GRE from a web cache's router: IPv4, perhaps behind four bytes of redirection (draft-wilson-wrec-wccp-v2)."""
    gre(walk, rows)
    rows = sound(walk, rows[walk.reason[rows] == 0], 1)
    walk.at[rows] += np.where(walk.data[walk.at[rows]] >> 4 == 4, 0, 4)
    walk.next[rows] = IPV4
