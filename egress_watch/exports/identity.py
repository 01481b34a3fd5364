"""Names for events that stay the same however often an event is sent.

In: an event's own time and what makes it itself. Out: ids. Never: chance or a clock, so receivers can drop doubles.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b, sha1
from ipaddress import ip_address
from json import dumps
from uuid import UUID

MILLISECOND_NS = 1_000_000
TIME_BITS = 48
COMMUNITY_PROTOCOLS = (6, 17, 132)
"""TCP, UDP and SCTP: for the others the hash wants ICMP types, which no flow record keeps."""


def event_id(time_ns: int, identity: Iterable[str | int | None]) -> str:
    """Return a UUID shaped as version 7 (RFC 9562, section 5.7): milliseconds first, then 74 bits of a digest.

    RFC 9562 fills the 74 bits by chance; here they are a digest of ``identity``, so that one event has one id.
    A time before 1970 or beyond 48 bits of milliseconds is kept at that bound.
    """
    digest = number_of(dumps(list(identity)), 74)
    time_ms = min(max(time_ns // MILLISECOND_NS, 0), 2**TIME_BITS - 1)
    upper, lower = digest >> 62 & 0xFFF, digest & (2**62 - 1)
    return str(UUID(int=time_ms << 80 | 7 << 76 | upper << 64 | 2 << 62 | lower))


def number_of(text: str, bits: int) -> int:
    """Return a digest of a text as a whole number of so many bits, for formats whose ids are numbers."""
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()) & ((1 << bits) - 1)


def community_id(protocol: int, one: tuple[str, int], other: tuple[str, int]) -> str | None:
    """Return the Community ID of a connection (specification of Corelight, version 1, seed 0), or None.

    Both directions give the same id, so flows can be joined with what Zeek or Suricata saw of them. ``one`` and
    ``other`` are address and port. None for protocols without ports.
    """
    if protocol not in COMMUNITY_PROTOCOLS:
        return None
    (low, low_port), (high, high_port) = sorted(((packed(one[0]), one[1]), (packed(other[0]), other[1])))
    ports = low_port.to_bytes(2) + high_port.to_bytes(2)
    seed = b"\0\0"
    digest = sha1(seed + low + high + bytes((protocol, 0)) + ports, usedforsecurity=False).digest()
    return "1:" + b64encode(digest).decode()


@lru_cache(65_536)
def packed(address: str) -> bytes:
    """Return the 4 or 16 bytes of an address; raises ValueError."""
    return ip_address(address).packed
