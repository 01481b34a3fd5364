"""The search tree of a MaxMind database, asked by whole columns of addresses.

In: the bytes of a file and what its metadata says of them. Out: where each address ends. Never: a copy of the tree, or
a byte of it before the first question.

The tree (MaxMind DB file format 2.0, "Binary Search Tree Section") is an array of pairs of numbers: where an address
goes on if its next bit is 0, and where if it is 1. All addresses of a batch walk down together, a bit a step.
The first steps are taken once for all: a table of doors holds where each beginning of DOOR_BITS bits leads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from egress_watch.model import Ints, Words

DOOR_BITS = 16
WORD_BITS = 64
IPV4_BITS = 32
ZERO_BITS = 96
"""An IPv4 address lies behind so many zeros in an IPv6 file (same section, "IPv4 addresses in an IPv6 tree")."""

SEPARATOR_BYTES = 16
MAPPED = 0xFFFF
Children = Callable[[Ints], Ints]


class Tree:
    """The search tree of one file; below, "place" is a number in it: a node, or from ``nodes`` on an end."""

    def __init__(self, content: memoryview, nodes: int, record_bits: int, *, narrow: bool) -> None:
        """Lay the tree over ``content``; raises ValueError where it cannot lie there, LookupError for odd records."""
        children = _CHILDREN[record_bits]
        if nodes < 0 or len(content) < nodes * record_bits // 4 + SEPARATOR_BYTES:
            raise ValueError("the tree is longer than the file")
        self.nodes = nodes
        self._child = children(content, nodes)
        self._narrow = narrow

    def leaves(self, addresses: Words) -> Ints:
        """Return where each address of shape (n, 2) ends: behind ``nodes`` a record, at or below it none."""
        mapped = (addresses[:, 0] == 0) & (addresses[:, 1] >> np.uint64(IPV4_BITS) == MAPPED)
        if mapped.all():
            return self._ipv4(addresses[:, 1])
        ends = np.zeros(len(addresses), np.int64)
        ends[mapped] = self._ipv4(addresses[mapped, 1])
        if not self._narrow:  # a file of IPv4 alone knows nothing of IPv6
            ends[~mapped] = self._ipv6(addresses[~mapped])
        return ends

    def _ipv4(self, low: Words) -> Ints:
        words = low << np.uint64(WORD_BITS - IPV4_BITS)
        return self._walk(words, _entered(self._ipv4_doors, words), DOOR_BITS, IPV4_BITS)

    def _ipv6(self, addresses: Words) -> Ints:
        high, low = addresses[:, 0], addresses[:, 1]
        ends = self._walk(high, _entered(self._ipv6_doors, high), DOOR_BITS, WORD_BITS)
        return self._walk(low, ends, 0, WORD_BITS)

    def _walk(self, words: Words, ends: Ints, first: int, behind: int) -> Ints:
        """Go on from the places ``ends`` by the bits ``first`` to ``behind`` of the words, highest bit 0."""
        live = np.flatnonzero(ends < self.nodes)
        places, paths = ends[live], words[live].view(np.int64)
        for bit in range(first, behind):
            if not len(live):
                break
            places = self._child(2 * places + (paths >> (WORD_BITS - 1 - bit) & 1))
            going = places < self.nodes
            if not going.all():
                ends[live] = places
                live, places, paths = live[going], places[going], paths[going]
        ends[live] = places
        return ends

    @cached_property
    def _ipv6_doors(self) -> Ints:
        return self._doors(0)

    @cached_property
    def _ipv4_doors(self) -> Ints:
        root = 0
        for _ in range(0 if self._narrow else ZERO_BITS):
            if root >= self.nodes:
                break
            root = int(self._child(np.array([2 * root]))[0])
        return self._doors(root)

    def _doors(self, root: int) -> Ints:
        """Return for each beginning of an address, from ``root`` on, the place that it leads to."""
        places = np.array([root], np.int64)
        for _ in range(DOOR_BITS):
            places = np.repeat(places, 2)
            live = np.flatnonzero(places < self.nodes)
            places[live] = self._child(2 * places[live] + (live & 1))
        return places


def _entered(doors: Ints, words: Words) -> Ints:
    places: Ints = doors[words >> np.uint64(WORD_BITS - DOOR_BITS)]
    return places


# Each of these returns what gives, for numbers 2n + side, the children of node n: read where they lie in the file.


def _children_24(content: memoryview, nodes: int) -> Children:
    # Four bytes a child, one of them too many: never past the end, since data follow the tree.
    four: NDArray[np.uint32] = np.ndarray((2 * nodes,), ">u4", buffer=content, strides=(3,))
    return lambda numbers: four[numbers].astype(np.int64) >> 8


def _children_28(content: memoryview, nodes: int) -> Children:
    # Seven bytes a node: the fourth holds the highest bits of both children, the left one's in its upper half.
    lefts: NDArray[np.uint32] = np.ndarray((nodes,), ">u4", buffer=content, strides=(7,))
    rights: NDArray[np.uint32] = np.ndarray((nodes,), ">u4", buffer=content, offset=3, strides=(7,))

    def child(numbers: Ints) -> Ints:
        left, right = lefts[numbers >> 1].astype(np.int64), rights[numbers >> 1].astype(np.int64)
        found: Ints = np.where(numbers & 1, right & 0xFFFFFFF, left >> 8 | (left & 0xF0) << 20)
        return found

    return child


def _children_32(content: memoryview, nodes: int) -> Children:
    four = np.frombuffer(content, ">u4", 2 * nodes)
    return lambda numbers: four[numbers].astype(np.int64)


_CHILDREN = {24: _children_24, 28: _children_28, 32: _children_32}
