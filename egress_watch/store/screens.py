"""What screens show: sums by device, destination, owner, country or segment, pages of them, and bytes over time.

In: a `Scope`, an order, where the last page ended. Out: plain rows. Never: more rows than a page, or an endless query.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from egress_watch.errors import StoreError
from egress_watch.model import VERDICTS, Snapshot
from egress_watch.store.fields import FIELDS, VALUES
from egress_watch.store.reader import LEVELS, PAGE_ROWS, Reader, _where
from egress_watch.store.recording import RUNNING, living
from egress_watch.store.scope import Scope, conditions, of_sums, source
from egress_watch.store.seek import Found, seek
from egress_watch.store.sums import DAY_S, HOUR_S, MINUTE_S, SECOND_NS
from egress_watch.store.terms import Filter, FilterError, parse

LIMIT_S = 8.0
"""No question of a screen takes longer; a smaller range or another filter answers."""
MOST_CHOICES = 40
_BY_VERDICT = ", ".join(
    f"sum(bytes_out) FILTER (WHERE verdict = '{name}') AS out_{n}" for n, name in enumerate(VERDICTS)
)
_TOTALS = "sum(flows) AS flows, sum(bytes_out) AS bytes_out, sum(bytes_in) AS bytes_in, max(last_ns) AS last_ns"
_WORST = " ".join(f"WHEN '{name}' THEN {n}" for n, name in enumerate(("OUT", "UNKNOWN", "OWN", "IN")))
_RANK = f"min(CASE verdict {_WORST} ELSE 1 END) AS worst"
_ASSET = """(SELECT asset.{column} FROM listing JOIN asset ON asset.id = listing.asset
  WHERE listing.device = s.device ORDER BY listing.recording DESC LIMIT 1) AS {column}"""
_SAID = """place.country, place.countries, place.location_status, place.asn, place.as_name, place.provider, place.region,
  place.owner, place.owner_seat, place.laws, place.ties, place.evidence, place.note, place.zone, place.verdict, place.why,
  dataset.dates AS data"""


class Kind(NamedTuple):
    """Sums by something: which columns they need, how they are grouped, and what is told of each."""

    columns: tuple[str, ...]
    select: str
    orders: Mapping[str, str]
    """SQL of a sort key by its name; every one is a number or a text, never NULL."""


KINDS = {
    "devices": Kind(
        ("device", "verdict"),
        f"""SELECT s.device AS id, s.*, device.ip AS device_ip, nullif(device.mac, '') AS device_mac,
          {_ASSET.format(column="device_name")}, {_ASSET.format(column="segment")}, {_ASSET.format(column="site")}
        FROM (SELECT device, {_TOTALS}, {_RANK}, {_BY_VERDICT} FROM {{source}} GROUP BY device) AS s
          JOIN device ON device.id = s.device""",
        {"out": "bytes_out", "in": "bytes_in", "flows": "flows", "last seen": "last_ns", "verdict": "worst",
         "name": "device_ip"},
    ),
    "destinations": Kind(
        ("remote", "name", "place"),
        f"""SELECT s.remote || ':' || s.spoken || ':' || s.place AS id, s.*, remote.ip AS remote_ip, name.name, {_SAID}
        FROM (SELECT remote, name AS spoken, place, {_TOTALS}, max(last_flow) AS last_flow FROM {{source}} GROUP BY 1, 2, 3) AS s
          JOIN remote ON remote.id = s.remote LEFT JOIN name ON name.id = s.spoken
          JOIN place ON place.id = s.place JOIN dataset ON dataset.id = place.dataset""",
        {"out": "bytes_out", "in": "bytes_in", "flows": "flows", "last seen": "last_ns", "verdict": "verdict",
         "name": "coalesce(name, remote_ip)"},
    ),
    "owners": Kind(
        ("place", "verdict"),
        f"""SELECT coalesce(owner, network) AS id, * FROM (
          SELECT CASE location_status WHEN 'local' THEN 'your own' ELSE place.owner END AS owner, place.owner_seat,
            CASE WHEN place.owner IS NULL THEN coalesce(place.as_name, place.provider, 'unknown') END AS network,
            max(place.id) AS place, max(place.laws) AS laws, max(place.ties) AS ties,
            group_concat(DISTINCT place.country) AS countries_of, sum(flows) AS flows, sum(bytes_out) AS bytes_out,
            sum(bytes_in) AS bytes_in, max(last_ns) AS last_ns, {_RANK.replace("verdict", "place.verdict")},
            {_BY_VERDICT.replace("verdict =", "place.verdict =")}
          FROM {{source}} AS s JOIN place ON place.id = s.place GROUP BY 1, 2, 3)""",
        {"out": "bytes_out", "in": "bytes_in", "flows": "flows", "last seen": "last_ns", "verdict": "worst", "name": "id"},
    ),
    "verdicts": Kind(
        ("verdict",), f"SELECT verdict AS id, * FROM (SELECT verdict, {_TOTALS} FROM {{source}} GROUP BY 1)",
        {"out": "bytes_out"},
    ),
    "countries": Kind(
        ("place",),
        f"""SELECT coalesce(country, countries) || location_status || verdict AS id, * FROM (
          SELECT place.country, place.countries, place.location_status, place.verdict, {_TOTALS.replace("max(last_ns)", "max(s.last_ns)")}
          FROM {{source}} AS s JOIN place ON place.id = s.place GROUP BY 1, 2, 3, 4)""",
        {"out": "bytes_out"},
    ),
    "segments": Kind(
        ("device", "vlan", "verdict", "recording"),
        f"""SELECT coalesce(segment, '') AS id, * FROM (SELECT asset.segment, count(DISTINCT s.device) AS devices,
          sum(s.flows) AS flows, sum(s.bytes_out) AS bytes_out, {_RANK.replace("verdict", "s.verdict")},
          {_BY_VERDICT.replace("bytes_out)", "s.bytes_out)").replace("verdict =", "s.verdict =")}
        FROM {{source}} AS s LEFT JOIN listing ON listing.recording = s.recording AND listing.device = s.device
          AND listing.vlan = s.vlan LEFT JOIN asset ON asset.id = listing.asset GROUP BY 1)""",
        {"out": "bytes_out", "verdict": "-worst"},
    ),
}  # fmt: skip
MOST_ROWS, SERIES_POINTS = 100, 120


class Overview(NamedTuple):
    """The first screen: sums by several things, the newest alerts, bytes out over time."""

    verdicts: tuple[dict[str, Any], ...] = ()
    countries: tuple[dict[str, Any], ...] = ()
    owners: tuple[dict[str, Any], ...] = ()
    devices: tuple[dict[str, Any], ...] = ()
    segments: tuple[dict[str, Any], ...] = ()
    alerts: tuple[dict[str, Any], ...] = ()
    alert_counts: dict[str, int] = {}  # noqa: RUF012 - never changed
    series: tuple[int, int, list[dict[str, Any]]] = (0, 60, [])


ALERT_ORDERS = {
    "gravity": "(9 - CASE level "
    + " ".join(f"WHEN '{name}' THEN {n}" for n, name in enumerate(LEVELS))
    + " ELSE 8 END) * (1 << 50) + min(bytes_out, (1 << 50) - 1)",
    "last seen": "last_ns",
    "out": "bytes_out",
    "flows": "hits",
    "name": "device_ip",
}
_ALERTS = "SELECT alerts.*, alert.device AS device_row FROM alerts JOIN alert ON alert.id = alerts.id"


class Screens(Reader):
    """A database open for the questions of screens."""

    def filtered(self, line: str) -> Filter:
        """Return the filter of a line; raises FilterError."""
        return parse(line, self.newest_ns())

    def status(self) -> Snapshot:
        """Return how the recordings stand, without any sum: one that was killed is ``stopped``."""
        rows = [
            {**row, "state": "stopped" if row["state"] == RUNNING and not living(row["writer"]) else row["state"]}
            for row in self._rows("SELECT * FROM recording ORDER BY id")
        ]
        skipped = self._rows("SELECT reason, sum(frames) AS frames FROM skipped GROUP BY reason ORDER BY 2 DESC, 1")
        damage = self._rows("SELECT path, offset, reason, lost_bytes FROM damage")
        return Snapshot(tuple(rows), skipped=tuple(skipped), damage=tuple(damage), data=tuple(self.data()))

    def place(self, number: int) -> dict[str, Any] | None:
        """Return one answer."""
        query = """SELECT place.*, dataset.dates AS data FROM place JOIN dataset ON dataset.id = place.dataset
          WHERE place.id = :place"""
        return next(iter(self._rows(query, {"place": number})), None)

    def sums(
        self, kind: str, scope: Scope, size: int, *, order: str = "out", rising: bool = False,
        beside: tuple[Any, Any] | None = None, back: bool = False,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Return up to ``size`` rows of a kind of KINDS; ``beside`` is ``_key`` of the row the page lies next to."""
        of = KINDS[kind]
        with self._limited():
            found = source(self._db.conn, scope, of.columns, self.newest_ns())
            query = of.select.format(source=found.sql)
            return self._page(query, of.orders[order], of_sums(scope.filter), found.values, size, rising, beside, back)

    def alert_rows(
        self, scope: Scope, size: int, *, order: str = "gravity", rising: bool = False,
        beside: tuple[Any, Any] | None = None, back: bool = False, muted: bool = False,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Return up to ``size`` alerts, like `sums`."""
        values, where = alert_conditions(scope, muted=muted)
        with self._limited():
            return self._page(_ALERTS, ALERT_ORDERS[order], where, values, size, rising, beside, back)

    def overview(self, scope: Scope) -> Overview:
        """Return everything the first screen shows, in one look."""
        return Overview(
            *(tuple(self.sums(kind, scope, MOST_ROWS)) for kind in ("verdicts", "countries", "owners", "devices", "segments")),
            tuple(self.alert_rows(alerts_of(scope), MOST_ROWS, order="last seen")),
            self.alert_counts(alerts_of(scope)), self.series(scope, SERIES_POINTS),
        )  # fmt: skip

    def alert_counts(self, scope: Scope) -> dict[str, int]:
        """Return how many alerts of each level the scope holds, and under ``muted`` how many are left out."""
        values, where = alert_conditions(scope, muted=True)
        query = f"""SELECT CASE WHEN mute IS NULL THEN level ELSE 'muted' END AS level, count(*) AS n
          FROM ({_ALERTS}) WHERE {where} GROUP BY 1"""  # noqa: S608 - ours, values bound
        with self._limited():
            return {row["level"]: row["n"] for row in self._rows(query, values)}

    def flow_rows(self, scope: Scope, size: int, *, before: int = 0, after: int = 0) -> Found:
        """Return up to ``size`` flows of the scope beside an id, the newest first; see `seek`."""
        where = conditions(scope.filter.clauses, leave=())
        with self._limited():
            found = seek(self._db.conn, scope, where, size, before=before, after=after)
            numbers = ", ".join(str(number) for number in found.ids)
            rows = self._rows(f"SELECT * FROM flows WHERE id IN ({numbers}) ORDER BY id DESC")  # noqa: S608 - numbers
            return found._replace(rows=rows)

    def flows_of(self, terms: Filter, filters: Mapping[str, Any], limit: int = 0) -> Iterator[dict[str, Any]]:
        """Yield the flows of a filter that also meet ``filters``, by id, like `flows`."""
        scope, last, left = Scope(terms), 0, limit or -1
        where = conditions(terms.clauses, leave=())
        more = _where(filters)
        while left:
            found = seek(self._db.conn, scope, where, PAGE_ROWS, after=last)
            numbers = ", ".join(str(number) for number in found.ids)
            query = f"SELECT * FROM flows WHERE id IN ({numbers}) AND {more} ORDER BY id LIMIT :size"  # noqa: S608 - ours
            rows = self._rows(query, {**filters, "size": left})
            yield from rows
            if found.ended:
                return
            last, left = found.reached, left - len(rows) if left > 0 else left

    def series(self, scope: Scope, points: int) -> tuple[int, int, list[dict[str, Any]]]:
        """Return when the first slot begins (ns), how wide a slot is (s), and bytes out by slot and verdict.

        There are as many slots as fit ``points``, whatever the range.
        """
        newest = self.newest_ns()
        first, last = self._span(scope, newest)
        width = max(MINUTE_S, -(-(last - first) // SECOND_NS // max(1, points)))
        grain = next(w for w in (DAY_S, HOUR_S, MINUTE_S) if w <= width)
        width = -(-width // grain) * grain
        with self._limited():
            found = source(
                self._db.conn,
                scope,
                ("verdict",),
                newest,
                tuple(w for w in (grain, HOUR_S, DAY_S) if w >= grain) or (grain,),
            )
            wide = max(width, found.width_s or width)
            grain = found.width_s or 1
            slot = f"slot * {grain} / {wide}" if found.width_s else f"last_ns / {wide * SECOND_NS}"
            query = f"SELECT {slot} AS slot, verdict, sum(bytes_out) AS bytes_out FROM {found.sql} GROUP BY 1, 2"  # noqa: S608
            rows = self._rows(query, found.values)
        begin = first // (wide * SECOND_NS)
        kept = [{**row, "slot": row["slot"] - begin} for row in rows if row["slot"] >= begin]
        return begin * wide * SECOND_NS, wide, kept

    def complete(self, field: str, start: str) -> list[str]:
        """Return names of fields, or with ``field`` its values, that begin as given; a few of those with it inside."""
        if not field:
            return [one.name for one in FIELDS if one.name.startswith(start.lower())]
        fixed = next((one.choices for one in FIELDS if one.name == field), ())
        if fixed or field not in VALUES:
            return [choice for choice in fixed if choice.lower().startswith(start.lower())]
        query = f"""SELECT DISTINCT value FROM (SELECT * FROM ({VALUES[field].replace(" FROM", " AS value FROM", 1)}))
          WHERE value IS NOT NULL AND instr(lower(value), lower(:start)) > 0
          ORDER BY instr(lower(value), lower(:start)), value LIMIT {MOST_CHOICES}"""  # noqa: S608 - constants
        return [str(row["value"]) for row in self._rows(query, {"start": start})]

    def facts_of(self, device: int) -> list[dict[str, Any]]:
        """Return what a device said of itself, the latest of each kind first."""
        query = """SELECT fact.kind, fact.value, fact.source, max(fact.last_ns) AS last_ns FROM fact JOIN device
            ON fact.mac <> '' AND fact.mac = device.mac OR fact.ip <> '' AND fact.ip = device.ip
          WHERE device.id = :device GROUP BY 1, 2, 3 ORDER BY 1, 4 DESC LIMIT 60"""
        return self._rows(query, {"device": device})

    def listed(self, device: int) -> list[dict[str, Any]]:
        """Return what the inventory says of a device, the newest first."""
        query = """SELECT asset.*, listing.vlan FROM listing JOIN asset ON asset.id = listing.asset
          WHERE listing.device = :device ORDER BY listing.recording DESC LIMIT 1"""
        return self._rows(query, {"device": device})

    def _span(self, scope: Scope, newest: int) -> tuple[int, int]:
        oldest = self._rows("SELECT coalesce(min(nullif(first_ns, 0)), 0) AS first FROM recording")[0]["first"]
        since, until = scope.snapped(newest)
        return (max(oldest, since) if since is not None else oldest), (newest + 1 if until is None else until)

    def _page(
        self, query: str, key: str, where: str, values: Mapping[str, Any], size: int, rising: bool,
        beside: tuple[Any, Any] | None, back: bool,
    ) -> list[dict[str, Any]]:  # fmt: skip
        up = rising != back
        direction = "ASC" if up else "DESC"
        next_to = f"(_sort, _tie) {'>' if up else '<'} (:at, :tie)" if beside else "1"
        text = f"""SELECT * FROM (SELECT {key} AS _sort, id AS _tie, * FROM ({query}) WHERE {where})
          WHERE {next_to} ORDER BY _sort {direction}, _tie {direction} LIMIT :size"""  # noqa: S608 - ours, values bound
        more = dict(zip(("at", "tie"), beside, strict=True)) if beside else {}
        rows = self._rows(text, {**values, **more, "size": size})
        for row in rows:
            row["_key"] = (row.pop("_sort"), row.pop("_tie"))
        return rows[::-1] if back else rows

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Cut off a question that takes too long; raises StoreError."""
        deadline = time.monotonic() + LIMIT_S
        self._db.conn.set_progress_handler(lambda: time.monotonic() > deadline, 20_000)
        try:
            yield
        except (sqlite3.OperationalError, StoreError) as error:
            if "interrupted" not in str(error):
                raise
            remedy = "choose whole days or a shorter time, or fewer terms"
            raise StoreError(f"no answer within {LIMIT_S:g} s", where=self.path, remedy=remedy) from error
        finally:
            self._db.conn.set_progress_handler(None, 0)


def alerts_of(scope: Scope) -> Scope:
    """Return the scope without the terms that alerts cannot be asked: the overview shows the alerts beside the rest."""
    kept = tuple(clause for clause in scope.filter.clauses if clause.alerts)
    return scope._replace(filter=scope.filter._replace(clauses=kept))


def alert_conditions(scope: Scope, *, muted: bool) -> tuple[dict[str, Any], str]:
    """Return values and the condition for alerts of a scope; raises FilterError for what they cannot be asked."""
    for clause in scope.filter.clauses:
        if not clause.alerts:
            raise FilterError(f"{clause.field} is not asked of alerts", 0, f"take {clause.text} out on this screen")
    parts: Sequence[str] = [clause.alerts for clause in scope.filter.clauses]
    since, until = scope.times()
    parts = [
        *parts,
        "last_ns >= :since" if since is not None else "1",
        "first_ns < :until" if until is not None else "1",
    ]
    values = {**scope.filter.values(), "since": since, "until": until}
    return values, " AND ".join([*parts, "1" if muted else "mute IS NULL"])
