"""Every link type that is read, by its number.

In: nothing. Out: the table. Never: a number that is not LINKTYPE_ (tcpdump.org/linktypes.html).
"""

from __future__ import annotations

import numpy as np

from egress_watch.decode import link, wan, wireless
from egress_watch.decode.columns import Rows, Walk
from egress_watch.decode.link import Step
from egress_watch.decode.reasons import CUT_LINK, LINK

INFORMATION = np.dtype([("version", "u1"), ("flags", "u1"), ("length", "<u2"), ("link", "<u4")])
TAP = np.dtype([("length", "<u4"), ("kind", "<u4"), ("link", "<u4")])

LINKS: dict[int, Step] = {
    0: link.loopback,
    1: link.ethernet,
    6: wan.token_ring,
    7: wan.arcnet_bsd,
    8: wan.slip,
    9: wan.ppp,
    10: wan.fddi,
    12: link.raw,  # DLT_RAW as some systems write it
    14: link.raw,  # DLT_RAW as OpenBSD writes it
    50: wan.ppp,
    51: wan.ppp_ethernet,
    100: wan.llc_only,
    101: link.raw,
    104: wan.hdlc,
    105: wireless.wifi,
    107: wan.frame_relay,
    108: link.loopback,
    109: wan.ipsec_log,
    113: link.cooked,
    117: wan.filter_log,
    119: wireless.prism,
    122: wan.fibre_channel,
    123: wan.sun_atm,
    127: wireless.radiotap,
    129: wan.arcnet,
    138: wan.firewire,
    163: wireless.avs,
    166: wan.ppp_daemon,
    178: wan.juniper_ethernet,
    204: wan.ppp_direction,
    226: wan.solaris,
    228: link.ipv4,
    229: link.ipv6,
    239: wan.net_log,
    276: link.cooked2,
    281: link.tagged(4),  # Broadcom's tag behind the addresses
    282: link.prepended,  # the same before the frame
    284: link.tagged(4),  # Marvell's
    285: link.tagged(8),  # Marvell's, with an EtherType of its own
}
"""LINKTYPE_ value to its reader."""


def per_packet(walk: Walk, rows: Rows) -> None:
    """Per-packet information (LINKTYPE_PPI): a length, and the link type of what follows."""
    rows = walk.whole(rows, INFORMATION.itemsize, CUT_LINK)
    header = walk.read(rows, INFORMATION)
    walk.at[rows] += np.maximum(header["length"].astype(np.int64), INFORMATION.itemsize)
    _go_on(walk, rows, header["link"].astype(np.int64))


def tap(walk: Walk, rows: Rows) -> None:
    """Packet tap over all interfaces of a Mac (LINKTYPE_PKTAP): likewise."""
    rows = walk.whole(rows, TAP.itemsize, CUT_LINK)
    header = walk.read(rows, TAP)
    walk.at[rows] += np.maximum(header["length"].astype(np.int64), TAP.itemsize)
    _go_on(walk, rows, header["link"].astype(np.int64))


def _go_on(walk: Walk, rows: Rows, kinds: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    inside = walk.at[rows] <= walk.end[rows]
    walk.skip(rows[~inside], CUT_LINK)
    rows, kinds = rows[inside], kinds[inside]
    for kind in np.unique(kinds).tolist():
        here = rows[kinds == kind]
        if kind in LINKS:
            LINKS[kind](walk, here)
        else:
            walk.skip(here, LINK + min(kind, 0xFFFF))


WRAPPED: dict[int, Step] = {192: per_packet, 258: tap}
"""Link types that tell another one. Not in LINKS: none of them stands within another."""
