"""What the devices of the demo say: names first, then TLS, MQTT, HTTP, time and pings, as the scenario's table has it.

In: the scenario. Out: packets on a wire. Never: chance without a seed; each talk has its own, so one can be changed
without moving the others.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from build_tls import client_finish, client_hello, sealed, server_flight
from build_wire import MS_NS, SECOND_NS, Connection, End, Path, Wire
from city_scenario import DEVICES, REMOTES, RESOLVER, RESOLVER_V6, ROUTER, Remote, Talk
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP
from scapy.packet import Raw

BEGIN_S = 1_793_606_400
"""2026-11-02 08:00:00 UTC."""
HOUR_S = 3600
NAME_LIFE_S = 900
TIME_EVERY_S = 1024
NTP_EPOCH_S = 2_208_988_800  # RFC 5905, section 6: seconds from 1900 to 1970
LOCAL_HALF_NS = MS_NS // 5


def chance(*parts: object) -> random.Random:
    """Return seeded chance of its own for this part of the capture."""
    return random.Random("/".join(["veldhaven", *map(str, parts)]))


@dataclass
class City:
    """The segment while it is being built."""

    wire: Wire = field(default_factory=Wire)
    known: dict[tuple[str, str], int] = field(default_factory=dict)
    """When (ns) a device or the resolver last learned a name."""

    def device(self, name: str) -> End:
        """Return a device's end of a path."""
        row = DEVICES[name]
        return End(row.ip, row.mac, row.vlan)

    def outside(self, address: str) -> End:
        """Return a remote's end: behind the router, some hops away."""
        return End(address, DEVICES[ROUTER].mac, ttl=chance("hops", address).randrange(46, 58))

    def local(self, device: str, address: str) -> End:
        """Return a neighbour's end as this device sees it: behind the router where the VLAN is another."""
        row = next((row for row in DEVICES.values() if row.ip == address), DEVICES[RESOLVER])
        same = row.vlan == DEVICES[device].vlan
        return End(address, row.mac if same else DEVICES[ROUTER].mac, row.vlan, 64 if same else 63)

    def path(self, device: str, remote: str) -> Path:
        """Return the path from a device to a remote of the table."""
        return Path(self.wire, self.device(device), self.outside(REMOTES[remote].ip))


def talk(city: City, row: Talk) -> None:
    """Play one row of the table: resolve the name, then connect, each time it starts."""
    for turn, start_s in enumerate(row.starts_s):
        dice = chance(row.device, row.remote, row.port, turn)
        at_ns = start_s * SECOND_NS + dice.randrange(400 * MS_NS)
        at_ns = resolve(city, row.device, REMOTES[row.remote], at_ns)
        STYLES[row.style](city, row, at_ns, dice)


def resolve(city: City, device: str, remote: Remote, at_ns: int) -> int:
    """Ask the device's resolver for the remote's name unless it is still known; return when the answer is there."""
    learned_ns = city.known.get((device, remote.name), at_ns + 1)
    if not remote.name or learned_ns <= at_ns < learned_ns + NAME_LIFE_S * SECOND_NS:
        return at_ns
    city.known[device, remote.name] = at_ns
    dice = chance("dns", device, remote.name, at_ns)
    server = DEVICES[device].resolver
    if device != RESOLVER and server in (DEVICES[RESOLVER].ip, RESOLVER_V6):
        path = Path(city.wire, city.device(device), city.local(device, server))
        return _ask(path, remote, at_ns, dice, upstream=lambda ns: resolve(city, RESOLVER, remote, ns))
    path = Path(city.wire, city.device(device), city.outside(server))
    return _ask(path, remote, at_ns, dice, upstream=lambda ns: ns + dice.randrange(9 * MS_NS, 16 * MS_NS))


def _ask(path: Path, remote: Remote, at_ns: int, dice: random.Random, upstream: Callable[[int], int]) -> int:
    """Send a query and its answer, with what the server does in between; return the time after the answer."""
    ports, number = (dice.randrange(32_768, 61_000), 53), dice.getrandbits(16)
    question = DNSQR(qname=remote.name, qtype="AAAA" if ":" in remote.ip else "A")
    path.udp(at_ns, ports, DNS(id=number, rd=1, qd=question), out=True)
    at_ns = upstream(at_ns + LOCAL_HALF_NS) + dice.randrange(200_000, 900_000)
    answer = DNS(id=number, qr=1, rd=1, ra=1, qd=question, an=_answers(remote))
    path.udp(at_ns, ports, answer, out=False)
    return at_ns + dice.randrange(1 * MS_NS, 5 * MS_NS)


def _answers(remote: Remote) -> list[DNSRR]:
    kind = "AAAA" if ":" in remote.ip else "A"
    last = DNSRR(rrname=remote.alias or remote.name, type=kind, ttl=NAME_LIFE_S, rdata=remote.ip)
    if not remote.alias:
        return [last]
    return [DNSRR(rrname=remote.name, type="CNAME", ttl=NAME_LIFE_S, rdata=remote.alias), last]


def clocks(city: City) -> None:
    """Let every device with a time server ask it (RFC 5905)."""
    servers = {remote.name: remote for remote in REMOTES.values()}
    for name, row in DEVICES.items():
        dice = chance("ntp", name)
        for start_s in range(dice.randrange(5, 400), HOUR_S - 60, TIME_EVERY_S) if row.ntp else ():
            remote = servers[row.ntp]
            at_ns = resolve(city, name, remote, start_s * SECOND_NS + dice.randrange(SECOND_NS))
            _ask_time(Path(city.wire, city.device(name), city.outside(remote.ip)), at_ns, dice)


def _ask_time(path: Path, at_ns: int, dice: random.Random) -> None:
    half_ns, ports = dice.randrange(3 * MS_NS, 9 * MS_NS), (dice.randrange(32_768, 61_000), 123)
    sent, heard = _stamp(at_ns), _stamp(at_ns + half_ns)
    path.udp(at_ns, ports, struct.pack(">BBbb11I", 0x23, 0, 6, -20, *[0] * 9, *sent), out=True)
    reply = struct.pack(
        ">BBbbII4s8I", 0x24, 1, 6, -20, 0, 22, b"PPS\0", *_stamp(at_ns - 9 * SECOND_NS), *sent, *heard, *heard
    )
    path.udp(at_ns + 2 * half_ns, ports, reply, out=False)


def _stamp(at_ns: int) -> tuple[int, int]:
    """Return an NTP time stamp: seconds since 1900 and their 2^-32 fractions."""
    seconds, rest_ns = divmod(at_ns, SECOND_NS)
    return BEGIN_S + NTP_EPOCH_S + seconds, (rest_ns << 32) // SECOND_NS


def connection(city: City, row: Talk, at_ns: int, dice: random.Random) -> Connection:
    """Return a connection for a row of the table, not yet opened."""
    ports = (dice.randrange(32_768, 61_000), row.port)
    far = {"SG": 85, "CN": 120, "": 6}.get(REMOTES[row.remote].country, 9)
    return Connection(city.path(row.device, row.remote), ports, at_ns, far * MS_NS, dice)


def _tls(city: City, row: Talk, at_ns: int, dice: random.Random) -> None:
    link = connection(city, row, at_ns, dice)
    hello = client_hello(REMOTES[row.remote].name, dice, ("http/1.1",) if row.port == 443 else ())
    link.open()
    link.send(hello, out=True)
    link.send(server_flight(hello, dice), out=False)
    link.send(client_finish(dice), out=True)
    for beat in range(row.beats):
        link.send(sealed(row.up_bytes + dice.randrange(64), dice), out=True)
        link.send(sealed(row.down_bytes + dice.randrange(32), dice), out=False)
        if beat < row.beats - 1:
            link.idle(row.every_s)
    link.close(row.close)


def _mqtt(city: City, row: Talk, at_ns: int, dice: random.Random) -> None:
    """MQTT 3.1.1 in clear: hashed MAC addresses of passing phones (OASIS MQTT 3.1.1, chapter 3)."""
    link = connection(city, row, at_ns, dice)
    link.open()
    link.send(
        _mqtt_packet(0x10, _text("MQTT") + b"\x04\xc2\x00\x3c" + _text("vt-51") + _text("veld") + _text("demo")),
        out=True,
    )
    link.send(b"\x20\x02\x00\x00", out=False)
    for beat in range(row.beats):
        rows = ",".join(
            f'{{"h":"{dice.randbytes(10).hex()}","r":-{dice.randrange(40, 90)}}}' for _ in range(row.up_bytes // 36)
        )
        link.send(
            _mqtt_packet(0x30, _text("veldhaven/main/seen") + f'{{"n":{beat},"seen":[{rows}]}}'.encode()), out=True
        )
        if beat % 4 == 3:
            link.send(b"\xc0\x00", out=True)
            link.send(b"\xd0\x00", out=False)
        link.idle(row.every_s)
    link.send(b"\xe0\x00", out=True)
    link.close(row.close)


def _text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


def _mqtt_packet(kind: int, body: bytes) -> bytes:
    size, head = len(body), bytearray([kind])
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(head) + bytes([size]) + body


def _http(city: City, row: Talk, at_ns: int, dice: random.Random) -> None:
    """One GET in clear (RFC 9112)."""
    link = connection(city, row, at_ns, dice)
    host, body = REMOTES[row.remote].name, dice.randbytes(row.down_bytes)
    link.open()
    link.send(
        f"GET /tlc/manifest.bin HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tlc-update/2.4\r\n\r\n".encode(), out=True
    )
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    link.send(head.encode() + body, out=False)
    link.close(row.close)


def _dead(city: City, row: Talk, at_ns: int, dice: random.Random) -> None:
    connection(city, row, at_ns, dice).attempt()


def _ping(city: City, row: Talk, at_ns: int, dice: random.Random) -> None:
    ping(city.path(row.device, row.remote), at_ns, row.beats, 6 * MS_NS, dice)


def ping(path: Path, at_ns: int, times: int, trip_ns: int, dice: random.Random) -> None:
    """Echo requests and their replies, one a second (RFC 792)."""
    key, number = (path.device.ip, path.remote.ip, 0, 1), dice.getrandbits(16)
    for turn in range(1, times + 1):
        body = Raw(bytes(range(8, 64)))
        path.send(at_ns, ICMP(type=8, id=number, seq=turn) / body, key, out=True)
        path.send(at_ns + trip_ns, ICMP(type=0, id=number, seq=turn) / body, key, out=False)
        at_ns += SECOND_NS


STYLES = {"tls": _tls, "mqtt": _mqtt, "http": _http, "dead": _dead, "ping": _ping}
