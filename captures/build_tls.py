"""TLS as the demo's devices speak it: real client hellos from the standard library, with seeded chance inside.

In: a server name and a seed. Out: the bytes of records. Never: a key; what follows the hellos is chance.

The client hello is what `ssl` writes for this name, with its random, session id and key shares replaced by seeded
bytes of the same length, so that a second run gives the same file. Another version of OpenSSL may write another hello;
that is why the capture is kept beside the script.
"""

from __future__ import annotations

import random
import ssl
import struct
from contextlib import suppress

HANDSHAKE, CHANGE_CIPHER, APPLICATION = 22, 20, 23
KEY_SHARE, VERSIONS = 51, 43
LARGEST_RECORD = 16_384
SEAL_BYTES = 17
"""Bytes that AES-GCM adds to a TLS 1.3 record: the tag and the inner type (RFC 8446, section 5.2)."""


def client_hello(name: str, chance: random.Random, alpn: tuple[str, ...] = ()) -> bytes:
    """Return the record a client opens with, for this server name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with suppress(ssl.SSLWantReadError):  # it waits for an answer: the hello is written
        client.do_handshake()
    return _seeded(bytearray(sent.read()), chance)


def server_flight(hello: bytes, chance: random.Random) -> bytes:
    """Return the server's answer: a TLS 1.3 server hello (RFC 8446, section 4.1.3), then sealed records."""
    session = hello[44 : 44 + hello[43]]
    share = struct.pack(">HHHH", KEY_SHARE, 36, 0x001D, 32) + chance.randbytes(32)  # x25519
    version = struct.pack(">HHH", VERSIONS, 2, 0x0304)
    body = b"\x03\x03" + chance.randbytes(32) + bytes([len(session)]) + session + b"\x13\x02\x00"
    body += struct.pack(">H", len(version + share)) + version + share
    opening = record(HANDSHAKE, b"\x02" + len(body).to_bytes(3) + body) + record(CHANGE_CIPHER, b"\x01")
    return opening + b"".join(sealed(size, chance) for size in (32, 2310, 264, 52))


def client_finish(chance: random.Random) -> bytes:
    """Return the client's change-cipher-spec and its sealed Finished of 52 bytes (SHA-384)."""
    return record(CHANGE_CIPHER, b"\x01") + sealed(52, chance)


def sealed(size: int, chance: random.Random) -> bytes:
    """Return encrypted records that carry ``size`` bytes of the application."""
    sizes = [LARGEST_RECORD] * (size // LARGEST_RECORD) + [size % LARGEST_RECORD] * bool(size % LARGEST_RECORD)
    return b"".join(record(APPLICATION, chance.randbytes(part + SEAL_BYTES)) for part in sizes)


def record(kind: int, body: bytes) -> bytes:
    """Return one TLS record (RFC 8446, section 5.1)."""
    return struct.pack(">BHH", kind, 0x0303, len(body)) + body


def _seeded(hello: bytearray, chance: random.Random) -> bytes:
    """Replace what the library chose by chance: random, session id and the key shares."""
    session_end = 44 + hello[43]
    hello[11:43] = chance.randbytes(32)
    hello[44:session_end] = chance.randbytes(hello[43])
    ciphers_end = session_end + 2 + int.from_bytes(hello[session_end : session_end + 2])
    at = ciphers_end + 1 + hello[ciphers_end] + 2  # behind the compression methods and the length of all extensions
    while at < len(hello):
        kind, size = struct.unpack_from(">HH", hello, at)
        if kind == KEY_SHARE:
            _seed_shares(hello, at + 6, at + 4 + size, chance)
        at += 4 + size
    return bytes(hello)


def _seed_shares(hello: bytearray, at: int, end: int, chance: random.Random) -> None:
    while at < end:
        size = int.from_bytes(hello[at + 2 : at + 4])
        hello[at + 4 : at + 4 + size] = chance.randbytes(size)
        at += 4 + size
