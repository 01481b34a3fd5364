"""What a screen asks of the flows: a stretch of time and a filter, put to the smallest table that can answer.

In: columns, times, conditions. Out: SQL and its values. Never: a look at every flow where sums can tell.

A range up to two hours is exact: whole quarters of an hour from sums where they answer, the rest flow by flow. A longer
one is answered from sums in whole hours, beyond three days in whole days (UTC), in the widest slots that fit. What is
not summed yet is added from the flows themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from egress_watch.store.sums import (
    ALL_S,
    CUBES,
    DAY_S,
    DEVICE,
    HOUR_S,
    HOURS,
    QUARTER_S,
    SECOND_NS,
    SENDER,
    SPLIT,
    Cube,
)
from egress_watch.store.terms import Clause, Filter, FilterError

EXACT_S, HOURLY_S = 2 * HOUR_S, 3 * DAY_S
ENDS_NS = 2**63 - 1
FLOWS = """SELECT id, recording, device, vlan, remote, coalesce(name, 0) AS name, remote_port AS port, protocol,
  place, end_reason, bytes_out, bytes_in, first_ns + duration_ns AS last_ns, 1 AS flows, id AS first_flow,
  id AS last_flow, (SELECT verdict FROM place WHERE place.id = flow.place) AS verdict FROM flow"""
_VERDICT = "(SELECT verdict FROM place WHERE place.id = {table}.place) AS verdict"
_BY_HOUR = f"""SELECT recording, hour AS slot, device, vlan, place, flows, bytes_out, bytes_in, 0 AS first_flow,
  0 AS last_flow, (hour + 1) * {HOUR_S * SECOND_NS} - 1 AS last_ns, {_VERDICT.format(table="hour")} FROM hour"""
_LACKING = "SELECT max(quarters, coalesce((SELECT min(id) FROM flow), 0) - 1) FROM summed"
_IDS = "SELECT min(first_flow), max(last_flow) FROM sum_verdict WHERE width_s = 60 AND slot BETWEEN ? AND ?"


class Scope(NamedTuple):
    """A stretch of time, from ``since_ns`` to before ``until_ns`` (None is without end), and a filter."""

    filter: Filter = Filter()
    since_ns: int | None = None
    until_ns: int | None = None

    def times(self) -> tuple[int | None, int | None]:
        """Return both ends; what the filter says of them wins."""
        since, until = self.filter.since_ns, self.filter.until_ns
        return (self.since_ns if since is None else since), (self.until_ns if until is None else until)

    def width_s(self, newest_ns: int) -> int | None:
        """Return the width of the slots that answer: ALL_S, HOUR_S or DAY_S, None for flow by flow."""
        since, until = self.times()
        if since is None and until is None:
            return ALL_S
        span_s = ((newest_ns if until is None else min(until, newest_ns)) - (since or 0)) // SECOND_NS
        return None if span_s <= EXACT_S else HOUR_S if span_s <= HOURLY_S else DAY_S

    def snapped(self, newest_ns: int) -> tuple[int | None, int | None]:
        """Return both ends as they are answered: whole hours or days where sums answer."""
        since, until = self.times()
        if not (width := self.width_s(newest_ns)):
            return since, until
        step = width * SECOND_NS
        return (None if since is None else since // step * step), (None if until is None else -(-until // step) * step)


class Source(NamedTuple):
    """Rows to group: SQL in brackets, and the values it binds."""

    sql: str
    values: dict[str, Any]
    cube: Cube | None
    width_s: int | None


def conditions(clauses: Iterable[Clause], *, leave: Iterable[str] = ("bytes",)) -> str:
    """Return what flows and sums must meet; raises FilterError for what only alerts can be asked."""
    asked = [clause for clause in clauses if clause.column not in leave]
    for clause in asked:
        if not clause.flows:
            raise FilterError(f"{clause.field} is asked of alerts only", 0, f"take {clause.text} out on this screen")
    return " AND ".join(clause.flows for clause in asked) or "1"


def of_sums(filter_: Filter) -> str:
    """Return the condition on the sum of bytes, for rows that are sums."""
    return " AND ".join(clause.flows for clause in filter_.clauses if clause.column == "bytes") or "1"


def near(db: Any, scope: Scope, newest_ns: int, asked: Iterable[Iterable[str]]) -> str:
    """Copy the flows that no sum counts into a temporary table, for several questions of one scope; return its SQL.

    ``asked`` are the columns of each question: where sums answer all of them, they need no more flows.
    """
    shared = _shared(db, scope, *scope.snapped(newest_ns))
    parts: list[str] = []
    more: dict[str, Any] = {}
    if scope.width_s(newest_ns) is None:
        whole = all(_cube(set(columns) | scope.filter.columns(), {QUARTER_S}) for columns in asked)
        parts, more = _stretches(db, shared, FLOWS, _quarters(db, shared) if whole else None)
    rows = [*parts, f"{FLOWS} WHERE id > :summed AND last_ns >= :since AND last_ns < :until"]
    db.execute("DROP TABLE IF EXISTS temp.near")
    db.execute(f"CREATE TEMP TABLE near AS {' UNION ALL '.join(rows)}", {**shared, **more})
    return "SELECT * FROM temp.near"


def source(
    db: Any, scope: Scope, columns: Iterable[str], newest_ns: int, widths: Iterable[int] = (), flows: str = FLOWS
) -> Source:
    """Return rows with ``columns``, flows, bytes_out, bytes_in, first_flow, last_flow and last_ns within the scope.

    ``widths`` asks for slots of one of these widths; the rows then have ``slot`` too. Raises FilterError.
    """
    for clause in scope.filter.clauses:
        if clause.column == "flow":
            raise FilterError(
                f"{clause.field} is asked of single flows only", 0, f"take {clause.text} out, or see Flows"
            )
    where = conditions(scope.filter.clauses)
    needed = set(columns) | scope.filter.columns()
    width = scope.width_s(newest_ns)
    cube = _cube(needed, set(widths) or {width})
    shared = _shared(db, scope, *scope.snapped(newest_ns))
    chosen = next(w for w in (widths or (width,)) if w in cube.widths) if cube else None
    slot = f", last_ns / {chosen * SECOND_NS} AS slot" if chosen and widths else ""
    tail = f"SELECT *{slot} FROM ({flows} WHERE id > :summed AND last_ns >= :since AND last_ns < :until) WHERE {where}"
    names = [*columns, *(("slot",) if slot else ()), "flows", "bytes_out", "bytes_in"]
    names = list(dict.fromkeys([*names, "first_flow", "last_flow", "last_ns"]))
    if cube and chosen is not None:
        rows, more = _summed(cube, chosen, where, shared, whole=bool(widths))
        head = f"SELECT {_picked(names, split=cube is not SENDER)} FROM ({rows})"
    else:
        quarterly = _cube(needed, {QUARTER_S}) if width is None and not widths else None
        head, more = _exact(db, where, shared, flows if width is None else FLOWS, quarterly, names)
    both = f"UNION ALL SELECT {_picked(names)} FROM ({tail})" if cube is not HOURS else ""
    return Source(f"({head} {both})", {**shared, **more}, cube, chosen)


def _picked(names: Iterable[str], *, split: bool = True) -> str:
    """Return the columns to select; what tells of verdicts is made of a row's own where it has one."""
    return ", ".join(f"{SPLIT[name]} AS {name}" if split and name in SPLIT else name for name in names)


def _cube(needed: set[str], widths: set[int | None]) -> Cube | None:
    """Return the smallest table that has the columns and one of the widths, None for the flows themselves."""
    after = CUBES.index(DEVICE) + 1
    for cube in (*CUBES[:after], HOURS, *CUBES[after:]):
        held = {*cube.columns, "recording", *(("verdict",) if "place" in cube.columns else ())}
        if cube is SENDER or "verdict" in held:
            held |= SPLIT.keys()
        if needed <= held and widths & set(cube.widths):
            return cube
    return None


def _summed(
    cube: Cube, width: int, where: str, shared: Mapping[str, Any], *, whole: bool
) -> tuple[str, dict[str, Any]]:
    """Return the rows of a table of sums within the range, ``whole`` where all slots are to be of that width."""
    verdict = "" if "verdict" in cube.columns or cube is SENDER else f", {_VERDICT.format(table=cube.table)}"
    if not width:
        return f"SELECT * FROM (SELECT *{verdict} FROM {cube.table} WHERE width_s = 0 AND slot = 0) WHERE {where}", {}
    widths = [width] if whole else sorted((w for w in cube.widths if w >= width), reverse=True)
    parts: list[str] = []
    bounds: dict[str, int] = {}
    for number, (wide, first, last) in enumerate(pieces(widths, shared["since"], shared["until"])):
        bounds |= {f"first{number}": first, f"last{number}": last}
        between = f"BETWEEN :first{number} AND :last{number}"
        if cube is HOURS:
            inner = f"{_BY_HOUR} WHERE recording IN (SELECT id FROM recording) AND hour {between}"
        else:
            inner = f"SELECT *{verdict} FROM {cube.table} WHERE width_s = {wide} AND slot {between}"
        parts.append(f"SELECT * FROM ({inner}) WHERE {where}")
    return " UNION ALL ".join(parts), bounds


def pieces(widths: Sequence[int], since_ns: int, until_ns: int) -> Iterator[tuple[int, int, int]]:
    """Yield width, first and last slot of what makes up a range: the wide in its middle, narrower ones at its ends.

    ``widths`` fall, each a multiple of the next; of the narrowest there are those that hold the ends, too.
    """
    step = widths[0] * SECOND_NS
    first, end = -(-since_ns // step), until_ns // step
    if len(widths) == 1:
        yield widths[0], since_ns // step, (until_ns - 1) // step
    elif first < end:
        yield from (piece for piece in pieces(widths[1:], since_ns, first * step) if piece[1] <= piece[2])
        yield widths[0], first, end - 1
        yield from (piece for piece in pieces(widths[1:], end * step, until_ns) if piece[1] <= piece[2])
    else:
        yield from pieces(widths[1:], since_ns, until_ns)


def _exact(
    db: Any, where: str, shared: Mapping[str, Any], flows: str, cube: Cube | None, names: Sequence[str]
) -> tuple[str, dict[str, Any]]:
    """Return the flows within the range, and in place of those of whole quarters of an hour their sums in ``cube``."""
    quarters = _quarters(db, shared) if cube else None
    parts, more = _stretches(db, shared, flows, quarters)
    rows = [f"SELECT {_picked(names)} FROM ({part}) WHERE {where}" for part in parts]
    if cube and quarters:
        within = {"since": quarters[0], "until": quarters[1]}
        sums, bounds = _summed(cube, QUARTER_S, where, within, whole=False)
        rows.append(f"SELECT {_picked(names, split=cube is not SENDER)} FROM ({sums})")
        more |= bounds
    return " UNION ALL ".join(rows), more


def _stretches(
    db: Any, shared: Mapping[str, Any], flows: str, quarters: tuple[int, int] | None
) -> tuple[list[str], dict[str, Any]]:
    """Return queries for the flows that are summed, of a range without those quarters of an hour."""
    since, until = shared["since"], shared["until"]
    parts: list[str] = []
    values: dict[str, Any] = {}
    for n, (begin, end) in enumerate(((since, quarters[0]), (quarters[1], until)) if quarters else ((since, until),)):
        low, high = _ids(db, begin, end)
        values |= {f"low{n}": low, f"high{n}": high, f"since{n}": begin, f"until{n}": end}
        parts.append(
            f"{flows} WHERE id BETWEEN :low{n} AND :high{n} AND id <= :summed"
            f" AND last_ns >= :since{n} AND last_ns < :until{n}"
        )
    return parts, values


def _quarters(db: Any, shared: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return from when to when whole quarters of an hour lie in a range; None where they lack flows or flows are gone.

    What retention took out is not told of a range that is exact, neither flow by flow nor in sums.
    """
    step = QUARTER_S * SECOND_NS
    begin, end = -(-shared["since"] // step) * step, shared["until"] // step * step
    if begin >= end:
        return None
    low, _ = _ids(db, begin, end)
    return (begin, end) if low > db.execute(_LACKING).fetchone()[0] else None


def _ids(db: Any, since: int, until: int) -> tuple[int, int]:
    """Return the lowest and the highest id of a range, from the sums by the minute."""
    minute = 60 * SECOND_NS
    low, high = db.execute(_IDS, (since // minute, (until - 1) // minute)).fetchone()
    return low or 0, -1 if high is None else high


def _shared(db: Any, scope: Scope, since: int | None, until: int | None) -> dict[str, Any]:
    """Return the values that every question binds."""
    summed = int(db.execute("SELECT flow FROM summed").fetchone()[0])
    ends = {"since": -ENDS_NS if since is None else since, "until": ENDS_NS if until is None else until}
    return {"summed": summed, **ends, **scope.filter.values()}
