"""The values an inventory is written in: prefixes, addresses, MACs, VLANs and classes.

In: texts. Out: numbers, or ValueError with what is wrong in words. Never: a guess at what was meant.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network

from egress_watch.inventory.entries import CLASSES, Prefix

MAC_BITS = 48
MOST_VLAN = 4094
MAPPED = 0xFFFF << 32
"""IPv4 within addresses of 128 bits (RFC 4291, section 2.5.5.2)."""


def prefix(text: str) -> Prefix:
    """Return a prefix of IPv4 or IPv6 as bits and leading bits of 128."""
    try:
        network: IPv4Network | IPv6Network = ip_network(text.strip())
    except ValueError as error:
        raise ValueError(f"{text!r} is no network ({error})") from error
    if network.prefixlen == 0:
        raise ValueError(f"{text!r} holds every address there is")
    return _bits(network)


def address(text: str) -> Prefix:
    """Return an address, with or without the mask of its network, as a prefix of 128 bits."""
    try:
        return _bits(ip_network(ip_interface(text.strip()).ip))
    except ValueError as error:
        raise ValueError(f"{text!r} is no address") from error


def mac(text: str) -> Prefix:
    """Return a whole MAC as a prefix of 48 bits."""
    found = pattern(text)
    if found[0] != MAC_BITS:
        raise ValueError(f"{text!r} is no whole MAC")
    return found


def pattern(text: str) -> Prefix:
    """Return a MAC or the beginning of one, a half byte at least, with ``*`` behind it or not."""
    bare = re.sub("[:.-]", "", text.strip().lower().rstrip("*"))
    if not re.fullmatch("[0-9a-f]{1,12}", bare):
        raise ValueError(f"{text!r} is no MAC and no beginning of one")
    return 4 * len(bare), int(bare, 16)


def vlan(text: str) -> int:
    """Return a VLAN id from a number or from ``name (number)``, as NetBox writes it."""
    found = re.fullmatch(r"(?:.*\()?([0-9]{1,4})\)?", text.strip())
    if not found or not 1 <= int(found[1]) <= MOST_VLAN:
        raise ValueError(f"{text!r} is no VLAN from 1 to {MOST_VLAN}")
    return int(found[1])


def segment_class(text: str) -> str:
    """Return a known class as it is written here, "" for an unknown one: ``Street-Lighting`` is street lighting."""
    words = re.sub("[-_ ]+", " ", text.strip().lower())
    return next((name for name in CLASSES if name.replace("-", " ") == words), "")


def _bits(network: IPv4Network | IPv6Network) -> Prefix:
    first, bits = int(network.network_address), network.prefixlen
    if network.version == 4:
        first, bits = first | MAPPED, bits + 96
    return bits, first >> (128 - bits)


def network_text(bits: int, leading: int) -> str:
    """Return a prefix as a person writes it."""
    first = leading << (128 - bits)
    if bits >= 96 and first >> 32 == MAPPED >> 32:
        return str(IPv4Network((first & 0xFFFFFFFF, bits - 96)))
    return str(IPv6Network((first, bits)))
