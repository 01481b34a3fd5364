"""What else a mirrored port shows: the link layer's own talk, multicast, DHCP, a video stream, and a few oddities.

In: the city. Out: packets on its wire. Never: a packet that leaves the segment.
"""

from __future__ import annotations

import struct

from build_talks import HOUR_S, LOCAL_HALF_NS, City, chance, ping
from build_wire import MS_NS, SECOND_NS, Connection, End, Path, link
from city_scenario import DEVICES, RESOLVER, ROUTER
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dns import DNS, DNSRR, DNSRRSRV
from scapy.layers.inet import IP, UDP, IPOption_Router_Alert, fragment
from scapy.layers.inet6 import (
    ICMPv6MLDMultAddrRec,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import ARP, LLC, STP, Dot3, Ether
from scapy.packet import Raw
from scapy.utils import checksum

SWITCH = "00:90:e8:10:20:fe"
EVERYONE = "ff:ff:ff:ff:ff:ff"
GROUPS = {
    "cam-market": End("224.0.0.251", "01:00:5e:00:00:fb"),
    "cam-station": End("239.255.255.250", "01:00:5e:7f:ff:fa"),
}
"""The multicast group each of two cameras speaks to, with its MAC (RFC 1112, section 6.4)."""
ICMPV6, IGMP = 58, 2
ROUTER_V6, METER_V6 = "fe80::d6ca:6dff:fe10:2001", "fe80::20f:93ff:fe64:d171"


def noise(city: City) -> None:
    """Add all of it."""
    for part in (_spanning_tree, _lldp, _arp, _multicast, _igmp, _dhcp, _neighbours, _video, _dump):
        part(city)
    path = Path(city.wire, city.device("recorder"), city.local("recorder", DEVICES["cam-quay"].ip))
    ping(path, 1234 * SECOND_NS, 5, MS_NS // 2, chance("ping"))


def _spanning_tree(city: City) -> None:
    """Say hello every 10 s (IEEE 802.1D), from the first instant of the hour to the last."""
    body = STP(
        rootid=4096,
        rootmac=SWITCH,
        bridgeid=4096,
        bridgemac=SWITCH,
        portid=0x8018,
        maxage=24,
        hellotime=10,
        fwddelay=15,
    )
    frame = Dot3(dst="01:80:c2:00:00:00", src=SWITCH, len=38) / LLC(dsap=0x42, ssap=0x42, ctrl=3) / body
    for at_s in range(0, HOUR_S + 1, 10):
        city.wire.other(at_s * SECOND_NS, frame, "llc")


def _lldp(city: City) -> None:
    """Let the switch name itself every 30 s (IEEE 802.1AB): chassis, port, time to live, system name."""
    chassis = b"\x04" + bytes.fromhex(SWITCH.replace(":", ""))
    values = {
        1: chassis,
        2: b"\x05Gi0/24",
        3: b"\0\x78",
        5: b"veld-sw-01",
        6: b"street cabinet, station square",
        0: b"",
    }
    body = b"".join(struct.pack(">H", kind << 9 | len(value)) + value for kind, value in values.items())
    frame = Ether(dst="01:80:c2:00:00:0e", src=SWITCH, type=0x88CC) / Raw(body)
    for at_s in range(7, HOUR_S, 30):
        city.wire.other(at_s * SECOND_NS + 314_159, frame, "lldp")


def _arp(city: City) -> None:
    """Let every IPv4 device ask for its router now and then (RFC 826)."""
    router = DEVICES[ROUTER]
    for name, row in DEVICES.items():
        dice = chance("arp", name)
        gateway = row.ip.rsplit(".", 1)[0] + ".1"
        for at_s in range(dice.randrange(2, 300), HOUR_S, 600) if name != ROUTER and ":" not in row.ip else ():
            at_ns = at_s * SECOND_NS + dice.randrange(SECOND_NS)
            ask = ARP(op=1, hwsrc=row.mac, psrc=row.ip, pdst=gateway)
            city.wire.other(at_ns, link(End("", row.mac), End("", EVERYONE), row.vlan) / ask, "arp")
            tell = ARP(op=2, hwsrc=router.mac, psrc=gateway, hwdst=row.mac, pdst=row.ip)
            head = link(End("", router.mac), End("", row.mac), row.vlan)
            city.wire.other(at_ns + 180_000, head / tell, "arp")


def _multicast(city: City) -> None:
    """Let the Axis camera announce itself over mDNS, the Hikvision one over SSDP, every 20 minutes."""
    for device, port, ttl, body in (("cam-market", 5353, 255, _mdns()), ("cam-station", 1900, 4, _ssdp())):
        src, dst = city.device(device), GROUPS[device]
        for at_s in range(5, HOUR_S, 1200):
            packet = IP(src=src.ip, dst=dst.ip, ttl=ttl, id=city.wire.identity(src.ip)) / UDP(sport=port, dport=port)
            at_ns = at_s * SECOND_NS + port * 1000
            city.wire.packet(at_ns, link(src, dst, src.vlan), packet / body, (src.ip, dst.ip, port, 17))


def _mdns() -> DNS:
    """Return an announcement of a camera (RFC 6762, section 8.3)."""
    kind, name = "_axis-video._tcp.local", "AXIS Q1656 - market._axis-video._tcp.local"
    pointer = DNSRR(rrname=kind, type="PTR", ttl=4500, rdata=name)
    service = DNSRRSRV(rrname=name, type="SRV", rclass=0x8001, ttl=120, port=80, target="axis-market.local")
    address = DNSRR(rrname="axis-market.local", type="A", rclass=0x8001, ttl=120, rdata=DEVICES["cam-market"].ip)
    return DNS(id=0, qr=1, aa=1, rd=0, qd=[], an=[pointer, service, address])


def _ssdp() -> Raw:
    """Return a notification of a root device (UPnP Device Architecture 1.1, section 1.2.2)."""
    where = "HOST: 239.255.255.250:1900\r\nLOCATION: http://10.20.110.11:49152/upnp.xml\r\nCACHE-CONTROL: max-age=1800"
    what = "NT: upnp:rootdevice\r\nNTS: ssdp:alive\r\nUSN: uuid:station::upnp:rootdevice"
    return Raw(f"NOTIFY * HTTP/1.1\r\n{where}\r\n{what}\r\n\r\n".encode())


def _igmp(city: City) -> None:
    """Let two cameras report their groups (RFC 2236): IPv4 with the router alert option (RFC 2113)."""
    for device, dst in GROUPS.items():
        src, head, address = city.device(device), b"\x16\0", bytes(map(int, dst.ip.split(".")))
        body = Raw(head + checksum(head + bytes(2) + address).to_bytes(2) + address)
        for at_s in (3, 1803):
            number, alert = city.wire.identity(src.ip), [IPOption_Router_Alert()]
            packet = IP(src=src.ip, dst=dst.ip, ttl=1, proto=IGMP, id=number, options=alert) / body
            city.wire.packet(at_s * SECOND_NS, link(src, dst, src.vlan), packet, (src.ip, dst.ip, 0, IGMP))


def _dhcp(city: City) -> None:
    """Let the park's tracker restart and ask for an address (RFC 2131): all four messages are broadcast."""
    server, row = DEVICES[RESOLVER], DEVICES["tracker-park"]
    hardware = bytes.fromhex(row.mac.replace(":", ""))
    given = [("server_id", server.ip), ("lease_time", 86_400), ("subnet_mask", "255.255.0.0"), ("router", "10.20.0.1")]
    asked = [("requested_addr", row.ip), ("server_id", server.ip), ("hostname", "tracker-park")]
    steps = (("discover", 1, asked[2:]), ("offer", 2, given), ("request", 1, asked), ("ack", 2, given))
    for turn, (kind, op, options) in enumerate(steps):
        src = End("0.0.0.0", row.mac) if op == 1 else End(server.ip, server.mac)
        bootp = BOOTP(op=op, xid=0x5EED0001, flags=0x8000, chaddr=hardware, yiaddr="0.0.0.0" if op == 1 else row.ip)
        ports = (68, 67) if op == 1 else (67, 68)
        packet = IP(src=src.ip, dst="255.255.255.255", id=city.wire.identity(src.ip)) / UDP(
            sport=ports[0], dport=ports[1]
        )
        packet = packet / bootp / DHCP(options=[("message-type", kind), *options, "end"])
        at_ns = 150 * SECOND_NS + turn * 40 * MS_NS
        city.wire.packet(at_ns, link(src, End("", EVERYONE), 0), packet, (src.ip, "255.255.255.255", ports[1], 17))


def _neighbours(city: City) -> None:
    """IPv6's own housekeeping (RFC 4861, RFC 3810), the listener report behind a hop-by-hop header."""
    meter, router = DEVICES["meter"], DEVICES[ROUTER]
    prefix = ICMPv6NDOptPrefixInfo(prefix="2a02:a450:7e1d::", prefixlen=64)
    advert = ICMPv6ND_RA() / ICMPv6NDOptSrcLLAddr(lladdr=router.mac) / prefix
    ask = ICMPv6ND_NS(tgt=ROUTER_V6) / ICMPv6NDOptSrcLLAddr(lladdr=meter.mac)
    tell = ICMPv6ND_NA(tgt=ROUTER_V6, R=1, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=router.mac)
    group = ICMPv6MLDMultAddrRec(rtype=4, dst="ff02::1:ff64:d171")
    report = IPv6ExtHdrHopByHop(options=[RouterAlert()]) / ICMPv6MLReport2(records=[group])
    up, down = End(METER_V6, meter.mac), End(ROUTER_V6, router.mac)
    everyone, listeners = End("ff02::1", "33:33:00:00:00:01"), End("ff02::16", "33:33:00:00:00:16")
    for turn, start_s in enumerate(range(9, HOUR_S, 600)):
        rows = [(down, everyone, advert), (up, down, ask), (down, up, tell)] + [(up, listeners, report)] * (turn == 0)
        for number, (src, dst, body) in enumerate(rows):
            # An answer belongs to the talk of the one who asked.
            key = (up.ip, down.ip, 0, ICMPV6) if dst is up else (src.ip, dst.ip, 0, ICMPV6)
            hops = 1 if dst is listeners else 255
            packet = IPv6(src=src.ip, dst=dst.ip, hlim=hops) / body
            city.wire.packet(start_s * SECOND_NS + number * MS_NS, link(src, dst, 0), packet, key, out=dst is not up)


def _video(city: City) -> None:
    """Fetch the Axis camera's analytics to the recorder over RTSP, interleaved (RFC 7826); it stays local.

    Two segments come merged by the sensor's network card, longer than what it keeps of a frame.
    """
    dice, address = chance("rtsp"), DEVICES["cam-market"].ip
    path = Path(city.wire, city.device("recorder"), city.local("recorder", address))
    stream = Connection(path, (40_554, 554), 33 * SECOND_NS, LOCAL_HALF_NS, dice)
    stream.open()
    for number, (verb, asked, told) in enumerate(_rtsp_steps(), 1):
        url = f"rtsp://{address}/axis-media/media.amp"
        stream.send(f"{verb} {url} RTSP/1.0\r\nCSeq: {number}\r\n{asked}\r\n".encode(), out=True)
        stream.send(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{told}".encode(), out=False)
    for number in range(85):
        merged = number in (20, 60)
        stream.send(_rtp(number, 3_900 if merged else 500 + dice.randrange(300)), out=False, merged=merged)
        stream.idle(40)
    stream.close("fin")


def _rtsp_steps() -> tuple[tuple[str, str, str], ...]:
    """Return each method with the headers of its request and of its answer."""
    sdp = "v=0\r\no=- 1 1 IN IP4 10.20.110.13\r\ns=market\r\nt=0 0\r\nm=application 0 RTP/AVP 98\r\n"
    sdp += "a=rtpmap:98 vnd.onvif.metadata/90000\r\n"
    described = f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n{sdp}"
    transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
    return (
        ("DESCRIBE", "", described),
        ("SETUP", transport, f"{transport}Session: 7\r\n\r\n"),
        ("PLAY", "Session: 7\r\n", "Session: 7\r\n\r\n"),
    )


def _rtp(number: int, size: int) -> bytes:
    """Return one interleaved RTP packet (RFC 3550) of ONVIF metadata, padded with spaces to ``size`` bytes."""
    text = f'<tt:Frame UtcTime="2026-11-02T08:{number * 2 // 3:02}:00Z"><tt:Object ObjectId="{number}"/></tt:Frame>'
    body = struct.pack(">BBHII", 0x80, 0x80 | 98, number, number * 90_000 * 40, 0xA515) + text.ljust(size).encode()
    return b"$\0" + struct.pack(">H", len(body)) + body


def _dump(city: City) -> None:
    """Send a status dump too long for one frame (RFC 791): one datagram of the traffic lights in three pieces."""
    src, dst = city.device("lights-east"), city.local("lights-east", DEVICES[RESOLVER].ip)
    body = b"<134>1 2026-11-02T08:33:20Z lights-east tlc - - - " + b" ".join(
        b"lane%02d=ok" % lane for lane in range(330)
    )
    whole = IP(src=src.ip, dst=dst.ip, id=city.wire.identity(src.ip)) / UDP(sport=40_514, dport=514) / Raw(body)
    for number, piece in enumerate(fragment(whole, fragsize=1480)):
        at_ns = 2000 * SECOND_NS + number * 120_000
        city.wire.packet(at_ns, link(src, dst, src.vlan), piece, (src.ip, dst.ip, 514, 17))
