"""The name of a server from the request of HTTP/1.

In: TCP segments that begin with a request, on any port. Out: the host it asks for. Never: an exception.

RFC 9112, sections 3 and 3.2 (request line, targets, Host), RFC 9110, section 7.2 (Host). Small devices write a request
in pieces, a segment each: so a segment that begins behind the method, or with the Host field, is read as well. Other
cuts are counted, and a request that starts in the middle of a segment is not seen.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from egress_watch.names.reader import HEAD_BYTES, TCP, Mask, Reading, Refusal, Said
from egress_watch.names.text import host

if TYPE_CHECKING:
    from egress_watch.model import Packets, Words

SOURCE = "http"
METHODS = ("GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT")
LEAST_BYTES = len("Host:a\r\n")
MOST_HEADER_BYTES = 16_384

# Four bytes tell the methods apart; the request line is checked once the packet is read.
_FIELDS = ("Host", "host", "HOST")
_STARTS = [np.frombuffer(f"{start} "[:4].encode(), np.uint32)[0] for start in (*METHODS, *_FIELDS)]
_REQUEST = re.compile(rf"(?:{'|'.join(METHODS)}) ".encode())
_LINE = re.compile(rb"(?:([A-Z]+) )?([^ \r\n]+) HTTP/1\.[0-9]\r?\n")
# Blanks around the value are stripped afterwards: an expression that skips them can be made to run for minutes.
_HOST = re.compile(rb"\nhost:([^\r\n]*)\r?(?=\n)", re.IGNORECASE)
_BLANK = re.compile(rb"\n\r?\n")
# Absolute form (RFC 9112, section 3.2.2); any user and password before the "@" are left out.
_ABSOLUTE = re.compile(rb"https?://(?:[^/?#@]*@)?([^/?#@]*)", re.IGNORECASE)
_AUTHORITY = re.compile(rb"(\[[^\]]*\]|[^:]*)(?::[0-9]*)?")


def wanted(packets: Packets, head: Words) -> Mask:
    """Return (n,) TCP segments that begin like a request, or like the rest of one."""
    tcp = (packets.protocol == TCP) & (packets.payload_bytes >= LEAST_BYTES)
    first = head.view(np.uint32).reshape(-1, 2)[:, 0]
    request: Mask = head.view(np.uint8).reshape(-1, HEAD_BYTES)[:, 0] == ord("/")
    for start in _STARTS:
        request |= first == start
    request &= tcp
    return request


def read(payload: bytes) -> Reading:
    """Return the host of the target where the target has one, else that of the Host field; the port is left out."""
    try:
        name = _bare(_authority(payload))
    except Refusal as refusal:
        return [], str(refusal)
    return ([Said(name)] if name else []), ""


def _authority(payload: bytes) -> bytes:
    """Return host and port the request is for, b"" where it names none; a target with a host overrides the field."""
    line = _LINE.match(payload)
    if not line:
        return _piece(payload)
    if line[1] == b"CONNECT":
        return line[2]
    absolute = _ABSOLUTE.match(line[2])
    return absolute[1] if absolute else _host_field(payload, line.end())


def _piece(payload: bytes) -> bytes:
    """Return the value of a Host field the segment begins with; any data may begin with a slash or with ``Host``.

    Raises Refusal where the segment begins with a method, and so should have been a request.
    """
    if _REQUEST.match(payload):
        raise Refusal("not a request line" if b"\n" in payload else "cut")
    return _host_field(b"\n" + payload, 1) if payload[:5].lower() == b"host:" else b""


def _host_field(payload: bytes, start: int) -> bytes:
    """Return the value of the only Host field, b"" without one; ``start`` is behind the request line.

    Two fields are an error (RFC 9112, section 3.2): servers differ in which one they take.
    """
    # The line feed before the first field belongs to the request line.
    blank = _BLANK.search(payload, start - 1, MOST_HEADER_BYTES)
    values = _HOST.findall(payload, start - 1, blank.start() + 1 if blank else MOST_HEADER_BYTES)
    if len(values) > 1:
        raise Refusal("two Host fields")
    if not values and not blank:
        raise Refusal("cut")
    return bytes(values[0]).strip(b" \t") if values else b""


def _bare(authority: bytes) -> str:
    """Return the host of an authority without its port (RFC 3986, section 3.2)."""
    parts = _AUTHORITY.fullmatch(authority)
    if not parts:
        raise Refusal("not a host name")
    return host(parts[1])
