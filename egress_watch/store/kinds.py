"""Which flows are alike to the rules: what a predicate said of one flow it says of all others of its kind.

In: the numbers in the rows of a committed batch, and a way to ask the view ``flows``. Out: the answers of predicates,
or the texts of a column, for each flow. Never: an answer that is not the view's own for a flow of that very kind.

Most of what a rule asks is a text that thousands of flows share: of a place, a name, a device. Rows of those tables
never change, so what a comparison says of one is asked once and remembered by the row's number. Counts and ports are
compared here, with the numbers that the rules name. What is left are few kinds of flows, and the predicate as a whole
is asked of one flow of each new kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egress_watch.fast import distinct, table
from egress_watch.model import Ints
from egress_watch.store.reading import VALUE, Reads, cuts

Ask = Callable[[Sequence[str], Ints, str], Sequence[tuple[Any, ...]]]
"""Returns what SQL expressions say of the rows of a source, given by id: a row for each of them, in their order."""
FLOWS = "SELECT * FROM flows WHERE id IN (SELECT value FROM json_each(?))"
OWN: Mapping[str, str] = {
    "remote": "SELECT value AS id, remote.ip AS remote_ip FROM json_each(?) LEFT JOIN remote ON remote.id = value",
    "device": """SELECT value AS id, device.ip AS device_ip, nullif(device.mac, '') AS device_mac
FROM json_each(?) LEFT JOIN device ON device.id = value""",
    "name": "SELECT value AS id, name.name FROM json_each(?) LEFT JOIN name ON name.id = value",
}
"""Sources of the tables with many rows, as the view has their columns: no flow need be looked up for a text of them."""

LIMIT_KINDS = 50_000
LIMIT_ROWS = 1 << 22
"""Row numbers remembered of a table; what lies above is asked anew for each batch."""
LIMIT_COMPARISONS = 500
"""Comparisons asked of one row; where rules make more, each row is a kind of its own."""
UNKNOWN = -1
TOGETHER = 31
"""Comparisons whose answers are one number: two bits of SQLite's 64 for each."""
BITS = 62
"""Answers of predicates that are one number."""
EQUAL = re.compile("(\\w+|`\\w+`) = ('(?:[^']|'')*') COLLATE NOCASE")
FEW, PORTS = 8, 1 << 16
"""Steps that a number is compared with one by one, and numbers whose class is looked up where there are more."""
WORD = 1 << 62
"""Kinds that one number can tell apart."""

OF_ROWS: Mapping[str, tuple[str, ...]] = {
    "place": (
        "country", "location_status", "asn", "as_name", "provider", "region", "owner", "owner_seat", "laws", "ties",
        "zone", "verdict", "why", "countries", "evidence", "note", "dataset", "data", "adequate",
    ),
    "name": ("name",),
    "alias": ("other_names",),
    "remote": ("remote_ip",),
    "device": ("device_ip", "device_mac"),
    "listing": ("device_name", "site", "segment", "segment_class", "role", "supplier", "listed", "contract_zone"),
    "dealing": ("to_supplier",),
    "protocol": ("protocol",),
    "name_source": ("name_source",),
    "end_reason": ("end_reason",),
}  # fmt: skip
"""The columns of the view that follow from a number of the flow: a row of a table, or a code."""
NUMBERS = (
    "device_port", "remote_port", "vlan", "packets_out", "bytes_out", "packets_in", "bytes_in", "first_country",
    "first_owner", "first_provider", "device_age_s", "habit_times",
)  # fmt: skip
"""Those that are numbers themselves."""
NO_HABIT = -1
NULL_IS = {"vlan": 0, "habit_times": NO_HABIT}
"""What NULL is in the numbers that can be NULL."""
SAME = ("recording",)
"""Those that are the same for all flows of a batch."""
ROW_OF = {column: row for row, columns in OF_ROWS.items() for column in columns}
KNOWN = frozenset((*ROW_OF, *NUMBERS, *SAME))
PASSING = frozenset(("listing", "dealing"))
"""Rows that may change between batches; a dealing is a listing with a place."""


class Codes:
    """Numbers for what expressions say of the rows of one table: the same for rows of which they say the same."""

    def __init__(self, expressions: Sequence[str], row: str = "") -> None:
        """``row`` is the table, of `OF_ROWS`."""
        self.told: list[tuple[Any, ...]] = []
        """What was said, by code."""
        self._expressions, self._passing, self._own = expressions, row in PASSING, OWN.get(row)
        self._code: dict[tuple[Any, ...], int] = {}
        self._of_row = np.full(1, UNKNOWN, np.int32)

    def of(self, rows: Ints, ids: Ints, ask: Ask) -> Ints:
        """Return the code of each flow; ``rows`` and ``ids`` (n,) are its row in that table, and its own id."""
        codes = self._remembered(rows)
        unknown = np.flatnonzero(codes == UNKNOWN)
        if len(unknown):
            some = rows[unknown]
            first, which = distinct(table((some,), len(some)))
            asked = (some[first], self._own) if self._own else (ids[unknown[first]], FLOWS)
            found = ask(self._expressions, *asked)
            fresh = np.array([self.number(one) for one in found], np.int64)
            codes[unknown] = fresh[which]
            self._remember(some[first], fresh)
        return codes

    def number(self, told: tuple[Any, ...]) -> int:
        """Return the code of what was said."""
        number = self._code.setdefault(told, len(self.told))
        if number == len(self.told):
            self.told.append(told)
        return number

    def _remembered(self, rows: Ints) -> Ints:
        last = np.uint64(len(self._of_row) - 1)  # which is that of no row
        return self._of_row[np.minimum(rows.view(np.uint64), last).view(np.int64)].astype(np.int64)

    def _remember(self, rows: Ints, codes: Ints) -> None:
        keep = (rows >= 0) & (rows < LIMIT_ROWS)
        if self._passing or not keep.any():
            return
        rows, codes = rows[keep], codes[keep]
        if (more := int(rows.max()) + 2 - len(self._of_row)) > 0:
            room = np.full(min(LIMIT_ROWS + 1 - len(self._of_row), 2 * more + 1024), UNKNOWN, np.int32)
            self._of_row = np.concatenate((self._of_row, room))
        self._of_row[rows] = codes


class Kinds:
    """The answers of some predicates by kind of flow; only for those that `reading.reads` understands."""

    def __init__(self, predicates: Sequence[str], asked: Sequence[Reads]) -> None:
        self._predicates = predicates
        comparisons: dict[str, set[str]] = {}
        for column, made in (pair for one in asked for pair in one.items()):
            comparisons.setdefault(column, set()).update(made)
        self._cuts = {column: _steps(column, some) for column, some in comparisons.items() if column in NUMBERS}
        of_rows: dict[str, set[str]] = {}
        for column, some in comparisons.items():
            if column in ROW_OF:
                of_rows.setdefault(ROW_OF[column], set()).update(some)
        self._of_rows = {row: _codes(row, sorted(some)) for row, some in of_rows.items()}
        self._answers: dict[tuple[int, ...], tuple[int, ...]] = {}
        """What the predicates say of a kind, a bit each of as many numbers as that takes."""

    def numbers(self) -> tuple[str, ...]:
        """Return the names of the numbers that `matching` needs of each flow."""
        return (*self._of_rows, *self._cuts)

    def matching(self, numbers: Mapping[str, Ints], ids: Ints, ask: Ask) -> list[Ints]:
        """Return for each predicate the flows for which it holds, as positions in ``ids``."""
        columns = [_class(numbers[column], cut) for column, cut in self._cuts.items()]
        for row, codes in self._of_rows.items():
            columns.append(codes.of(numbers[row], ids, ask) if codes else numbers[row])
        first, kind = distinct(table(narrow(columns), len(ids)))
        kinds = list(zip(*(column[first].tolist() for column in columns), strict=True)) or [()] * len(first)
        self._learn(kinds, ids[first], ask)
        words = -(-len(self._predicates) // BITS)
        bits = np.array([self._answers[one] for one in kinds], np.int64).reshape(len(kinds), words)
        answers = (bits[:, at // BITS] >> at % BITS & 1 > 0 for at in range(len(self._predicates)))
        none = np.zeros(0, np.int64)
        return [np.flatnonzero(one[kind]) if one.any() else none for one in answers]

    def _learn(self, kinds: Sequence[tuple[int, ...]], ids: Ints, ask: Ask) -> None:
        if len(self._answers) + len(kinds) > LIMIT_KINDS:
            self._answers.clear()
        new = [at for at, kind in enumerate(kinds) if kind not in self._answers]
        if new:
            every = [f"CASE WHEN ({one}) THEN {1 << at % BITS} ELSE 0 END" for at, one in enumerate(self._predicates)]
            wholes = [" | ".join(every[at : at + BITS]) for at in range(0, len(every), BITS)]
            for at, found in zip(new, ask(wholes, ids[new], FLOWS), strict=True):
                self._answers[kinds[at]] = found


def _codes(row: str, comparisons: Sequence[str]) -> Codes | None:
    """Return what tells the rows of a table apart, None where they are as good as their numbers."""
    plain = VALUE in comparisons or len(comparisons) > LIMIT_COMPARISONS
    if row in PASSING:
        return Codes(OF_ROWS[row] if plain else list(_answers(comparisons)), row)
    return None if plain else Codes(list(_answers(comparisons)), row)


def _answers(comparisons: Sequence[str]) -> Iterator[str]:
    """Yield expressions that tell together what all comparisons of a row say; NULL is told from 0.

    Where a column is compared with many texts, it is nearly always none of them, and SQLite finds that at once.
    """
    equal: dict[str, list[str]] = {}
    for one in comparisons:
        if match := EQUAL.fullmatch(one):
            equal.setdefault(match[1], []).append(match[2])
    for column, texts in equal.items():
        for some in _parts(texts):
            each = _together([f"{column} = {text} COLLATE NOCASE" for text in some])
            among = f"{column} COLLATE NOCASE IN ({', '.join(some)})"
            yield f"CASE WHEN {column} IS NULL THEN -1 WHEN {among} THEN {each} ELSE 0 END"
    for some in _parts([one for one in comparisons if not EQUAL.fullmatch(one)]):
        yield _together(some)


def _parts(some: Sequence[str]) -> Iterator[Sequence[str]]:
    return (some[at : at + TOGETHER] for at in range(0, len(some), TOGETHER))


def _together(comparisons: Sequence[str]) -> str:
    return " | ".join(f"(ifnull({one}, 2) << {2 * at})" for at, one in enumerate(comparisons))


def _steps(column: str, comparisons: Collection[str]) -> tuple[int, ...] | None:
    """Return the numbers a column is compared with, and where it is NULL; None where the value itself is read."""
    steps = cuts(comparisons)
    return steps if steps is None or column not in NULL_IS else tuple(sorted({NULL_IS[column], *steps}))


def _class(numbers: Ints, steps: tuple[int, ...] | None) -> Ints:
    """Return which of the spaces between some numbers, or which of them, each number is."""
    if steps is None:
        return numbers
    if len(steps) > FEW and len(numbers) and numbers.min() >= 0 and numbers.max() < PORTS:
        return _of_ports(steps)[numbers]
    return _compared(numbers, steps)


def _compared(numbers: Ints, steps: tuple[int, ...]) -> Ints:
    found: NDArray[Any] = np.zeros(len(numbers), np.uint8 if len(steps) < 1 << 7 else np.int64)  # two a step at most
    for step in steps:
        found += numbers >= step
        found += numbers > step
    return found.astype(np.int64)


@lru_cache
def _of_ports(steps: tuple[int, ...]) -> Ints:
    """Return the class of each number below `PORTS`: to look up is quicker than to compare with many."""
    return _compared(np.arange(PORTS), steps)


def narrow(columns: Sequence[Ints]) -> list[Ints]:
    """Return fewer columns that tell the same rows apart: several small numbers are one word."""
    found: list[Ints] = []
    room = 0
    for column in columns if columns and len(columns[0]) else ():
        least = int(column.min())
        span = int(column.max()) - least + 1
        if span <= room:
            found[-1] = found[-1] * span + (column - least)
            room //= span
        else:
            found.append(column)
            room = 0 if span > WORD else WORD // span
            if room:
                found[-1] = column - least
    return found
