"""Why a frame is no packet: every reason has a number inside and a name outside.

In: numbers. Out: names for the tally. Never: a reason without a name.

An EtherType that is not read is its own number; everything else is numbered from 0x10000 upward.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LINK = 0x20000
"""LINK + n: link type n is not read."""

CUT_LINK = 0x10000
CUT_IP = 0x10001
BAD_IPV4 = 0x10002
BAD_IPV6 = 0x10003
NOT_IP = 0x10004
LLC = 0x10005
TOO_DEEP = 0x10006
LLDP = 0x88CC
"""The EtherType of IEEE 802.1AB."""

NAMES = {
    CUT_LINK: "frame cut in link header",
    CUT_IP: "frame cut in ip header",
    BAD_IPV4: "bad ipv4 header",
    BAD_IPV6: "bad ipv6 header",
    NOT_IP: "not ip",
    LLC: "llc",
    TOO_DEEP: "too many tags",
    # EtherTypes as registered by the IEEE (standards-oui.ieee.org/ethertype) and listed by IANA.
    0x0806: "arp",
    0x0842: "wake-on-lan",
    0x22F0: "avtp",
    0x6003: "decnet",
    0x8035: "rarp",
    0x809B: "appletalk",
    0x8137: "ipx",
    0x8847: "mpls",
    0x8848: "mpls multicast",
    0x8863: "pppoe discovery",
    0x8864: "pppoe",
    0x888E: "eapol",
    0x8892: "profinet",
    0x88A2: "ata over ethernet",
    0x88A4: "ethercat",
    0x88B8: "goose",
    0x88BA: "sampled values",
    LLDP: "lldp",
    0x88E1: "homeplug",
    0x88E5: "macsec",
    0x88F7: "ptp",
    0x8809: "slow protocols",
    0x8902: "cfm",
    0x893A: "ieee 1905",
    0x8947: "geonetworking",
    0x894F: "nsh",
    0x9000: "loopback test",
}


def name(reason: int) -> str:
    """Return the reason in words."""
    if reason >= LINK:
        return f"link type {reason - LINK}"
    return NAMES.get(reason) or f"ethertype 0x{reason:04x}"


def tally(reason: NDArray[np.int32]) -> dict[str, int]:
    """Count the frames that were skipped, by the name of their reason."""
    numbers, counts = np.unique(reason[reason != 0], return_counts=True)
    return {name(int(number)): int(count) for number, count in zip(numbers, counts, strict=True)}
