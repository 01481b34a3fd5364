"""Which end of a conversation is ours.

In: addresses. Out: one bit a flow. Never: a look at payload, or a change of mind within a flow.

The device is, in this order: the end that is not a group address; the one end in the configured networks; the one
private end; the end that began. So a camera and a cloud are never mixed up because the capture began in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

import numpy as np
from numpy.typing import NDArray

from egress_watch.model import Words

Mask = NDArray[np.bool_]
Blocks = NDArray[np.uint64]
"""(n, 2, 2) Networks, each as network and netmask, each as high and low word."""

PRIVATE = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
    "::/128", "::1/128", "fc00::/7", "fe80::/10",
)  # fmt: skip
"""Addresses that no one routes for others (RFC 6890, IANA special-purpose registries)."""

GROUP = ("224.0.0.0/4", "255.255.255.255/32", "ff00::/8")
"""Multicast and limited broadcast (RFC 5771, RFC 919, RFC 4291): never a device."""


class Sides:
    """Decides the device side of new flows; ``networks`` are the user's own, in CIDR notation."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self.blocks = (_blocks(PRIVATE), _blocks(networks), _blocks(GROUP))
        """Private networks, the user's own, and groups: the later ones decide over the earlier ones."""

    def ours(self, address: Words) -> Mask:
        """Return which addresses of shape (n, 2) are private or in the configured networks."""
        private, own, _ = self.blocks
        return _within(address, private) | _within(address, own)

    def device_is_low(self, low: Words, high: Words, began_low: Mask) -> Mask:
        """Return where the lower end of the key is the device; ``began_low`` says that it sent first."""
        answer = began_low.copy()
        for blocks, inside in zip(self.blocks, (True, True, False), strict=True):
            in_low, in_high = _within(low, blocks), _within(high, blocks)
            told = in_low != in_high
            answer[told] = in_low[told] == inside
        return answer


def _blocks(networks: Sequence[str]) -> Blocks:
    blocks = [_block(ip_network(network)) for network in networks]
    return np.array(blocks, np.uint64).reshape(-1, 2, 2)


def _block(network: IPv4Network | IPv6Network) -> tuple[int, int, int, int]:
    prefix = network.prefixlen + (96 if network.version == 4 else 0)
    first = int(network.network_address) | (0xFFFF << 32 if network.version == 4 else 0)
    mask = ((1 << prefix) - 1) << (128 - prefix)
    low = (1 << 64) - 1
    return first >> 64, first & low, mask >> 64, mask & low


def _within(address: Words, blocks: Blocks) -> Mask:
    """Return which addresses lie in any block: all pairs at once, as a step for each block costs more in calls."""
    network, netmask = blocks[:, 0, :, None], blocks[:, 1, :, None]
    high = (address[:, 0] & netmask[:, 0]) == network[:, 0]
    low = (address[:, 1] & netmask[:, 1]) == network[:, 1]
    found: Mask = (high & low).any(axis=0)
    return found
