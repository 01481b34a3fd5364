"""What protects the first packets of QUIC, and how it is taken off.

In: the client's first connection id and a version. Out: the plain payload of its Initial packets. Never: a secret: the
keys follow from what every observer sees (RFC 9001, section 5.2), so an Initial packet is not confidential.

RFC 9001, sections 5.2 to 5.4 (version 1), RFC 9369, section 3.3 (version 2), draft-ietf-quic-tls-27 to -34, section
5.2 (the salts of drafts). RFC 8446, section 7.1 (HKDF-Expand-Label).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from hmac import digest
from typing import Any, NamedTuple

KEY_BYTES, IV_BYTES, SECRET_BYTES = 16, 12, 32
SAMPLE_BYTES = 16
MOST_NUMBER_BYTES = 4
"""The sample is taken as if the packet number were this long (RFC 9001, section 5.4.2)."""
_LONG_HEADER_BITS = 0x0F


class Version(NamedTuple):
    """What differs between versions."""

    salt: bytes
    label: str
    """The beginning of the labels of keys."""
    initial: int
    """The type bits of an Initial packet."""


_DRAFT_23 = bytes.fromhex("c3eef712c72ebb5a11a7d2432bb46365bef9f502")
_DRAFT_29 = bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899")
_T050 = bytes.fromhex("7ff579e5acd072915580304c43a2367c60488310")
_V1 = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")
_V2 = bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9")

VERSIONS = {
    1: Version(_V1, "quic ", 0),
    0x6B3343CF: Version(_V2, "quicv2 ", 1),
    **{0xFF000000 | draft: Version(_DRAFT_23, "quic ", 0) for draft in range(23, 29)},
    **{0xFF000000 | draft: Version(_DRAFT_29, "quic ", 0) for draft in range(29, 33)},
    **{0xFF000000 | draft: Version(_V1, "quic ", 0) for draft in (33, 34)},
    0xFACEB002: Version(_DRAFT_23, "quic ", 0),  # mvfst, Facebook's own number for draft 27
    0x54303530: Version(_T050, "quic ", 0),  # T050, Google's own number and salt (published in the source of quiche)
}
"""Versions by their number on the wire."""


class Library(NamedTuple):
    """What is used of the library of cryptography."""

    gcm: Any
    ecb: Callable[[bytes], Any]
    """Makes an encryptor of single blocks from a key (RFC 9001, section 5.4.3)."""
    failure: type[Exception]


@cache
def library() -> Library:
    """Return the library, which is loaded with the first Initial packet; raises ImportError where it is missing."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import ECB

    return Library(AESGCM, lambda key: Cipher(AES(key), ECB()).encryptor(), InvalidTag)  # noqa: S305 - one block


class Keys:
    """The keys of one direction of one connection."""

    def __init__(self, secret: bytes, label: str) -> None:
        """Derive all from the direction's secret; raises ImportError without the library."""
        self._library = library()
        self._payload = self._library.gcm(_expand(secret, label + "key", KEY_BYTES))
        self._iv = int.from_bytes(_expand(secret, label + "iv", IV_BYTES), "big")
        self._header = self._library.ecb(_expand(secret, label + "hp", KEY_BYTES))

    def open(self, packet: bytes, number_at: int) -> bytes | None:
        """Return the plain payload of a packet whose number stands at this offset, None where the keys do not fit."""
        sample = packet[number_at + MOST_NUMBER_BYTES :][:SAMPLE_BYTES]
        if len(sample) < SAMPLE_BYTES:
            return None
        mask = self._header.update(sample)
        first = packet[0] ^ mask[0] & _LONG_HEADER_BITS
        end = number_at + (first & 3) + 1
        number = bytes(one ^ other for one, other in zip(packet[number_at:end], mask[1:], strict=False))
        header = bytes([first]) + packet[1:number_at] + number
        # RFC 9001, section 5.3. The number is not extended: a client has sent few packets yet.
        nonce = (self._iv ^ int.from_bytes(number, "big")).to_bytes(IV_BYTES, "big")
        try:
            plain: bytes = self._payload.decrypt(nonce, packet[end:], header)
        except self._library.failure:
            return None
        return plain


def client_keys(version: Version, connection_id: bytes) -> Keys:
    """Return the keys of a client's Initial packets; raises ImportError without the library."""
    secret = digest(version.salt, connection_id, "sha256")  # HKDF-Extract (RFC 5869, section 2.2)
    return Keys(_expand(secret, "client in", SECRET_BYTES), version.label)


def _expand(secret: bytes, label: str, length: int) -> bytes:
    """Return HKDF-Expand-Label of a secret without context (RFC 8446, section 7.1); one block is long enough."""
    full = b"tls13 " + label.encode()
    info = struct.pack("!HB", length, len(full)) + full + b"\0"
    return digest(secret, info + b"\1", "sha256")[:length]  # HKDF-Expand (RFC 5869, section 2.3)
