"""IPv6 addresses that carry an IPv4 address: what counts is where the IPv4 end is.

In: an address. Out: the IPv4 address inside, with the mechanism. Never: a guess at a site's own translation prefix.
"""

from __future__ import annotations

from typing import NamedTuple

MAPPED = 0xFFFF << 32
WORD = 0xFFFFFFFF


class Carried(NamedTuple):
    """An IPv4 address found inside an IPv6 one."""

    mechanism: str
    prefix: str
    address: tuple[int, int]
    """The two words of the IPv4 address, as everywhere in `model`."""


def carried(high: int, low: int) -> Carried | None:
    """Return the IPv4 address that this address stands for, None where it stands for itself.

    NAT64: the well-known prefix (RFC 6052, section 2.1). 6to4: the 32 bits behind 2002::/16 (RFC 3056, section 2).
    Teredo: the client's own address, stored inverted in the last 32 bits (RFC 4380, section 4).
    """
    if high == 0x0064FF9B00000000 and low <= WORD:
        return Carried("NAT64 (RFC 6052)", "64:ff9b::/96", (0, MAPPED | low))
    if high >> 48 == 0x2002:
        return Carried("6to4 (RFC 3056)", "2002::/16", (0, MAPPED | (high >> 16 & WORD)))
    if high >> 32 == 0x20010000:
        return Carried("Teredo (RFC 4380)", "2001::/32", (0, MAPPED | (~low & WORD)))
    return None
