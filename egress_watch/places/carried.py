"""IPv6 addresses that carry an IPv4 address: what counts is where the IPv4 end is.

In: addresses. Out: the IPv4 addresses inside, with the mechanism. Never: a guess at a site's own translation prefix.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from egress_watch.model import Ints, Words

MAPPED = np.uint64(0xFFFF << 32)
WORD = np.uint64(0xFFFFFFFF)
HALF, SIXTEEN, MOST = np.uint64(32), np.uint64(16), np.uint64(48)


class Mechanism(NamedTuple):
    """A way to write an IPv4 address into an IPv6 one."""

    name: str
    prefix: str
    checked: bool
    """A router of the network translates it; in a tunnel's address anyone can write any IPv4 address."""


MECHANISMS = (
    Mechanism("", "", checked=True),
    Mechanism("NAT64 (RFC 6052)", "64:ff9b::/96", checked=True),
    Mechanism("6to4 (RFC 3056)", "2002::/16", checked=False),
    Mechanism("Teredo (RFC 4380)", "2001::/32", checked=False),
)
NAT64, SIX_TO_FOUR, TEREDO = 1, 2, 3


def carried(addresses: Words) -> tuple[Words, Ints]:
    """Return the addresses that count, of shape (n, 2), and by which of MECHANISMS each is carried, 0 for itself.

    NAT64: the well-known prefix (RFC 6052, section 2.1). 6to4: the 32 bits behind 2002::/16 (RFC 3056, section 2).
    Teredo: the client's own address, stored inverted in the last 32 bits (RFC 4380, section 4).
    """
    high, low = addresses[:, 0], addresses[:, 1]
    kinds = np.zeros(len(addresses), np.int64)
    kinds[(high == 0x0064FF9B00000000) & (low <= WORD)] = NAT64
    kinds[high >> MOST == 0x2002] = SIX_TO_FOUR
    kinds[high >> HALF == 0x20010000] = TEREDO
    inner = np.select([kinds == NAT64, kinds == SIX_TO_FOUR], [low, high >> SIXTEEN & WORD], ~low & WORD)
    found = addresses.copy()
    found[kinds > 0] = np.stack([np.zeros_like(inner), inner | MAPPED], axis=1)[kinds > 0]
    return found, kinds
