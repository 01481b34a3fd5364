"""Where a service is, from a SVCB or HTTPS record.

In: the parameters of a record. Out: the addresses it hints at. Never: an address that is cut.

RFC 9460, sections 2.2 (wire format), 2.3 (names of services on other ports), 7.3 (hints). A client may connect to a
hinted address without asking for A or AAAA records.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

SVCB, HTTPS = 64, 65
PRIORITY_BYTES = 2
MAPPED = bytes(10) + b"\xff\xff"
"""What stands before the four bytes of an IPv4 address (RFC 4291, section 2.5.5.2)."""

_HINTS = {4: (4, MAPPED), 6: (16, b"")}
"""ipv4hint and ipv6hint: the size of an address, and what makes it 16 bytes."""
_PARAMETER = struct.Struct("!HH")


def hints(data: bytes) -> Iterator[bytes]:
    """Yield the addresses in the parameters behind priority and target; raises struct.error where they are cut."""
    at = 0
    while at < len(data):
        key, length = _PARAMETER.unpack_from(data, at)
        at += _PARAMETER.size
        size, before = _HINTS.get(key, (0, b""))
        if size:
            ends = range(at + size, min(at + length, len(data)) + 1, size)
            yield from (before + data[end - size : end] for end in ends)
        at += length


def service(name: str) -> str:
    """Return the name without the labels of port and scheme: ``_8443._https.a.example`` is about ``a.example``."""
    while name.startswith("_") and "." in name:
        name = name.partition(".")[2]
    return name
