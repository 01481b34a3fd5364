"""What devices say of themselves, who made them, and which rows are one device."""

from __future__ import annotations

import struct
import warnings
from itertools import pairwise

import numpy as np
import pytest
from build import Wire, ether, frames, udp_ip
from hypothesis import given
from hypothesis import strategies as st

from egress_watch.decode import decode
from egress_watch.devices import MOST_READ, MOST_VALUES, Devices, dhcp, dhcp6, lldp, mdns, web
from egress_watch.devices.facts import KINDS, MOST_CHARACTERS, NOTHING, Trait, text
from egress_watch.devices.makers import Makers, made_up
from egress_watch.devices.units import MOST_ADDRESSES, how, routers, units
from egress_watch.flows.sides import Sides
from egress_watch.library import groups, makers
from egress_watch.model import address_words
from egress_watch.places.dossiers import maker

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what scapy imports
    from scapy.contrib.lldp import LLDPDU
    from scapy.layers.dhcp import BOOTP, DHCP
    from scapy.layers.dhcp6 import VENDOR_CLASS_DATA, DHCP6_Solicit, DHCP6OptClientFQDN, DHCP6OptVendorClass
    from scapy.layers.dns import DNS, DNSRR, DNSRRSRV

READERS = [dhcp.read, dhcp6.read, mdns.read, lldp.read, web.read_tcp, web.read_ssdp]
MAC, MAC_BYTES = 0x4419B60B6E11, bytes.fromhex("4419b60b6e11")
CAM, SPEAKER = "44:19:b6:0b:6e:11", "24:0a:c4:7f:02:51"
SECOND_NS = 1_000_000_000


def hearing(*wires: Wire, limit: int = 1000, networks: tuple[str, ...] = ()) -> Devices:
    """Return the ears after these frames, heard as one batch."""
    devices = Devices(Sides(networks).ours, limit)
    devices.hear(decode(frames(*wires)))
    return devices


def discover(name: bytes, chaddr: bytes = MAC_BYTES) -> bytes:
    """Return a DHCP discover with a host name and a vendor class."""
    options = [("message-type", "discover"), ("hostname", name), ("vendor_class_id", b"udhcp 1.30"), "end"]
    return bytes(BOOTP(chaddr=chaddr, xid=7) / DHCP(options=options))


def dhcp_frame(name: bytes, at_s: int = 0, chaddr: bytes = MAC_BYTES) -> Wire:
    """Return that on the wire."""
    return Wire(ether(udp_ip("0.0.0.0:68", "255.255.255.255:67", discover(name, chaddr)), src=CAM), at_s * SECOND_NS)


def sighting(ip: str, mac: str = CAM, first: int = 0, last: int = 10, vlan: int = 0) -> dict:
    """Return a row as the store gives it."""
    return {
        "ip": ip,
        "mac": mac,
        "vlan": vlan,
        "first_ns": first,
        "last_ns": last,
        "flows": 1,
        "bytes_out": 1,
        "bytes_in": 0,
    }


def fact(source: str, kind: str, value: str, ip: str = "", mac: str = CAM) -> dict:
    """Return a row as the store gives it."""
    return {
        "mac": mac,
        "ip": ip,
        "vlan": 0,
        "source": source,
        "kind": kind,
        "value": value,
        "first_ns": 1,
        "last_ns": 2,
    }


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__module__.rpartition(".")[2] + read.__name__[4:])
@given(payload=st.binary(max_size=400))
def test_no_bytes_upset_a_reader(read, payload):
    """Every reader takes any bytes, and gives known kinds with bounded texts."""
    for trait in read(payload).traits:
        assert trait.kind in KINDS
        assert 0 < len(trait.value) <= MOST_CHARACTERS


@given(at=st.integers(0, 400), flip=st.binary(min_size=1, max_size=8))
def test_a_damaged_dhcp_message_upsets_nothing(at, flip):
    """A sound message with any bytes overwritten, and cut anywhere, is read as far as it goes."""
    sound = discover(b"cam")
    for raw in (sound[:at] + flip + sound[at + len(flip) :], sound[:at]):
        assert {trait.kind for trait in dhcp.read(raw).traits} <= set(KINDS)


@given(labels=st.lists(st.integers(0, 255), min_size=1, max_size=60))
def test_a_loop_of_pointers_ends(labels):
    """Names made of pointers only are given up."""
    raw = struct.pack("!6H", 0, 0x8400, 0, 1, 0, 0) + bytes(byte for low in labels for byte in (0xC0, low))
    assert mdns.read(raw).traits == []


def test_dhcp_tells_name_and_class_of_the_client():
    """The client is the one of chaddr, whoever sent the frame."""
    said = dhcp.read(discover(b"cam-11"))
    assert said.mac == MAC
    assert said.traits == [Trait("host_name", "cam-11"), Trait("vendor_class", "udhcp 1.30")]


def test_a_dhcp_acknowledgement_tells_the_address():
    """An ACK says which address the client has; an offer says nothing yet."""
    for kind, traits in (("ack", [Trait("address", "10.20.0.9")]), ("offer", [])):
        reply = BOOTP(op=2, chaddr=MAC_BYTES, yiaddr="10.20.0.9") / DHCP(options=[("message-type", kind), "end"])
        assert dhcp.read(bytes(reply)).traits == traits


def test_dhcpv6_tells_name_and_class():
    """A solicit with Client FQDN and vendor class."""
    vendor = DHCP6OptVendorClass(enterprisenum=311, vcdata=[VENDOR_CLASS_DATA(data=b"MSFT 5.0")])
    raw = bytes(DHCP6_Solicit(trid=1) / DHCP6OptClientFQDN(fqdn="desk-4.veldhaven.example") / vendor)
    assert dhcp6.read(raw).traits == [Trait("host_name", "desk-4.veldhaven.example"), Trait("vendor_class", "MSFT 5.0")]


def relayed(message: bytes, more: bytes = b"") -> bytes:
    """Return a message as a relay hands it on (RFC 8415, section 9), other options behind it."""
    return b"\x0c\x00" + bytes(32) + struct.pack("!HH", 9, len(message)) + message + more


@pytest.mark.parametrize(
    ("duid", "more", "mac"),
    [
        (b"\0\3\0\1" + MAC.to_bytes(6), b"", MAC),
        (b"\0\1\0\1\x2f\0\0\0" + MAC.to_bytes(6), b"", MAC),
        (b"\0\2\0\0\1\x37maker", struct.pack("!HHH", 79, 8, 1) + MAC.to_bytes(6), MAC),
        (b"\0\2\0\0\1\x37maker", b"", 0),
        (b"\0\3\0\1" + MAC.to_bytes(6)[:5], b"", 0),
    ],
)
def test_dhcpv6_behind_relays_tells_of_the_client(duid, more, mac):
    """Its MAC is in its DUID, or told by its relay; where it is in neither, the relay gets no name of its client."""
    raw = bytes(DHCP6_Solicit(trid=1) / DHCP6OptClientFQDN(fqdn="desk-4.veldhaven.example"))
    message = relayed(relayed(raw + struct.pack("!HH", 1, len(duid)) + duid, more))
    wanted = ([Trait("host_name", "desk-4.veldhaven.example")], mac, (0, 0)) if mac else NOTHING
    assert dhcp6.read(message) == wanted


def test_relays_without_end_are_given_up():
    """More relays than the protocol allows, or one that ends within its header, say nothing."""
    message = bytes(DHCP6_Solicit(trid=1) / DHCP6OptClientFQDN(fqdn="a.example"))
    for _ in range(9):
        message = relayed(message, struct.pack("!HHH", 79, 8, 1) + MAC.to_bytes(6))
    assert dhcp6.read(message) == dhcp6.read(message[:20]) == NOTHING


def test_multicast_dns_tells_host_service_and_model():
    """A, SRV and TXT records of an answer."""
    records = [
        DNSRR(rrname="lamp.local", type="A", rdata="10.0.0.5", ttl=120),
        DNSRRSRV(rrname="Lamp._hap._tcp.local", port=80, target="lamp.local"),
        DNSRR(rrname="Lamp._hap._tcp.local", type="TXT", rdata=[b"md=LWB010", b"pv=1.0"]),
    ]
    raw = bytes(DNS(qr=1, aa=1, qd=[], an=records))
    assert mdns.read(raw).traits == [
        Trait("host_name", "lamp.local"),
        Trait("service", "_hap._tcp"),
        Trait("model", "LWB010"),
    ]
    assert mdns.read(bytes(DNS(qr=0))).traits == []


def test_ssdp_and_web_tell_software():
    """Server of a notice, User-Agent of a request, Server of an answer, the greeting of SSH."""
    assert (
        web.read_ssdp(b"NOTIFY * HTTP/1.1\r\nSERVER: Linux/3.4 UPnP/1.0 Hue/1.0\r\n\r\n")
        .traits[0]
        .value.startswith("Linux")
    )
    assert web.read_tcp(b"GET / HTTP/1.1\r\nUser-Agent: cam/2\r\n\r\n").traits == [Trait("software", "cam/2")]
    assert web.read_tcp(b"HTTP/1.1 200 OK\r\nServer: App-webs/\r\n\r\n").traits == [Trait("software", "App-webs/")]
    assert web.read_tcp(b"SSH-2.0-dropbear_2019.78\r\n").traits == [Trait("software", "SSH-2.0-dropbear_2019.78")]
    assert web.read_tcp(b"GET / HTTP/1.1\r\n\r\nUser-Agent: body\r\n").traits == []


def test_an_lldp_frame_tells_who_sent_it():
    """Name, description, enabled roles, management address, and the inventory of LLDP-MED."""

    def tlv(kind: int, value: bytes) -> bytes:
        return struct.pack("!H", kind << 9 | len(value)) + value

    unit = tlv(1, b"\x04" + MAC_BYTES) + tlv(2, b"\x07p1") + tlv(3, b"\0\x78") + tlv(5, b"sw-01") + tlv(6, b"Moxa EDS")
    unit += (
        tlv(7, struct.pack("!HH", 0x14, 0x14))
        + tlv(8, b"\x05\x01\x0a\x14\x00\xfe")
        + tlv(127, b"\x00\x12\xbb\x0aEDS-510")
    )
    assert LLDPDU(unit + tlv(0, b"")).getlayer(1) is not None  # scapy takes it for LLDP too
    facts = hearing(Wire(ether(unit + tlv(0, b""), 0x88CC, src=CAM, tags=[(0x8100, 7)]), 5)).take()
    assert {(one.kind, one.value) for one in facts} == {
        ("host_name", "sw-01"), ("software", "Moxa EDS"), ("role", "bridge, router"), ("model", "EDS-510"),
    }  # fmt: skip
    assert {(one.mac, one.address, one.vlan, one.first_ns) for one in facts} == {
        (MAC, address_words("10.20.0.254"), 7, 5)
    }


def test_a_fact_has_the_first_and_last_time_it_was_heard():
    """Heard twice is one fact; heard again after it was taken it is given again."""
    devices = hearing(dhcp_frame(b"cam", 1), dhcp_frame(b"cam", 9))
    first = {one.kind: one for one in devices.take()}
    assert (first["host_name"].first_ns, first["host_name"].last_ns) == (SECOND_NS, 9 * SECOND_NS)
    assert devices.take() == []
    devices.hear(decode(frames(dhcp_frame(b"cam", 20))))
    assert {one.last_ns for one in devices.take()} == {20 * SECOND_NS}


def test_only_our_own_are_listened_to():
    """What a remote server says of itself is no fact of a device; in a configured network it is one."""
    from build import tcp_ip

    banner = Wire(ether(tcp_ip("52.1.2.3:80", "10.0.0.5:4000", "PA", b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n")))
    assert hearing(banner).take() == []
    assert [one.value for one in hearing(banner, networks=("52.1.0.0/16",)).take()] == ["nginx"]


def test_a_million_names_stay_few_and_are_counted():
    """One sender keeps MOST_VALUES names, and is read MOST_READ times an hour; the rest is refused, counted."""
    wires = [dhcp_frame(b"n%d" % number) for number in range(MOST_READ + 10)]
    devices = hearing(*wires)
    assert len([one for one in devices.take() if one.kind == "host_name"]) == MOST_VALUES
    assert devices.refused == MOST_READ - MOST_VALUES + 10


def test_all_facts_together_are_bounded():
    """Beyond the limit nothing new is kept, whatever the MAC."""
    wires = [dhcp_frame(b"n", chaddr=struct.pack("!Q", 2 << 40 | n)[2:]) for n in range(40)]
    devices = hearing(*wires, limit=20)
    assert len(devices.take()) == 20
    assert devices.refused == 60


@given(cuts=st.sets(st.integers(1, 11)))
def test_any_cutting_into_batches_hears_the_same(cuts):
    """Twelve frames in any pieces give the same facts."""
    wires = [dhcp_frame(b"n%d" % (n % 3), n) for n in range(12)]
    cut = Devices(Sides().ours)
    at = [0, *sorted(cuts), 12]
    for low, high in pairwise(at):
        cut.hear(decode(frames(*wires[low:high])))
    assert sorted(cut.take()) == sorted(hearing(*wires).take())


@pytest.mark.parametrize("raw", [b"a\0b", b"\xff\xfe", b"\x1b[31m", "\u202egnp".encode(), b"x" * 5000, b"\0\0"])
def test_a_hostile_text_is_bounded_and_storable(raw):
    """No NUL, no lone surrogate, no end without bounds."""
    kept = text(raw)
    assert "\0" not in kept
    assert len(kept) <= MOST_CHARACTERS
    kept.encode("utf-8")


def test_the_registry_knows_blocks_of_every_size():
    """A /24, a /28 and a /36 have their makers; a /24 that is given away in blocks has none itself."""
    macs = [0x4419B60B6E11, 0x70B3D5001000, 0x70B3D5FFF123, 0x0055DA0F0000, 0x024213371337, 0]
    found = makers().names(np.array(macs, np.uint64))
    assert found[0] == "Hangzhou Hikvision Digital Technology Co.,Ltd."
    assert found[1] == "SOREDI touch systems GmbH"
    assert all(name != "IEEE Registration Authority" for name in found)
    assert found[4] == ""


def test_a_file_that_is_none_of_ours_is_refused():
    """Wrong magic, or cut."""
    for content in (b"", b"EgrWoui1", b"x" * 100, b"EgrWoui1" + struct.pack("<4Q", 9, 9, 9, 9)):
        with pytest.raises(ValueError, match="makers"):
            Makers(content)


def test_a_made_up_mac_is_said():
    """The bit of local administration, but not of a group address."""
    assert made_up(0x024213371337)
    assert not made_up(MAC)
    assert not made_up(0x3333000000FB)
    assert not made_up(0x02608C000001, "3COM")  # an old block with that bit
    assert made_up(0xDAA119000001, "Google, Inc.")  # a Company ID, from which Android makes up MACs


@pytest.mark.parametrize(
    ("registered", "seat"),
    [
        ("Hangzhou Hikvision Digital Technology Co.,Ltd.", "CN"),
        ("Zhejiang Dahua Technology Co., Ltd.", "CN"),
        ("Hisilicon Technologies Co., Ltd", "CN"),
        ("Huawei Technologies Co., Ltd.", "CN"),
        ("Lenovo", "HK"),
        ("Hewlett Packard Enterprise", "US"),
        ("Dell Inc.", "US"),
        ("Cisco Systems Inc", "US"),
        ("Signify B.V.", "NL"),
        ("Axis Communications AB", "JP"),
        ("Espressif Inc.", "CN"),
        ("Tuya Smart Inc.", "CN"),
        ("Teltonika Networks Uab", "LT"),
        ("Quectel Wireless Solutions Co.,Ltd.", "CN"),
        ("No Such Maker", None),
        ("", None),
    ],
)
def test_a_maker_leads_to_its_group(registered, seat):
    """The seat is that of the group; a maker that is not listed has none."""
    found = maker(groups(), registered)
    assert (found.group.seat if found else None) == seat


def test_one_mac_is_one_device_with_all_its_addresses():
    """Addresses over time, of both families, and facts told under any of them."""
    seen = [sighting("10.0.0.5", first=0, last=5), sighting("10.0.0.9", first=6, last=9), sighting("fe80::1", last=8)]
    found = units(seen, [fact("mdns", "host_name", "cam.local", "10.0.0.5")])
    assert [(unit.mac, unit.addresses) for unit in found] == [(CAM, ["10.0.0.9", "fe80::1", "10.0.0.5"])]
    assert list(how(found[0])) == ["MAC", "mdns"]
    assert (found[0].first_ns, found[0].last_ns) == (0, 9)


def test_a_router_swallows_nobody():
    """Addresses of different subnets at one time behind one MAC are devices of their own; the router is one more."""
    seen = [sighting("10.0.1.5"), sighting("10.0.2.5"), sighting("10.0.3.5", SPEAKER)]
    told = [fact("lldp", "host_name", "rt-1"), fact("user-agent", "software", "app/1", "10.0.1.5")]
    found = {(unit.mac, *unit.addresses): unit for unit in units(seen, told)}
    assert set(found) == {("", "10.0.1.5"), ("", "10.0.2.5"), (SPEAKER, "10.0.3.5"), (CAM,)}
    assert found["", "10.0.1.5"].behind == CAM
    assert found["", "10.0.1.5"].told("software") == ["app/1"]
    assert found[(CAM,)].router


def test_an_address_behind_a_router_that_dhcp_gave_to_a_mac_is_that_device():
    """The lease says whose address it is."""
    seen = [sighting("10.0.1.5"), sighting("10.0.2.5")]
    found = units(seen, [fact("dhcp", "address", "10.0.1.5", "10.0.1.5", SPEAKER)])
    assert {(unit.mac, *unit.addresses) for unit in found} == {(SPEAKER, "10.0.1.5"), ("", "10.0.2.5"), (CAM,)}


def test_addresses_that_dhcp_gave_to_one_mac_make_no_router():
    """A laptop that goes back and forth between two subnets is one device, where its leases were heard."""
    seen = [sighting("10.0.1.5"), sighting("10.0.2.5")]
    leases = [fact("dhcp", "address", ip, ip) for ip in ("10.0.1.5", "10.0.2.5")]
    assert [(unit.mac, unit.before, unit.addresses) for unit in units(seen, leases)] == [
        (CAM, False, ["10.0.1.5", "10.0.2.5"])
    ]


def test_an_address_from_the_factory_makes_no_router():
    """A camera that asks for an address and still speaks from its old one is one device; a third makes a router."""
    seen = [sighting("0.0.0.0"), sighting("192.168.0.20"), sighting("10.0.1.5")]
    assert [(unit.mac, unit.router, set(unit.addresses)) for unit in units(seen, [])] == [
        (CAM, False, {"192.168.0.20", "10.0.1.5"})
    ]
    assert routers(seen[1:]) == {CAM}
    assert routers([*seen, sighting("10.0.1.6")]) == {CAM}


def test_addresses_of_the_link_are_the_router_s_own():
    """What nobody forwards was sent by the MAC itself: no device without an address lies behind a router."""
    own = [sighting("0.0.0.0"), sighting("fe80::1"), sighting("169.254.7.7")]
    found = units([*own, sighting("10.0.1.5"), sighting("10.0.2.5"), sighting("10.0.3.5")], [])
    router = next(unit for unit in found if unit.router)
    assert {row["ip"] for row in router.sightings} == {"0.0.0.0", "fe80::1", "169.254.7.7"}
    assert {tuple(unit.addresses) for unit in found if unit.behind} == {("10.0.1.5",), ("10.0.2.5",), ("10.0.3.5",)}


def test_what_nobody_said_is_no_device():
    """A fact without MAC and address belongs to none."""
    assert units([], [fact("lldp", "host_name", "x", mac="")]) == []


def test_a_device_that_moves_is_no_router():
    """Two subnets one after the other are one device, so is one with link-local and two families."""
    assert routers([sighting("10.0.1.5", first=0, last=4), sighting("10.0.2.5", first=5, last=9)]) == set()
    assert (
        routers([sighting("10.0.1.5"), sighting("169.254.3.4"), sighting("fe80::1"), sighting("2001:db8::1")]) == set()
    )
    assert routers([sighting(f"10.0.1.{n}") for n in range(MOST_ADDRESSES + 1)]) == {CAM}


def test_without_a_mac_an_address_on_another_vlan_is_another_device():
    """The same private address on two VLANs is two devices."""
    assert len(units([sighting("10.0.0.5", "", vlan=1), sighting("10.0.0.5", "", vlan=2)], [])) == 2
