"""Link types of lines, rings and logs: PPP, HDLC, frame relay, FDDI, firewall logs and the like.

In: a walk and the rows that stand at this header. Out: the walk moved on. Never: an exception, whatever the bytes.

Where no other source is named, the layout is the one tcpdump.org/linktypes.html describes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from egress_watch.decode.columns import Rows, Walk, words
from egress_watch.decode.link import IPV4, IPV6, LOWEST_ETHERTYPE, announce, ethernet, raw
from egress_watch.decode.reasons import CUT_LINK, LLC, NOT_IP, PPP, PPPOE

LINE = np.dtype([("address", "u1"), ("control", "u1"), ("type", ">u2")])
RELAY = np.dtype([("address", ">u2"), ("control", "u1"), ("first", "u1"), ("second", "u1")])
SNAP = np.dtype([("oui_high", "u1"), ("oui", ">u2"), ("type", ">u2")])
RING = np.dtype([("access", "u1"), ("control", "u1"), ("dst_high", ">u2"), ("dst_low", ">u4"), ("src_high", ">u2"),
                 ("src_low", ">u4"), ("route", "u1")])  # fmt: skip
FIBRE = np.dtype([("control", "u1"), ("dst_high", ">u2"), ("dst_low", ">u4"), ("src_high", ">u2"), ("src_low", ">u4")])
CELL = np.dtype([("kind", "u1"), ("path", "u1"), ("channel", ">u2")])
FIREWIRE = np.dtype([("ends", "V16"), ("type", ">u2")])
ARC = np.dtype([("ends", "V4"), ("type", "u1")])
SHORT_ARC = np.dtype([("ends", "V2"), ("type", "u1"), ("flag", "u1")])
FILTER_LOG = np.dtype([("length", "u1"), ("family", "u1")])
IPSEC = np.dtype([("family", "<u4"), ("rest", "V8")])
SOLARIS = np.dtype([("version", "u1"), ("family", "u1"), ("rest", "V22")])
JUNIPER = np.dtype([("magic_high", ">u2"), ("magic", "u1"), ("flags", "u1"), ("length", ">u2")])
NET_LOG = np.dtype([("family", "u1"), ("version", "u1"), ("resource", ">u2")])
FIELD = np.dtype([("length", "<u2"), ("type", "<u2")])

CISCO_ADDRESSES = (0x0F, 0x8F)  # unicast and broadcast on a Cisco HDLC line
NLPID = {0xCC: IPV4, 0x8E: IPV6, 0xCF: PPP}  # ISO/IEC TR 9577; RFC 2427, section 4
NLPID_SNAP = 0x80
IPV6_FAMILIES = (10, 23, 24, 26, 28, 30)  # Linux, Windows, NetBSD, Solaris, FreeBSD, Darwin
ARCNET = {0xD4: (IPV4, 3), 0xC4: (IPV6, 3), 0xF0: (IPV4, 0)}
"""ARCnet type: what follows, and after how many bytes of fragment header (RFC 1201; none in RFC 1051)."""
NAMES_BYTES = 16
SLIP_BYTES = 16  # direction, and the first bytes of the header before compression
NFLOG_PAYLOAD, MOST_FIELDS = 9, 32
JUNIPER_MAGIC, JUNIPER_EXTRA, JUNIPER_NO_FRAME = 0x4D4743, 0x80, 0x02


def ppp(walk: Walk, rows: Rows) -> None:
    """PPP with or without HDLC framing, and Cisco HDLC on the same line (LINKTYPE_PPP, LINKTYPE_PPP_HDLC)."""
    rows = walk.whole(rows, 1, CUT_LINK)
    cisco = np.isin(walk.data[walk.at[rows]], CISCO_ADDRESSES)
    hdlc(walk, rows[cisco])
    walk.next[rows[~cisco]] = PPP


def ppp_direction(walk: Walk, rows: Rows) -> None:
    """PPP behind one byte of direction (LINKTYPE_PPP_WITH_DIR)."""
    walk.at[rows] += 1
    walk.next[rows] = PPP


def ppp_daemon(walk: Walk, rows: Rows) -> None:
    """PPP with the direction in place of the address byte (LINKTYPE_PPP_PPPD)."""
    walk.at[rows] += 2
    walk.next[rows] = PPP


def ppp_ethernet(walk: Walk, rows: Rows) -> None:
    """PPP over Ethernet without Ethernet (LINKTYPE_PPP_ETHER)."""
    walk.next[rows] = PPPOE


def hdlc(walk: Walk, rows: Rows) -> None:
    """Cisco HDLC: address, control, EtherType (LINKTYPE_C_HDLC)."""
    rows = walk.whole(rows, LINE.itemsize, CUT_LINK)
    header = walk.read(rows, LINE)
    walk.at[rows] += LINE.itemsize
    announce(walk, rows, header["type"])


def frame_relay(walk: Walk, rows: Rows) -> None:
    """Frame relay with an address of two bytes: NLPID and SNAP (RFC 2427), or an EtherType as Cisco writes it."""
    rows = walk.whole(rows, RELAY.itemsize, CUT_LINK)
    header = walk.read(rows, RELAY)
    ietf = header["control"] == 3
    pad = header["first"] == 0
    nlpid = np.where(pad, header["second"], header["first"])
    cisco = header["control"].astype(np.uint16) << np.uint16(8) | header["first"]
    walk.at[rows] += np.where(ietf, 4 + pad, 4)
    walk.next[rows] = np.where(~ietf & (cisco >= LOWEST_ETHERTYPE), cisco, NOT_IP)
    for number, kind in NLPID.items():
        walk.next[rows[ietf & (nlpid == number)]] = kind
    _relay_snap(walk, rows[ietf & (nlpid == NLPID_SNAP)])
    walk.skip(rows[walk.next[rows] == NOT_IP], NOT_IP)


def _relay_snap(walk: Walk, rows: Rows) -> None:
    rows = walk.whole(rows, SNAP.itemsize, CUT_LINK)
    header = walk.read(rows, SNAP)
    walk.at[rows] += SNAP.itemsize
    plain = (header["oui_high"] == 0) & (header["oui"] == 0) & (header["type"] >= LOWEST_ETHERTYPE)
    walk.next[rows] = np.where(plain, header["type"], LLC)
    walk.skip(rows[~plain], LLC)


def slip(walk: Walk, rows: Rows) -> None:
    """SLIP as BSD captures it; where headers were compressed there is no IP to read (LINKTYPE_SLIP)."""
    walk.at[rows] += SLIP_BYTES
    raw(walk, walk.whole(rows, 0, CUT_LINK))


def fddi(walk: Walk, rows: Rows) -> None:
    """FDDI: IEEE 802.2 follows in frames of the LLC kind (LINKTYPE_FDDI)."""
    rows = walk.whole(rows, FIBRE.itemsize, CUT_LINK)
    header = walk.read(rows, FIBRE)
    walk.dst_mac[rows] = words(header, "dst_high", "dst_low")
    walk.src_mac[rows] = words(header, "src_high", "src_low")
    walk.at[rows] += FIBRE.itemsize
    _llc(walk, rows, header["control"] & 0xF0 == 0x50)


def token_ring(walk: Walk, rows: Rows) -> None:
    """Token ring: the first bit of the sender says that a source route follows (LINKTYPE_IEEE802_5)."""
    rows = walk.whole(rows, RING.itemsize, CUT_LINK)
    header = walk.read(rows, RING)
    routed = header["src_high"] & 0x8000 > 0
    walk.dst_mac[rows] = words(header, "dst_high", "dst_low")
    walk.src_mac[rows] = words(header, "src_high", "src_low") & np.uint64(0x7FFFFFFFFFFF)
    walk.at[rows] += 14 + np.where(routed, header["route"] & 0x1F, 0)
    _llc(walk, rows, header["control"] & 0xC0 == 0x40)


def sun_atm(walk: Walk, rows: Rows) -> None:
    """ATM as Solaris captures it: IEEE 802.2 in cells of that kind (LINKTYPE_SUNATM)."""
    rows = walk.whole(rows, CELL.itemsize, CUT_LINK)
    header = walk.read(rows, CELL)
    walk.at[rows] += CELL.itemsize
    _llc(walk, rows, header["kind"] & 0x0F == 2)


def llc_only(walk: Walk, rows: Rows) -> None:
    """IEEE 802.2 from the first byte (LINKTYPE_ATM_RFC1483)."""
    walk.next[walk.whole(rows, 1, CUT_LINK)] = LLC


def fibre_channel(walk: Walk, rows: Rows) -> None:
    """IP over Fibre Channel: two names of eight bytes, then IEEE 802.2 (LINKTYPE_IP_OVER_FC)."""
    rows = walk.whole(rows, NAMES_BYTES, CUT_LINK)
    walk.at[rows] += NAMES_BYTES
    walk.next[rows] = LLC


def firewire(walk: Walk, rows: Rows) -> None:
    """IP over IEEE 1394 as Apple captures it (LINKTYPE_APPLE_IP_OVER_IEEE1394)."""
    rows = walk.whole(rows, FIREWIRE.itemsize, CUT_LINK)
    header = walk.read(rows, FIREWIRE)
    walk.at[rows] += FIREWIRE.itemsize
    announce(walk, rows, header["type"])


def arcnet(walk: Walk, rows: Rows) -> None:
    """ARCnet as Linux captures it (LINKTYPE_ARCNET_LINUX)."""
    rows = walk.whole(rows, ARC.itemsize, CUT_LINK)
    header = walk.read(rows, ARC)
    walk.at[rows] += ARC.itemsize
    _arcnet(walk, rows, header["type"])


def arcnet_bsd(walk: Walk, rows: Rows) -> None:
    """ARCnet as BSD captures it: no offset, and four more bytes in an exception frame (LINKTYPE_ARCNET_BSD)."""
    rows = walk.whole(rows, SHORT_ARC.itemsize, CUT_LINK)
    header = walk.read(rows, SHORT_ARC)
    split = np.isin(header["type"], [kind for kind, (_, more) in ARCNET.items() if more])
    walk.at[rows] += 3 + np.where(split & (header["flag"] == 0xFF), 4, 0)
    _arcnet(walk, rows, header["type"])


def _arcnet(walk: Walk, rows: Rows, kind: NDArray[np.uint8]) -> None:
    for number, (follows, more) in ARCNET.items():
        here = rows[kind == number]
        walk.at[here] += more
        walk.next[here] = follows
    walk.skip(rows[~np.isin(kind, list(ARCNET))], NOT_IP)


def filter_log(walk: Walk, rows: Rows) -> None:
    """Packet filter log of BSD: a header that states its length, rounded up to four (LINKTYPE_PFLOG)."""
    rows = walk.whole(rows, FILTER_LOG.itemsize, CUT_LINK)
    header = walk.read(rows, FILTER_LOG)
    walk.at[rows] += (header["length"].astype(np.int64) + 3) // 4 * 4
    family(walk, rows, header["family"].astype(np.uint32))


def ipsec_log(walk: Walk, rows: Rows) -> None:
    """OpenBSD's view into IPsec: family, index and flags, then IP (LINKTYPE_ENC)."""
    rows = walk.whole(rows, IPSEC.itemsize, CUT_LINK)
    kind = walk.read(rows, IPSEC)["family"]
    walk.at[rows] += IPSEC.itemsize
    family(walk, rows, np.where(kind > 0xFFFF, kind.byteswap(), kind))


def solaris(walk: Walk, rows: Rows) -> None:
    """IP observability of Solaris (LINKTYPE_IPNET)."""
    rows = walk.whole(rows, SOLARIS.itemsize, CUT_LINK)
    kind = walk.read(rows, SOLARIS)["family"].astype(np.uint32)
    walk.at[rows] += SOLARIS.itemsize
    family(walk, rows, kind)


def juniper_ethernet(walk: Walk, rows: Rows) -> None:
    """Ethernet behind a header of Juniper's routers (LINKTYPE_JUNIPER_ETHER)."""
    rows = walk.whole(rows, JUNIPER.itemsize, CUT_LINK)
    header = walk.read(rows, JUNIPER)
    magic = header["magic_high"].astype(np.int64) << 8 | header["magic"]
    framed = (magic == JUNIPER_MAGIC) & (header["flags"] & JUNIPER_NO_FRAME == 0)
    walk.skip(rows[~framed], NOT_IP)
    walk.at[rows] += 4 + np.where(header["flags"] & JUNIPER_EXTRA, 2 + header["length"].astype(np.int64), 0)
    ethernet(walk, rows[framed])


def net_log(walk: Walk, rows: Rows) -> None:
    """Linux netfilter's log: fields of type and length, one of which is the packet (LINKTYPE_NFLOG)."""
    rows = walk.whole(rows, NET_LOG.itemsize, CUT_LINK)
    kind = walk.read(rows, NET_LOG)["family"].astype(np.uint32)
    walk.at[rows] += NET_LOG.itemsize
    for _ in range(MOST_FIELDS):
        rows, kind = _net_log_field(walk, rows, kind)
        if not len(rows):
            return
    walk.skip(rows, NOT_IP)


def _net_log_field(walk: Walk, rows: Rows, kind: NDArray[np.uint32]) -> tuple[Rows, NDArray[np.uint32]]:
    """Step over one field; where it is the packet, go on with it. Return the rows that are not there yet."""
    there = walk.at[rows] + FIELD.itemsize <= walk.end[rows]
    walk.skip(rows[~there], CUT_LINK)
    rows, kind = rows[there], kind[there]
    header = walk.read(rows, FIELD)
    found = header["type"] == NFLOG_PAYLOAD
    length = np.maximum(header["length"].astype(np.int64) + 3, FIELD.itemsize) // 4 * 4
    walk.at[rows] += np.where(found, FIELD.itemsize, length)
    family(walk, rows[found], kind[found])
    return rows[~found], kind[~found]


def family(walk: Walk, rows: Rows, kind: NDArray[np.uint32]) -> None:
    """Go on with the address family, by whatever number the capturing system has for it."""
    walk.next[rows] = np.where(kind == 2, IPV4, IPV6)
    walk.skip(rows[~np.isin(kind, (2, *IPV6_FAMILIES))], NOT_IP)


def _llc(walk: Walk, rows: Rows, carries: NDArray[np.bool_]) -> None:
    """Go on with IEEE 802.2 where the frame carries it."""
    walk.next[rows] = LLC
    walk.skip(rows[~carries], NOT_IP)
