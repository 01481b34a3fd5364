"""What DHCP says of a client: its host name, its vendor class, and the address it was given.

In: UDP payloads of ports 67 and 68. Out: traits of the client. Never: an exception, or an option read past its end.

RFC 2131, section 2 (the message), RFC 2132, section 2 and 9 (options), RFC 4702 (Client FQDN).
"""

from __future__ import annotations

from egress_watch.devices.facts import ADDRESS, CLASS, HOST, NO_ADDRESS, NOTHING, Reading, Trait, ipv4, trait

SOURCE = "dhcp"
PORTS = (67, 68)

_COOKIE = b"\x63\x82\x53\x63"
_OPTIONS = 240
_ETHERNET, _REPLY, _ACK = 1, 2, 5
_PAD, _END, _HOST_NAME, _MESSAGE_TYPE, _VENDOR_CLASS, _FQDN = 0, 255, 12, 53, 60, 81


def read(payload: bytes) -> Reading:
    """Return what one message tells of its client (``chaddr``); a reply tells only the address it acknowledges."""
    if payload[1:3] != bytes((_ETHERNET, 6)) or payload[236:_OPTIONS] != _COOKIE:
        return NOTHING
    mac, found = int.from_bytes(payload[28:34], "big"), options(payload[_OPTIONS:])
    if payload[0] == _REPLY:
        return _given(payload, mac, found)
    traits = trait(HOST, found.get(_HOST_NAME, b"")) + trait(CLASS, found.get(_VENDOR_CLASS, b""))
    return Reading(traits + _fqdn(found.get(_FQDN, b"")), mac, ipv4(payload[12:16]))


def options(raw: bytes) -> dict[int, bytes]:
    """Return options by code, the first of each; one that runs over the end is left out with all behind it."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 1 < len(raw) and raw[at] != _END:
        if raw[at] == _PAD:
            at += 1
            continue
        end = at + 2 + raw[at + 1]
        if end > len(raw):
            break
        found.setdefault(raw[at], raw[at + 2 : end])
        at = end
    return found


def _given(payload: bytes, mac: int, found: dict[int, bytes]) -> Reading:
    address = ipv4(payload[16:20])
    if found.get(_MESSAGE_TYPE) != bytes((_ACK,)) or address == NO_ADDRESS:
        return NOTHING
    return Reading([Trait(ADDRESS, ".".join(map(str, payload[16:20])))], mac, address)


def _fqdn(value: bytes) -> list[Trait]:
    """Return the name of option 81: flags and two codes, then ASCII, or labels where bit 2 of the flags says so."""
    if len(value) < 4:
        return []
    return trait(HOST, labels(value[3:]) if value[0] & 4 else value[3:])


def labels(raw: bytes) -> bytes:
    """Return labels without compression (RFC 1035, section 3.1) joined by dots, as far as they go."""
    parts, at = [], 0
    while at < len(raw) and 0 < raw[at] < 64:
        parts.append(raw[at + 1 : at + 1 + raw[at]])
        at += 1 + raw[at]
    return b".".join(parts)
