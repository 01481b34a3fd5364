"""Why a frame is no packet: every reason has a number inside and a name outside.

In: numbers. Out: names for the tally. Never: a reason without a name.

An EtherType that is not read is its own number; everything else is numbered from 0x10000 upward.
"""

from __future__ import annotations

from collections import Counter

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
TOO_WRAPPED = 0x10007
WIFI_ENCRYPTED = 0x10008
WIFI_AGGREGATE = 0x10009
NO_DATA = 0x1000A
NOT_CARRIED = 0x1000B

PPP, PPPOE = 0x880B, 0x8864
WIFI, SWAPPED_WIFI, RAW = 0x10100, 0x10101, 0x10102
"""What may follow a header and has no EtherType of its own: IEEE 802.11 in its two byte orders, and IP of either
version."""
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
    TOO_WRAPPED: "too many tunnels",
    WIFI_ENCRYPTED: "802.11 encrypted",
    WIFI_AGGREGATE: "802.11 aggregate",
    NO_DATA: "802.11 without data",
    NOT_CARRIED: "no packet in tunnel",
    # EtherTypes as registered by the IEEE (standards-oui.ieee.org/ethertype) and listed by IANA.
    0x0806: "arp",
    0x0842: "wake-on-lan",
    0x22F0: "avtp",
    0x6003: "decnet",
    0x8035: "rarp",
    0x809B: "appletalk",
    0x8137: "ipx",
    0x2000: "cisco discovery",
    0x22F3: "trill",
    0x880B: "ppp control",
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
    0x892F: "hsr",
    0x893A: "ieee 1905",
    0x8947: "geonetworking",
    0x894F: "nsh",
    0x9000: "loopback test",
    0xF1C1: "redundancy tag",
}

LINK_NAMES = {
    106: "classical ip over atm", 137: "juniper", 143: "docsis", 160: "user 13", 164: "juniper",
    182: "juniper", 186: "usb (freebsd)", 187: "bluetooth hci", 189: "usb (linux)", 190: "can 2.0b",
    195: "ieee 802.15.4", 201: "bluetooth hci with direction", 209: "i2c", 212: "lin", 215: "ieee 802.15.4 (raw)",
    220: "usb (linux, mapped)", 227: "can bus", 230: "ieee 802.15.4 without checksum", 231: "d-bus",
    235: "dvb common interface", 242: "ip over infiniband", 244: "mpeg transport stream", 247: "infiniband",
    248: "sctp", 249: "usb (windows)", 251: "bluetooth low energy", 252: "wireshark upper pdu", 253: "netlink",
    254: "bluetooth monitor", 255: "bluetooth br/edr", 256: "bluetooth low energy with radio", 264: "iso 14443",
    266: "usb (darwin)", 270: "loratap", 271: "vsock", 272: "nordic bluetooth low energy", 278: "openvizsla usb",
    288: "usb 2.0", 293: "usb 2.0 low speed", 294: "usb 2.0 full speed", 295: "usb 2.0 high speed",
}  # fmt: skip
"""Link types that carry no IP, or none that can be read: refused by name (tcpdump.org/linktypes.html)."""


def name(reason: int) -> str:
    """Return the reason in words."""
    if reason >= LINK:
        known = LINK_NAMES.get(reason - LINK)
        return f"link type {reason - LINK}" + (f", {known}" if known else "")
    return NAMES.get(reason) or f"ethertype 0x{reason:04x}"


def tally(reason: NDArray[np.int32]) -> dict[str, int]:
    """Count the frames that were skipped, by the name of their reason."""
    counts = Counter(reason[reason != 0].tolist())  # few: sorting them as columns costs more
    return {name(number): count for number, count in sorted(counts.items())}
