"""From an EtherType to the next: one function a header that may stand between the link and IP.

In: a walk and the rows that stand behind their EtherType. Out: the walk moved on, or a named reason. Never: an
exception, or a read past the frame.

A header whose content says that no IP follows (a PPP control message, an encrypted MACsec frame, a spanning tree)
is counted under its own name, as an EtherType that nobody reads is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egress_watch.decode.columns import Rows, Walk
from egress_watch.decode.link import IPV4, IPV6, LOWEST_ETHERTYPE, Step, announce, ethernet, raw
from egress_watch.decode.reasons import CUT_LINK, LLC, PPP, PPPOE, RAW, SWAPPED_WIFI, WIFI
from egress_watch.decode.wireless import swapped_wifi, wifi

FRAME = 0x6558  # "transparent Ethernet bridging": a whole frame follows, with addresses of its own
MPLS, MACSEC, TRILL, HSR, NSH, REDUNDANCY = 0x8847, 0x88E5, 0x22F3, 0x892F, 0x894F, 0xF1C1

TYPE = np.dtype(">u2")
TAG = np.dtype([("tci", ">u2"), ("type", ">u2")])  # IEEE 802.1Q, clause 9.6
LABEL = np.dtype([("entry", ">u4"), ("behind", "u1")])  # RFC 3032, section 2.1
SESSION = np.dtype([("version", "u1"), ("code", "u1"), ("rest", "V4")])  # RFC 2516, section 4
PROTOCOL = np.dtype([("framing", ">u2"), ("next", ">u2")])
SNAP = np.dtype([("sap", ">u2"), ("control", "u1"), ("oui_high", "u1"), ("oui", ">u2"), ("type", ">u2")])
INTER_SWITCH = np.dtype([("snap", "V3"), ("sender", "V3"), ("vlan", ">u2"), ("port", "V2"), ("reserved", "V2")])
METADATA = np.dtype([("version", "u1"), ("length", "u1")])
SERVICE = np.dtype([("length", ">u2"), ("kind", "u1"), ("next", "u1")])  # RFC 8300, section 2.2
SECURITY = np.dtype([("tci", "u1"), ("short", "u1"), ("number", ">u4")])  # IEEE 802.1AE, clause 9.3

VLAN_ID = 0x0FFF
BOTTOM = 0x100
LLC_BYTES, IP_SAP, SNAP_SAP, UNNUMBERED = 3, 0x0606, 0xAAAA, 3  # IEEE 802.2; RFC 1042 for SNAP
TRUNK_GROUPS = (0x01000C0000, 0x03000C0000)  # where ISL frames go: 40 bits, then type and user bits
NIBBLES = {0: FRAME, 4: IPV4, 6: IPV6}
FRAMED = 0xFF03  # all stations, unnumbered information (RFC 1662, section 3.1)
PPP_NEXT = {0x0021: IPV4, 0x0057: IPV6, 0x0281: MPLS, 0x0283: MPLS}  # IANA: PPP protocol field
NSH_NEXT = {1: IPV4, 2: IPV6, 3: FRAME, 4: NSH, 5: MPLS}  # IANA: NSH next protocol


def vlan(walk: Walk, rows: Rows) -> None:
    """One 802.1Q or 802.1ad tag; the outermost VLAN id other than 0 (priority only) is remembered."""
    rows = walk.whole(rows, TAG.itemsize, CUT_LINK)
    header = walk.read(rows, TAG)
    walk.vlan[rows] = np.where(walk.vlan[rows] == 0, header["tci"] & VLAN_ID, walk.vlan[rows])
    walk.at[rows] += TAG.itemsize
    announce(walk, rows, header["type"])


def llc(walk: Walk, rows: Rows) -> None:
    """IEEE 802.2: IP by its own access point, or any EtherType by SNAP; spanning tree and the like end here."""
    rows = walk.whole(rows, SNAP.itemsize, LLC)
    header = walk.read(rows, SNAP)
    plain = header["control"] == UNNUMBERED
    bare = plain & (header["sap"] == IP_SAP)
    vendor = (header["oui_high"] != 0) | ((header["oui"] != 0) & (header["oui"] != 0xF8))  # 0xF8: IEEE 802.1H
    trunk = plain & (header["sap"] == SNAP_SAP) & np.isin(walk.dst_mac[rows] >> np.uint64(8), TRUNK_GROUPS)
    _trunk(walk, rows[trunk])
    rows, header, bare, plain, vendor = (column[~trunk] for column in (rows, header, bare, plain, vendor))
    snap = plain & (header["sap"] == SNAP_SAP) & ~vendor & (header["type"] >= LOWEST_ETHERTYPE)
    walk.at[rows] += np.where(bare, LLC_BYTES, SNAP.itemsize)
    walk.next[rows] = np.where(bare, IPV4, header["type"])
    walk.skip(rows[~bare & ~snap], LLC)


def _trunk(walk: Walk, rows: Rows) -> None:
    """Cisco ISL: a whole frame behind a header that looks like SNAP; its VLAN stands beside a bit for BPDUs."""
    rows = walk.whole(rows, INTER_SWITCH.itemsize, LLC)
    vlan_id = walk.read(rows, INTER_SWITCH)["vlan"] >> 1 & VLAN_ID
    walk.vlan[rows] = np.where(walk.vlan[rows] == 0, vlan_id, walk.vlan[rows])
    walk.at[rows] += INTER_SWITCH.itemsize
    walk.next[rows] = FRAME


def mpls(walk: Walk, rows: Rows) -> None:
    """One MPLS label; behind the last one the first nibble tells (RFC 4928, section 3).

    4 and 6 are IP; 0 is a control word (RFC 4385), taken to carry Ethernet, by far its commonest load.
    """
    rows = walk.whole(rows, LABEL.itemsize, CUT_LINK)
    header = walk.read(rows, LABEL)
    walk.at[rows] += 4
    walk.next[rows] = MPLS
    last = header["entry"] & BOTTOM > 0
    rows, nibble = rows[last], header["behind"][last] >> 4
    walk.at[rows[nibble == 0]] += 4
    _follow(walk, rows, nibble, NIBBLES, MPLS)


def pppoe(walk: Walk, rows: Rows) -> None:
    """PPP over Ethernet, session stage (RFC 2516)."""
    rows = walk.whole(rows, SESSION.itemsize, CUT_LINK)
    code = walk.read(rows, SESSION)["code"]
    walk.at[rows] += SESSION.itemsize
    walk.skip(rows[code != 0], PPPOE)
    ppp(walk, rows[code == 0])


def ppp(walk: Walk, rows: Rows) -> None:
    """PPP (RFC 1661): framing bytes or none, a protocol of two bytes or, compressed, of one; control ends here."""
    there = np.minimum(walk.end[rows] - walk.at[rows], PROTOCOL.itemsize)
    header = walk.read(rows, PROTOCOL)
    framed = header["framing"] == FRAMED
    number = np.where(framed, header["next"], header["framing"])
    short = number & 0x100 > 0  # an odd first byte is the last one of the number (RFC 1661, section 2)
    length = np.where(framed, 2, 0) + np.where(short, 1, 2)
    whole = length <= there
    walk.skip(rows[~whole], CUT_LINK)
    walk.at[rows[whole]] += length[whole]
    _follow(walk, rows[whole], np.where(short, number >> 8, number)[whole], PPP_NEXT, PPP)


def cisco_metadata(walk: Walk, rows: Rows) -> None:
    """Cisco metadata: version, length in words of four bytes, and group tags, seen on TrustSec links."""
    rows = walk.whole(rows, METADATA.itemsize, CUT_LINK)
    words = walk.read(rows, METADATA)["length"].astype(np.int64)
    walk.at[rows] += METADATA.itemsize + 4 * words
    _typed(walk, rows)


def vn_tag(walk: Walk, rows: Rows) -> None:
    """Cisco VN-Tag: four bytes of virtual interface numbers."""
    walk.at[rows] += 4
    _typed(walk, rows)


def e_tag(walk: Walk, rows: Rows) -> None:
    """IEEE 802.1BR: six bytes of channel identifiers."""
    walk.at[rows] += 6
    _typed(walk, rows)


def fabric_path(walk: Walk, rows: Rows) -> None:
    """Cisco FabricPath: two bytes of tree and hop count, then the whole frame of the host."""
    walk.at[rows] += 2
    walk.next[rows] = FRAME


def backbone(walk: Walk, rows: Rows) -> None:
    """IEEE 802.1ah, MAC in MAC: four bytes of service instance, then the whole frame of the customer."""
    walk.at[rows] += 4
    walk.next[rows] = FRAME


def macsec(walk: Walk, rows: Rows) -> None:
    """IEEE 802.1AE: readable only where frames are signed and not encrypted; a channel id of 8 bytes may follow."""
    rows = walk.whole(rows, SECURITY.itemsize, CUT_LINK)
    control = walk.read(rows, SECURITY)["tci"]
    walk.at[rows] += np.where(control & 0x20, SECURITY.itemsize + 8, SECURITY.itemsize)
    hidden = control & 0x0C > 0
    walk.skip(rows[hidden], MACSEC)
    _typed(walk, rows[~hidden])


def nsh(walk: Walk, rows: Rows) -> None:
    """Network service header (RFC 8300): its length counts words of four bytes."""
    rows = walk.whole(rows, SERVICE.itemsize, CUT_LINK)
    header = walk.read(rows, SERVICE)
    walk.at[rows] += 4 * (header["length"] & 0x3F).astype(np.int64)
    _follow(walk, rows, header["next"], NSH_NEXT, NSH)


def trill(walk: Walk, rows: Rows) -> None:
    """TRILL (RFC 6325, section 3): flags with the length of options, two nicknames, then the whole frame of a host."""
    rows = walk.whole(rows, TYPE.itemsize, CUT_LINK)
    options = walk.read(rows, TYPE).astype(np.int64) >> 6 & 0x1F
    walk.at[rows] += 6 + 4 * options
    walk.next[rows] = FRAME


def redundancy(walk: Walk, rows: Rows) -> None:
    """Four bytes that number the copies of a frame: HSR (IEC 62439-3) and the redundancy tag of IEEE 802.1CB."""
    walk.at[rows] += 4
    _typed(walk, rows)


def _typed(walk: Walk, rows: Rows) -> None:
    """Read the EtherType at which these rows stand."""
    rows = walk.whole(rows, TYPE.itemsize, CUT_LINK)
    kind = walk.read(rows, TYPE)
    walk.at[rows] += TYPE.itemsize
    announce(walk, rows, kind)


def _follow(walk: Walk, rows: Rows, number: NDArray[np.integer[Any]], known: Mapping[int, int], reason: int) -> None:
    """Go on with what each number stands for; skip for ``reason`` where it stands for nothing known."""
    for value, kind in known.items():
        walk.next[rows[number == value]] = kind
    walk.skip(rows[~np.isin(number, list(known))], reason)


TAGS: dict[int, Step] = {
    LLC: llc,  # a length where the EtherType should be
    FRAME: ethernet,
    RAW: raw,
    WIFI: wifi,
    SWAPPED_WIFI: swapped_wifi,
    PPP: ppp,
    0x8100: vlan,  # IEEE 802.1Q
    0x88A8: vlan,  # IEEE 802.1ad, QinQ
    0x9100: vlan,  # QinQ as switches sent it before 802.1ad
    0x9200: vlan,
    0x9300: vlan,
    MPLS: mpls,
    0x8848: mpls,  # multicast, or labels assigned upstream (RFC 5332)
    PPPOE: pppoe,
    MACSEC: macsec,
    0x88E7: backbone,
    0x8903: fabric_path,
    0x8909: cisco_metadata,
    0x8926: vn_tag,
    0x893F: e_tag,
    NSH: nsh,
    TRILL: trill,
    HSR: redundancy,
    REDUNDANCY: redundancy,
}
"""EtherType to the reader of what it announces, where that is not yet IP."""
