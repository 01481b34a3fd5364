from __future__ import annotations

import struct

import numpy as np
import pytest
from build import (
    HERE,
    IPV6,
    SCTP,
    TCP,
    THERE,
    UDP,
    Wire,
    ether,
    frames,
    ip,
    mac,
    packets,
    pieces,
    sll,
    sll2,
    tcp_ip,
    udp,
    udp_body,
    udp_ip,
)

from egress_watch.decode import MOST_TAGS, decode, reasons
from egress_watch.decode.linktypes import LINKS
from egress_watch.model import Packets, address_text, mac_text

pytestmark = pytest.mark.usefixtures("way")

ONE, TWO = "10.0.0.1:1000", "3.5.140.7:443"
ONE6, TWO6 = "[2001:db8::1]:1000", "[2001:db8::2]:443"
HERE4, THERE4 = "10.0.0.1", "3.5.140.7"
HERE6, THERE6 = "2001:db8::1", "2001:db8::2"
BODY, BODY6 = udp_ip(ONE, TWO, b"payload"), udp_ip(ONE6, TWO6, b"payload")
NOTHING_MORE = 59


def only(data: bytes, link: int = 1, wire: int = -1) -> Packets:
    """Return the only packet of a frame."""
    found = packets(Wire(data, link=link, wire=wire))
    assert len(found) == 1, found.skipped
    return found


def payload(found: Packets) -> bytes:
    """Return the payload of the only packet."""
    start = int(found.payload[0])
    return found.data[start : start + int(found.payload_bytes[0])].tobytes()


def ends(found: Packets) -> tuple[str, str]:
    """Return source and destination as address:port."""
    sides = (found.src, found.src_port), (found.dst, found.dst_port)
    one, other = (f"{address_text(*address[0].tolist())}:{port[0]}" for address, port in sides)
    return one, other


def skipped(data: bytes, link: int = 1) -> str:
    """Return why a frame is no packet."""
    found = packets(Wire(data, link=link))
    assert len(found) == 0
    assert sum(found.skipped.values()) == 1
    return next(iter(found.skipped))


def test_ethernet_and_ipv4():
    """Addresses, ports, MACs, protocol, length and payload of an ordinary packet."""
    found = only(ether(BODY))
    assert ends(found) == (ONE, TWO)
    assert (mac_text(int(found.src_mac[0])), mac_text(int(found.dst_mac[0]))) == (HERE, THERE)
    assert (found.version[0], found.protocol[0], found.size[0], found.vlan[0]) == (4, UDP, 35, 0)
    assert (found.fragment[0], found.fragment_id[0], found.tcp_flags[0]) == (0, 0, 0)
    assert payload(found) == b"payload"


def test_ethernet_and_ipv6():
    """The IPv6 length counts the fixed header of 40 bytes as well."""
    found = only(ether(BODY6))
    assert ends(found) == ("2001:db8::1:1000", "2001:db8::2:443")
    assert (found.version[0], found.size[0], payload(found)) == (6, 55, b"payload")


def test_times_and_order_are_those_of_the_frames():
    """Packets come in the order of their frames with their times, whatever is between them."""
    arp = Wire(ether(bytes(28), 0x0806))
    found = packets(udp(ONE, TWO, t=3), arp, udp(TWO, ONE, t=1), Wire(ether(BODY6), 7), arp)
    assert found.time_ns.tolist() == [3_000_000_000, 1_000_000_000, 7]
    assert found.version.tolist() == [4, 4, 6]
    assert found.skipped == {"arp": 2}


@pytest.mark.parametrize("kind", [0x8100, 0x88A8, 0x9100, 0x9200, 0x9300])
def test_a_tag_is_read_and_its_vlan_kept(kind):
    """The low twelve bits of a tag are the VLAN; priority and drop bits are not."""
    found = only(ether(BODY, tags=[(kind, 0xF000 | 110)]))
    assert (found.vlan[0], ends(found), payload(found)) == (110, (ONE, TWO), b"payload")


def test_the_outermost_vlan_is_kept():
    """In QinQ the tag of the provider counts."""
    assert only(ether(BODY, tags=[(0x88A8, 30), (0x8100, 7)])).vlan[0] == 30


def test_a_priority_tag_has_no_vlan():
    """VLAN 0 carries a priority only: the next tag's number counts, if there is one."""
    assert only(ether(BODY, tags=[(0x8100, 5 << 13)])).vlan[0] == 0
    assert only(ether(BODY, tags=[(0x8100, 5 << 13), (0x8100, 7)])).vlan[0] == 7


def test_a_chain_of_tags_is_followed_so_far_and_no_further():
    """As many tags as MOST_TAGS are read; a frame of nothing but tags is skipped by name."""
    assert only(ether(BODY, tags=[(0x8100, 9)] * MOST_TAGS)).vlan[0] == 9
    assert skipped(ether(BODY, tags=[(0x8100, 9)] * 2 * MOST_TAGS)) == "too many tags"


@pytest.mark.parametrize(("link", "cook"), [(113, sll), (276, sll2)])
def test_cooked_captures(link, cook):
    """Both versions of Linux cooked capture carry the sender's MAC only."""
    found = only(cook(BODY), link)
    assert (ends(found), payload(found)) == ((ONE, TWO), b"payload")
    assert (mac_text(int(found.src_mac[0])), int(found.dst_mac[0])) == (HERE, 0)
    assert only(cook(BODY6, IPV6), link).version[0] == 6
    assert only(cook(struct.pack("!HH", 77, 0x0800) + BODY, 0x8100), link).vlan[0] == 77


@pytest.mark.parametrize(("link", "cook"), [(113, sll), (276, sll2)])
def test_a_cooked_address_that_is_no_mac_is_left_out(link, cook):
    """Only six bytes are a MAC: a tunnel's sender has another address, or none."""
    for length in (0, 4, 8):
        assert int(only(cook(BODY, address_bytes=length), link).src_mac[0]) == 0


@pytest.mark.parametrize(("link", "cook"), [(113, sll), (276, sll2)])
def test_cooked_frames_that_are_no_ip_have_a_name(link, cook):
    """ARP is ARP behind any link; numbers too small for an EtherType carry no IP."""
    assert skipped(cook(bytes(28), 0x0806), link) == "arp"
    assert skipped(cook(bytes(28), 1), link) in {"not ip", "llc"}


@pytest.mark.parametrize("link", [12, 14, 101])
def test_raw_captures(link):
    """Bare IP: the first nibble tells the version."""
    assert (ends(only(BODY, link)), only(BODY, link).src_mac[0]) == ((ONE, TWO), 0)
    assert only(BODY6, link).version[0] == 6
    assert skipped(b"\x55" + bytes(60), link) == "not ip"


def test_raw_captures_of_one_version():
    """LINKTYPE_IPV4 and LINKTYPE_IPV6 carry that version and nothing else."""
    assert (only(BODY, 228).version[0], only(BODY6, 229).version[0]) == (4, 6)
    assert (skipped(BODY6, 228), skipped(BODY + bytes(40), 229)) == ("bad ipv4 header", "bad ipv6 header")


@pytest.mark.parametrize("link", [0, 108])
@pytest.mark.parametrize("order", ["<", ">"])
def test_loopback_captures(link, order):
    """The address family of BSD loopback is read in either byte order, with every number IPv6 has."""
    assert ends(only(struct.pack(order + "I", 2) + BODY, link)) == (ONE, TWO)
    for family in (10, 23, 24, 28, 30):
        assert only(struct.pack(order + "I", family) + BODY6, link).version[0] == 6
    assert skipped(struct.pack(order + "I", 7) + BODY, link) == "not ip"


def test_ipv4_options_are_stepped_over():
    """The header length counts options, up to sixty bytes of header."""
    for words in (1, 5, 10):
        found = only(ether(udp_ip(ONE, TWO, b"abc", options=bytes([1]) * 4 * words)))
        assert (ends(found), payload(found), found.size[0]) == ((ONE, TWO), b"abc", 31 + 4 * words)


def test_tcp_options_are_stepped_over():
    """The data offset counts TCP options; the payload lies behind them."""
    found = only(ether(tcp_ip(ONE, TWO, "PA", b"abc", segment_options=bytes([1]) * 12)))
    assert (payload(found), found.size[0]) == (b"abc", 55)


@pytest.mark.parametrize(("flag", "bit"), list(zip("FSRPAUEC", (1 << n for n in range(8)), strict=True)))
def test_tcp_flags(flag, bit):
    """Each flag is its bit (RFC 9293, section 3.1)."""
    assert only(ether(tcp_ip(ONE, TWO, flag))).tcp_flags[0] == bit


@pytest.mark.parametrize("protocol", [33, SCTP, 136])
def test_other_protocols_with_ports(protocol):
    """DCCP, SCTP and UDP-Lite have their ports where UDP has them."""
    found = only(ether(ip(HERE4, THERE4, protocol, struct.pack("!HH", 1000, 443) + bytes(20))))
    assert (ends(found), found.protocol[0]) == ((ONE, TWO), protocol)


@pytest.mark.parametrize("protocol", [1, 2, 47, 50, 58, 89, 253, 255])
@pytest.mark.parametrize("pair", [(HERE4, THERE4), (HERE6, THERE6)])
def test_protocols_without_ports_are_packets_all_the_same(protocol, pair):
    """ICMP, IGMP, GRE, ESP, OSPF and whatever else: ports 0, bytes counted."""
    found = only(ether(ip(*pair, protocol, b"\x12\x34\x56\x78" * 5)))
    assert (found.src_port[0], found.dst_port[0], found.tcp_flags[0], found.protocol[0]) == (0, 0, 0, protocol)
    assert found.size[0] == (40 if ":" in pair[0] else 20) + 20


@pytest.mark.parametrize(("protocol", "head_bytes"), [(1, 8), (58, 8), (47, 0)])
def test_the_payload_lies_behind_the_transport_header(protocol, head_bytes):
    """ICMP of either version has eight bytes of header; what is unknown is payload from the start."""
    body = bytes(range(20))
    assert payload(only(ether(ip(HERE4, THERE4, protocol, body)))) == body[head_bytes:]


EXTENSION_HEADERS = {
    "hop-by-hop": (0, bytes([0]) + bytes(6)),
    "routing": (43, bytes([2, 0, 1]) + bytes(20)),
    "fragment of one piece": (44, bytes(7)),
    "destination options": (60, bytes([1]) + bytes(14)),
    "authentication": (51, bytes([4]) + bytes(22)),
    "shim6": (140, bytes([0]) + bytes(6)),
}


@pytest.mark.parametrize("name", EXTENSION_HEADERS)
def test_each_ipv6_extension_header_is_stepped_over(name):
    """Every extension header states its length; the protocol is what stands behind the last one."""
    found = only(ether(udp_ip(ONE6, TWO6, b"abc", chain=[EXTENSION_HEADERS[name]])))
    assert (found.protocol[0], found.src_port[0], payload(found)) == (UDP, 1000, b"abc")


def test_a_chain_of_extension_headers_is_followed_to_its_end():
    """All of them in one packet, in the order of RFC 8200."""
    found = only(ether(udp_ip(ONE6, TWO6, b"abc", chain=list(EXTENSION_HEADERS.values()))))
    assert (found.protocol[0], found.src_port[0], payload(found), found.fragment[0]) == (UDP, 1000, b"abc", 0)


def test_a_chain_that_is_too_deep_keeps_the_header_where_reading_stopped():
    """Nine hop-by-hop headers are nobody's mail: the packet counts, its ports are not looked for."""
    hop = EXTENSION_HEADERS["hop-by-hop"]
    found = only(ether(udp_ip(ONE6, TWO6, chain=[hop] * 9)))
    assert (found.protocol[0], found.src_port[0]) == (0, 0)
    assert only(ether(udp_ip(ONE6, TWO6, chain=[hop] * 8))).src_port[0] == 1000


def test_a_chain_that_is_cut_is_a_packet_without_ports():
    """Where the capture ends within the chain the packet still counts in full."""
    body = udp_ip(ONE6, TWO6, chain=[EXTENSION_HEADERS["destination options"]])
    found = packets(Wire(ether(body)[: 14 + 40 + 4], wire=14 + len(body)))
    assert (len(found), found.size[0], found.src_port[0], found.protocol[0]) == (1, len(body), 0, 60)


def test_an_extension_header_longer_than_the_packet_ends_at_its_end():
    """A length that lies leads nowhere: no ports, no payload, no read beyond."""
    found = only(ether(udp_ip(ONE6, TWO6, chain=[(60, bytes([255]) + bytes(6))])))
    assert (found.src_port[0], found.payload_bytes[0]) == (0, 0)


def test_no_next_header_is_a_packet():
    """Protocol 59 says that nothing follows, and nothing does."""
    found = only(ether(ip(HERE6, THERE6, NOTHING_MORE, b"")))
    assert (found.protocol[0], found.size[0], found.payload_bytes[0]) == (NOTHING_MORE, 40, 0)


def test_the_authentication_header_of_ipv4_is_stepped_over():
    """AH (RFC 4302) may stand in front of UDP in IPv4 as well."""
    body = bytes([UDP, 4]) + bytes(22) + udp_body(ONE, TWO, b"abc")
    found = only(ether(ip(HERE4, THERE4, 51, body)))
    assert (ends(found), found.protocol[0], payload(found)) == ((ONE, TWO), UDP, b"abc")


@pytest.mark.parametrize("pair", [(ONE, TWO), (ONE6, TWO6)])
def test_fragments(pair):
    """The first fragment has the ports, later ones have none, and all carry the identification."""
    found = packets(*[Wire(ether(body)) for body in pieces(*pair, bytes(80), ident=77)])
    assert found.fragment.tolist() == [1, 2, 2]
    assert found.fragment_id.tolist() == [77, 77, 77]
    assert found.src_port.tolist() == [1000, 0, 0]
    assert found.protocol.tolist() == [UDP] * 3


def test_a_later_fragment_shows_no_tcp_flags():
    """What lies in a later fragment is no header, whatever it looks like."""
    found = only(ether(tcp_ip(ONE, TWO, "FSRPA", fragment=100)))
    assert (found.fragment[0], found.tcp_flags[0], found.dst_port[0]) == (2, 0, 0)


def test_the_dont_fragment_bit_makes_no_fragment():
    """DF alone is a whole packet, and its identification is left out."""
    found = only(ether(udp_ip(ONE, TWO, fragment=0x4000, ident=9)))
    assert (found.fragment[0], found.fragment_id[0]) == (0, 0)


def test_a_length_of_zero_is_counted_by_the_wire():
    """Segmentation offload leaves the IPv4 length 0: the wire says how long the packet was."""
    body = tcp_ip(ONE, TWO, "A", bytes(3000), length=0)
    found = only(ether(body)[:96], wire=14 + len(body))
    assert (found.size[0], found.payload_bytes[0]) == (3040, 96 - 54)


def test_an_ipv6_length_of_zero_is_counted_by_the_wire():
    """The same for IPv6, and for jumbograms (RFC 2675)."""
    body = tcp_ip(ONE6, TWO6, "A", bytes(3000), length=0)
    assert only(ether(body)[:96], wire=14 + len(body)).size[0] == 3060


def test_padding_is_no_payload():
    """Ethernet pads short frames to sixty bytes; the IP length says where the packet ends."""
    found = only(ether(udp_ip(ONE, TWO, b"abc")) + bytes(15))
    assert (found.size[0], payload(found)) == (31, b"abc")
    assert payload(only(ether(ip(HERE6, THERE6, NOTHING_MORE, b"")) + bytes(6))) == b""


@pytest.mark.parametrize("caught", [54, 60, 100])
def test_a_short_snaplen_keeps_the_length(caught):
    """What the capture cut off was on the wire: the size is that of the IP header."""
    body = tcp_ip(ONE, TWO, "A", bytes(1000))
    found = only(ether(body)[:caught], wire=14 + len(body))
    assert (found.size[0], found.payload_bytes[0]) == (1040, caught - 54)


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_a_transport_header_that_is_not_there_leaves_ports_zero(protocol):
    """A packet of three bytes behind its IP header counts, without ports."""
    found = only(ether(ip(HERE4, THERE4, protocol, b"\x01\x02\x03")))
    assert (found.src_port[0], found.dst_port[0], found.tcp_flags[0], found.size[0]) == (0, 0, 0, 23)


def test_a_data_offset_that_lies_stays_within_the_packet():
    """A TCP header longer than its segment has no payload; one shorter than twenty bytes is taken as twenty."""
    long, short = bytearray(tcp_ip(ONE, TWO, "A", b"abc")), bytearray(tcp_ip(ONE, TWO, "A", b"abc"))
    long[32], short[32] = 0xF0, 0x00
    assert only(ether(bytes(long))).payload_bytes[0] == 0
    assert payload(only(ether(bytes(short)))) == b"abc"


@pytest.mark.parametrize(
    ("mend", "name"),
    [
        (lambda body: b"\x55" + body[1:], "bad ipv4 header"),  # version
        (lambda body: b"\x44" + body[1:], "bad ipv4 header"),  # sixteen bytes of header
        (lambda body: body[:2] + b"\x00\x13" + body[4:], "bad ipv4 header"),  # shorter than its header
        (lambda body: body[:19], "frame cut in ip header"),
        (lambda body: body[:0], "frame cut in ip header"),
    ],
)
def test_an_ipv4_header_that_cannot_be_is_skipped_by_name(mend, name):
    """A header that lies about itself is no packet."""
    assert skipped(ether(mend(BODY), 0x0800)) == name


def test_an_ipv6_header_that_cannot_be_is_skipped_by_name():
    """The version must be six, and forty bytes must be there."""
    assert skipped(ether(b"\x45" + BODY6[1:], IPV6)) == "bad ipv6 header"
    assert skipped(ether(BODY6[:39], IPV6)) == "frame cut in ip header"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "frame cut in link header"),
        (mac(THERE) + mac(HERE) + b"\x08", "frame cut in link header"),
        (ether(bytes(1), 0x8100), "frame cut in link header"),
        (ether(bytes(28), 0x0806), "arp"),
        (ether(bytes(50), 0x88CC), "lldp"),
        (ether(b"\x42\x42\x03" + bytes(35), 38), "llc"),
        (ether(bytes(50), 0x1234), "ethertype 0x1234"),
        (ether(bytes(28), 0x0806, tags=[(0x8100, 5)]), "arp"),
    ],
)
def test_frames_that_are_no_ip_have_a_name(data, name):
    """Every frame that is no packet is counted under the name of its kind."""
    assert skipped(data) == name


def test_an_unknown_link_type_has_its_number():
    """What cannot be read at all is named by its link type."""
    assert skipped(ether(BODY), 147) == "link type 147"


@pytest.mark.parametrize("link", LINKS)
def test_an_empty_frame_is_skipped_on_every_link(link):
    """No bytes, no packet, no trouble."""
    assert skipped(b"", link) in {"frame cut in link header", "frame cut in ip header"}


def test_all_reasons_have_names_of_their_own():
    """Two reasons never share a name, so that counts add up."""
    names = [reasons.name(number) for number in reasons.NAMES] + [reasons.name(reasons.LINK + 1), reasons.name(0x1234)]
    assert all(names)
    assert len(set(names)) == len(names)


def test_no_frames_are_no_packets():
    """An empty batch is an empty answer."""
    found = decode(frames())
    assert (len(found), found.skipped, found.src.shape) == (0, {}, (0, 2))


def test_link_types_may_be_mixed_in_a_batch():
    """A pcapng of several interfaces is decoded frame by frame as each interface says."""
    mixed = [Wire(ether(BODY)), Wire(BODY6, link=101), Wire(sll(BODY), link=113), Wire(BODY, link=999)]
    found = packets(*mixed)
    assert found.version.tolist() == [4, 6, 4]
    assert found.skipped == {"link type 999": 1}


def test_columns_have_the_types_of_the_model():
    """Each column has its width, whatever the batch."""
    for found in (packets(), packets(udp(ONE, TWO))):
        kinds = {name: getattr(found, name).dtype for name in ("time_ns", "src", "vlan", "protocol", "fragment_id")}
        assert kinds == {
            "time_ns": np.int64, "src": np.uint64, "vlan": np.uint16, "protocol": np.uint8, "fragment_id": np.uint32,
        }  # fmt: skip
