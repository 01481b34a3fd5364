"""Names of local hosts from multicast DNS.

In: responses from port 5353. Out: (name, address, TTL) of each A and AAAA record below ``local``. Never: an exception.

RFC 6762, sections 3 (the domain ``local``), 6 (responses have no question) and 10.2 (the highest bit of the class).
Anybody on the link may claim anything here: so only names below ``local`` count, and after all other sources.
"""

from __future__ import annotations

from egress_watch.names.dns import HEADER_BYTES, Answer, parse
from egress_watch.names.reader import UDP, Candidates, Mask, Reading, Said, word

SOURCE = "mdns"
PROTOCOL = UDP
PORTS = (5353,)
BEGINNINGS = ()

_KIND = word(b"\x00\x00\xf8\x00\x00\x00\x00\x00")
_RESPONSE = word(b"\x00\x00\x80\x00\x00\x00\x00\x00")


def wanted(candidates: Candidates) -> Mask:
    """Return (n,) standard responses from the port of multicast DNS (RFC 6762, section 18)."""
    found: Mask = (candidates.head & _KIND) == _RESPONSE
    found &= candidates.payload_bytes >= HEADER_BYTES
    return found


def read(payload: bytes) -> Reading:
    """Return the addresses of local hosts in a message, those of its additional records included."""
    answer = Answer()
    reason = parse(payload, answer, everything=True)
    return [
        Said(owner, address, ttl_s) for owner, address, ttl_s in answer.addresses if owner.endswith(".local")
    ], reason
