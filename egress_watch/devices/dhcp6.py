"""What DHCPv6 says of a client: its name and its vendor class.

In: UDP payloads of ports 546 and 547. Out: traits of the sender. Never: an exception, or a relayed message unpacked.

RFC 8415, section 8 (messages), 21.16 (vendor class); RFC 4704, section 4 (Client FQDN).
"""

from __future__ import annotations

from egress_watch.devices.dhcp import labels
from egress_watch.devices.facts import CLASS, HOST, NOTHING, Reading, Trait, trait

SOURCE = "dhcpv6"
PORTS = (546, 547)

_OF_CLIENTS = (1, 3, 4, 5, 6, 8, 9, 11)
"""Solicit, Request, Confirm, Renew, Rebind, Release, Decline, Information-request."""
_VENDOR_CLASS, _FQDN = 16, 39


def read(payload: bytes) -> Reading:
    """Return what a client's message says of it; relays and servers are passed over."""
    if payload[:1] not in map(_byte, _OF_CLIENTS):
        return NOTHING
    traits: list[Trait] = []
    at = 4
    while at + 4 <= len(payload):
        code, size = int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + 4], "big")
        value = payload[at + 4 : at + 4 + size]
        if len(value) < size:
            break
        traits += _option(code, value)
        at += 4 + size
    return Reading(traits)


def _option(code: int, value: bytes) -> list[Trait]:
    if code == _FQDN:
        return trait(HOST, labels(value[1:]))
    if code == _VENDOR_CLASS:  # enterprise number, then items of 16-bit length; the first is the class
        size = int.from_bytes(value[4:6], "big")
        return trait(CLASS, value[6 : 6 + size])
    return []


def _byte(number: int) -> bytes:
    return bytes((number,))
