"""Names of addresses from DNS answers over TCP.

In: TCP segments from port 53 that begin with a message, and those that continue it. Out: as `dns`. Never: an exception.

Over TCP each message follows its length in two bytes (RFC 1035, section 4.2.2).
"""

from __future__ import annotations

from egress_watch.names.dns import HEADER_BYTES, PORTS, SOURCE
from egress_watch.names.dns import read as read_message
from egress_watch.names.reader import CUT, TCP, Candidates, Mask, Reading, Said, word

__all__ = ["BEGINNINGS", "PORTS", "PROTOCOL", "SOURCE", "read", "rest", "wanted"]

PROTOCOL = TCP
BEGINNINGS = ()
LENGTH_BYTES = 2

_KIND = word(b"\x00\x00\x00\x00\xf8\x00\xff\xff")
_RESPONSE = word(b"\x00\x00\x00\x00\x80\x00\x00\x01")


def wanted(candidates: Candidates) -> Mask:
    """Return (n,) segments from port 53 that begin with a standard response to one question, or with its length."""
    response: Mask = (candidates.head & _KIND) == _RESPONSE
    response &= candidates.payload_bytes >= LENGTH_BYTES + HEADER_BYTES
    response |= candidates.payload_bytes == LENGTH_BYTES  # some servers send the length alone
    return response


def read(payload: bytes) -> Reading:
    """Return the rows of every message in the segment, and the last reason why one was refused."""
    said: list[Said] = []
    reason, at = "" if len(payload) > LENGTH_BYTES else CUT, 0
    while at < len(payload):
        start = at + LENGTH_BYTES
        at = start + int.from_bytes(payload[at:start], "big")
        rows, trouble = read_message(payload[start:at])
        said += rows
        reason = CUT if at > len(payload) else trouble or reason
    return said, reason


def rest(payload: bytes) -> tuple[int, int]:
    """Return where the message starts that is cut, and the bytes it has with its length."""
    at = 0
    while True:
        length = int.from_bytes(payload[at : at + LENGTH_BYTES], "big") if at + LENGTH_BYTES <= len(payload) else 0
        if at + LENGTH_BYTES + length > len(payload):
            return at, LENGTH_BYTES + length
        at += LENGTH_BYTES + length
