"""Sums in slots of several widths: whatever makes up a range, they are those of its flows, before and after kills."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judging import SECOND_NS, START_S, judged, tally

from egress_watch.model import VERDICTS, Tally
from egress_watch.store import Store, sums
from egress_watch.store.retention import Limits, retain
from egress_watch.store.scope import DAY_S, HOUR_S, Scope, near, pieces
from egress_watch.store.screens import GATHERED, Screens

QUARTER_NS, HOUR_NS, DAY_NS = 900 * SECOND_NS, HOUR_S * SECOND_NS, DAY_S * SECOND_NS
BATCHES, BATCH, DAYS = 24, 60, 6
START_NS = START_S * SECOND_NS
KEYS = {"devices": "device", "owners": "owner", "verdicts": "verdict",
        "destinations": "remote || ':' || coalesce(name, 0) || ':' || place"}  # fmt: skip
LINES = {"": "1", "verdict:out": "verdict = 'OUT'", "owner:baidu": "owner = 'Baidu'", "device:10.0.0.1": "device = 1",
         "port:443": "remote_port = 443"}  # fmt: skip
QUARTERS = st.integers(-4, DAYS * 96 + 4).map(lambda n: (START_S // 900 + n) * QUARTER_NS)
MOMENTS = st.one_of(QUARTERS, st.integers(START_NS - HOUR_NS, START_NS + DAYS * DAY_NS), st.integers(0, 9_000).map(
    lambda second: START_NS + second * SECOND_NS))  # fmt: skip
SPANS = st.one_of(
    st.none(), st.integers(1, 8).map(lambda n: n * QUARTER_NS), st.integers(1, 2 * HOUR_NS), st.integers(1, 6 * DAY_NS)
)


@contextmanager
def few(flows: int) -> Iterator[None]:
    """Sum so many flows together, as a large database does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sums, "CHUNK_FLOWS", flows)
        yield


def written(path: Path, *, finish: bool = True, chunk: int = 400) -> Path:
    """Write flows over six days, half of them within two hours; the newest are not summed unless it is finished."""
    half = BATCHES // 2
    with few(chunk), Store(str(path)) as store:
        recording = store.record(zone="eea", as_of="2026-11-01", data=[], rules=[], version="0", inputs={"a": "1"})
        for number in range(BATCHES):
            at = START_S + (number * 600 if number < half else (number - half) * DAYS * DAY_S // half)
            some = judged(BATCH, at, ("a.example", "b.example"))
            ends = some.flows.first_ns + np.random.default_rng(number).integers(0, 720 * SECOND_NS, BATCH)
            recording.write(replace(some, flows=replace(some.flows, last_ns=ends)), counted(number + 1))
        if finish:
            recording.finish(counted(BATCHES), {"a": "1"})
    return path


def counted(batches: int) -> Tally:
    """Return counters of so many batches."""
    return replace(tally(batches * BATCH), last_ns=START_NS + DAYS * DAY_NS)


def narrowed(path: Path) -> Path:
    """Make of a database one of version 14, and bring it up to date again."""
    with closing(sqlite3.connect(path)) as db:
        before = [db.execute(query).fetchall() for query in WIDENED]
        db.executescript("""DROP TABLE sum_sender; ALTER TABLE summed DROP COLUMN quarters; PRAGMA user_version = 14;
          DELETE FROM sum_place WHERE width_s IN (900, 21600); DELETE FROM sum_remote WHERE width_s > 3600""")
    with few(400):
        Store(str(path)).close()
    with closing(sqlite3.connect(path)) as db:
        assert all(before)
        assert [db.execute(query).fetchall() for query in WIDENED] == before
        assert db.execute("SELECT quarters = flow AND flow > 0 FROM summed").fetchall() == [(1,)]
    return path


WIDENED = (
    """SELECT width_s, slot, recording, device, vlan, flows, bytes_out, bytes_in, worst, out_0, out_1, out_2, out_3
      FROM sum_sender WHERE width_s > 900""",
    "SELECT * FROM sum_sender WHERE width_s = 86400",
    "SELECT * FROM sum_place WHERE width_s <> 900",
    "SELECT * FROM sum_remote",
)


def thinned(path: Path) -> Path:
    """Take a third of the flows out, as retention does."""
    with few(400), Store(str(path)) as store:
        next(retain(store._db, str(path), Limits(most_bytes=1), 0, many=BATCH * BATCHES // 3))
    return path


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return databases: whole, killed before its newest flows were summed, of an earlier version, and thinned out."""
    at = tmp_path_factory.mktemp("slots")
    return {
        "whole": written(at / "a.db"), "killed": written(at / "b.db", finish=False),
        "older": narrowed(written(at / "c.db")), "thinned": thinned(written(at / "d.db")),
    }  # fmt: skip


def by_hand(path: Path, kind: str, line: str, since: int | None, until: int | None) -> dict[object, tuple[object, ...]]:
    """Return sums of the flows themselves; of devices also what is told of verdicts."""
    more = ""
    if kind == "devices":
        out = (f"sum(bytes_out) FILTER (WHERE verdict = '{verdict}')" for verdict in VERDICTS)
        ranks = " ".join(f"WHEN '{one}' THEN {n}" for n, one in enumerate(("OUT", "UNKNOWN", "OWN", "IN")))
        more = f", min(CASE verdict {ranks} END), {', '.join(out)}"
    query = f"""SELECT {KEYS[kind]}, count(*), sum(bytes_out), sum(bytes_in){more}
      FROM flow JOIN place ON place.id = flow.place
      WHERE first_ns + duration_ns >= ? AND first_ns + duration_ns < ? AND {LINES[line]} GROUP BY 1"""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute(query, (-(2**63) if since is None else since, 2**63 - 1 if until is None else until))
        return {row[0]: row[1:] for row in rows}


def told(rows: Iterable[dict[str, object]], kind: str) -> dict[object, tuple[object, ...]]:
    """Return the same of what screens show."""
    more = ("worst", *(f"out_{n}" for n in range(len(VERDICTS)))) if kind == "devices" else ()
    return {row["id"]: tuple(row[name] for name in ("flows", "bytes_out", "bytes_in", *more)) for row in rows}


@pytest.mark.parametrize("state", ["whole", "killed", "older", "thinned"])
@given(since=MOMENTS, span=SPANS, line=st.sampled_from(list(LINES)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sums_of_any_range_are_those_of_its_flows(
    paths: dict[str, Path], state: str, since: int, span: int | None, line: str
) -> None:
    """Lists and the overview agree with the flows of the range, as it is said to be answered."""
    with Screens(str(paths[state])) as screens:
        scope = Scope(screens.filtered(line), since, None if span is None else since + span)
        newest = screens.newest_ns()
        if state == "thinned" and scope.width_s(newest) is not None:
            return  # sums stay when flows go
        first, end = scope.snapped(newest)
        overview = screens.overview(scope)._asdict()
        for kind in KEYS:
            flows = by_hand(paths[state], kind, line, first, end)
            assert told(screens.sums(kind, scope, 1_000), kind) == flows
            if kind in overview:
                assert told(overview[kind], kind) == flows
        assert sum(row["bytes_out"] for row in overview["segments"]) == sum(
            row["bytes_out"] for row in overview["countries"]
        )


def test_sums_are_the_same_however_many_flows_are_summed_together(tmp_path: Path) -> None:
    """A few within one slot, which are added as they are, or all of six days at once: the same rows in every table."""
    found = []
    for chunk in (BATCH, BATCHES * BATCH):
        with closing(sqlite3.connect(written(tmp_path / f"{chunk}.db", chunk=chunk))) as db:
            tables = [f"SELECT * FROM {cube.table}" for cube in sums.CUBES]
            found.append([sorted(db.execute(query)) for query in tables])
    assert found[0] == found[1]
    assert all(found[0])


def test_an_hour_is_answered_from_quarters(paths: dict[str, Path]) -> None:
    """Where flows are summed by the quarter of an hour, only those beside whole quarters are read one by one."""
    since = START_NS + 400 * SECOND_NS
    seen = []
    for state in ("whole", "older", "thinned"):
        with Screens(str(paths[state])) as screens:
            scope = Scope(since_ns=since, until_ns=since + HOUR_NS)
            near(screens._db.conn, scope, screens.newest_ns(), [columns for columns, _ in GATHERED.values()])
            seen.append(screens._db.execute("SELECT count(*) FROM temp.near").fetchone()[0])
            flows = by_hand(paths[state], "verdicts", "", since, since + HOUR_NS)
    assert 0 < seen[0] < seen[1]
    assert seen[2] == sum(row[0] for row in flows.values())


@given(
    st.sampled_from([(900,), (3_600, 900), (86_400, 21_600, 3_600), (86_400,)]), st.integers(-(10**6), 10**6),
    st.integers(1, 10**6),
)  # fmt: skip
def test_pieces_cover_a_range_once(widths: tuple[int, ...], since_s: int, span_s: int) -> None:
    """Side by side, in order and without a gap, from the narrowest slot of the start to that of the end."""
    until_s = since_s + span_s
    found = list(pieces(widths, since_s * SECOND_NS, until_s * SECOND_NS))
    edges = [(first * width, (last + 1) * width) for width, first, last in found]
    step = widths[-1]
    assert edges[0][0] == since_s // step * step
    assert edges[-1][1] == -(-until_s // step) * step
    assert all(end == begin for (_, end), (begin, _) in itertools.pairwise(edges))
    assert all(first <= last for _, first, last in found)


def test_where_flows_come_slowly_they_are_summed_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once sums have begun, fewer flows are summed too, but not before a while has passed."""
    now = [0.0]
    monkeypatch.setattr(sums.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sums, "CHUNK_FLOWS", 2 * BATCH)
    monkeypatch.setattr(sums, "SLOW_FLOWS", BATCH)
    summed = []
    with Store(str(tmp_path / "a.db")) as store:
        recording = store.record(zone="eea", as_of="2026-11-01", data=[], rules=[], version="0", inputs={"a": "1"})
        for number, at in enumerate((0, 100, 101, 102, 200, 300)):
            now[0] = float(at)
            recording.write(judged(BATCH, START_S + number), counted(number + 1))
            summed.append(sums.up_to(store._db))
    assert summed[0] == 0 < summed[1]
    assert [after > before for before, after in itertools.pairwise(summed)] == [True, False, True, True, True]
