"""Numbers of keys that are rows of words, remembered between batches.

In: keys of one width, with their numbers. Out: the numbers of keys. Never: a bound of its own; whoever remembers asks
how many there are, and forgets all.
"""

from __future__ import annotations

from ctypes import CDLL, byref, c_int64, c_void_p
from typing import Protocol

import numpy as np

from egress_watch.fast.layout import KnownRows, place_of
from egress_watch.model import Ints, Words

ROOM = 1024
_PLACES = 2
"""Places of the index for each row there is room for."""


class Known(Protocol):
    """What both ways can do."""

    def __len__(self) -> int: ...

    def numbers(self, keys: Words) -> Ints:
        """Return the number of each key (n, width), -1 where there is none."""

    def learn(self, keys: Words, numbers: Ints) -> None:
        """Note numbers from 0 on; the last one of a key holds."""

    def forget(self) -> None:
        """Drop all."""


class KnownInC:
    """Numbers found by hash, in memory of NumPy's; the seed keeps others from choosing keys that are found slowly."""

    def __init__(self, library: CDLL, width: int) -> None:
        self._library, self._width = library, width
        self._seed = hash(type(self).__name__) & (1 << 64) - 1  # of texts, so another one in each process
        self.forget()

    def __len__(self) -> int:
        used: int = self._rows.used
        return used

    def numbers(self, keys: Words) -> Ints:
        """Return the number of each key (n, width), -1 where there is none."""
        keys, found = self._checked(keys, len(keys)), np.empty(len(keys), np.int64)
        places = c_void_p(place_of(keys)), c_int64(len(keys)), c_void_p(place_of(found))
        self._library.ew_known_numbers(byref(self._rows), *places)
        return found

    def learn(self, keys: Words, numbers: Ints) -> None:
        """Note numbers from 0 on; the last one of a key holds."""
        keys, numbers = self._checked(keys, len(numbers)), np.ascontiguousarray(numbers, np.int64)
        if len(self) + len(keys) > len(self._numbers):
            self._grow(2 * (len(self) + len(keys)))
        places = c_void_p(place_of(keys)), c_int64(len(keys)), c_void_p(place_of(numbers))
        self._library.ew_known_learn(byref(self._rows), *places)

    def forget(self) -> None:
        """Drop all."""
        self._words, self._numbers = np.empty((0, self._width), np.uint64), np.empty(0, np.int64)
        self._rows = KnownRows(width=self._width, seed=self._seed)
        self._grow(ROOM)

    def _checked(self, keys: Words, count: int) -> Words:
        if keys.shape != (count, self._width):
            raise ValueError("keys of another width, or not one for each number")
        return np.ascontiguousarray(keys, np.uint64)

    def _grow(self, room: int) -> None:
        used = self._rows.used
        words, numbers = np.empty((room, self._width), np.uint64), np.empty(room, np.int64)
        words[:used], numbers[:used] = self._words[:used], self._numbers[:used]
        self._words, self._numbers = words, numbers
        self._index = np.full(1 << (_PLACES * room).bit_length(), -1, np.int32)
        self._rows = KnownRows(
            place_of(words), place_of(numbers), place_of(self._index), len(self._index), self._width, used, self._seed
        )
        self._library.ew_known_index(byref(self._rows))


class KnownInPython:
    """Numbers in a dict."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._numbers: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def numbers(self, keys: Words) -> Ints:
        """Return the number of each key (n, width), -1 where there is none."""
        known = self._numbers
        return np.array([known.get(key, -1) for key in self._keys(keys)], np.int64)

    def learn(self, keys: Words, numbers: Ints) -> None:
        """Note numbers from 0 on; the last one of a key holds."""
        self._numbers.update(zip(self._keys(keys), numbers.tolist(), strict=True))

    def forget(self) -> None:
        """Drop all."""
        self._numbers.clear()

    def _keys(self, words: Words) -> list[bytes]:
        """Return rows as bytes: of all keys of a dict they are the cheapest to make."""
        rows = np.ascontiguousarray(words, np.uint64)
        keys: list[bytes] = rows.view(f"V{8 * self._width}")[:, 0].tolist() if len(rows) else []
        return keys
