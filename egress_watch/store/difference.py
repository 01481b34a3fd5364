"""What comes of judging stored flows again: sums from verdict to verdict, and the destinations behind them.

In: the temporary tables that `rejudging` fills. Out: plain rows. Never: a change that is counted nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlite_utils import Database

from egress_watch.model import VERDICTS
from egress_watch.store.answers import SAID, Answer, said
from egress_watch.store.file import trouble

KINDS = ("verdict", "country", "owner", "status", "words", "data")
"""What changed, the gravest first; ``words`` is anything else of the answer, ``data`` only which data gives it."""
SUMS = ("flows", "bytes_out", "bytes_in")
_COLUMNS = (("verdict",), ("country", "countries"), ("owner", "owner_seat", "provider"), ("location_status",))
_SAME, _DATA = -1, KINDS.index("data")
_TOTALS = "sum(flows) AS flows, sum(bytes_out) AS bytes_out, sum(bytes_in) AS bytes_in"
_DESTINATIONS = f"""
SELECT remote.ip AS remote_ip, name.name, kind, old_place, answer, {_TOTALS}
FROM temp.change JOIN remote ON remote.id = change.remote LEFT JOIN name ON name.id = change.name
WHERE kind < ? GROUP BY change.remote, change.name, old_place, answer
ORDER BY kind, sum(bytes_out) DESC, sum(flows) DESC, remote_ip, name.name LIMIT ?
"""  # noqa: S608 - constants
_CHANGES = f"""
SELECT kind, count(*) AS destinations, {_TOTALS} FROM (
  SELECT kind, {_TOTALS} FROM temp.change GROUP BY kind, remote, name, old_place, answer) GROUP BY kind
"""  # noqa: S608 - constants
_BEFORE = f"""
SELECT place.zone, place.dataset, {", ".join(SAID)}, dataset.dates AS data
FROM place JOIN dataset ON dataset.id = place.dataset WHERE place.id = ?
"""  # noqa: S608 - constants


class Then(NamedTuple):
    """How a recording was judged."""

    recording: int
    zone: str
    as_of: str
    dataset: int


class Said(NamedTuple):
    """An answer as it stands in a row: zone, data set, and the values of SAID."""

    zone: str
    dataset: int
    values: tuple[Any, ...]

    @property
    def verdict(self) -> str:
        """The verdict, one of VERDICTS."""
        return str(self.values[-2])


def kind_of(before: Said, after: Said) -> int:
    """Return the position in KINDS of the gravest thing that changed, -1 where nothing did."""
    if before.values == after.values:
        return _SAME if before.dataset == after.dataset else _DATA
    then, now = (dict(zip(SAID, row.values, strict=True)) for row in (before, after))
    for kind, columns in enumerate(_COLUMNS):
        if any(then[column] != now[column] for column in columns):
            return kind
    return KINDS.index("words")


@dataclass(frozen=True, slots=True)
class Difference:
    """What a second judgement changes; it can be asked until its database is closed."""

    db: Database
    path: str
    recordings: Sequence[tuple[Then, tuple[str, str]]]
    """How each recording was judged, with the zone and its day that judge it now."""
    data: Sequence[Mapping[str, str]]
    """The data files that judge now."""
    sums: Mapping[tuple[str, str], Sequence[int]]
    """SUMS by the verdict then and the verdict now, of all flows."""
    answers: Sequence[Answer]

    def differs(self) -> bool:
        """Return whether anything but what stands in the database already would be written."""
        changed = next(self._rows("SELECT EXISTS (SELECT 1 FROM temp.change)"))[0]
        return bool(changed) or any(then.as_of != now[1] for then, now in self.recordings)

    def is_device(self, ip: str) -> bool:
        """Return whether an address was ever seen on our side."""
        return bool(next(self._rows("SELECT EXISTS (SELECT 1 FROM device WHERE ip = ?)", (ip,)))[0])

    def laws(self) -> list[dict[str, Any]]:
        """Return one row for each way recordings were judged: zones, days and data, then and now."""
        rows: dict[tuple[Any, ...], list[int]] = {}
        for then, now in self.recordings:
            rows.setdefault((then[1:], now), []).append(then.recording)
        return [
            {"recordings": numbers, "zone": zone, "zone_as_of": as_of, "data": self._files(dataset),
             "zone_now": now[0], "zone_now_as_of": now[1]}
            for ((zone, as_of, dataset), now), numbers in rows.items()
        ]  # fmt: skip

    def matrix(self) -> list[dict[str, Any]]:
        """Return SUMS for each pair of verdicts that occurs, in the order of VERDICTS."""
        order = {verdict: at for at, verdict in enumerate(VERDICTS)}
        pairs = sorted(self.sums, key=lambda pair: [order.get(verdict, len(order)) for verdict in pair])
        return [{"before": a, "after": b, **dict(zip(SUMS, self.sums[a, b], strict=True))} for a, b in pairs]

    def changes(self) -> dict[str, dict[str, int]]:
        """Return by kind how many destinations changed, with their SUMS; a kind that did not occur is 0."""
        names = ("destinations", *SUMS)
        found = {row[0]: row[1:] for row in self._rows(_CHANGES)}
        blank = (0,) * len(names)
        return {kind: dict(zip(names, found.get(at, blank), strict=True)) for at, kind in enumerate(KINDS)}

    def destinations(self, limit: int = 0, *, every: bool = False) -> Iterator[dict[str, Any]]:
        """Yield what changed by destination, the gravest and largest first: verdicts only, or ``every`` other answer.

        ``before`` and ``after`` hold the columns of an answer; ``limit`` 0 gives all.
        """
        for row in self._rows(_DESTINATIONS, (_DATA if every else 1, limit or -1)):
            ip, name, kind, place, answer, *sums = row
            head = {"remote_ip": ip, "name": name, "changed": KINDS[kind], **dict(zip(SUMS, sums, strict=True))}
            yield {**head, "before": self._before(place), "after": _plain(said(self.answers[answer]))}

    def _before(self, place: int) -> dict[str, Any]:
        _, _, *values, data = next(self._rows(_BEFORE, (place,)))
        return {**_plain(values), "data": json.loads(data)}

    def _files(self, dataset: int) -> list[dict[str, Any]]:
        return list(json.loads(next(self._rows("SELECT files FROM dataset WHERE id = ?", (dataset,)))[0]))

    def _rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        with trouble(self.path):
            yield from self.db.conn.execute(query, values)


def _plain(values: Sequence[Any]) -> dict[str, Any]:
    row = dict(zip(SAID, values, strict=True))
    return {**row, **{name: json.loads(row[name]) for name in ("countries", "laws", "ties")}}
