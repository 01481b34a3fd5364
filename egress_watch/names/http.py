"""The name of a server from the request of HTTP/1.

In: TCP segments that begin with a request, on any port, and those that continue it. Out: the host it asks for. Never:
an exception.

RFC 9112, sections 3 and 3.2 (request line, targets, Host), RFC 9110, section 7.2 (Host). A request to a proxy names the
target, not the proxy (RFC 9110, section 9.3.6 for CONNECT, RFC 9112, section 3.2.2 for the absolute form): it is the
target to which the device talks. A request that starts in the middle of a segment is not seen.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from egress_watch.names.reader import CUT, TCP, Candidates, Mask, Reading, Refusal, Said
from egress_watch.names.text import NAMES_AT_HAND, host

SOURCE = "http"
METHODS = (
    "GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE",
    "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT",
    "SUBSCRIBE", "UNSUBSCRIBE", "NOTIFY", "CCM_POST",
)  # fmt: skip
"""Of RFC 9110, of WebDAV (RFC 4918), of UPnP, and what Windows sends to its Configuration Manager."""
PROTOCOL = TCP
PORTS = ()
BEGINNINGS = tuple(method[:2].encode() for method in METHODS)
MOST_HEADER_BYTES = 16_384

# Four bytes tell the methods apart; the request line is checked once the packet is read.
_STARTS = np.unique(np.frombuffer(b"".join(f"{method} "[:4].encode() for method in METHODS), np.uint32))
_START_BYTES = 4
# Blanks too many or too few are let pass, as RFC 9112, section 3 allows, and a cut version.
_LINE = re.compile(rb"([A-Z_]+)[ \t]+([^ \t\r\n]*?)[ \t]*HTTP/1\.[0-9]?[ \t]*\r?\n")
_FIELD = b"\nhost:"
# Absolute form (RFC 9112, section 3.2.2); any user and password before the "@" are left out.
_ABSOLUTE = re.compile(rb"https?://(?:[^/?#@]*@)?([^/?#@]*)", re.IGNORECASE)
_AUTHORITY = re.compile(rb"(\[[^\]]*\]|[^:]*)(?::[0-9]*)?")


def wanted(candidates: Candidates) -> Mask:
    """Return (n,) TCP segments that begin like a request."""
    first = candidates.head.view(np.uint32).reshape(-1, 2)[:, 0]
    request: Mask = _STARTS[np.searchsorted(_STARTS[:-1], first)] == first
    request &= candidates.payload_bytes >= _START_BYTES
    return request


def read(payload: bytes) -> Reading:
    """Return the host of the target where the target has one, else that of the Host field; the port is left out."""
    try:
        name = bare(_authority(payload))
    except Refusal as refusal:
        return [], str(refusal)
    return ([Said(name)] if name else []), ""


def rest(payload: bytes) -> tuple[int, int]:
    """Return 0, and one byte more than there is: any byte may be the last of the field."""
    return 0, len(payload) + 1


def _authority(payload: bytes) -> bytes:
    """Return host and port the request is for, b"" where it names none; a target with a host overrides the field."""
    line = _LINE.match(payload)
    if not line:
        raise Refusal("not a request line" if b"\n" in payload or len(payload) > MOST_HEADER_BYTES else CUT)
    if line[1] == b"CONNECT":
        return line[2]
    if line[2][:1] != b"/" and (absolute := _ABSOLUTE.match(line[2])):
        return absolute[1]
    return _host_field(payload, line.end() - 1)


def _host_field(payload: bytes, start: int) -> bytes:
    """Return the value of the only Host field, b"" without one; ``start`` is the line feed of the request line.

    Two fields are an error (RFC 9112, section 3.2): servers differ in which one they take.
    """
    end = _end(payload, start)
    fields = payload[start : end if end >= 0 else MOST_HEADER_BYTES].lower()
    at = fields.find(_FIELD)
    if at < 0 and end >= 0:
        return b""
    stop = fields.find(b"\n", at + 1)
    if at < 0 or stop < 0:
        raise Refusal("long header" if len(payload) > MOST_HEADER_BYTES else CUT)
    if fields.find(_FIELD, stop) >= 0:
        raise Refusal("two Host fields")
    return fields[at + len(_FIELD) : stop].strip(b" \t\r")


def _end(payload: bytes, start: int) -> int:
    """Return the offset behind the last field, -1 where the header goes on; lines may end in a line feed alone."""
    ends = [payload.find(blank, start, MOST_HEADER_BYTES) for blank in (b"\n\r\n", b"\n\n")]
    return min((end + 1 for end in ends if end >= 0), default=-1)


@lru_cache(NAMES_AT_HAND)
def bare(authority: bytes) -> str:
    """Return the host of an authority without its port (RFC 3986, section 3.2); raises Refusal where it has none."""
    parts = _AUTHORITY.fullmatch(authority)
    if not parts:
        raise Refusal("not a host name")
    return host(parts[1])
