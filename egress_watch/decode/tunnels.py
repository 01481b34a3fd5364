"""What may be wrapped within IP or UDP: one function a kind of tunnel or mirror.

In: a walk and the rows that stand behind the outer IP or UDP header. Out: the walk at what is inside, or the rows
skipped, which leaves the tunnel closed. Never: an exception, or a guess where the header cannot be what it should be.
"""

from __future__ import annotations

import numpy as np

from egress_watch.decode.columns import Rows, Walk
from egress_watch.decode.link import IPV4, IPV6, announce
from egress_watch.decode.reasons import NOT_CARRIED, PPP, RAW, SWAPPED_WIFI, WIFI
from egress_watch.decode.tags import FRAME, MPLS, NSH
from egress_watch.model import Ints

VXLAN = np.dtype([("flags", "u1"), ("reserved", ">u2"), ("next", "u1"), ("network", ">u4")])  # RFC 7348, section 5
GENEVE = np.dtype([("length", "u1"), ("flags", "u1"), ("type", ">u2"), ("network", ">u4")])  # RFC 8926, section 3.4
GTP = np.dtype([("flags", "u1"), ("kind", "u1"), ("length", ">u2"), ("tunnel", ">u4")])  # 3GPP TS 29.281, clause 5.1
TEREDO = np.dtype([("kind", ">u2"), ("client", "u1"), ("value", "u1")])  # RFC 4380, section 5.1.1
BROKER = np.dtype([("identity", "u1"), ("signature", "u1"), ("operation", "u1"), ("next", "u1"), ("time", ">u4")])
L2TP = np.dtype([("flags", ">u2"), ("more", "V6")])  # RFC 2661, section 3.1; RFC 3931, section 4.1.2
FRAME_TYPE = np.dtype([("ends", "V12"), ("type", ">u2"), ("first", "u1")])
ACCESS_POINT = np.dtype(
    [("preamble", "u1"), ("length", "u1"), ("kind", "u1"), ("flags", "u1"), ("id", "V2"), ("fragment", ">u2")]
)
SNIFFER = np.dtype([("version", "u1"), ("kind", "u1"), ("encapsulation", ">u2")])
PAIR = np.dtype([("kind", "u1"), ("length", "u1")])
SHORT = np.dtype(">u2")

GPE_NEXT = {1: IPV4, 2: IPV6, 3: FRAME, 4: NSH, 5: MPLS}  # draft-ietf-nvo3-vxlan-gpe
NETWORK_SET, NEXT_SET = 0x08, 0x04
USER_DATA, GTP_MORE, MOST_GTP_HEADERS, GTP0_BYTES = 0xFF, 0x07, 8, 20
TEREDO_AUTHENTICATION, TEREDO_ORIGIN = 1, 0
IPV6_NUMBER, FORWARD = 41, 1
L2TP_CONTROL, L2TP_LENGTH, L2TP_SEQUENCE, L2TP_OFFSET = 0x8000, 0x4000, 0x0800, 0x0200
COOKIES = (0, 4, 8, 12)
"""Bytes between an L2TPv3 session and its frame: a cookie of 0, 4 or 8, and 4 of numbering (RFC 3931, 4.1 and 4.6)."""
FRAMED = {0x0800: 4, 0x86DD: 6, 0x0806: 0, 0x8100: -1, 0x88A8: -1}
"""EtherTypes by which an Ethernet frame is known, with the first half byte behind them, -1 for any."""
CAPWAP_FRAGMENT, CAPWAP_ALIVE, CAPWAP_ENCRYPTED, CAPWAP_NATIVE = 0x80, 0x08, 1, 1
SNIFFED = {1: FRAME, 18: WIFI}
SNIFFER_END, SNIFFER_PAD, MOST_SNIFFER_TAGS = 1, 0, 32


def ipv4(walk: Walk, rows: Rows) -> None:
    """IPv4 within IP (RFC 2003, RFC 2473)."""
    walk.next[rows] = IPV4


def ipv6(walk: Walk, rows: Rows) -> None:
    """IPv6 within IP, 6in4 and 6to4 (RFC 4213, RFC 2473)."""
    walk.next[rows] = IPV6


def frame(walk: Walk, rows: Rows) -> None:
    """Ethernet within IP, whole, with a segment of its own: the VLAN outside is not the device's (RFC 8986)."""
    walk.next[rows] = FRAME
    walk.vlan[rows] = 0


def mpls(walk: Walk, rows: Rows) -> None:
    """Labels within IP (RFC 4023) or UDP (RFC 7510)."""
    walk.next[rows] = MPLS


def ether_ip(walk: Walk, rows: Rows) -> None:
    """Ethernet within IP (RFC 3378): version 3, then the frame."""
    rows = sound(walk, rows, 2)
    good = walk.data[walk.at[rows]] >> 4 == 3
    walk.skip(rows[~good], NOT_CARRIED)
    walk.at[rows[good]] += 2
    frame(walk, rows[good])


def vxlan(walk: Walk, rows: Rows) -> None:
    """VXLAN (RFC 7348), with or without a group policy: a frame behind eight bytes."""
    rows = sound(walk, rows, VXLAN.itemsize)
    header = walk.read(rows, VXLAN)
    good = (header["flags"] & NETWORK_SET > 0) & (header["network"] & 0xFF == 0)
    walk.skip(rows[~good], NOT_CARRIED)
    walk.at[rows[good]] += VXLAN.itemsize
    frame(walk, rows[good])


def vxlan_gpe(walk: Walk, rows: Rows) -> None:
    """VXLAN-GPE: the same header says what follows (draft-ietf-nvo3-vxlan-gpe)."""
    rows = sound(walk, rows, VXLAN.itemsize)
    header = walk.read(rows, VXLAN)
    follows = np.where(header["flags"] & NEXT_SET, header["next"], 3)
    walk.at[rows] += VXLAN.itemsize
    framed = rows[follows == 3]
    for number, kind in GPE_NEXT.items():
        walk.next[rows[follows == number]] = kind
    walk.vlan[framed] = 0
    walk.skip(rows[~np.isin(follows, list(GPE_NEXT)) | (header["flags"] & NETWORK_SET == 0)], NOT_CARRIED)


def geneve(walk: Walk, rows: Rows) -> None:
    """Geneve (RFC 8926): version 0, options in words of four bytes, an EtherType."""
    rows = sound(walk, rows, GENEVE.itemsize)
    header = walk.read(rows, GENEVE)
    walk.at[rows] += GENEVE.itemsize + 4 * (header["length"] & 0x3F).astype(np.int64)
    announce(walk, rows, header["type"])
    walk.vlan[rows[header["type"] == FRAME]] = 0
    walk.skip(rows[header["length"] >> 6 != 0], NOT_CARRIED)


def gtp(walk: Walk, rows: Rows) -> None:
    """GTP-U (3GPP TS 29.281): user data of version 1, behind any extension headers."""
    rows = sound(walk, rows, GTP.itemsize)
    header = walk.read(rows, GTP)
    good = (header["flags"] >> 4 == 3) & (header["kind"] == USER_DATA)  # version 1, and not GTP'
    walk.skip(rows[~good], NOT_CARRIED)
    rows, flags = rows[good], header["flags"][good]
    walk.at[rows] += GTP.itemsize + np.where(flags & GTP_MORE, 4, 0)
    walk.next[rows] = RAW
    more = rows[flags & 4 > 0]
    more = more[walk.at[more] <= walk.end[more]]
    for _ in range(MOST_GTP_HEADERS):
        more = _gtp_header(walk, more[walk.data[walk.at[more] - 1] > 0])
    walk.skip(more[walk.data[walk.at[more] - 1] > 0], NOT_CARRIED)


def gtp0(walk: Walk, rows: Rows) -> None:
    """GTP of version 0 (3GPP TS 09.60, clause 6): user data behind a header of twenty bytes."""
    rows = sound(walk, rows, GTP0_BYTES)
    header = walk.read(rows, GTP)
    walk.at[rows] += GTP0_BYTES
    walk.next[rows] = RAW
    walk.skip(rows[(header["flags"] >> 4 > 1) | (header["kind"] != USER_DATA)], NOT_CARRIED)


def _gtp_header(walk: Walk, rows: Rows) -> Rows:
    """Step over an extension header, which states its length in words; return those that may have another one."""
    rows = sound(walk, rows, 1)
    words = walk.data[walk.at[rows]].astype(np.int64)
    fits = (words > 0) & (walk.at[rows] + 4 * words <= walk.end[rows])
    walk.skip(rows[~fits], NOT_CARRIED)
    walk.at[rows[fits]] += 4 * words[fits]
    return rows[fits]


def teredo(walk: Walk, rows: Rows) -> None:
    """Teredo (RFC 4380): IPv6 within UDP, behind an authentication and an origin of the server, if there are any."""
    rows = sound(walk, rows, TEREDO.itemsize)
    header = walk.read(rows, TEREDO)
    proven = header["kind"] == TEREDO_AUTHENTICATION
    length = 13 + header["client"].astype(np.int64) + header["value"]
    walk.at[rows] += np.where(proven, length, 0)
    rows = sound(walk, rows, TEREDO.itemsize)
    walk.at[rows] += np.where(walk.read(rows, TEREDO)["kind"] == TEREDO_ORIGIN, 8, 0)
    walk.next[rows] = IPV6


def ayiya(walk: Walk, rows: Rows) -> None:
    """AYIYA (draft-massar-v6ops-ayiya): IPv6 behind an identity of 2^n bytes and a signature of n words."""
    rows = sound(walk, rows, BROKER.itemsize)
    header = walk.read(rows, BROKER)
    identity = np.left_shift(1, (header["identity"] >> 4).astype(np.int64))
    walk.at[rows] += BROKER.itemsize + identity + 4 * (header["signature"] >> 4).astype(np.int64)
    walk.next[rows] = IPV6
    walk.skip(rows[(header["next"] != IPV6_NUMBER) | (header["operation"] & 15 != FORWARD)], NOT_CARRIED)


def l2tp(walk: Walk, rows: Rows) -> None:
    """L2TP over UDP: PPP in version 2 (RFC 2661), by default Ethernet in version 3 (RFC 3931)."""
    rows = sound(walk, rows, L2TP.itemsize)
    flags = walk.read(rows, L2TP)["flags"]
    version = np.where(flags & L2TP_CONTROL, 0, flags & 15)
    _l2tp2(walk, rows[version == 2], flags[version == 2].astype(np.int64))
    three = rows[version == 3]
    walk.at[three] += 4
    l2tp3(walk, three)
    walk.skip(rows[(version != 2) & (version != 3)], NOT_CARRIED)


def _l2tp2(walk: Walk, rows: Rows, flags: Ints) -> None:
    length = 6 + np.where(flags & L2TP_LENGTH, 2, 0) + np.where(flags & L2TP_SEQUENCE, 4, 0)
    walk.at[rows] += length
    offset = rows[flags & L2TP_OFFSET > 0]
    walk.next[rows] = PPP
    offset = sound(walk, offset, SHORT.itemsize)
    walk.at[offset] += SHORT.itemsize + walk.read(offset, SHORT).astype(np.int64)


def l2tp3(walk: Walk, rows: Rows) -> None:
    """L2TPv3 over IP (RFC 3931): what lies between session and frame was agreed before, so the frame is looked for."""
    rows = sound(walk, rows, 4)
    session = walk.data[walk.at[rows]] | walk.data[walk.at[rows] + 1] | walk.data[walk.at[rows] + 2]
    control = (session | walk.data[walk.at[rows] + 3]) == 0
    walk.skip(rows[control], NOT_CARRIED)
    rows = rows[~control]
    walk.at[rows] += 4
    for step in COOKIES:
        rows = _framed(walk, rows, step)
    walk.skip(rows, NOT_CARRIED)


def _framed(walk: Walk, rows: Rows, step: int) -> Rows:
    """Go on where an Ethernet frame is known ``step`` bytes further; return the other rows."""
    fits = walk.at[rows] + step + FRAME_TYPE.itemsize <= walk.end[rows]
    found = np.zeros(len(rows), np.bool_)
    walk.at[rows] += np.where(fits, step, 0)
    header = walk.read(rows, FRAME_TYPE)
    for kind, nibble in FRAMED.items():
        found |= fits & (header["type"] == kind) & ((header["first"] >> 4 == nibble) | (nibble < 0))
    walk.at[rows[~found & fits]] -= step
    frame(walk, rows[found])
    return rows[~found]


def lisp(walk: Walk, rows: Rows) -> None:
    """LISP data (RFC 9300, section 5): eight bytes, then IP of either version."""
    rows = sound(walk, rows, 8)
    walk.at[rows] += 8
    walk.next[rows] = RAW


def capwap(walk: Walk, rows: Rows) -> None:
    """CAPWAP data (RFC 5415, section 4.3): a frame of Ethernet or IEEE 802.11, where it is whole and not encrypted."""
    rows = sound(walk, rows, ACCESS_POINT.itemsize)
    header = walk.read(rows, ACCESS_POINT)
    later = (header["flags"] & CAPWAP_FRAGMENT > 0) & (header["fragment"] >> 3 > 0)
    closed = (header["preamble"] & 15 == CAPWAP_ENCRYPTED) | (header["flags"] & CAPWAP_ALIVE > 0) | later
    walk.at[rows] += 4 * (header["length"] >> 3).astype(np.int64)
    frame(walk, rows)
    walk.next[rows[header["kind"] & CAPWAP_NATIVE > 0]] = SWAPPED_WIFI
    walk.skip(rows[closed | (header["preamble"] >> 4 > 0)], NOT_CARRIED)


def tzsp(walk: Walk, rows: Rows) -> None:
    """TZSP, the mirror of wireless sniffers and MikroTik: fields up to an end mark, then the frame."""
    rows = sound(walk, rows, SNIFFER.itemsize)
    header = walk.read(rows, SNIFFER)
    walk.at[rows] += SNIFFER.itemsize
    frame(walk, rows)
    walk.next[rows[header["encapsulation"] == 18]] = WIFI
    good = (header["version"] == 1) & (header["kind"] <= 1) & np.isin(header["encapsulation"], list(SNIFFED))
    walk.skip(rows[~good], NOT_CARRIED)
    rows = rows[good]
    for _ in range(MOST_SNIFFER_TAGS):
        rows = _sniffer_tag(walk, rows)
    walk.skip(rows, NOT_CARRIED)


def _sniffer_tag(walk: Walk, rows: Rows) -> Rows:
    """Step over one field; return the rows that have not come to the end mark."""
    rows = sound(walk, rows, 1)
    header = walk.read(rows, PAIR)
    bare = header["kind"] <= SNIFFER_END
    walk.at[rows] += np.where(bare, 1, 2 + header["length"].astype(np.int64))
    on: Rows = rows[header["kind"] != SNIFFER_END]
    return on


def sound(walk: Walk, rows: Rows, need: int) -> Rows:
    """Return the rows that hold ``need`` more bytes; the tunnel of the others stays closed."""
    return walk.whole(rows, need, NOT_CARRIED)
