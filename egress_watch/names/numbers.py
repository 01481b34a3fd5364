"""Numbers for texts, so that books hold numbers.

In: texts. Out: their numbers, and the texts of numbers. Never: two numbers for one text, or more texts than are in use
twice over.
"""

from __future__ import annotations

import numpy as np

from egress_watch.fast import Numbers

LEAST_SPARE = 1 << 14
"""Texts that may be there though no book has them: looking for those costs more than a few of them."""


class Numbered:
    """Texts by number, and numbers by text."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        """By number; "" where the number is free."""
        self._numbers: dict[str, int] = {}
        self._free: list[int] = []
        self._most = LEAST_SPARE

    def __len__(self) -> int:
        """Return how many texts there are."""
        return len(self._numbers)

    @property
    def crowded(self) -> bool:
        """Whether it is time to `keep` those in use only."""
        return len(self._numbers) > self._most

    def of(self, text: str) -> int:
        """Return the number of a text."""
        number = self._numbers.get(text)
        if number is None:
            number = self._free.pop() if self._free else len(self.texts)
            if number == len(self.texts):
                self.texts.append(text)
            else:
                self.texts[number] = text
            self._numbers[text] = number
        return number

    def keep(self, used: Numbers) -> None:
        """Let go of all texts but those with these numbers."""
        unused = np.ones(len(self.texts), bool)
        unused[used] = False
        unused[self._free] = False
        for number in np.flatnonzero(unused).tolist():
            del self._numbers[self.texts[number]]
            self.texts[number] = ""
            self._free.append(number)
        self._most = 2 * len(self._numbers) + LEAST_SPARE
