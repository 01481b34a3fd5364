"""A column of texts, each of them held once: names are few, and flows are many.

In: texts, a row each. Out: the same, and which rows share a text. Never: a text changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from egress_watch.model import Ints


class Texts(Sequence[str]):
    """A column of texts in which the same come again and again: each is held once."""

    def __init__(self, codes: Ints, texts: Sequence[str]) -> None:
        self.codes, self.texts = codes, texts
        """(n,) Index of each row's text; and the texts, each once."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.codes)

    def __iter__(self) -> Iterator[str]:
        """Yield the text of each row."""
        return map(self.texts.__getitem__, self.codes.tolist())

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Texts: ...
    def __getitem__(self, row: int | slice) -> str | Texts:
        """Return the text of a row, or some of the rows."""
        return Texts(self.codes[row], self.texts) if isinstance(row, slice) else self.texts[self.codes[row]]

    def __eq__(self, other: object) -> bool:
        """Return whether the rows say the same."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def texts_of(column: Sequence[str]) -> Texts:
    """Return a column with each of its texts once, in the order of appearance."""
    if isinstance(column, Texts):
        return column
    known: dict[str, int] = {}
    codes = [known.setdefault(text, len(known)) for text in column]
    return Texts(np.array(codes, np.int64), tuple(known))


def sparse(texts: Sequence[str], rows: Ints, count: int) -> Texts:
    """Return a column of ``count`` rows of which some have these texts, and all others ""."""
    order = np.argsort(rows)
    some = texts_of(["", *map(texts.__getitem__, order.tolist())])
    codes = np.zeros(count, np.int64)
    codes[rows[order]] = some.codes[1:]
    return Texts(codes, some.texts)
