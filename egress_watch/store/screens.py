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
from egress_watch.model import Snapshot
from egress_watch.store.fields import FIELDS, VALUES
from egress_watch.store.lists import ALERT_ORDERS, ALERTS, ALERTS_TOLD, ALL, FLOW_ORDERS, KINDS, TOTALS
from egress_watch.store.reader import PAGE_ROWS, Reader, conditions_of
from egress_watch.store.recording import RUNNING, living
from egress_watch.store.scope import FLOWS, Scope, near, of_sums, source
from egress_watch.store.seek import FIRST_S, SEARCH_S, Found, ranked, seek
from egress_watch.store.set_aside import BROKEN_RULES
from egress_watch.store.sums import DAY_S, HOUR_S, MINUTE_S, SECOND_NS, SPLIT, SPLIT_SUMS
from egress_watch.store.terms import Filter, FilterError, parse

LIMIT_S, PATIENCE_S = 8.0, 60.0
"""No question of a screen takes more processor time, or longer by the clock where others have the processor or the disk
is slow; a smaller range or another filter answers."""
MOST_CHOICES = 40
MOST_ROWS, SERIES_POINTS = 100, 120
GATHERED = {
    "senders": (("recording", "device", "vlan"), ("devices", "segments")),
    "answers": (("place", "verdict"), ("verdicts", "countries", "owners")),
}
_SPLIT = ", ".join(f"{of} AS {name}" for name, of in SPLIT.items())
SUMMED = ("verdicts", "countries", "owners", "devices", "segments")


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


class Screens(Reader):
    """A database open for the questions of screens."""

    _near = FLOWS
    """Where flows are read that no sum counts."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._db.conn.execute("PRAGMA temp_store = MEMORY")
        self._gathered: dict[str, str] = {}
        """Tables that hold what a kind of sums is made of, for the scope of the overview."""

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
        return Snapshot(
            tuple(rows), skipped=tuple(skipped), damage=tuple(damage), data=tuple(self.data()),
            set_aside=tuple(self._rows(BROKEN_RULES)), sinks=tuple(self.sinks()),
        )  # fmt: skip

    def _gather(self, scope: Scope) -> None:
        """Read for several kinds of sums at once what they are made of, into temporary tables."""
        for table, (columns, kinds) in GATHERED.items():
            with self._limited():
                split = "verdict" not in columns
                asked = (*columns, *SPLIT) if split else columns
                found = source(self._db.conn, scope, asked, self.newest_ns(), flows=self._near)
                names = ", ".join(columns)
                query = f"SELECT {names}, {TOTALS}{f', {SPLIT_SUMS}' * split} FROM {found.sql} GROUP BY {names}"
                query = query if split else f"SELECT *, {_SPLIT} FROM ({query})"
                self._db.conn.execute(f"DROP TABLE IF EXISTS temp.{table}")
                query = f"CREATE TEMP TABLE {table} AS {query}"
                self._db.conn.execute(query, found.values)
            self._gathered |= dict.fromkeys(kinds, f"temp.{table}")

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
            sql, values = self._gathered.get(kind), scope.filter.values()
            if not sql:
                found = source(self._db.conn, scope, of.columns, self.newest_ns(), flows=self._near)
                sql, values = found.sql, found.values
            grouped, told, key = of.grouped.format(source=sql), of.told, of.orders[order]
            if order in of.late:
                grouped, told = told.format(sums=f"({grouped})"), ALL
            listed = f"SELECT {key} AS _sort, id AS _tie, * FROM ({grouped}) WHERE {of_sums(scope.filter)}"
            return self._page(listed, told, {**values, "size": size}, rising, beside, back)

    def alert_rows(
        self, scope: Scope, size: int, *, order: str = "gravity", rising: bool = False,
        beside: tuple[Any, Any] | None = None, back: bool = False, muted: bool = False,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Return up to ``size`` alerts, like `sums`."""
        values, where = alert_conditions(scope, muted=muted)
        with self._limited():
            listed = f"SELECT {ALERT_ORDERS[order]} AS _sort, id AS _tie FROM ({ALERTS}) WHERE {where}"
            return self._page(listed, ALERTS_TOLD, {**values, "size": size}, rising, beside, back)

    def overview(self, scope: Scope) -> Overview:
        """Return everything the first screen shows, in one look."""
        newest = tuple(self.alert_rows(alerts_of(scope), MOST_ROWS, order="last seen"))
        counts = self.alert_counts(alerts_of(scope))
        try:
            self._near = near(self._db.conn, scope, self.newest_ns(), (columns for columns, _ in GATHERED.values()))
            self._gather(scope)
            found = {kind: tuple(self.sums(kind, scope, MOST_ROWS)) for kind in SUMMED}
            return Overview(**found, alerts=newest, alert_counts=counts, series=self.series(scope, SERIES_POINTS))
        finally:
            self._gathered, self._near = {}, FLOWS

    def alert_counts(self, scope: Scope) -> dict[str, int]:
        """Return how many alerts of each level the scope holds, and under ``muted`` how many are left out."""
        values, where = alert_conditions(scope, muted=True)
        # with a limit SQLite leaves out joins that nothing is asked of
        query = f"""SELECT level, count(*) AS n FROM (SELECT CASE WHEN mute IS NULL THEN level ELSE 'muted' END AS level
          FROM ({ALERTS}) WHERE {where} LIMIT -1) GROUP BY 1"""
        with self._limited():
            return {row["level"]: row["n"] for row in self._rows(query, values)}

    def flow_rows(self, scope: Scope, size: int, *, before: int = 0, after: int = 0) -> Found:
        """Return up to ``size`` flows of the scope beside an id, the newest first; see `seek`.

        The first page comes with what is found at once: fewer rows than ``size`` are not all, unless it says ``ended``.
        """
        first_s = SEARCH_S if before or after else FIRST_S
        with self._limited():
            found = seek(self._db.conn, scope, size, before=before, after=after, first_s=first_s)
            numbers = ", ".join(str(number) for number in found.ids)
            rows = self._rows(f"SELECT * FROM flows WHERE id IN ({numbers}) ORDER BY id DESC")
            return found._replace(rows=rows)

    def flows_by(
        self, order: str, scope: Scope, size: int, *, rising: bool = False,
        beside: tuple[int, int] | None = None, back: bool = False,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Return up to ``size`` flows by an order of FLOW_ORDERS, like `sums`; looks at every flow of the scope."""
        with self._limited():
            key, up = FLOW_ORDERS[order], rising != back
            found = ranked(self._db.conn, scope, key, size, up=up, beside=beside)
            numbers = ", ".join(str(number) for _, number in found)
            rows = {row["id"]: row for row in self._rows(f"SELECT * FROM flows WHERE id IN ({numbers})")}
        listed = [{**rows[number], "_key": (at, number)} for at, number in found if number in rows]
        return listed[::-1] if back else listed

    def matching_flows(self, terms: Filter, filters: Mapping[str, Any], limit: int = 0) -> Iterator[dict[str, Any]]:
        """Yield the flows of a filter that also meet ``filters``, by id, like `flows`."""
        scope, last, left = Scope(terms), 0, limit or -1
        more = conditions_of(filters)
        while left:
            found = seek(self._db.conn, scope, PAGE_ROWS, after=last)
            numbers = ", ".join(str(number) for number in found.ids)
            query = f"SELECT * FROM flows WHERE id IN ({numbers}) AND {more} ORDER BY id LIMIT :size"
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
                tuple(w for w in (grain, HOUR_S, DAY_S) if w >= grain),
                self._near,
            )
            wide = max(width, found.width_s or width)
            grain = found.width_s or 1
            slot = f"slot * {grain} / {wide}" if found.width_s else f"last_ns / {wide * SECOND_NS}"
            query = f"SELECT {slot} AS slot, verdict, sum(bytes_out) AS bytes_out FROM {found.sql} GROUP BY 1, 2"
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
          ORDER BY instr(lower(value), lower(:start)), value LIMIT {MOST_CHOICES}"""
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
        self, listed: str, told: str, values: Mapping[str, Any], rising: bool, beside: tuple[Any, Any] | None,
        back: bool,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Return a page: which rows it has is found first, and only then what is told of them."""
        up = rising != back
        direction = "ASC" if up else "DESC"
        next_to = f"(_sort, _tie) {'>' if up else '<'} (:at, :tie)" if beside else "1"
        ordered = f"ORDER BY _sort {direction}, _tie {direction}"
        picked = f"(SELECT * FROM ({listed}) WHERE {next_to} {ordered} LIMIT :size)"
        more = dict(zip(("at", "tie"), beside, strict=True)) if beside else {}
        rows = self._rows(f"{told.format(sums=picked)} {ordered}", {**values, **more})
        for row in rows:
            row["_key"] = (row.pop("_sort"), row.pop("_tie"))
        return rows[::-1] if back else rows

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Cut off a question that takes too long; raises StoreError."""
        used_s, clock_s = time.thread_time() + LIMIT_S, time.monotonic() + PATIENCE_S
        self._db.conn.set_progress_handler(lambda: time.thread_time() > used_s or time.monotonic() > clock_s, 20_000)
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
