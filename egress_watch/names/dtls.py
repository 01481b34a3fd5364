"""The name of a server from the ClientHello of DTLS.

In: datagrams with handshake records that are not encrypted, on any port. Out: the server's name. Never: an exception.

RFC 9147, sections 4.1 (records) and 5.2 (handshake messages and their fragments); RFC 6347 and RFC 4347 lay them out
alike for versions 1.2 and 1.0, and so does a hello of 1.3. The answer to a HelloVerifyRequest is a hello of its own.
"""

from __future__ import annotations

import struct
from collections import OrderedDict

from egress_watch.names.hello import CLIENT_HELLO
from egress_watch.names.hello import read as read_hello
from egress_watch.names.hello import size as hello_bytes
from egress_watch.names.pieces import Pieces
from egress_watch.names.reader import CUT, UDP, Bearer, Candidates, Mask, Reading, Refusal, Said, word

SOURCE = "dtls"
PROTOCOL = UDP
PORTS = ()
BEGINNINGS = (b"\x16\xfe", b"\x16\x01")
RECORD_BYTES, MESSAGE_BYTES = 13, 12
MOST_RECORDS = 16
"""Records looked at in one datagram."""

_KIND = word(b"\xff\xff\x00\xff\xff\x00\x00\x00")
_FIRST_EPOCH = (word(b"\x16\xfe\x00\x00\x00\x00\x00\x00"), word(b"\x16\x01\x00\x00\x00\x00\x00\x00"))
_RECORD = struct.Struct("!B10xH")
_MESSAGE = struct.Struct("!B3sH3s3s")


def wanted(candidates: Candidates) -> Mask:
    """Return (n,) datagrams that start with a handshake record of the first epoch; 01 00 is OpenSSL's old version."""
    kind = candidates.head & _KIND
    found: Mask = (kind == _FIRST_EPOCH[0]) | (kind == _FIRST_EPOCH[1])
    found &= candidates.payload_bytes >= RECORD_BYTES + MESSAGE_BYTES
    return found


def open(limit: int) -> Dialogue:  # noqa: A001 - read as dtls.open
    """Return an empty memory of at most ``limit`` connections."""
    return Dialogue(limit)


class Dialogue:
    """The hellos of which fragments are missing, by connection and number of the message."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._hellos: OrderedDict[tuple[bytes, int], Pieces] = OrderedDict()

    def read(self, bearer: Bearer) -> Reading:
        """Return the server's name with the datagram that completes the hello."""
        said: list[Said] = []
        reason = ""
        try:
            for number, size, offset, piece in fragments(bearer.payload):
                key = bearer.connection, number
                if message := self._message(key, size, offset, piece):
                    said, reason = read_hello(message, cookie=True)
        except Refusal as refusal:
            self._hellos.pop(key, None)
            return [], str(refusal)
        return said, "malformed hello" if reason == CUT else reason

    def _message(self, key: tuple[bytes, int], size: int, offset: int, piece: bytes) -> bytes:
        """Return the whole message as TLS lays it out, b"" while pieces are missing; raises Refusal."""
        header = bytes([CLIENT_HELLO]) + size.to_bytes(3, "big")
        hello_bytes(header)
        if offset == 0 and len(piece) == size:
            return header + piece
        pieces = self._hellos.setdefault(key, Pieces())
        if len(self._hellos) > self._limit:
            self._hellos.popitem(last=False)
        pieces.add(offset, piece)
        if len(pieces.start) < size:
            return b""
        self._hellos.pop(key, None)
        return header + pieces.start[:size]


def fragments(datagram: bytes) -> list[tuple[int, int, int, bytes]]:
    """Return message number, message size, offset and content of the parts of hellos in a datagram."""
    found: list[tuple[int, int, int, bytes]] = []
    at = 0
    for _ in range(MOST_RECORDS):
        if at + RECORD_BYTES > len(datagram):
            break
        kind, length = _RECORD.unpack_from(datagram, at)
        start = at + RECORD_BYTES
        at = start + length
        if kind != BEGINNINGS[0][0] or at > len(datagram):
            break
        found += _hello_parts(datagram[start:at])
    return found


def _hello_parts(record: bytes) -> list[tuple[int, int, int, bytes]]:
    """Return the parts of hellos in one record, which may hold several messages."""
    found: list[tuple[int, int, int, bytes]] = []
    at = 0
    while at + MESSAGE_BYTES <= len(record):
        kind, *sizes = _MESSAGE.unpack_from(record, at)
        size, number, offset, length = (one if isinstance(one, int) else int.from_bytes(one, "big") for one in sizes)
        start = at + MESSAGE_BYTES
        at = start + length
        if at > len(record) or offset + length > size:
            break
        if kind == CLIENT_HELLO:
            found.append((number, size, offset, record[start:at]))
    return found
