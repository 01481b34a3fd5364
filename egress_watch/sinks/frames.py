"""Messages of syslog, and their frames on a stream.

In: messages. Out: bytes. Never: a byte of a record that could begin another message.

RFC 5424 for the message, RFC 6587 (section 3.4.1) and RFC 5425 (section 4.3) for the frame with its length in front.
The record is MSG as it stands, so that whoever takes the header off has what an export would write; there is no
structured data, since its names would need a number of IANA's that nobody here has, and no byte order mark, since
rsyslog leaves it in front of the record (RFC 5424, section 6.4, allows its absence: MSG-ANY).
"""

from __future__ import annotations

import re

from egress_watch.sinks.sink import Message

APP = "egress-watch"
NIL = "-"
_NOT_PRINTABLE = re.compile(r"[^\x21-\x7e]")
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
FIRST_SECOND, LAST_SECOND = 0, 253_402_300_799
"""Years with four digits, as RFC 3339 has them, from 1970 on."""


def syslog(message: Message, facility: int) -> bytes:
    """Return an RFC 5424 message. Control characters in a body, which no format writes, become question marks."""
    priority = facility * 8 + message.severity
    host = _NOT_PRINTABLE.sub("?", message.sensor)[:255] or NIL
    kind = _NOT_PRINTABLE.sub("?", message.kind)[:32] or NIL
    head = f"<{priority}>1 {timestamp(message.time_ns)} {host} {APP} {NIL} {kind} {NIL} "
    return head.encode() + _CONTROLS.sub(b"?", message.body)


def timestamp(time_ns: int) -> str:
    """Return a time with the six decimals that RFC 5424 (section 6.2.3) allows, or nil where it has no such year."""
    from datetime import UTC, datetime

    second, rest_ns = divmod(time_ns, 1_000_000_000)
    if not FIRST_SECOND <= second <= LAST_SECOND:
        return NIL
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns // 1000:06d}Z"


def counted(message: bytes) -> bytes:
    """Return a message behind its length in bytes: octet counting."""
    return b"%d %b" % (len(message), message)
