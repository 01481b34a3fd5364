"""The name of a server from a ClientHello, whatever carries it.

In: the handshake message, as far as it was caught. Out: the server's name, and whether it may be an outer one. Never:
an exception.

RFC 8446, section 4.1.2 (ClientHello; older versions lay it out alike), RFC 6066, section 3 (server name), RFC 9147,
section 5.3 (DTLS has a cookie more), RFC 8701 (GREASE: extensions of unknown type are passed over). RFC 9849: with
Encrypted Client Hello the name is that of the client-facing server. Browsers send the same extension with random
content where they know no key (its section 6.2), and nobody but the server can tell: so the mark says *may be*.
"""

from __future__ import annotations

import struct

from egress_watch.names.reader import CUT, Reading, Refusal, Said
from egress_watch.names.text import host

HEADER_BYTES = 4
MOST_BYTES = 1 << 16
"""Longer hellos are refused: the largest there are, with post-quantum keys, have a few thousand bytes."""
CLIENT_HELLO = 1

_VERSION_AND_RANDOM_BYTES = 34
_U16 = struct.Struct("!H")
_EXTENSION = struct.Struct("!HH")
_SERVER_NAME, _ENCRYPTED, _HOST_NAME = 0, 0xFE0D, 0
_ENCRYPTED_BYTES = b"\xfe\x0d"


def size(message: bytes) -> int:
    """Return the bytes of the whole message by its header; raises Refusal where it claims more than MOST_BYTES."""
    claimed = HEADER_BYTES + int.from_bytes(message[1:HEADER_BYTES], "big")
    if claimed > MOST_BYTES:
        raise Refusal("hello too long")
    return claimed


def read(message: bytes, *, cookie: bool = False) -> Reading:
    """Return the host name of the ``server_name`` extension, or why there is none; ``CUT`` where more may help."""
    complete = False
    try:
        whole = size(message) if len(message) >= HEADER_BYTES else MOST_BYTES
        complete = len(message) >= whole
        raw, outer = _extensions(message if len(message) <= whole else message[:whole], whole, cookie=cookie)
        name = host(raw)
    except (IndexError, struct.error):
        return [], "malformed hello" if complete else CUT
    except Refusal as refusal:
        return [], str(refusal)
    return [Said(name, outer=outer)] if name else [], "" if complete else CUT


def _extensions(hello: bytes, whole: int, *, cookie: bool) -> tuple[bytes, bool]:
    """Return the host name, b"" without one, and whether the hello is the outer one.

    Raises IndexError or struct.error where the hello ends too early to tell the name.
    """
    at = _behind_ciphers(hello, cookie=cookie)
    if at == whole:
        return b"", False  # TLS 1.2 and older may end here, without extensions
    end = at + 2 + _U16.unpack_from(hello, at)[0]
    if end > whole:
        raise IndexError
    start = at = at + 2
    name = b""
    while at < end:
        kind, length = _EXTENSION.unpack_from(hello, at)
        at += _EXTENSION.size
        if kind == _SERVER_NAME:
            name = _host_name(hello, at, at + length)
            break
        at += length
    # Walking all extensions is slow, and the two bytes are rarely there by chance.
    outer = hello.find(_ENCRYPTED_BYTES, start, end) >= 0 and _encrypted(hello, start, end)
    return name, outer


def _behind_ciphers(hello: bytes, *, cookie: bool) -> int:
    """Return the offset behind the compression methods."""
    at = HEADER_BYTES + _VERSION_AND_RANDOM_BYTES
    at += 1 + hello[at]
    if cookie:
        at += 1 + hello[at]
    at += 2 + int(_U16.unpack_from(hello, at)[0])
    return at + 1 + hello[at]


def _encrypted(hello: bytes, at: int, end: int) -> bool:
    """Tell whether the extension ``encrypted_client_hello`` is among those that were caught."""
    while at + _EXTENSION.size <= min(end, len(hello)):
        kind, length = _EXTENSION.unpack_from(hello, at)
        if kind == _ENCRYPTED:
            return True
        at += _EXTENSION.size + length
    return False


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
