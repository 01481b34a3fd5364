"""The one form a name from the wire is kept in.

In: bytes of a name as a packet gives it. Out: lower-case text of printable ASCII. Never: raw bytes from the wire.

The form is lower case (names compare without case, RFC 4343), without the trailing dot, at most 253 characters, which
is what 255 bytes on the wire hold (RFC 1035, section 2.3.4), in labels of 1 to 63 bytes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address

from egress_watch.names.reader import Refusal

NAME_LENGTH, LABEL_LENGTH = 253, 63
NAMES_AT_HAND = 4096
"""Names whose form is kept, since the same few are asked for again and again."""

_PLAIN = re.compile(rb"[a-z0-9_.-]*")
_ALLOWED = b"abcdefghijklmnopqrstuvwxyz0123456789_-."
_USUAL = re.compile(rb"(?:[a-z0-9_-]{1,63}\.)+[a-z_-][a-z0-9_-]{0,62}")
"""Most host names: two labels or more, the last of which does not begin like a number."""
# A name that ends in a number is an IPv4 address in one of its many spellings, since no top-level domain is one
# (RFC 3696, section 2; WHATWG URL, "ends in a number checker").
_NUMBER = re.compile(rb"[0-9]+|0x[0-9a-f]*")
# RFC 4343, section 2.1: all but 0x21 to 0x7E goes as \DDD, and so may the dot and the backslash within a label.
_ESCAPED = [chr(byte) if 0x21 <= byte <= 0x7E and byte not in b".\\" else f"\\{byte:03d}" for byte in range(256)]


@lru_cache(NAMES_AT_HAND)
def plain(wire: bytes) -> str:
    """Return the text of a name given as on the wire, without compression and without the last zero.

    Raises Refusal where this is no such name, or its text is too long.
    """
    labels: list[bytes] = []
    at = 0
    while at < len(wire):
        end = at + 1 + wire[at]
        labels.append(wire[at + 1 : end])
        at = end
    if at > len(wire) or not all(labels) or max(map(len, labels), default=0) > LABEL_LENGTH:
        raise Refusal("not a plain name")
    return domain(labels)


def domain(labels: list[bytes]) -> str:
    r"""Return the text of a name given by its labels, "" for the root; odd bytes are escaped as ``\DDD``.

    Raises Refusal where the text is too long.
    """
    raw = b".".join(labels).lower()
    if _PLAIN.fullmatch(raw) and raw.count(b".") == len(labels) - 1:
        text = raw.decode("ascii")
    else:
        text = ".".join("".join([_ESCAPED[byte] for byte in label.lower()]) for label in labels)
    if len(text) > NAME_LENGTH:
        raise Refusal("name too long")
    return text


@lru_cache(NAMES_AT_HAND)
def host(raw: bytes) -> str:
    """Return the host name in ``raw``, "" where it is empty or an address.

    Letters, digits, hyphens (RFC 1123, section 2.1) and underscores, which occur, make a host name. Raises Refusal for
    anything else: nothing that a terminal, a mark-up or a log could misread gets in here.
    """
    name = raw.lower()
    if _USUAL.fullmatch(name) and len(name) <= NAME_LENGTH:
        return name.decode("ascii")
    name = name.removesuffix(b".")
    if not name or _NUMBER.fullmatch(name, name.rfind(b".") + 1) or _is_address(name):
        return ""
    if len(name) > NAME_LENGTH:
        raise Refusal("name too long")
    # Taking allowed bytes away is several times faster than an expression.
    if name.translate(None, _ALLOWED) or max(map(len, labels := name.split(b"."))) > LABEL_LENGTH or b"" in labels:
        raise Refusal("not a host name")
    return name.decode("ascii")


def _is_address(name: bytes) -> bool:
    """Tell whether this is an IPv6 literal, with or without the brackets of RFC 3986, section 3.2.2."""
    if b":" not in name:
        return False
    try:
        ip_address(name.removeprefix(b"[").removesuffix(b"]").decode("ascii"))
    except ValueError:
        return False
    return True
