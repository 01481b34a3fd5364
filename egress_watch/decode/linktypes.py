"""Every link type that is read, by its number.

In: nothing. Out: the table. Never: a number that is not LINKTYPE_ (tcpdump.org/linktypes.html).
"""

from __future__ import annotations

import numpy as np

from egress_watch.decode.columns import Rows, Walk
from egress_watch.decode.link import (
    Step,
    cooked,
    cooked2,
    ethernet,
    ipv4,
    ipv6,
    loopback,
    prepended,
    raw,
    tagged,
)  # fmt: skip
from egress_watch.decode.reasons import CUT_LINK, LINK
from egress_watch.decode.wan import (
    arcnet,
    arcnet_bsd,
    fddi,
    fibre_channel,
    filter_log,
    firewire,
    frame_relay,
    hdlc,
    ipsec_log,
    juniper_ethernet,
    llc_only,
    net_log,
    ppp,
    ppp_daemon,
    ppp_direction,
    ppp_ethernet,
    slip,
    solaris,
    sun_atm,
    token_ring,
)  # fmt: skip
from egress_watch.decode.wireless import avs, prism, radiotap, wifi

INFORMATION = np.dtype([("version", "u1"), ("flags", "u1"), ("length", "<u2"), ("link", "<u4")])
TAP = np.dtype([("length", "<u4"), ("kind", "<u4"), ("link", "<u4")])

LINKS: dict[int, Step] = {
    0: loopback,
    1: ethernet,
    6: token_ring,
    7: arcnet_bsd,
    8: slip,
    9: ppp,
    10: fddi,
    12: raw,  # DLT_RAW as some systems write it
    14: raw,  # DLT_RAW as OpenBSD writes it
    50: ppp,
    51: ppp_ethernet,
    100: llc_only,
    101: raw,
    104: hdlc,
    105: wifi,
    107: frame_relay,
    108: loopback,
    109: ipsec_log,
    113: cooked,
    117: filter_log,
    119: prism,
    122: fibre_channel,
    123: sun_atm,
    127: radiotap,
    129: arcnet,
    138: firewire,
    163: avs,
    166: ppp_daemon,
    178: juniper_ethernet,
    204: ppp_direction,
    226: solaris,
    228: ipv4,
    229: ipv6,
    239: net_log,
    276: cooked2,
    281: tagged(4),  # Broadcom's tag behind the addresses
    282: prepended,  # the same before the frame
    284: tagged(4),  # Marvell's
    285: tagged(8),  # Marvell's, with an EtherType of its own
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
