"""What a reader of device facts hands over, and the one form its texts are kept in.

In: bytes of a text as a packet gives them. Out: traits, and texts within bounds. Never: a text without an end.
"""

from __future__ import annotations

from typing import NamedTuple

MOST_CHARACTERS = 255
"""What DHCP, LLDP and DNS can carry in one field; server headers are cut there."""

HOST, CLASS, MODEL, SOFTWARE, SERVICE = "host_name", "vendor_class", "model", "software", "service"
MAKER, ROLE, ADDRESS = "maker", "role", "address"
KINDS = (HOST, MODEL, MAKER, CLASS, ROLE, SOFTWARE, SERVICE, ADDRESS)
"""Every kind of fact, in the order in which people want them."""


class Trait(NamedTuple):
    """One thing a device says of itself."""

    kind: str
    """One of KINDS."""
    value: str


class Reading(NamedTuple):
    """What one packet says, and of whom."""

    traits: list[Trait]
    mac: int = 0
    """The MAC it speaks of; 0 stands for the sender's."""
    address: tuple[int, int] | None = None
    """The address it speaks of, as two words; None stands for the sender's, (0, 0) for none."""


NOTHING = Reading([])
NO_ADDRESS = (0, 0)


def text(raw: bytes) -> str:
    r"""Return a text as it can be stored, "" for an empty one: UTF-8, other bytes and NUL as ``\xNN``, bounded.

    Control and direction characters stay: each way out escapes them.
    """
    kept = raw[: 4 * MOST_CHARACTERS].strip(b"\0 \t\r\n").decode("utf-8", "backslashreplace")
    return kept.replace("\0", "\\x00")[:MOST_CHARACTERS]


def trait(kind: str, raw: bytes) -> list[Trait]:
    """Return the trait as a list of one, or of none where there is no text."""
    value = text(raw)
    return [Trait(kind, value)] if value else []


def ipv4(four: bytes) -> tuple[int, int]:
    """Return an IPv4 address as two words (RFC 4291, section 2.5.5.2), (0, 0) for 0.0.0.0."""
    number = int.from_bytes(four, "big")
    return (0, 0xFFFF << 32 | number) if number else NO_ADDRESS
