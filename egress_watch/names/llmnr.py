"""Names of local hosts from Link-Local Multicast Name Resolution.

In: responses from port 5355. Out: (queried name, address, TTL) for each A and AAAA record. Never: an exception.

RFC 4795, sections 2.1.1 (header) and 2.2. Anybody on the link may answer: so these names count after all others.
"""

from __future__ import annotations

from egress_watch.names.dns import HEADER_BYTES, read
from egress_watch.names.reader import UDP, Candidates, Mask, word

__all__ = ["BEGINNINGS", "PORTS", "PROTOCOL", "SOURCE", "read", "wanted"]

SOURCE = "llmnr"
PROTOCOL = UDP
PORTS = (5355,)
BEGINNINGS = ()

_KIND = word(b"\x00\x00\xf8\x00\xff\xff\x00\x00")
_RESPONSE = word(b"\x00\x00\x80\x00\x00\x01\x00\x00")


def wanted(candidates: Candidates) -> Mask:
    """Return (n,) responses to one question from the port of LLMNR."""
    found: Mask = (candidates.head & _KIND) == _RESPONSE
    found &= candidates.payload_bytes >= HEADER_BYTES
    return found
