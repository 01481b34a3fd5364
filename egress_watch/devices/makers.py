"""Who made a device, by the block of its MAC: the IEEE's registry as columns, asked by binary search.

In: the shipped file, and MACs. Out: registered names. Never: a maker for a MAC that its owner made up.

The file: ``EgrWoui1``; four little-endian u64: the number of blocks of 24, 28 and 36 bits, and of names; for each of
the three sizes a column of prefixes, rising, and a column of name numbers; then the names, one a line. Name 0 is
nobody: a /24 that the IEEE gives away in smaller blocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from egress_watch.model import Words

MAGIC = b"EgrWoui1"
BITS = (24, 28, 36)
LOCAL, GROUP = 1 << 41, 1 << 40
"""Bits of the first byte of a MAC: locally administered, and group (IEEE 802-2014, clause 8.2)."""

COMPANY_ID = 0xA
"""The second digit of a MAC whose beginning is a Company ID: its owner lets software make up the rest (IEEE 802c)."""

_Column = NDArray[np.uint64]


class Makers:
    """The registry; raises ValueError where the file is none of ours."""

    def __init__(self, content: bytes) -> None:
        ours = content[: len(MAGIC)] == MAGIC and len(content) >= 40
        sizes = np.frombuffer(content, "<u8", 4, len(MAGIC)).tolist() if ours else [0]
        if not all(sizes) or len(content) < 40 + 16 * sum(sizes[:3]):
            raise ValueError("no file of makers")
        self._blocks: list[tuple[_Column, _Column]] = []
        at = 40
        for size in sizes[:3]:
            columns = np.frombuffer(content, "<u8", 2 * size, at)
            self._blocks.append((columns[:size], columns[size:]))
            at += 16 * size
        self._names = ["", *content[at:].decode("utf-8").split("\n")]

    def names(self, macs: Words) -> list[str]:
        """Return for MACs of shape (n,) the registered name of the smallest block that holds each, "" for none."""
        found = np.zeros(len(macs), np.uint64)
        for bits, (prefixes, numbers) in zip(BITS, self._blocks, strict=True):
            wanted = macs >> np.uint64(48 - bits)
            at = np.minimum(np.searchsorted(prefixes, wanted), len(prefixes) - 1)
            found = np.where(prefixes[at] == wanted, numbers[at], found)
        return [self._names[number] for number in found.tolist()]


def made_up(mac: int, registered: str = "") -> bool:
    """Return whether a MAC was given by software: locally administered, as randomised ones are, and of no group.

    A few old blocks have that bit and are somebody's all the same; a Company ID, as in da:a1:19 of Android, is not.
    """
    given = bool(registered) and mac >> 40 & 0xF != COMPANY_ID
    return bool(mac & LOCAL) and not mac & GROUP and not given
