"""The name of a server from the ClientHello of TLS.

In: TCP segments that begin with a ClientHello, on any port. Out: the server's name. Never: an exception.

RFC 8446, sections 4.1.2 and 5.1 (hello and record; older versions lay them out alike), RFC 6066, section 3 (server
name). With Encrypted Client Hello (RFC 9849) this is the public name of the provider, not the hidden one.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from egress_watch.names.reader import TCP, Mask, Reading, Refusal, Said, word
from egress_watch.names.text import host

if TYPE_CHECKING:
    from egress_watch.model import Packets, Words

SOURCE = "tls"
RECORD_BYTES = 5
HANDSHAKE_BYTES = 4

_KIND = word(b"\xff\xff\xf0\x00\x00\xff\x00\x00")
_HELLO = word(b"\x16\x03\x00\x00\x00\x01\x00\x00")
_VERSION_AND_RANDOM_BYTES = 34
_U16 = struct.Struct("!H")
_EXTENSION = struct.Struct("!HH")
_SERVER_NAME, _HOST_NAME = 0, 0


def wanted(packets: Packets, head: Words) -> Mask:
    """Return (n,) TCP segments that start 16 03 0x .. .. 01: a handshake record with a ClientHello in front."""
    hello: Mask = (head & _KIND) == _HELLO
    tcp: Mask = (packets.protocol == TCP) & (packets.payload_bytes > RECORD_BYTES)
    hello &= tcp
    return hello


def read(payload: bytes) -> Reading:
    """Return the host name of the ``server_name`` extension if it lies in this segment."""
    hello = _hello(payload)
    try:
        name = host(_server_name(hello))
    except (IndexError, struct.error):
        missing = HANDSHAKE_BYTES + int.from_bytes(hello[1:4], "big") > len(hello)
        return [], "cut" if missing or len(hello) < HANDSHAKE_BYTES else "malformed hello"
    except Refusal as refusal:
        return [], str(refusal)
    return ([Said(name)] if name else []), ""


def _hello(payload: bytes) -> bytes:
    """Return the handshake message, as far as it was caught; it may be spread over records (RFC 8446, section 5.1)."""
    end = RECORD_BYTES + int.from_bytes(payload[3:5], "big")
    message, size = bytearray(payload[RECORD_BYTES:end]), HANDSHAKE_BYTES + int.from_bytes(payload[6:9], "big")
    while len(message) < size and payload[end : end + 2] == b"\x16\x03":
        start = end + RECORD_BYTES
        end = start + int.from_bytes(payload[end + 3 : start], "big")
        message += payload[start:end]
    return bytes(message[:size])


def _server_name(hello: bytes) -> bytes:
    """Return the host name a ClientHello asks for, b"" without one.

    Raises IndexError or struct.error where the hello ends too early.
    """
    at = HANDSHAKE_BYTES + _VERSION_AND_RANDOM_BYTES
    at += 1 + hello[at]
    at += 2 + _U16.unpack_from(hello, at)[0]
    at += 1 + hello[at]
    if at == HANDSHAKE_BYTES + int.from_bytes(hello[1:4], "big"):
        return b""  # TLS 1.2 and older may end here, without extensions
    end = at + 2 + _U16.unpack_from(hello, at)[0]
    at += 2
    while at < end:
        kind, length = _EXTENSION.unpack_from(hello, at)
        at += _EXTENSION.size
        if kind == _SERVER_NAME:
            return _host_name(hello, at, at + length)
        at += length
    return b""


def _host_name(hello: bytes, at: int, end: int) -> bytes:
    """Return the first name of type host_name in the list at an offset, b"" where there is none."""
    if end > len(hello):
        raise IndexError
    at += 2
    while at < end:
        kind, length = hello[at], _U16.unpack_from(hello, at + 1)[0]
        at += 3
        if at + length > end:
            raise Refusal("malformed server name")
        if kind == _HOST_NAME:
            return hello[at : at + length]
        at += length
    return b""
