"""What groups came to whose rows were written to the table: an upper bound, which says whom to read back.

In: the groups, slots and amounts of rows that leave memory. Out: for any group, a number that is never less than what
its rows in the table come to. Never: a text; so a million groups take no more than ten.

Groups share `BUCKETS` sums by the hash of their texts, in a row of sums for each timespan, so that what is over is
forgotten. Whoever is below the limit even with what others brought to the bucket cannot reach it, and stays unread.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from egress_watch.model import Ints
from egress_watch.store.windows import SLOTS

BUCKETS = 1 << 19
"""4 MB for each timespan of a rule."""


class Spilled:
    """The sums of one rule."""

    def __init__(self) -> None:
        self._sums: dict[int, Ints] = {}

    def add(self, texts: Sequence[str], slots: Ints, amounts: Ints) -> None:
        """Note rows (n,) that are in the table now."""
        buckets, spans = _buckets(texts), slots // SLOTS
        for span in np.unique(spans).tolist():
            mine = spans == span
            sums = self._sums.setdefault(span, np.zeros(BUCKETS, np.int64))
            np.add.at(sums, buckets[mine], amounts[mine])

    def forget(self, slot: int) -> None:
        """Drop what lies before a slot, a timespan at once."""
        self._sums = {span: sums for span, sums in self._sums.items() if (span + 1) * SLOTS > slot}

    def most(self, texts: Sequence[str]) -> Ints:
        """Return (n,) what each group has in the table at most."""
        buckets, none = _buckets(texts), np.zeros(len(texts), np.int64)
        return sum((sums[buckets] for sums in self._sums.values()), none)


def _buckets(texts: Sequence[str]) -> Ints:
    return np.fromiter(map(hash, texts), np.int64, len(texts)) % BUCKETS
