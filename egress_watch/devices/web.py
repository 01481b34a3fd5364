"""What HTTP, its kin and other greetings say of who speaks: User-Agent, Server, and the banner of SSH, FTP and mail.

In: TCP payloads that begin like a message, UDP payloads of SSDP. Out: traits of the sender. Never: an exception.

RFC 9110, sections 10.1.5 and 10.2.4 (User-Agent, Server), RFC 7826 (RTSP), UPnP Device Architecture 2.0, section 1
(SSDP), RFC 4253, section 4.2 (SSH), RFC 959 and RFC 5321 (greetings that begin with 220).
"""

from __future__ import annotations

import re

from egress_watch.devices.facts import NOTHING, SOFTWARE, Reading, Trait, trait

AGENT, SERVER, BANNER, SSDP = "user-agent", "server", "banner", "ssdp"
PORTS = (1900,)

MOST_HEADER_BYTES = 2048
STARTS = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"HTTP", b"RTSP", b"SSH-", b"220 ", b"220-")
"""The first four bytes of every message that is read."""
_RESPONSES = (b"HTTP", b"RTSP")
_GREETINGS = (b"SSH-", b"220 ", b"220-")
_AGENT, _SERVER = b"\nuser-agent:", b"\nserver:"
_LINE = re.compile(rb"[^\r\n]*")


def source_of(payload: bytes) -> str:
    """Return what a TCP payload can tell by its first four bytes: a server's header, a banner or a user agent."""
    if payload[:4] in _GREETINGS:
        return BANNER
    return SERVER if payload[:4] in _RESPONSES else AGENT


def read_tcp(payload: bytes) -> Reading:
    """Return the software that one message names."""
    source = source_of(payload)
    if source == BANNER:
        line = payload[:MOST_HEADER_BYTES].split(b"\n", 1)[0]
        return Reading(trait(SOFTWARE, line[4:] if line[:3] == b"220" else line))
    return Reading(_field(_SERVER if source == SERVER else _AGENT, payload))


def read_ssdp(payload: bytes) -> Reading:
    """Return the software that a notice, an answer or a search of SSDP names."""
    if payload[:4] not in (b"NOTI", b"HTTP", b"M-SE"):
        return NOTHING
    return Reading(_field(_SERVER, payload) or _field(_AGENT, payload))


def _field(field: bytes, payload: bytes) -> list[Trait]:
    end = payload.find(b"\r\n\r\n", 0, MOST_HEADER_BYTES)
    head = payload[: end if end >= 0 else MOST_HEADER_BYTES]
    at = head.lower().find(field)  # several times faster than an expression
    line = _LINE.match(head, at + len(field)) if at >= 0 else None
    return trait(SOFTWARE, line[0]) if line else []
