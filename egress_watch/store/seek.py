"""Flows of a filter, newest first, found without a look at every flow: sums say in which hours they can be.

In: a scope and an id, or an order. Out: ids, and how far the search went. Never: a search without an end, or one that
is silent about where it stopped.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from egress_watch.store.scope import FLOWS, Scope
from egress_watch.store.sought import Sought, sought
from egress_watch.store.sums import HOUR_S, HOURS, PLACE, REMOTE, SECOND_NS, Cube

SEARCH_S, FIRST_S = 2.0, 0.1
"""So long one page is searched for; the next page goes on from there. The first one comes with what little is found."""
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


def seek(db: Any, scope: Scope, size: int, *, before: int = 0, after: int = 0, first_s: float = SEARCH_S) -> Found:
    """Return up to ``size`` ids below ``before``, or above ``after``, or the newest ones.

    Once anything is found the search ends after ``first_s``. Raises FilterError.
    """
    terms = sought(db, scope.filter)
    query = _query(scope, terms, "ASC" if after else "DESC")
    low, high = (after + 1, LAST) if after else (-LAST, (before or LAST) - 1)
    ids: list[int] = []
    begun = time.monotonic()
    ranges = _clipped(_ranges(db, scope, terms), low, high)
    for first, last in ranges if after else reversed(ranges):
        bound = {**_values(scope), "low": first, "high": last, "size": size - len(ids)}
        ids += [row[0] for row in db.execute(query, bound)]
        if len(ids) >= size:
            return Found(ids, ids[-1], ended=False)
        late = time.monotonic() - begun > (first_s if ids else SEARCH_S)
        if late and (first, last) != (ranges[-1] if after else ranges[0]):
            return Found(ids, last if after else first, ended=False)
    return Found(ids, ids[-1] if ids else low if not after else high, ended=True)


def _query(scope: Scope, terms: Sequence[Sought], order: str) -> str:
    within = "AND last_ns >= :since AND last_ns < :until" if scope.times() != (None, None) else ""
    return f"""SELECT id FROM ({FLOWS} WHERE id BETWEEN :low AND :high) WHERE {_all(terms)} {within}
      ORDER BY id {order} LIMIT :size"""


def _all(terms: Iterable[Sought]) -> str:
    return " AND ".join(one.sql for one in terms) or "1"


def _values(scope: Scope) -> dict[str, Any]:
    since, until = scope.times()
    ends = {"since": -LAST if since is None else since, "until": LAST if until is None else until}
    return {**scope.filter.values(), **ends}


def ranked(
    db: Any, scope: Scope, key: str, size: int, *, up: bool = False, beside: tuple[int, int] | None = None
) -> list[tuple[int, int]]:
    """Return up to ``size`` keys with their ids, the largest first or with ``up`` the smallest, beyond ``beside``.

    Every flow of the scope is looked at: nothing keeps flows in this order. Raises FilterError.
    """
    at, tie = beside or (0, 0)
    way, sign = ("ASC", ">") if up else ("DESC", "<")
    terms = sought(db, scope.filter)
    values = {**_values(scope), "size": size, "at": at, "tie": tie}
    beyond = f"({key}, id) {sign} (:at, :tie)" if beside else "1"
    query = f"""SELECT {key}, id FROM ({FLOWS} WHERE id BETWEEN :low AND :high) WHERE {_all(terms)}
      AND last_ns >= :since AND last_ns < :until AND {beyond} ORDER BY 1 {way}, 2 {way} LIMIT :size"""
    found: list[tuple[int, int]] = []
    for low, high in _ranges(db, scope, terms):
        some = db.execute(query, {**values, "low": low, "high": high}).fetchall()
        found = sorted([*found, *some], reverse=not up)[:size]
    return found


def _ranges(db: Any, scope: Scope, terms: Sequence[Sought]) -> Ranges:
    """Return stretches of ids, rising and apart, outside of which nothing can be found; none is longer than an hour."""
    if not terms and scope.times() == (None, None):
        return [(-LAST, LAST)]
    hours = _hours(db, scope, asked := list(_asked(terms)))
    narrowed = asked or scope.times() != (None, None)
    summed = int(db.execute("SELECT flow FROM summed").fetchone()[0])
    spans = [*sorted(hours), (summed + 1, LAST)] if narrowed else [(-LAST, LAST)]
    return list(_cut(_merged(spans), sorted({low for low, _ in hours} | {summed + 1})))


def _asked(terms: Sequence[Sought]) -> Iterator[tuple[Cube, Sequence[str]]]:
    """Yield tables of sums with the conditions that an hour's rows must meet: one row all of them."""
    bounds = [one.sql for one in terms if one.bound]
    done: list[Sought] = []
    for cube in (PLACE, HOURS, REMOTE):
        able = [one for one in terms if one.columns and one.columns <= {*cube.columns}]
        if any(one not in done for one in able) or (cube is REMOTE and bounds):
            yield cube, [*(one.sql for one in able), *bounds]
        done += able


def _hours(db: Any, scope: Scope, asked: Iterable[tuple[Cube, Sequence[str]]]) -> Ranges:
    """Return the first and last id of each hour that has something; hour by hour, so that indexes serve."""
    since, until = scope.times()
    step = HOUR_S * SECOND_NS
    values = {**scope.filter.values(), "first": -LAST if since is None else since // step,
              "last": LAST if until is None else (until - 1) // step}  # fmt: skip
    query = f"""SELECT low, high FROM (
        SELECT slot AS slot, recording AS run, min(first_flow) AS low, max(last_flow) AS high FROM sum_verdict
        WHERE width_s = {HOUR_S} AND slot BETWEEN :first AND :last GROUP BY 1, 2) AS hours
      WHERE {" AND ".join(_held(cube, wanted) for cube, wanted in asked) or "1"}"""
    return list(db.execute(query, values))


def _held(cube: Cube, wanted: Sequence[str]) -> str:
    slot = "s.hour = hours.slot" if cube is HOURS else f"s.width_s = {HOUR_S} AND s.slot = hours.slot"
    where = " AND ".join(wanted)
    return f"EXISTS (SELECT 1 FROM {cube.table} AS s WHERE {slot} AND s.recording = hours.run AND {where})"


def _merged(spans: Iterable[tuple[int, int]]) -> Ranges:
    merged: Ranges = []
    for low, high in spans:
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return merged


def _cut(ranges: Ranges, starts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield ranges in pieces that begin at some ids, so that a search can stop between them."""
    for low, high in ranges:
        inner = starts[bisect_right(starts, low) : bisect_left(starts, high)]
        yield from zip((low, *inner), (*(start - 1 for start in inner), high), strict=True)


def _clipped(ranges: Ranges, low: int, high: int) -> Ranges:
    return [(max(first, low), min(last, high)) for first, last in ranges if first <= high and last >= low]
