"""The demo segment as a table: who is on it, whom each device talks to, and what the verdict must be.

In: nothing. Out: plain values, written by hand. Never: a packet, or an answer taken from the program under test.

The town of Veldhaven does not exist. The remote hosts are plausible and their addresses are real: each was looked up
in the project's own data files (`build_city.py --check` does it again), so that place and owner are those of the world.
Names below `veldhaven.example` stand for the town's own services (RFC 2606).
"""

from __future__ import annotations

from typing import NamedTuple

TITLE = "An hour on a town's street network"
STORY = """\
Veldhaven, a town that does not exist, runs its streets on one network: cameras (VLAN 110), traffic lights (120),
street lighting (130), parking and payment (140), and a few things that nobody put in a VLAN. The switch mirrors its
trunk to a sensor for one hour, on Monday 2 November 2026 from 08:00 UTC.

Much of it is as the town was told. The traffic lights report to a KPN data centre, the lighting gateway to Hetzner,
the meters to SURF, over IPv6. Some of it is in Europe and still not in European hands: a Hikvision camera keeps a
tunnel open to Hik-Connect, which runs on Amazon in Ireland; another maker's camera does the same in Frankfurt; the
recorder keeps its archive in Azure West Europe; the pay station settles through Google in the Netherlands. A table of
addresses would call all of these Dutch, Irish or German, or American. Each is only half the answer.

Some of it leaves. The number-plate camera at the ring road stores its pictures with Alibaba in Singapore, a lighting
controller reports to Huawei Cloud there, the information kiosk sends its usage to Baidu in China and loads its map from
there, and the lamp-post sensors report to London, which is outside the EEA. The wifi tracker in the main street is the
one to worry about: it publishes the hashed addresses of passing phones to Tencent in Singapore, over MQTT without
encryption.

And some of it cannot be told, which is a finding too. The kiosk asks Google's anycast resolver instead of the town's.
The e-gate uses a content network that is everywhere at once. The parking sensors talk to an Alibaba address that one
database puts in Frankfurt and another in the United States. The second tracker's supplier is a small company nobody
has on a list.

Around it is the noise of any mirrored port: ARP, LLDP, spanning tree, DHCP, multicast, neighbour discovery, a ping, a
status dump cut into fragments, an IGMP report with an IP option, two frames longer than the sensor kept, a connection
request that nobody answers, and a connection that is still open when the hour ends."""

ROUTER, RESOLVER = "router", "resolver"
NETWORKS = ("10.20.0.0/16", "2a02:a450:7e1d::/48")


class Device(NamedTuple):
    """Something on the segment."""

    ip: str
    mac: str
    vlan: int
    what: str
    resolver: str = "10.20.0.53"
    ntp: str = ""
    """Name of the time server it uses, "" for none."""


class Remote(NamedTuple):
    """A host outside: its address and name, and what must be said of it under the zone EEA."""

    ip: str
    name: str
    verdict: str
    country: str
    provider: str
    owner: str
    seat: str
    why: str
    alias: str = ""
    """Canonical name behind a CNAME, where the resolver gives one."""


class Talk(NamedTuple):
    """What a device does with a remote: ``style`` is tls, mqtt, http, dead (no answer) or ping."""

    device: str
    remote: str
    style: str
    port: int
    starts_s: tuple[int, ...]
    """When a connection opens, in seconds from the beginning."""
    beats: int
    """Exchanges in each connection."""
    every_s: float
    up_bytes: int
    """Application bytes out in each exchange."""
    down_bytes: int
    close: str = "fin"
    """How a connection ends: fin, rst, or open where it outlives the hour."""


V6 = "2a02:a450:7e1d"
DEVICES = {
    ROUTER: Device("10.20.0.1", "d4:ca:6d:10:20:01", 0, "router and default gateway", ""),
    RESOLVER: Device("10.20.0.53", "f4:8e:38:10:20:53", 0, "the town's resolver and DHCP server", "195.121.1.34"),
    "cam-station": Device(
        "10.20.110.11", "44:19:b6:0b:6e:11", 110, "Hikvision camera, station square", ntp="ntp1.surf.nl"
    ),
    "cam-ring": Device("10.20.110.12", "44:19:b6:0b:6e:12", 110, "Hikvision number-plate camera, ring road"),
    "cam-market": Device("10.20.110.13", "ac:cc:8e:41:07:13", 110, "Axis camera, market", ntp="time.veldhaven.example"),
    "cam-quay": Device("10.20.110.14", "3c:ef:8c:5d:22:14", 110, "Dahua camera, quay"),
    "recorder": Device("10.20.110.2", "f4:8e:38:10:11:02", 110, "video recorder", ntp="ntp1.surf.nl"),
    "lights-east": Device(
        "10.20.120.21", "00:90:e8:2c:71:21", 120, "traffic lights, eastern crossing", ntp="time.veldhaven.example"
    ),
    "lights-west": Device("10.20.120.22", "00:1e:42:33:90:22", 120, "traffic lights behind a Teltonika router"),
    "lamps-old": Device("10.20.130.31", "00:17:88:6a:4f:31", 130, "Signify street-light controller"),
    "lamps-new": Device("10.20.130.32", "00:e0:fc:18:55:32", 130, "Huawei street-light controller"),
    "lamps-gate": Device("10.20.130.33", "00:90:e8:2c:71:33", 130, "street-light gateway", ntp="ntp1.surf.nl"),
    "lamp-sensors": Device("10.20.130.34", "00:d0:c9:77:3e:34", 130, "lamp-post sensors, harbour"),
    "pay-station": Device("10.20.140.41", "00:d0:c9:77:3e:41", 140, "parking pay station"),
    "parking": Device("10.20.140.42", "24:e1:24:90:13:42", 140, "Milesight gateway of the parking sensors"),
    "kiosk": Device("10.20.140.43", "b8:ae:ed:21:a4:43", 140, "information kiosk", "8.8.8.8"),
    "tracker-main": Device("10.20.0.51", "24:0a:c4:7f:02:51", 0, "wifi tracker, main street"),
    "tracker-park": Device("10.20.0.52", "24:0a:c4:7f:02:52", 0, "wifi tracker, park", ntp="nl.pool.ntp.org"),
    "e-gate": Device("10.20.0.61", "00:0c:ab:30:48:61", 0, "e-gate of the town hall"),
    "meter": Device(f"{V6}::71", "00:0f:93:64:d1:71", 0, "electricity meter concentrator", f"{V6}::53", "ntp.surf.nl"),
}
RESOLVER_V6 = f"{V6}::53"

IN, OWN, OUT, UNKNOWN = "IN", "OWN", "OUT", "UNKNOWN"
US, CN = "US", "CN"
REMOTES = {
    "hik-connect": Remote(
        "52.16.120.34", "ieu.hik-connect.com", OWN, "IE", "Amazon", "Hikvision", CN,
        "AWS eu-west-1 is in Ireland; the name says whose service it is", "hik-ieu-1417.eu-west-1.elb.amazonaws.com",
    ),
    "easy4ip": Remote(
        "3.121.60.77", "www.easy4ipcloud.com", OWN, "DE", "Amazon", "Dahua", CN,
        "AWS eu-central-1 is in Germany; the name says whose service it is",
    ),
    "archive": Remote(
        "20.50.130.10", "veldhavenvms.blob.core.windows.net", OWN, "NL", "Microsoft", "Microsoft", US,
        "Azure westeurope is in the Netherlands, though one database says US",
    ),
    "azure-hub": Remote(
        "13.69.100.10", "veldhaven-lamps.azure-devices.net", OWN, "NL", "Microsoft", "Microsoft", US,
        "Azure westeurope is in the Netherlands, though one database says US",
    ),
    "aws-iot": Remote(
        "18.197.44.12", "a2k9x1vd3h-ats.iot.eu-central-1.amazonaws.com", OWN, "DE", "Amazon", "Amazon", US,
        "AWS eu-central-1 is in Germany",
    ),
    "payments": Remote(
        "34.90.117.46", "pay.veldhaven.example", OWN, "NL", "Google", "Google", US,
        "GCP europe-west4 is in the Netherlands"
    ),
    "plates": Remote(
        "8.219.160.41", "veld-anpr.oss-ap-southeast-1.aliyuncs.com", OUT, "SG", "Alibaba", "Alibaba", CN,
        "both databases say Singapore",
    ),
    "huawei-iot": Remote(
        "119.8.170.23", "iot-mqtts.ap-southeast-3.myhuaweicloud.com", OUT, "SG", "Huawei", "Huawei", CN,
        "both databases say Singapore; the AS is registered in Hong Kong",
    ),
    "baidu-map": Remote(
        "180.76.150.20", "api.map.baidu.com", OUT, "CN", "Baidu", "Baidu", CN, "both databases say China"
    ),
    "crowd": Remote(
        "43.156.77.18", "crowd.veldhaven.example", OUT, "SG", "Tencent", "Tencent", CN,
        "both databases say Singapore; the name is the town's own, so the AS says whose hands it is in",
    ),
    "london": Remote(
        "3.8.50.12", "lamps.veldhaven.example", OUT, "GB", "Amazon", "Amazon", US,
        "AWS eu-west-2 is in London: outside the EEA, inside EEA+adequacy",
    ),
    "kpn-traffic": Remote(
        "145.53.12.40", "traffic.veldhaven.example", IN, "NL", "KPN", "KPN", "NL", "both databases say the Netherlands"
    ),
    "kpn-update": Remote(
        "145.53.88.17", "update.veldhaven.example", IN, "NL", "KPN", "KPN", "NL",
        "both databases say the Netherlands; in clear, but it stays in the zone",
    ),
    "kpn-dns": Remote("195.121.1.34", "", IN, "NL", "KPN", "KPN", "NL", "both databases say the Netherlands"),
    "hetzner": Remote(
        "88.198.61.140", "gateway.veldhaven.example", IN, "DE", "Hetzner", "Hetzner", "DE", "both databases say Germany"
    ),
    "kpn-time": Remote(
        "145.53.12.123", "time.veldhaven.example", IN, "NL", "KPN", "KPN", "NL", "both databases say the Netherlands"
    ),
    "surf-time": Remote(
        "192.87.106.2", "ntp1.surf.nl", IN, "NL", "SURF", "SURF", "NL", "both databases say the Netherlands"
    ),
    "surf-time6": Remote(
        "2001:610:0:800d::2", "ntp.surf.nl", IN, "NL", "SURF", "SURF", "NL", "both databases say the Netherlands"
    ),
    "surf-meter": Remote(
        "2001:610:188:410::44", "meters.veldhaven.example", IN, "NL", "SURF", "SURF", "NL",
        "both databases say the Netherlands",
    ),
    "pool": Remote(
        "217.198.219.102", "nl.pool.ntp.org", UNKNOWN, "DK", "", "", "",
        "both databases say Denmark, but the owner is on no list",
    ),
    "supplier": Remote(
        "178.215.228.24", "ingest.veldhaven.example", UNKNOWN, "DE", "", "", "",
        "both databases say Germany, but the owner is on no list",
    ),
    "old-gate": Remote(
        "178.215.228.77", "egate-old.veldhaven.example", UNKNOWN, "DE", "", "", "",
        "both databases say Germany, but the owner is on no list; it never answers",
    ),
    "disputed": Remote(
        "47.254.186.23", "iot-as-mqtt.eu-central-1.aliyuncs.com", UNKNOWN, "", "Alibaba", "Alibaba", CN,
        "disputed: one database says Germany, the other the United States",
    ),
    "edge": Remote(
        "13.32.121.58", "d3k8v1mq9x2l7.cloudfront.net", UNKNOWN, "", "Amazon", "Amazon", US,
        "an edge of a content network is in no single place",
    ),
    "google-dns": Remote("8.8.8.8", "", UNKNOWN, "", "Google", "Google", US, "anycast: in no single place"),
    "quad9": Remote("9.9.9.9", "", UNKNOWN, "", "Quad9", "Quad9", "CH", "anycast: in no single place"),
}  # fmt: skip

TALKS = (
    Talk("cam-station", "hik-connect", "tls", 443, (21,), 35, 100, 620, 180, "rst"),
    Talk("cam-station", "hik-connect", "tls", 8666, (300, 2100), 1, 1, 42_000, 300),
    Talk("cam-ring", "plates", "tls", 443, tuple(range(95, 3500, 600)), 1, 1, 15_500, 420),
    Talk("cam-market", "kpn-traffic", "tls", 443, (400, 2200), 4, 5, 2_400, 600),
    Talk("cam-quay", "easy4ip", "tls", 443, (37,), 35, 100, 480, 210),
    Talk("recorder", "archive", "tls", 443, (600, 1800, 3000), 2, 2, 13_000, 350),
    Talk("lights-east", "kpn-traffic", "tls", 443, (15,), 39, 90, 340, 160),
    Talk("lights-east", "kpn-update", "http", 80, (912, 2712), 1, 1, 0, 7_000),
    Talk("lights-west", "aws-iot", "tls", 8883, (48,), 58, 60, 310, 90, "open"),
    Talk("lamps-old", "azure-hub", "tls", 8883, (62,), 38, 90, 260, 120),
    Talk("lamps-new", "huawei-iot", "tls", 8883, (75,), 44, 75, 1_500, 140),
    Talk("lamps-gate", "hetzner", "tls", 443, tuple(range(110, 3500, 900)), 2, 1, 1_100, 500),
    Talk("lamp-sensors", "london", "tls", 443, tuple(range(140, 3500, 900)), 1, 1, 6_200, 320),
    Talk("pay-station", "payments", "tls", 443, tuple(range(180, 3500, 800)), 2, 1.5, 900, 1_300),
    Talk("parking", "disputed", "tls", 8883, (83,), 58, 60, 410, 90),
    Talk("kiosk", "baidu-map", "tls", 443, (205, 1105, 2305, 3205), 1, 2, 5_200, 9_000),
    Talk("kiosk", "quad9", "ping", 0, (200, 1100, 2300, 3200), 4, 1, 56, 56),
    Talk("tracker-main", "crowd", "mqtt", 1883, (27, 927, 1827, 2727), 15, 57, 900, 0),
    Talk("tracker-park", "supplier", "tls", 443, tuple(range(160, 3500, 700)), 1, 1, 2_900, 200),
    Talk("e-gate", "edge", "tls", 443, (260, 1460, 2660), 1, 2, 500, 11_000),
    Talk("e-gate", "old-gate", "dead", 443, (275, 2675), 1, 1, 0, 0),
    Talk("meter", "surf-meter", "tls", 443, (130, 1030, 1930, 2830), 2, 2, 5_200, 400),
)
