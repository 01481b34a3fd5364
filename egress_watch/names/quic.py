"""The name of a server from the first packets of QUIC.

In: datagrams with a client's Initial packets, on any port. Out: the server's name. Never: an exception, or more than
MOST_TRIES decryptions for one connection within SPAN_NS.

RFC 9000, sections 14.1 (size), 17.2.2 (Initial packet), 12.2 (several packets in a datagram), 19 (frames); RFC 9369
(version 2). A Retry gives the client a new connection id and with it new keys (RFC 9001, section 5.2); so a packet is
tried with the keys of its connection first, then with those of its own id.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from egress_watch.names.hello import read as read_hello
from egress_watch.names.initial import VERSIONS, Keys, Version, client_keys
from egress_watch.names.pieces import Pieces
from egress_watch.names.reader import CUT, UDP, Bearer, Candidates, Mask, Reading, Refusal

SOURCE = "quic"
PROTOCOL = UDP
PORTS = ()
BEGINNINGS = tuple({bytes([first, version >> 24]) for first in range(0xC0, 0xE0) for version in VERSIONS})
LEAST_BYTES = 1200
"""A server must not answer a smaller datagram (RFC 9000, section 14.1)."""
MOST_ID_BYTES = 20
MOST_TRIES = 16
MOST_PACKETS = 4
"""Packets looked at in one datagram."""
SPAN_NS = 30_000_000_000
"""A connection is remembered for this long; then its ports may be those of another one."""

_PADDING, _PING, _ACK, _ACK_ECN, _CRYPTO = 0, 1, 2, 3, (6, 8)
"""Google's T050 numbers its CRYPTO frames 8, which no other version allows in an Initial packet."""
_NUMBERS = np.array(sorted(VERSIONS), np.int64)
_FIRSTS = np.array([0xC0 | VERSIONS[number].initial << 4 for number in sorted(VERSIONS)], np.uint8)
INITIALS = _FIRSTS.astype(np.uint64) << np.uint64(32) | _NUMBERS.astype(np.uint64)
"""How those packets begin that are `wanted`: the upper half of the first byte, and the version."""
_VERSION = struct.Struct("!xI")


class Packet(NamedTuple):
    """An Initial packet, still protected."""

    version: Version
    to_id: bytes
    data: bytes
    number_at: int


class _Connection:
    """What is known of one client's connection."""

    def __init__(self, time_ns: int) -> None:
        self.time_ns = time_ns
        self.tries = 0
        self.id: bytes | None = None
        self.keys: Keys | None = None
        self.pieces = Pieces()
        self.done = False
        """Whether its hello was read, or refused."""


def wanted(candidates: Candidates) -> Mask:
    """Return (n,) UDP datagrams of full size that start with the long header of an Initial packet."""
    head = candidates.head.view(np.uint8).reshape(-1, 8)
    version = head[:, 1:5].copy().view(">u4")[:, 0].astype(np.int64)
    at = np.searchsorted(_NUMBERS[:-1], version)
    found: Mask = (_NUMBERS[at] == version) & (head[:, 0] & 0xF0 == _FIRSTS[at])
    found &= candidates.payload_bytes >= LEAST_BYTES
    return found


def open(limit: int) -> Dialogue:  # noqa: A001 - read as quic.open
    """Return an empty memory of at most ``limit`` connections."""
    return Dialogue(limit)


class Dialogue:
    """The connections whose hello is not complete, or was lately."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._connections: OrderedDict[bytes, _Connection] = OrderedDict()

    def read(self, bearer: Bearer) -> Reading:
        """Return the server's name with the datagram that completes the hello."""
        other = self._connections.get(_turned(bearer.connection))
        if other and other.id is not None:
            return [], ""  # the server's side
        connection = self._connection(bearer)
        try:
            return _read(connection, bearer.payload)
        except ImportError:
            return [], "no cryptography library"
        except Refusal as refusal:
            connection.done = True
            return [], str(refusal)

    def _connection(self, bearer: Bearer) -> _Connection:
        """Return the connection of a datagram; the one heard of first goes where there are too many."""
        known = self._connections.get(bearer.connection)
        if known and abs(bearer.time_ns - known.time_ns) <= SPAN_NS:
            return known
        self._connections.pop(bearer.connection, None)
        new = self._connections[bearer.connection] = _Connection(bearer.time_ns)
        if len(self._connections) > self._limit:
            self._connections.popitem(last=False)
        return new


def _turned(connection: bytes) -> bytes:
    """Return the connection as its other side sends it."""
    return connection[16:32] + connection[:16] + connection[34:36] + connection[32:34] + connection[36:]


def _read(connection: _Connection, datagram: bytes) -> Reading:
    """Take in all Initial packets of a datagram (RFC 9000, section 12.2); raises Refusal and ImportError."""
    grown, reason = False, ""
    for packet in packets(datagram):
        plain = _plain(connection, packet)
        if plain is None:
            reason = "" if connection.done else "cannot be decrypted"
            continue
        for offset, piece in crypto(plain):
            grown |= connection.pieces.add(offset, piece)
    if not grown:
        return [], reason
    said, reason = read_hello(connection.pieces.start)
    connection.done = reason != CUT
    return (said, reason) if connection.done else ([], "")


def _plain(connection: _Connection, packet: Packet) -> bytes | None:
    """Return the payload of a packet, None where it cannot or need not be read; another connection starts anew."""
    if (connection.done and packet.to_id == connection.id) or connection.tries >= MOST_TRIES:
        return None
    connection.tries += 1
    plain = connection.keys.open(packet.data, packet.number_at) if connection.keys else None
    if plain is not None:
        return None if connection.done else plain
    if packet.to_id == connection.id:
        return None
    keys = client_keys(packet.version, packet.to_id)
    plain = keys.open(packet.data, packet.number_at)
    if plain is not None:
        connection.id, connection.keys = packet.to_id, keys
        connection.pieces, connection.done = Pieces(), False
    return plain


def packets(datagram: bytes) -> list[Packet]:
    """Return the Initial packets of a datagram, whatever else is in it; stops at the first that makes no sense."""
    found: list[Packet] = []
    try:
        for _ in range(MOST_PACKETS):
            packet, datagram = _packet(datagram)
            if packet:
                found.append(packet)
    except (IndexError, struct.error):
        pass
    return found


def _packet(datagram: bytes) -> tuple[Packet | None, bytes]:
    """Return the first packet of a datagram, None where it is no Initial, and the rest of the datagram.

    Raises IndexError or struct.error where nothing more can be told, as at a short header or another version.
    """
    version = VERSIONS.get(_VERSION.unpack_from(datagram)[0])
    if not version or datagram[0] & 0xC0 != 0xC0:
        raise IndexError
    to_id, at = _sized(datagram, 5)
    _, at = _sized(datagram, at)
    kind = (datagram[0] >> 4 & 3) - version.initial & 3  # 0 Initial, 1 0-RTT, 2 Handshake, 3 Retry
    if kind == 3:
        raise IndexError
    if kind == 0:
        token_bytes, at = _number(datagram, at)
        at += token_bytes
    length, at = _number(datagram, at)
    end = at + length
    if end > len(datagram):
        raise IndexError
    return (None if kind else Packet(version, to_id, datagram[:end], at)), datagram[end:]


def _sized(datagram: bytes, at: int) -> tuple[bytes, int]:
    """Return a connection id behind its length, and the offset behind it (RFC 9000, section 17.2)."""
    size = datagram[at]
    end = at + 1 + size
    if size > MOST_ID_BYTES or end > len(datagram):
        raise IndexError
    return datagram[at + 1 : end], end


def crypto(plain: bytes) -> list[tuple[int, bytes]]:
    """Return offset and content of the CRYPTO frames of a payload, as far as its frames make sense."""
    found: list[tuple[int, bytes]] = []
    at = 0
    try:
        while at < len(plain):
            kind = plain[at]
            at += 1
            if kind in _CRYPTO:
                offset, at = _number(plain, at)
                length, at = _number(plain, at)
                found.append((offset, plain[at : at + length]))
                at += length
            elif kind == _PADDING:
                at = len(plain) - len(plain[at:].lstrip(b"\0"))
            elif kind in {_ACK, _ACK_ECN}:
                at = _behind_ack(plain, at, ecn=kind == _ACK_ECN)
            elif kind != _PING:
                break
    except IndexError:
        pass
    return found


def _behind_ack(plain: bytes, at: int, *, ecn: bool) -> int:
    """Return the offset behind an ACK frame (RFC 9000, section 19.3)."""
    _, at = _number(plain, at)
    _, at = _number(plain, at)
    ranges, at = _number(plain, at)
    for _ in range(1 + 2 * ranges + 3 * ecn):
        _, at = _number(plain, at)
    return at


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return a variable-length integer and the offset behind it (RFC 9000, section 16); raises IndexError."""
    end = at + (1 << (data[at] >> 6))
    if end > len(data):
        raise IndexError
    return int.from_bytes(data[at:end], "big") & (1 << 8 * (end - at) - 2) - 1, end
