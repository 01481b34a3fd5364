"""Names of addresses from DNS answers over TCP.

In: TCP segments from port 53 that begin with a message. Out: as `dns`. Never: an exception, or state between segments.

Over TCP each message follows its length in two bytes (RFC 1035, section 4.2.2); what goes on in the next segment is
counted as cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from egress_watch.names.dns import HEADER_BYTES, PORT, SOURCE
from egress_watch.names.dns import read as read_message
from egress_watch.names.reader import TCP, Mask, Reading, Said, word

if TYPE_CHECKING:
    from egress_watch.model import Packets, Words

__all__ = ["SOURCE", "read", "wanted"]

LENGTH_BYTES = 2

_KIND = word(b"\x00\x00\x00\x00\xf8\x00\xff\xff")
_RESPONSE = word(b"\x00\x00\x00\x00\x80\x00\x00\x01")


def wanted(packets: Packets, head: Words) -> Mask:
    """Return (n,) segments from port 53 that begin with a standard response to one question."""
    port = (packets.src_port == PORT) & (packets.protocol == TCP)
    whole = packets.payload_bytes >= LENGTH_BYTES + HEADER_BYTES
    response: Mask = (head & _KIND) == _RESPONSE
    response &= port & whole
    return response


def read(payload: bytes) -> Reading:
    """Return the rows of every message in the segment, and the last reason why one was refused."""
    said: list[Said] = []
    reason, at = "", 0
    while at < len(payload):
        start = at + LENGTH_BYTES
        at = start + int.from_bytes(payload[at:start], "big")
        rows, trouble = read_message(payload[start:at])
        said += rows
        reason = trouble or reason
    return said, reason
