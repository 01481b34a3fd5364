"""One key for both directions of a conversation.

In: address, port and protocol columns. Out: keys (n, 5), hashes and directions. Never: state.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from egress_watch.model import Flags, Packets, Ports, Words

KEY_WORDS = 5
_MULTIPLY = np.array(
    [0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F], np.uint64
)
"""Odd 64-bit constants (splitmix64 and kin): any would do, they only have to differ."""

_PORTS = np.uint64(16)
"""Where the ports stand in the last word of a key; below them are protocol and version."""


def keys(packets: Packets, src_port: Ports, dst_port: Ports) -> tuple[Words, Flags]:
    """Return the key of each packet and its direction: 0 from the lower end to the higher, 1 back.

    A key is (address high, low of the lower end; of the higher end; ports, protocol, IP version); the lower end is
    the smaller (address, port). The IP version keeps IPv4 apart from IPv6 packets that carry mapped addresses.
    """
    src, dst = packets.src, packets.dst
    back = _greater(src[:, 0], dst[:, 0], _greater(src[:, 1], dst[:, 1], src_port > dst_port))
    key = np.empty((len(back), KEY_WORDS), np.uint64)
    for word in (0, 1):  # one at a time: over pairs, `where` takes more than twice as long
        key[:, word] = np.where(back, dst[:, word], src[:, word])
        key[:, 2 + word] = np.where(back, src[:, word], dst[:, word])
    src_wide, dst_wide = src_port.astype(np.uint32), dst_port.astype(np.uint32)
    ports = np.where(back, dst_wide << 16 | src_wide, src_wide << 16 | dst_wide).astype(np.uint64)
    ports <<= _PORTS
    ports |= packets.protocol.astype(np.uint16) << 8 | packets.version
    key[:, 4] = ports
    return key, back.astype(np.uint8)


def hashes(key: Words, seed: int) -> Words:
    """Return a 64-bit hash of each key; the seed keeps a sender from choosing flows that collide."""
    mixed = np.full(len(key), seed, np.uint64)
    for column in range(KEY_WORDS):
        mixed ^= key[:, column] * _MULTIPLY[column]
        mixed ^= mixed >> np.uint64(29)
        mixed *= _MULTIPLY[0]
    mixed ^= mixed >> np.uint64(32)
    return mixed


def _greater(one: Words, other: Words, otherwise: NDArray[np.bool_]) -> NDArray[np.bool_]:
    greater: NDArray[np.bool_] = (one > other) | ((one == other) & otherwise)
    return greater
