"""Flows of a filter, newest first, found without a look at every flow: sums say in which hours they can be.

In: a scope and an id, or an order. Out: ids, and how far the search went. Never: a search without an end, or one that
is silent about where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from egress_watch.store.scope import FLOWS, Scope
from egress_watch.store.sums import HOUR_S, HOURS, PLACE, REMOTE, SECOND_NS

SEARCH_S = 2.0
"""So long one page is searched for; the next page goes on from there."""
LAST = 2**63 - 1
Ranges = list[tuple[int, int]]


class Found(NamedTuple):
    """A page."""

    ids: Sequence[int]
    reached: int
    """The id the search came to: below it (above it, searching upwards) nothing was looked at."""
    ended: bool
    """Nothing more lies in that direction."""
    rows: Sequence[dict[str, Any]] = ()


def seek(db: Any, scope: Scope, where: str, size: int, *, before: int = 0, after: int = 0) -> Found:
    """Return up to ``size`` ids below ``before``, or above ``after``, or the newest ones."""
    since, until = scope.times()
    values = {**scope.filter.values(), "since": -LAST if since is None else since,
              "until": LAST if until is None else until, "size": size}  # fmt: skip
    if since is not None or until is not None:
        where = f"{where} AND last_ns >= :since AND last_ns < :until"
    low, high = (after + 1, LAST) if after else (-LAST, (before or LAST) - 1)
    ids: list[int] = []
    deadline = time.monotonic() + SEARCH_S
    ranges = _clipped(_ranges(db, scope), low, high)
    for first, last in ranges if after else reversed(ranges):
        order = "ASC" if after else "DESC"
        query = f"""SELECT id FROM ({FLOWS} WHERE id BETWEEN :low AND :high) WHERE {where}
          ORDER BY id {order} LIMIT :size"""
        bound = {**values, "low": first, "high": last, "size": size - len(ids)}
        ids += [row[0] for row in db.execute(query, bound)]
        if len(ids) >= size:
            return Found(ids, ids[-1], ended=False)
        if time.monotonic() > deadline and (first, last) != (ranges[-1] if after else ranges[0]):
            return Found(ids, last if after else first, ended=False)
    return Found(ids, ids[-1] if ids else low if not after else high, ended=True)


def ranked(
    db: Any, scope: Scope, where: str, key: str, size: int, *, up: bool = False, beside: tuple[int, int] | None = None
) -> list[tuple[int, int]]:
    """Return up to ``size`` keys with their ids, the largest first or with ``up`` the smallest, beyond ``beside``.

    Every flow of the scope is looked at: nothing keeps flows in this order.
    """
    since, until = scope.times()
    at, tie = beside or (0, 0)
    way, sign = ("ASC", ">") if up else ("DESC", "<")
    values = {**scope.filter.values(), "since": -LAST if since is None else since,
              "until": LAST if until is None else until, "size": size, "at": at, "tie": tie}  # fmt: skip
    beyond = f"({key}, id) {sign} (:at, :tie)" if beside else "1"
    found: list[tuple[int, int]] = []
    for low, high in _ranges(db, scope):
        query = f"""SELECT {key}, id FROM ({FLOWS} WHERE id BETWEEN :low AND :high)
          WHERE {where} AND last_ns >= :since AND last_ns < :until AND {beyond} ORDER BY 1 {way}, 2 {way} LIMIT :size"""
        some = db.execute(query, {**values, "low": low, "high": high}).fetchall()
        found = sorted([*found, *some], reverse=not up)[:size]
    return found


def _ranges(db: Any, scope: Scope) -> Ranges:
    """Return stretches of ids, rising and apart, outside of which nothing can be found."""
    summed = int(db.execute("SELECT flow FROM summed").fetchone()[0])
    hours = [_hours(db, scope, cube.table, wanted) for cube, wanted in _asked(scope)]
    kept = set.intersection(*(set(some) for some in hours)) if hours else None
    if kept is None and scope.times() == (None, None):
        return [(-LAST, LAST)]
    if kept is None:
        hours = [_hours(db, scope, "sum_verdict", ())]
        kept = set(hours[0])
    spans = sorted(hours[0][hour] for hour in kept)
    return _merged([*spans, (summed + 1, LAST)])


def _asked(scope: Scope) -> Iterable[tuple[Any, Sequence[str]]]:
    """Yield each table of hours with the conditions that it is the smallest to answer."""
    left = [one for one in scope.filter.clauses if one.column not in {"bytes", "flow", "verdict", "recording"}]
    for cube in (PLACE, HOURS, REMOTE):
        wanted = [one for one in left if _columns(one) <= {*cube.columns} - {"verdict"}]
        left = [one for one in left if one not in wanted]
        if wanted:
            yield cube, [one.flows for one in wanted]


def _columns(clause: Any) -> set[str]:
    from egress_watch.store.fields import NEEDS

    return set(NEEDS.get(clause.column, (clause.column,)))


def _hours(db: Any, scope: Scope, table: str, wanted: Sequence[str]) -> dict[int, tuple[int, int]]:
    """Return the first and last id of each hour that has something; hour by hour, so that indexes serve."""
    since, until = scope.times()
    step = HOUR_S * SECOND_NS
    values = {**scope.filter.values(), "first": -LAST if since is None else since // step,
              "last": LAST if until is None else (until - 1) // step}  # fmt: skip
    where = " AND ".join(wanted) or "1"
    slot = "s.hour = hours.slot" if table == "hour" else f"s.width_s = {HOUR_S} AND s.slot = hours.slot"
    query = f"""
      SELECT hours.slot, min(low), max(high)
      FROM (SELECT slot AS slot, recording AS run, min(first_flow) AS low, max(last_flow) AS high FROM sum_verdict
        WHERE width_s = {HOUR_S} AND slot BETWEEN :first AND :last GROUP BY 1, 2) AS hours
      WHERE EXISTS (SELECT 1 FROM {table} AS s WHERE {slot} AND s.recording = hours.run AND {where})
      GROUP BY hours.slot"""
    return {slot: (low, high) for slot, low, high in db.execute(query, values)}


def _merged(spans: Iterable[tuple[int, int]]) -> Ranges:
    merged: Ranges = []
    for low, high in spans:
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return merged


def _clipped(ranges: Ranges, low: int, high: int) -> Ranges:
    return [(max(first, low), min(last, high)) for first, last in ranges if first <= high and last >= low]
