"""The name of a server from the ClientHello of TLS over TCP.

In: TCP segments that begin with a ClientHello, on any port, and those that continue it. Out: the server's name. Never:
an exception.

RFC 8446, section 5.1 (records; older versions lay them out alike). The hello itself is read in `hello`.
"""

from __future__ import annotations

from egress_watch.names.hello import HEADER_BYTES, size
from egress_watch.names.hello import read as read_hello
from egress_watch.names.reader import TCP, Candidates, Mask, Reading, Refusal, word

SOURCE = "tls"
PROTOCOL = TCP
PORTS = ()
BEGINNINGS = (b"\x16\x03",)
RECORD_BYTES = 5
MOST_RECORDS = 64
"""A hello in more records than this is an attack: the smallest hellos have some hundred bytes."""

_KIND = word(b"\xff\xff\xf0\x00\x00\xff\x00\x00")
_HELLO = word(b"\x16\x03\x00\x00\x00\x01\x00\x00")
_KIND_ALONE = word(b"\xff\xff\x00\x00\x00\x00\x00\x00")
_RECORD_ALONE = word(b"\x16\x03\x00\x00\x00\x00\x00\x00")


def wanted(candidates: Candidates) -> Mask:
    """Return (n,) TCP segments that start 16 03 0x .. .. 01: a handshake record with a ClientHello in front."""
    short = (candidates.payload_bytes >= 2) & (candidates.payload_bytes <= RECORD_BYTES)
    hello: Mask = (candidates.head & _KIND) == _HELLO
    hello &= candidates.payload_bytes > RECORD_BYTES
    hello |= short & ((candidates.head & _KIND_ALONE) == _RECORD_ALONE)
    return hello


def read(payload: bytes) -> Reading:
    """Return the host name of the hello; ``CUT`` where it goes on in another segment."""
    try:
        message, _ = _message(payload)
    except Refusal as refusal:
        return [], str(refusal)
    return read_hello(message)


def rest(payload: bytes) -> tuple[int, int]:
    """Return 0, and where the record ends that is cut: there is nothing new to read before."""
    _, end = _message(payload)
    return 0, max(end, len(payload) + 1)


def _message(payload: bytes) -> tuple[bytes, int]:
    """Return the handshake message as far as it was caught, and where its last record ends (RFC 8446, section 5.1)."""
    message, at = b"", 0
    for _ in range(MOST_RECORDS):
        start = at + RECORD_BYTES
        if payload[at : at + 2] != BEGINNINGS[0] or start > len(payload):
            return message, start
        at = start + int.from_bytes(payload[start - 2 : start], "big")
        message += payload[start:at]
        if at > len(payload) or (len(message) >= HEADER_BYTES and len(message) >= size(message)):
            return message, at
    raise Refusal("too many records")
