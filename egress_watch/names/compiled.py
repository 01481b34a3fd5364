"""The books of names with the accelerator: names are numbers, and books are rows.

In: names that packets said, one by one or by columns, then flows. Out: the best name of each. Never: an answer that
differs from that of `books.InObjects`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.fast import MOST_TEXTS, NOBODY, Accelerator, Notes, Numbers, PlainNames, distinct, table
from egress_watch.model import Flags, Flows, Ints
from egress_watch.names.asked import ADDRESS, terms
from egress_watch.names.books import OTHER_NAMES, Named
from egress_watch.names.numbers import Numbered
from egress_watch.names.plain import Text
from egress_watch.names.reader import Bearer, Refusal, Said
from egress_watch.names.trust import LEAST_TTL_S, LOCAL_RANKS, MOST_TTL_S, SECOND_NS, UNKNOWN, until_ns
from egress_watch.texts import Texts, texts_of

MOST_WAITING = 4096
"""Names noted one by one that may wait to be noted together."""

UNMADE, REFUSED = NOBODY - 1, NOBODY - 2
"""In place of the number of a text: nobody has looked at it yet; it is none."""

Note = tuple[bytes, int, int, int, int]
"""A key, start, end, number and rank."""


class Learned(NamedTuple):
    """What came of some names by columns."""

    heard: Ints
    """How many names there were of each rank."""
    refused: list[tuple[int, str]]
    """Rank and reason of those that could not be read."""


class Compiled:
    """The books in rows; ``texts`` says by reader's bit how to make a text of its bytes, and their rank."""

    def __init__(self, fast: Accelerator, limit: int, seed: int, texts: dict[int, tuple[Text, int]]) -> None:
        self.books = fast.books(limit, seed)
        self.numbered = Numbered()
        self._texts = texts
        self._ranks = np.zeros(256, np.int32)
        for bit, (_, rank) in texts.items():
            self._ranks[bit] = rank
        self._raw: list[bytes] = []
        self._made = np.full(MOST_TEXTS, UNMADE, np.int32)
        """By number of such a text as it stands in packets: its number here."""
        self._reasons: dict[int, str] = {}
        """Why some are refused."""
        self._servers: list[Note] = []
        self._answers: list[Note] = []
        self._locals: list[Note] = []

    @property
    def forgotten(self) -> int:
        """Return how many names were dropped because a book was full."""
        self.settle()
        return sum(book.rows.forgotten for book in self.books)

    def __len__(self) -> int:
        """Return how many names are kept."""
        self.settle()
        return sum(book.rows.kept for book in self.books)

    def note(self, rank: int, bearer: Bearer, said: Said) -> None:
        """Note a name under its connection, or under the address it names and who asked."""
        number, start_ns = self.numbered.of(said.name), bearer.time_ns
        if said.address is None:
            some, key, end_ns = self._servers, bearer.connection, start_ns
        elif rank in LOCAL_RANKS:
            some, key, end_ns = self._locals, said.address, until_ns(start_ns, said.ttl_s)
        else:
            some, key, end_ns = self._answers, bearer.connection[ADDRESS] + said.address, until_ns(start_ns, said.ttl_s)
        some.append((key, start_ns, end_ns, number, rank))
        if len(some) >= MOST_WAITING:
            self.settle()

    def settle(self) -> None:
        """Let the books have what was noted one by one, and let go of texts that none of them has any more."""
        books = self.books
        waiting = ((self._servers, [books.connections]), (self._locals, [books.local]))
        for some, into in waiting:
            if some:
                keys, notes = _columns(some)
                for book in into:
                    book.note(keys, notes)
                some.clear()
        if self._answers:
            self._note_answers(*_columns(self._answers))
            self._answers.clear()
        if self.numbered.crowded:
            self.numbered.keep(np.concatenate([book.names() for book in books]))
            self._made[:] = UNMADE

    def learn(self, plain: PlainNames, rows: slice) -> Learned:
        """Note some names of the plainest packets."""
        self.settle()
        reader, start_ns = plain.reader[rows], plain.time_ns[rows]
        number, refused = self._numbers(reader, plain.text[rows], plain.texts)
        rank = self._ranks[reader]
        begin = np.concatenate((plain.ends[rows.start - 1 : rows.start] if rows.start else [0], plain.ends[rows]))
        addresses = np.diff(begin)
        alone = np.flatnonzero((number != NOBODY) & (addresses == 0))
        if len(alone):
            moments_ns = start_ns[alone]
            notes = Notes(moments_ns, moments_ns, number[alone], rank[alone])
            self.books.connections.note(plain.connection[rows][alone], notes)
        which = np.repeat(np.arange(len(number)), addresses)
        named = np.flatnonzero(number[which] != NOBODY)
        which = which[named]
        if len(which):
            told = named + begin[0]
            end_ns = start_ns[which] + np.clip(plain.ttl_s[told], LEAST_TTL_S, MOST_TTL_S) * SECOND_NS
            self._note_answers(plain.asked[told], Notes(start_ns[which], end_ns, number[which], rank[which]))
        return Learned(np.bincount(np.concatenate((rank[alone], rank[which]))), refused)

    def name(self, flows: Flows) -> Named:
        """Name flow records by the time of their first packets; one that was cut hands its name to the next."""
        self.settle()
        found = self.books.name(flows, *terms(flows), UNKNOWN)
        return Named(self._column(found.name), found.rank, found.heard_ns, self._others(found.others))

    def _note_answers(self, pairs: NDArray[np.uint8], notes: Notes) -> None:
        self.books.asked.note(pairs, notes)  # an answer goes to the one who asked
        self.books.known.note(pairs[:, ADDRESS], notes)

    def _numbers(self, readers: Flags, texts: Numbers, raw: list[bytes]) -> tuple[Numbers, list[tuple[int, str]]]:
        """Return the number of each name, NOBODY where it says nothing, and what was refused."""
        if raw is not self._raw:
            self._raw, self._made[:] = raw, UNMADE
        new = np.flatnonzero(self._made[texts] == UNMADE)
        for text, reader in dict(zip(texts[new].tolist(), readers[new].tolist(), strict=True)).items():
            self._made[text] = self._number(text, self._texts[reader][0])
        numbers = self._made[texts]
        wrong = np.flatnonzero(numbers == REFUSED)
        numbers[wrong] = NOBODY
        ranks = self._ranks[readers[wrong]].tolist()
        return numbers, list(zip(ranks, map(self._reasons.__getitem__, texts[wrong].tolist()), strict=True))

    def _number(self, one: int, text: Text) -> int:
        """Return the number of what a text as it stands in packets says."""
        try:
            said = text(self._raw[one])
        except Refusal as refusal:
            self._reasons[one] = str(refusal)
            return REFUSED
        return self.numbered.of(said) if said else NOBODY

    def _column(self, numbers: Numbers) -> Texts:
        """Return the texts of numbers, in the order of their appearance behind that of nobody."""
        kinds = distinct(table([np.concatenate(([NOBODY], numbers)).astype(np.int64)], len(numbers) + 1))
        first = kinds.first[1:] - 1
        return Texts(kinds.which[1:], ("", *map(self.numbered.texts.__getitem__, numbers[first].tolist())))

    def _others(self, numbers: Numbers) -> Texts:
        """Return the texts of some numbers for each row."""
        rows = np.concatenate((np.full((1, OTHER_NAMES), NOBODY), numbers)).astype(np.int64)
        kinds = distinct(table(list(rows.T), len(rows)))
        texts = self.numbered.texts
        joined = [" ".join([texts[one] for one in some if one != NOBODY]) for some in rows[kinds.first].tolist()]
        column = texts_of(joined)
        return Texts(column.codes[kinds.which[1:]], column.texts)


def _columns(some: list[Note]) -> tuple[NDArray[np.uint8], Notes]:
    """Return keys side by side, and the rest of some notes."""
    keys, starts_ns, ends_ns, numbers, ranks = zip(*some, strict=True)
    times_ns = np.array(starts_ns, np.int64), np.array(ends_ns, np.int64)
    notes = Notes(*times_ns, np.array(numbers, np.int32), np.array(ranks, np.int32))
    return np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1), notes
