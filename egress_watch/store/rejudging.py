"""Stored flows judged again with other data: the difference, told, and written when asked for.

In: a database and who judges each zone. Out: a `Difference`. Never: a place that changes, or an earlier answer that is
lost.

Flows of one recording to one remote under one name and one zone have one answer, so a group of them is judged once.
The groups, and what becomes of them, lie in temporary tables: memory does not grow with the flows. All is written in
one transaction, so a reader sees either the old answers or the new ones, and a kill leaves the old ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import groupby
from typing import NamedTuple, Protocol

import numpy as np
from sqlite_utils import Database

from egress_watch.errors import StoreError, UsageError
from egress_watch.model import Ints, Place, Verdict, Words, address_words
from egress_watch.store.answers import PLACE_COLUMNS, SAID, Answer, dataset, known_dataset, place_row, said
from egress_watch.store.difference import Difference, Said, Then, kind_of
from egress_watch.store.file import open_for_reading, open_for_writing, transaction, trouble
from egress_watch.store.hours import again as sum_hours_again
from egress_watch.store.lookups import Kept
from egress_watch.store.recording import RUNNING, alive
from egress_watch.store.sums import again as sum_again

PAGE_GROUPS = 20_000
WINDOW_FLOWS = 200_000
MOST_REMEMBERED = 100_000

_TABLES = """
CREATE TEMP TABLE grouped AS
  SELECT recording, remote, coalesce(name, 0) AS name, place, count(*) AS flows, sum(bytes_out) AS bytes_out,
    sum(bytes_in) AS bytes_in
  FROM flow WHERE recording <= :newest GROUP BY 1, 2, 3, 4;
CREATE TEMP TABLE answer(number INTEGER PRIMARY KEY, place INTEGER);
CREATE TEMP TABLE change(
  recording INTEGER, remote INTEGER, name INTEGER, old_place INTEGER, answer INTEGER, kind INTEGER, flows INTEGER,
  bytes_out INTEGER, bytes_in INTEGER, PRIMARY KEY(recording, remote, name, old_place)) WITHOUT ROWID
"""
_PAGE = """
SELECT grouped.rowid, grouped.recording, grouped.remote, grouped.name, grouped.place, grouped.flows, grouped.bytes_out,
  grouped.bytes_in, remote.ip, coalesce(name.name, '')
FROM grouped JOIN remote ON remote.id = grouped.remote LEFT JOIN name ON name.id = grouped.name
WHERE grouped.rowid > ? ORDER BY grouped.rowid LIMIT ?
"""
_PLACE = f"SELECT zone, dataset, {', '.join(SAID)} FROM place WHERE id = ?"  # noqa: S608 - constants
_KEEP = """
INSERT INTO rejudged SELECT change.recording, remote, name, rejudgement.id, old_place, answer.place, change.flows
FROM temp.change JOIN temp.answer ON answer.number = change.answer
  JOIN rejudgement ON rejudgement.recording = change.recording AND rejudgement.id > ?
"""
_MOVE = """
UPDATE flow SET place = answer.place FROM temp.change JOIN temp.answer ON answer.number = change.answer
WHERE flow.id > ? AND flow.id <= ? AND change.recording = flow.recording AND change.remote = flow.remote
  AND change.name = coalesce(flow.name, 0) AND change.old_place = flow.place
"""
_HISTORY = """
INSERT INTO rejudgement(recording, made_ns, version, old_zone_as_of, zone_as_of, old_dataset, dataset)
SELECT id, ?, ?, zone_as_of, ?, dataset, ? FROM recording WHERE id = ?
"""


class Judge(Protocol):
    """Who judges columns of addresses: an atlas of places."""

    places: list[Place]
    verdicts: list[Verdict]

    def answers(self, addresses: Words, names: Sequence[str]) -> Ints:
        """Return for addresses of shape (n, 2), each spoken of by a name or "", which row of ``places`` answers."""


class Law(NamedTuple):
    """Under which zone a recording is judged again, and by whom."""

    zone: str
    as_of: str
    """ISO day of the zone."""
    judge: Judge
    adequate: Sequence[str] = ()
    """Countries that data may go to under EU law on that day."""


class _Group(NamedTuple):
    """Flows of one recording to one remote under one name with one answer."""

    row: int
    recording: int
    remote: int
    name: int
    place: int
    flows: int
    bytes_out: int
    bytes_in: int
    ip: str
    spoken: str


@contextmanager
def compare(path: str, law: Callable[[str], Law], data: Sequence[Mapping[str, str]]) -> Iterator[Difference]:
    """Yield what would change if the flows were judged by ``law`` (of a recording's zone); nothing is written.

    ``data`` describes the files that judge now. Raises UsageError, StoreError and what the judge raises.
    """
    db = open_for_reading(path)
    try:
        with trouble(path):
            db.execute("PRAGMA temp_store = FILE")
            found = _Rejudging(db, path, law, known_dataset(db, data)).difference(data)
        yield found
    finally:
        db.close()


@contextmanager
def rewrite(
    path: str, law: Callable[[str], Law], data: Sequence[Mapping[str, str]], version: str
) -> Iterator[Difference]:
    """Judge the flows again as `compare` does, write the new answers and keep the old ones, and yield the difference.

    Raises StoreError where a process is recording here, UsageError where a recording would change its zone.
    """
    db = open_for_writing(path, new=False)
    try:
        db.execute("PRAGMA temp_store = FILE")
        with transaction(db, path):
            _nobody_records(db, path)
            again = _Rejudging(db, path, law, dataset(db, data))
            again.stay()
            found = again.difference(data)
            again.write(version)
        yield found
    finally:
        db.close()


class _Rejudging:
    """One pass over the groups of a database."""

    def __init__(self, db: Database, path: str, law: Callable[[str], Law], judged_by: int) -> None:
        self._db, self._path, self._dataset = db, path, judged_by
        query = "SELECT id, zone, zone_as_of, dataset FROM recording ORDER BY id"
        self._then = [Then(*row) for row in db.conn.execute(query)]
        self._known: dict[str, Law] = {}
        """By the zone they judge under, so that one zone has one judge, and its numbers one meaning."""
        self._by_zone = cache(lambda zone: self._kept(law(zone)))
        self._laws = {then.recording: self._by_zone(then.zone) for then in self._then}
        self._answers: list[Answer] = []
        self._after: list[Said] = []
        """The same by their numbers, as rows."""
        self._numbers: dict[tuple[str, int], int] = {}
        """Number of an answer by the zone and the judge's own number."""
        self._places: dict[int, Said] = {}
        self._kinds: dict[tuple[int, int], int] = {}

    def _kept(self, law: Law) -> Law:
        return self._known.setdefault(law.zone, law)

    def difference(self, data: Sequence[Mapping[str, str]]) -> Difference:
        """Judge every group and return what came of it."""
        newest = self._then[-1].recording if self._then else 0
        for statement in _TABLES.split(";\n"):
            self._db.conn.execute(statement.replace(":newest", f"{newest:d}"))
        sums: dict[tuple[str, str], list[int]] = {}
        for page in self._pages():
            for zone, groups in groupby(page, lambda group: self._before(group.place).zone):
                self._judge(self._by_zone(zone), list(groups), sums)
        laws = [(then, (law.zone, law.as_of)) for then in self._then for law in (self._laws[then.recording],)]
        return Difference(self._db, self._path, laws, list(data), sums, self._answers)

    def _pages(self) -> Iterator[list[_Group]]:
        last = 0
        while page := [_Group(*row) for row in self._db.conn.execute(_PAGE, (last, PAGE_GROUPS))]:
            yield page
            last = page[-1].row

    def _judge(self, law: Law, groups: Sequence[_Group], sums: dict[tuple[str, str], list[int]]) -> None:
        """Judge groups under one zone, add them to the sums, and keep what changed."""
        rows = law.judge.answers(self._words(groups), [group.spoken for group in groups]).tolist()
        changed = []
        for group, row in zip(groups, rows, strict=True):
            number = self._number(law, row)
            before, after = self._before(group.place), self._after[number]
            counts = group.flows, group.bytes_out, group.bytes_in
            total = sums.setdefault((before.verdict, after.verdict), [0, 0, 0])
            total[:] = [old + new for old, new in zip(total, counts, strict=True)]
            if (kind := self._kind(group.place, number)) >= 0:
                changed.append((group.recording, group.remote, group.name, group.place, number, kind, *counts))
        self._db.conn.executemany("INSERT INTO temp.change VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", changed)

    def _words(self, groups: Sequence[_Group]) -> Words:
        try:
            return np.array([address_words(group.ip) for group in groups], np.uint64)
        except ValueError as error:
            raise StoreError(str(error), where=self._path, remedy="restore a copy of the database") from error

    def _number(self, law: Law, row: int) -> int:
        number = self._numbers.setdefault((law.zone, row), len(self._answers))
        if number == len(self._answers):
            answer = law.judge.places[row], law.judge.verdicts[row]
            self._answers.append(answer)
            self._after.append(Said(law.zone, self._dataset, said(answer)))
        return number

    def _before(self, place: int) -> Said:
        if place not in self._places:
            if len(self._places) > MOST_REMEMBERED:
                self._places.clear()
            zone, judged_by, *values = self._db.conn.execute(_PLACE, (place,)).fetchone()
            self._places[place] = Said(zone, judged_by, tuple(values))
        return self._places[place]

    def _kind(self, place: int, number: int) -> int:
        if len(self._kinds) > MOST_REMEMBERED:
            self._kinds.clear()
        if (place, number) not in self._kinds:
            self._kinds[place, number] = kind_of(self._before(place), self._after[number])
        return self._kinds[place, number]

    def stay(self) -> None:
        """Raise UsageError where a recording would come under another zone than its own."""
        for then in self._then:
            if (zone := self._laws[then.recording].zone) != then.zone:
                what = f"recording {then.recording} was made under {then.zone} and keeps that zone, not {zone}"
                remedy = f"leave --write out to see the difference, or record it anew: replay --again --zone {zone}"
                raise UsageError(what, where=self._path, remedy=remedy)

    def write(self, version: str) -> None:
        """Give the flows their new answers and keep the old ones; called within a transaction."""
        connection = self._db.conn
        changed = {row[0] for row in connection.execute("SELECT DISTINCT recording FROM temp.change")}
        again = [then for then in self._then if then.recording in changed or self._differs(then)]
        mark = connection.execute("SELECT coalesce(max(id), 0) FROM rejudgement").fetchone()[0]
        for then in again:
            day, adequate = self._laws[then.recording].as_of, " ".join(self._laws[then.recording].adequate)
            connection.execute(_HISTORY, (time.time_ns(), version, day, self._dataset, then.recording))
            settings = (self._dataset, day, adequate, then.recording)
            connection.execute("UPDATE recording SET dataset = ?, zone_as_of = ?, adequate = ? WHERE id = ?", settings)
        self._store_answers()
        connection.execute(_KEEP, (mark,))
        for window in self._windows() if changed else ():
            self._move(window)
        for number in changed:
            sum_hours_again(self._db, number)
        sum_again(self._db, changed)

    def _differs(self, then: Then) -> bool:
        return (then.as_of, then.dataset) != (self._laws[then.recording].as_of, self._dataset)

    def _store_answers(self) -> None:
        """Find or make the place of each answer that a change leads to."""
        places = Kept[int](self._db, "place", PLACE_COLUMNS, self._place_row, unique=1)
        numbers = [row[0] for row in self._db.conn.execute("SELECT DISTINCT answer FROM temp.change")]
        self._db.conn.executemany("INSERT INTO temp.answer VALUES (?, ?)", places.numbers(numbers).items())

    def _place_row(self, number: int) -> Sequence[object]:
        return place_row(self._after[number].zone, self._dataset, self._answers[number])

    def _windows(self) -> Iterator[tuple[int, int]]:
        """Yield stretches of flow ids, each from behind the first to the last."""
        query = "SELECT max(id) FROM (SELECT id FROM flow WHERE id > ? ORDER BY id LIMIT ?)"
        last = -1
        while (end := self._db.conn.execute(query, (last, WINDOW_FLOWS)).fetchone()[0]) is not None:
            yield last, end
            last = end

    def _move(self, window: tuple[int, int]) -> None:
        self._db.conn.execute(_MOVE, window)


def _nobody_records(db: Database, path: str) -> None:
    """Raise StoreError where a living process writes a recording: its next flows would have the old answers."""
    for (mark,) in db.conn.execute("SELECT writer FROM recording WHERE state = ?", (RUNNING,)):
        if mark and (pid := alive(mark)):
            remedy = "wait until it has ended; without --write the difference is shown now"
            raise StoreError(f"process {pid} is recording here right now", where=path, remedy=remedy)
