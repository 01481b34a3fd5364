"""What the built packets say: names, the places behind them, and the messages that carry the names.

In: a number of remotes. Out: their addresses and four texts each. Never: a real conversation.

The prefixes are those of real clouds and carriers, so that the data files have something to say of them; the last are
listed nowhere. Only addresses and names are drawn, nothing is ever sent there.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import numpy as np
from numpy.typing import NDArray

PREFIXES_V4 = tuple(map(IPv4Network, (
    "3.120.0.0/14", "52.28.0.0/16", "52.16.0.0/15", "52.0.0.0/15",  # Amazon: Frankfurt twice, Dublin, Virginia
    "13.69.0.0/17", "20.50.0.0/16", "40.76.0.0/16",  # Microsoft: Amsterdam twice, Virginia
    "34.89.128.0/17", "35.190.0.0/17", "142.250.0.0/15",  # Google
    "104.16.0.0/13", "151.101.0.0/16", "23.32.0.0/11",  # Cloudflare, Fastly, Akamai: everywhere
    "47.88.0.0/16", "8.209.64.0/18", "101.132.0.0/15", "119.28.0.0/16", "43.131.0.0/18",  # Alibaba, Tencent
    "114.80.0.0/12", "221.130.0.0/15",  # China Telecom, China Mobile
    "88.198.0.0/16", "51.68.0.0/16", "80.128.0.0/11", "145.97.0.0/16", "193.190.0.0/15",  # Hetzner to Belnet: the EEA
    "133.11.0.0/16", "200.160.0.0/20", "212.227.0.0/16",  # Japan, Brazil, Germany
    "11.0.0.0/8", "57.0.0.0/8",  # hardly anything is known of these
)))  # fmt: skip
PREFIXES_V6 = tuple(map(IPv6Network, (
    "2a01:4f8::/32", "2a05:d014::/36", "2600:1f18::/36", "2606:4700::/32", "2a00:1450::/32", "2408:4000::/22",
    "2001:610::/32", "2400:cb00::/32",
)))  # fmt: skip
DOMAINS = (
    "iot.eu-central-1.amazonaws.com", "azure-devices.net", "googleapis.com", "a1.tuyaeu.com", "hik-connect.com",
    "easy4ipcloud.com", "aliyuncs.com", "qq.com", "cloudfront.net", "akamaiedge.net", "hetzner.cloud", "ovh.net",
    "gemeente.example", "wasserwerk.example", "ntp.example", "update.example", "telemetry.example", "tplinkcloud.com",
    "mi.com", "icloud.com", "fastly.net", "your-server.de", "surf.nl", "belnet.be",
)  # fmt: skip
QUIET_V4, QUIET_V6 = (20, 22, 23), (0, 6)
QUIET_DOMAINS = (10, 11, 12, 13, 14, 15, 16, 21, 22, 23)
"""Positions of what stands in the EEA in hands seated there, so that no rule has a word to say of it."""
MAPPED = 0xFFFF << 32

FILLER, QUERY, ANSWER, HELLO, REQUEST = range(5)


class Payloads:
    """The remotes: ``address`` (n, 2, 2) is high and low word by remote and by IPv4 or IPv6; so are the texts' lengths.

    ``length`` has shape (texts, n, 2), in bytes.
    """

    def __init__(self, random: np.random.Generator, count: int) -> None:
        self.address = np.array([_addresses(random, number) for number in range(count)], np.uint64)
        self._texts = [_texts(number, addresses) for number, addresses in enumerate(self.address.tolist())]
        lengths = [[[len(text) for text in family] for family in texts] for texts in self._texts]
        self.length: NDArray[Any] = np.array(lengths).transpose(2, 0, 1)

    def text(self, which: int, remote: int, *, ipv6: bool) -> bytes:
        """Return one text of a remote; DNS asks for the address of the family that is spoken."""
        return self._texts[remote][ipv6][which]


def quiet(count: int) -> list[NDArray[np.int64]]:
    """Return which of so many remotes are quiet, over IPv4 and over IPv6."""
    numbers = np.arange(count)
    named = np.isin(numbers % len(DOMAINS), QUIET_DOMAINS)
    families = ((PREFIXES_V4, QUIET_V4), (PREFIXES_V6, QUIET_V6))
    return [numbers[named & np.isin(numbers % len(prefixes), some)] for prefixes, some in families]


def _addresses(random: np.random.Generator, number: int) -> list[tuple[int, int]]:
    v4, v6 = PREFIXES_V4[number % len(PREFIXES_V4)], PREFIXES_V6[number % len(PREFIXES_V6)]
    host = int(random.integers(1, v4.num_addresses - 1))
    high = int(v6.network_address) >> 64 | int(random.integers(0, 1 << 16))
    return [(0, MAPPED | int(v4.network_address) + host), (high, number + 1)]


def _texts(number: int, addresses: list[list[int]]) -> list[tuple[bytes, ...]]:
    """Return the texts over IPv4, and those over IPv6."""
    name = f"n{number % 900}.{DOMAINS[number % len(DOMAINS)]}".encode()
    (_, low), (v6_high, v6_low) = addresses
    hello, request = _hello(name), b"GET /v1/state HTTP/1.1\r\nHost: %b\r\nAccept: */*\r\n\r\n" % name
    records = ((1, struct.pack("!I", low & 0xFFFFFFFF)), (28, struct.pack("!QQ", v6_high, v6_low)))
    return [(b"", _query(name, kind), _answer(name, kind, data), hello, request) for kind, data in records]


def _query(name: bytes, kind: int) -> bytes:
    """Return a standard query (RFC 1035, section 4.1)."""
    return struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + _question(name, kind)


def _answer(name: bytes, kind: int, data: bytes) -> bytes:
    """Return its answer with one address record, TTL 300 s."""
    record = struct.pack("!HHHIH", 0xC00C, kind, 1, 300, len(data)) + data
    return struct.pack("!6H", 7, 0x8180, 1, 1, 0, 0) + _question(name, kind) + record


def _question(name: bytes, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label for label in name.split(b"."))
    return labels + b"\0" + struct.pack("!HH", kind, 1)


def _hello(name: bytes) -> bytes:
    """Return a TLS record with a ClientHello (RFC 8446, section 4.1.2) that asks for ``name`` (RFC 6066)."""
    server_name = _sized(2, b"\0" + _sized(2, name))
    extensions = _extension(0, server_name) + _extension(43, b"\x02\x03\x04") + _extension(21, bytes(200))
    suites = b"".join(struct.pack("!H", suite) for suite in (0x1301, 0x1302, 0x1303, 0xC02F, 0xC030))
    body = b"\x03\x03" + bytes(range(32)) + _sized(1, bytes(32)) + _sized(2, suites) + b"\x01\0" + _sized(2, extensions)
    return b"\x16\x03\x01" + _sized(2, b"\x01" + _sized(3, body))


def _extension(kind: int, body: bytes) -> bytes:
    return struct.pack("!H", kind) + _sized(2, body)


def _sized(length_bytes: int, body: bytes) -> bytes:
    return len(body).to_bytes(length_bytes, "big") + body
