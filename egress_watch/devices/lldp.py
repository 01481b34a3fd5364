"""What LLDP says of the device that sends it: its name, system, role, and LLDP-MED's maker and model.

In: LLDP data units, as they lie behind the EtherType 0x88CC. Out: traits of the sender. Never: an exception.

IEEE 802.1AB-2016, clause 8 (TLVs); ANSI/TIA-1057, clause 10.2.6 (LLDP-MED inventory).
"""

from __future__ import annotations

from egress_watch.devices.facts import HOST, MAKER, MODEL, NO_ADDRESS, ROLE, SOFTWARE, Reading, Trait, ipv4, trait

SOURCE = "lldp"

_END, _NAME, _DESCRIPTION, _CAPABILITIES, _MANAGEMENT, _ORGANISATION = 0, 5, 6, 7, 8, 127
_MED, _MED_SOFTWARE, _MED_MAKER, _MED_MODEL = b"\x00\x12\xbb", 7, 9, 10
_MED_KINDS = {_MED_SOFTWARE: SOFTWARE, _MED_MAKER: MAKER, _MED_MODEL: MODEL}
_ROLES = ("other", "repeater", "bridge", "wlan access point", "router", "telephone", "docsis", "station")
"""Capabilities by bit (table 8-4)."""
MOST_TLVS = 64


def read(payload: bytes) -> Reading:
    """Return what one data unit says; the address is that of its management, where it names one of IPv4."""
    traits: list[Trait] = []
    address, at = NO_ADDRESS, 0
    for _ in range(MOST_TLVS):
        head = int.from_bytes(payload[at : at + 2], "big")
        kind, value = head >> 9, payload[at + 2 : at + 2 + (head & 0x1FF)]
        if kind == _END or len(value) < head & 0x1FF:
            break
        traits += _traits(kind, value)
        if kind == _MANAGEMENT and value[:2] == b"\x05\x01" and len(value) >= 6:
            address = ipv4(value[2:6])
        at += 2 + len(value)
    return Reading(traits, address=address)


def _traits(kind: int, value: bytes) -> list[Trait]:
    if kind == _ORGANISATION and value[:3] == _MED and len(value) > 3 and value[3] in _MED_KINDS:
        return trait(_MED_KINDS[value[3]], value[4:])
    if kind == _CAPABILITIES and len(value) >= 4:
        enabled = int.from_bytes(value[2:4], "big")
        roles = [role for bit, role in enumerate(_ROLES) if enabled >> bit & 1]
        return [Trait(ROLE, ", ".join(roles))] if roles else []
    return trait({_NAME: HOST, _DESCRIPTION: SOFTWARE}[kind], value) if kind in (_NAME, _DESCRIPTION) else []
