"""What DHCPv6 says of a client: its name and its vendor class.

In: UDP payloads of ports 546 and 547. Out: traits of the sender, or of the client whose message a relay hands on.
Never: an exception, or a relay taken for its client.

RFC 8415, section 8 (messages), 9 (relays), 11 (DUIDs), 21.16 (vendor class); RFC 4704, section 4 (Client FQDN);
RFC 6939 (the client's link-layer address, from its relay).
"""

from __future__ import annotations

from egress_watch.devices.dhcp import labels
from egress_watch.devices.facts import CLASS, HOST, NO_ADDRESS, NOTHING, Reading, Trait, trait

SOURCE = "dhcpv6"
PORTS = (546, 547)
MOST_RELAYS = 8
"""HOP_COUNT_LIMIT of RFC 8415, section 7.6."""

_OF_CLIENTS = tuple(bytes((kind,)) for kind in (1, 3, 4, 5, 6, 8, 9, 11))
"""Solicit, Request, Confirm, Renew, Rebind, Release, Decline, Information-request."""
_FORWARDED = b"\x0c"
_HEADER_BYTES, _RELAY_BYTES = 4, 34
_CLIENT, _RELAYED, _VENDOR_CLASS, _FQDN, _LINK_LAYER = 1, 9, 16, 39, 79
_ETHERNET = b"\x00\x01"
_DUID_OFFSETS = {b"\x00\x01": 8, b"\x00\x03": 4}
"""Where a DUID has its link-layer address: behind a time (DUID-LLT), or at once (DUID-LL)."""


def read(payload: bytes) -> Reading:
    """Return what a client's message says of it; servers are passed over, and clients that a relay does not name."""
    mac, message = _unwrapped(payload)
    if message[:1] not in _OF_CLIENTS:
        return NOTHING
    found = _options(message[_HEADER_BYTES:])
    traits = _traits(found)
    if message is payload:
        return Reading(traits)
    mac = mac or _duid_mac(found.get(_CLIENT, b""))
    return Reading(traits, mac, NO_ADDRESS) if mac else NOTHING


def _unwrapped(message: bytes) -> tuple[int, bytes]:
    """Return the message within those of relays, and the client's MAC where the first relay tells it."""
    mac = 0
    for _ in range(MOST_RELAYS):
        if message[:1] != _FORWARDED:
            break
        found = _options(message[_RELAY_BYTES:])
        told = found.get(_LINK_LAYER, b"")
        mac = int.from_bytes(told[2:], "big") if told[:2] == _ETHERNET and len(told) == 8 else 0
        message = found.get(_RELAYED, b"")
    return mac, message


def _options(raw: bytes) -> dict[int, bytes]:
    """Return options by code, the first of each; one that runs over the end is left out with all behind it."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(raw):
        code, size = int.from_bytes(raw[at : at + 2], "big"), int.from_bytes(raw[at + 2 : at + 4], "big")
        at += 4 + size
        if at > len(raw):
            break
        found.setdefault(code, raw[at - size : at])
    return found


def _traits(found: dict[int, bytes]) -> list[Trait]:
    # The vendor class is an enterprise number, then items of 16-bit length; the first is the class.
    kind = found.get(_VENDOR_CLASS, b"")
    size = int.from_bytes(kind[4:6], "big")
    return trait(HOST, labels(found.get(_FQDN, b"")[1:])) + trait(CLASS, kind[6 : 6 + size])


def _duid_mac(duid: bytes) -> int:
    """Return the Ethernet address in a DUID, 0 where there is none."""
    at = _DUID_OFFSETS.get(duid[:2], 0)
    return int.from_bytes(duid[at:], "big") if at and duid[2:4] == _ETHERNET and len(duid) == at + 6 else 0
