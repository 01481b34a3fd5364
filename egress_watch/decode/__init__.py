"""Frames become packets.

In: `Frames`. Out: `Packets`, and every other frame counted under a name. Never: an exception, a clock, or a guess.

To add a link type: one function in `link` and one line in its table. To add what stands between the link and IP: the
same in `tags`.
"""

from __future__ import annotations

import numpy as np

from egress_watch.decode import link, network, reasons
from egress_watch.decode.columns import DONE, Rows, Walk
from egress_watch.decode.tags import TAGS
from egress_watch.decode.transport import transport
from egress_watch.model import NO_BEACONS, Beacons, Frames, Packets

MOST_TAGS = 16
"""Tags and labels in front of one IP header; more is an attack or a loop."""


def decode(frames: Frames) -> Packets:
    """Return the IP packets in these frames, in their order, and count the rest by reason."""
    walk = Walk.over(frames)
    _links(walk, frames)
    _tags(walk)
    network.ipv4(walk, np.flatnonzero(walk.next == link.IPV4))
    network.ipv6(walk, np.flatnonzero(walk.next == link.IPV6))
    network.extensions(walk)
    keep = np.flatnonzero(walk.reason == 0)
    transport(walk, keep)
    return _packets(walk, frames, keep)


def _links(walk: Walk, frames: Frames) -> None:
    """Send every frame through the reader of its link type."""
    for kind in np.unique(frames.link).tolist():
        rows = np.flatnonzero(frames.link == kind)
        if kind in link.LINKS:
            link.LINKS[kind](walk, rows)
        else:
            walk.skip(rows, reasons.LINK + kind)


def _tags(walk: Walk) -> None:
    """Follow tags until only IP is left; what else is announced becomes its own reason."""
    for _ in range(MOST_TAGS + 1):
        rows = _pending(walk)
        if not len(rows):
            return
        for kind in np.unique(walk.next[rows]).tolist():
            here = rows[walk.next[rows] == kind]
            if kind in TAGS:
                TAGS[kind](walk, here)
            else:
                walk.skip(here, kind)
    walk.skip(_pending(walk), reasons.TOO_DEEP)


def _pending(walk: Walk) -> Rows:
    kind = walk.next
    return np.flatnonzero((kind != link.IPV4) & (kind != link.IPV6) & (kind != DONE))


def _packets(walk: Walk, frames: Frames, keep: Rows) -> Packets:
    return Packets(
        data=frames.data, time_ns=frames.time_ns[keep], src_mac=walk.src_mac[keep], dst_mac=walk.dst_mac[keep],
        vlan=walk.vlan[keep], version=walk.version[keep], src=walk.src[keep], dst=walk.dst[keep],
        src_port=walk.src_port[keep], dst_port=walk.dst_port[keep], protocol=walk.protocol[keep],
        tcp_flags=walk.tcp_flags[keep], size=walk.size[keep], fragment=walk.fragment[keep],
        fragment_id=walk.fragment_id[keep], payload=walk.at[keep], payload_bytes=walk.payload_bytes[keep],
        skipped=reasons.tally(walk.reason), beacons=_beacons(walk, frames),
    )  # fmt: skip


def _beacons(walk: Walk, frames: Frames) -> Beacons:
    """Return the LLDP frames; each stands behind its EtherType, where it was given up."""
    rows = np.flatnonzero(walk.reason == reasons.LLDP)
    if not len(rows):
        return NO_BEACONS
    return Beacons(frames.time_ns[rows], walk.src_mac[rows], walk.vlan[rows], walk.at[rows], walk.end[rows])
