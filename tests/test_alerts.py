"""The life of an alert: it opens, is told again, ends, comes again, is folded in a storm; always by packet time."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import PLACES, START_S, VERDICTS, flows, tally
from sqlite_utils import Database
from test_rules import rule_text

from egress_watch.model import Judged, Pace
from egress_watch.rules import RuleSet, parse
from egress_watch.store import Reader, Store
from egress_watch.store.episodes import Episodes
from egress_watch.store.schema import MIGRATIONS, _version_6

DATA = [{"name": "d", "kind": "country", "built": "2026-01-01", "licence": "", "attribution": "", "sha256": "00"}]
HOUR_S, HOUR_NS = 3600, 3600 * 10**9
START_NS = START_S * 10**9
RULE = parse(rule_text("bytes_out|gte: 0"), "r")
SHORT = Pace(silence_ns=5 * HOUR_NS, jump=3.0, jump_bytes=200, storm=2)
CALM = Pace(storm=10**6)
Hit = tuple[int, int, int, int]
"""Minutes since the hit before, length in minutes, device, bytes out."""


def judged(hits: list[Hit]) -> Judged:
    """Return flows with these times, devices and bytes, towards two owners in turn by their bytes."""
    steps = [np.array(column, np.int64) for column in zip(*hits, strict=True)]
    last = START_NS + np.cumsum(steps[0]) * 60 * 10**9
    plain = flows(len(hits))
    changed = replace(
        plain, first_ns=last - steps[1] * 60 * 10**9, last_ns=last, bytes_out=steps[3],
        device=flows(3).device[steps[2] % 3], device_mac=flows(3).device_mac[steps[2] % 3],
    )  # fmt: skip
    return Judged(changed, steps[3] % 2, PLACES, VERDICTS)


def cut(whole: Judged, start: int, stop: int) -> Judged:
    """Return some rows."""
    names = {name: getattr(whole.flows, name)[start:stop] for name in whole.flows.__dataclass_fields__}
    return Judged(replace(whole.flows, **names), whole.judgement[start:stop], PLACES, VERDICTS)


def record(store, inputs, pace):
    """Begin a recording."""
    row = (RULE.id, "A rule", "high", "digest", "r")
    return store.record(
        zone="eea", as_of="2020-02-01", data=DATA, rules=[row], version="0", inputs=inputs, pace=pace
    )  # fmt: skip


def through(path, hits, cuts=(), pace=SHORT, *, rule=RULE, finish=True, inputs=None, find=RuleSet.evaluate):
    """Record hits in batches that end at ``cuts``; every flow is a hit."""
    whole, rules = judged(hits), RuleSet([rule])
    edges = sorted({0, len(hits), *(edge for edge in cuts if edge < len(hits))})
    counted = tally(len(hits))
    counted.last_ns = int(whole.flows.last_ns.max())
    with Store(path) as store:
        recording = record(store, inputs or {"a": "1"}, pace)
        for start, stop in pairwise(edges):
            batch = recording.write(cut(whole, start, stop), counted)
            recording.alert(find(rules, batch), batch)
        if finish:
            recording.finish(counted, inputs or {"a": "1"})


def rows(path, query):
    """Return what a query finds."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


ALERT = """first_flow, rule, device, owner, country, network, kind, level, first_ns, last_ns, hits, bytes_out, bytes_in,
  remote_ip, verdict, last_flow, why, due_ns, updates, told_bytes, closed_ns"""
EVENT = "e.kind, e.cause, e.time_ns, e.level, e.hits, e.bytes_out, e.bytes_in"


def story(path):
    """Return alerts, their events and what was folded, without the numbers that only count."""
    return (
        rows(path, f"SELECT {ALERT} FROM alert ORDER BY first_flow, kind"),
        rows(path, f"SELECT first_flow, alert.kind, {EVENT} FROM alert_event e JOIN alert ON alert.id = e.alert "
                   "ORDER BY first_flow, alert.kind, e.id"),
        rows(path, "SELECT first_flow, f.device, f.hits, f.bytes_out, f.bytes_in FROM folded f "
                   "JOIN alert ON alert.id = f.alert ORDER BY 1, 2"),
    )  # fmt: skip


def events(path):
    """Return kind, cause, hours since the start, hits and bytes out of each event."""
    found = rows(path, "SELECT kind, cause, time_ns, hits, bytes_out FROM alert_event ORDER BY alert, id")
    return [(kind, cause, (time_ns - START_NS) / HOUR_NS, *sums) for kind, cause, time_ns, *sums in found]


HITS = st.lists(
    st.tuples(
        st.sampled_from((0, 1, 30, 61, 200, 400, -900)), st.sampled_from((0, 5, 20, 390)), st.integers(0, 2),
        st.sampled_from((1, 60, 500)),
    ), min_size=1, max_size=25,
)  # fmt: skip


@given(HITS, st.lists(st.integers(0, 25)), st.sampled_from((SHORT, CALM, SHORT._replace(storm=1))))
@settings(deadline=None, max_examples=60)
def test_any_cutting_gives_the_same_rows(hits, cuts, pace):
    """Law 3: one batch, batches cut anywhere, and a batch a flow give the same episodes and events."""
    with tempfile.TemporaryDirectory() as folder:
        for name, edges in (("whole", ()), ("cut", cuts), ("single", range(len(hits)))):
            through(f"{folder}/{name}.db", hits, edges, pace)
        whole = story(f"{folder}/whole.db")
        assert whole == story(f"{folder}/cut.db") == story(f"{folder}/single.db")
        assert sum(row[10] for row in whole[0]) == len(hits)
        assert sum(row[11] for row in whole[0]) == sum(hit[3] for hit in hits)


def test_an_episode_is_told_after_1_h_6_h_and_then_daily(tmp_path):
    """A hit every half hour for four days is told at 1, 7, 31, 55 and 79 hours and no more."""
    through(tmp_path / "a.db", [(30, 0, 0, 1)] * (2 * 96), pace=CALM)
    assert [row[:3] for row in events(tmp_path / "a.db")] == [
        ("create", "hit", 0.5), *(("update", "time", hours + 0.5) for hours in (1, 7, 31, 55, 79)),
    ]  # fmt: skip


def test_a_jump_of_bytes_is_told_at_once(tmp_path):
    """Bytes out at ten times what was told, and above the least, are told with the hit that brings them."""
    through(tmp_path / "a.db", [(1, 0, 0, 60_000), (1, 0, 0, 300_000), (1, 0, 0, 700_000), (1, 0, 0, 2)], pace=CALM)
    assert [row[:2] + row[3:] for row in events(tmp_path / "a.db")] == [
        ("create", "hit", 1, 60_000), ("update", "bytes", 3, 1_060_000),
    ]  # fmt: skip


def test_silence_closes_and_a_later_hit_opens_another(tmp_path):
    """After 24 hours without a hit an episode ends at that moment; the next hit is a new one, open at the end."""
    through(tmp_path / "a.db", [(0, 0, 0, 1), (60 * 24, 0, 0, 1), (60 * 24 + 1, 0, 0, 1)], pace=CALM)
    assert rows(tmp_path / "a.db", "SELECT hits, state FROM alerts ORDER BY id") == [(2, "closed"), (1, "open")]
    assert ("close", "silence", 48.0, 2, 2) in events(tmp_path / "a.db")


def test_the_end_of_a_recording_closes_what_is_silent(tmp_path):
    """What was not hit for 24 hours before the newest packet is closed, at the same moment a later hit would say."""
    through(tmp_path / "a.db", [(0, 0, 0, 1), (60 * 30, 0, 1, 1)], pace=CALM)
    found = rows(tmp_path / "a.db", "SELECT state, closed_ns - last_ns FROM alerts ORDER BY id")
    assert found == [("closed", 24 * HOUR_NS), ("open", None)]


def test_a_killed_run_that_comes_again_doubles_nothing(tmp_path):
    """A run that stopped between batches is replaced whole: rows and events are those of one run."""
    hits = [(40, 5, n % 3, 60 * (n % 4)) for n in range(40)]
    through(tmp_path / "once.db", hits, (10, 20))
    through(tmp_path / "twice.db", hits[:23], (10, 20), finish=False)
    through(tmp_path / "twice.db", hits, (10, 20))
    for kept in range(3):
        assert [row[7:] for row in story(tmp_path / "once.db")[kept]] == [
            row[7:] for row in story(tmp_path / "twice.db")[kept]
        ]
    assert rows(
        tmp_path / "twice.db", "SELECT count(*) FROM alert_event WHERE alert NOT IN (SELECT id FROM alert)"
    ) == [(0,)]


def test_a_storm_is_one_summary_and_loses_nothing(tmp_path):
    """Of three devices in one hour with room for two, the third is counted in the rule's summary."""
    through(tmp_path / "a.db", [(1, 0, n % 3, 1) for n in range(9)], pace=SHORT)
    with Reader(str(tmp_path / "a.db")) as reader:
        found = reader.alerts({})
    assert sorted((row["kind"], row["hits"], row["devices"]) for row in found) == [
        ("episode", 3, 1), ("episode", 3, 1), ("storm", 3, 1),
    ]  # fmt: skip
    assert next(row["why"] for row in found if row["kind"] == "storm").startswith("storm: more than 2 new episodes")
    assert [row[0] for row in events(tmp_path / "a.db")].count("summary") == 1


def test_what_was_folded_stays_in_its_storm_until_that_ends(tmp_path):
    """The next hour gives no episode to what goes on in the summary; after it there is one."""
    pace = SHORT._replace(storm=1)
    third = [(1, 0, 0, 1), (1, 0, 1, 1), (90, 0, 1, 1), (90, 0, 2, 1), (90, 0, 1, 1), (600, 0, 1, 1)]
    through(tmp_path / "a.db", third, pace=pace)
    found = rows(tmp_path / "a.db", "SELECT kind, device, hits FROM alert ORDER BY first_flow")
    assert found == [("episode", 1, 1), ("storm", 2, 3), ("episode", 3, 1), ("episode", 2, 1)]
    assert rows(tmp_path / "a.db", "SELECT device, hits FROM folded") == [(2, 3)]


def test_a_file_of_the_version_before_keeps_its_alerts(tmp_path):
    """A step later each old alert is an episode that was told once, closed where its recording went on for a day."""
    path = str(tmp_path / "a.db")
    db = Database(path)
    for step in MIGRATIONS[: MIGRATIONS.index(_version_6)]:
        step(db)
    day_ns = 24 * HOUR_NS
    with db.conn:
        db.execute("INSERT INTO dataset VALUES (1, 'd', '[]', '[]')")
        db.execute("INSERT INTO device(id, ip, mac) VALUES (1, '10.0.0.1', '')")
        db.execute(
            """INSERT INTO recording(id, state, zone, zone_as_of, dataset, version, last_ns)
          VALUES (1, 'finished', 'eea', '2020-01-01', 1, '0', ?)""",
            (3 * day_ns,),
        )
        for number, last_ns in ((4, day_ns), (7, 3 * day_ns)):
            db.execute(
                """INSERT INTO alert VALUES
              (?, 1, 1, 'r', 't', 'high', 1, '203.0.113.1', ?, 'CN', 'OUT', 0, ?, 5, 50, 5, 1, 2, 'so', '')""",
                (number, f"o{number}", last_ns),
            )
        db.execute(f"PRAGMA user_version = {MIGRATIONS.index(_version_6)}")
    db.close()
    with Store(path), Reader(path) as reader:
        found = sorted((row["id"], row["state"], row["closed_ns"], row["hits"]) for row in reader.alerts({}))
        assert found == [(4, "closed", 2 * day_ns, 5), (7, "open", None, 5)]
        assert [event["kind"] for event in reader.events(4)] == ["create", "close"]
    assert rows(path, "SELECT seq FROM sqlite_sequence WHERE name = 'alert'") == [(7,)]


def test_what_fell_silent_is_closed_while_the_recording_goes_on(tmp_path):
    """Though nothing hits it again, its silence is seen by the packet times of others, and dated as a hit would."""
    quiet, talkative = (1, 0, 0, 1), (30, 0, 1, 2)
    through(tmp_path / "a.db", [quiet] + [talkative] * 20, range(21), finish=False)
    (closed,) = [event for event in events(tmp_path / "a.db") if event[0] == "close"]
    assert closed == ("close", "silence", 5 + 1 / 60, 1, 1)
    assert rows(tmp_path / "a.db", "SELECT count(*) FROM alert WHERE closed_ns IS NULL") == [(1,)]


def test_a_flow_that_ends_late_still_belongs_to_its_episode(tmp_path):
    """A flow that began before the silence was over goes on with the episode, up to an hour after; later it is new."""
    for minutes, alerts in ((5 * 60 + 59, 1), (7 * 60 + 30, 2)):
        others = [(1, 0, 1, 1)] + [(29, 0, 1, 1)] * 14
        before = [hit for hit, passed in zip(others, range(1, 999, 29), strict=False) if passed < minutes - 30]
        late = (minutes - sum(step for step, *_ in before), minutes - 60, 0, 1)
        path = tmp_path / f"{minutes}.db"
        through(path, [(0, 0, 0, 1), *before, late], range(20), finish=False)
        assert rows(path, "SELECT count(*) FROM alert WHERE device = 1") == [(alerts,)]


def test_no_room_to_remember_changes_nothing(tmp_path, monkeypatch):
    """With none of the episodes in memory the same rows come about, storms too."""
    hits = [(7 if n % 20 else 400, 3, n % 3, 60 + n % 7) for n in range(60)]
    through(tmp_path / "all.db", hits, range(0, 60, 5))
    monkeypatch.setattr(Episodes.__init__, "__defaults__", (0, Pace()))
    through(tmp_path / "none.db", hits, range(0, 60, 5))
    assert story(tmp_path / "all.db") == story(tmp_path / "none.db")
    assert {row[6] for row in story(tmp_path / "all.db")[0]} == {"episode", "storm"}


@pytest.mark.parametrize("limit", [0, 200_000])
def test_what_an_older_storm_folded_does_not_end_the_one_that_goes_on(tmp_path, monkeypatch, limit):
    """A device of the storm before opens an episode; flows that end late still go to the storm they belong to."""
    monkeypatch.setattr(Episodes.__init__, "__defaults__", (limit, Pace()))
    storms = [(0, 0, 0, 1), (1, 0, 1, 1), (700, 0, 0, 1), (1, 0, 2, 1)]
    through(tmp_path / "a.db", [*storms, (330, 0, 1, 1), (-130, 0, 2, 1)], range(7), SHORT._replace(storm=1))
    found = rows(tmp_path / "a.db", "SELECT kind, device, hits FROM alert ORDER BY id")
    assert found[3:] == [("storm", 3, 2), ("episode", 2, 1)]


@given(HITS, st.lists(st.integers(0, 25)), st.sampled_from((SHORT, CALM, SHORT._replace(storm=1))))
@settings(deadline=None, max_examples=60)
def test_hits_without_a_row_for_each_make_the_same_episodes(hits, cuts, pace):
    """What is taken as columns, in a storm above all, ends as if each episode had come as an alert."""
    with tempfile.TemporaryDirectory() as folder:
        through(f"{folder}/rows.db", hits, cuts, pace)
        through(f"{folder}/columns.db", hits, cuts, pace, find=RuleSet.hits)
        assert story(f"{folder}/rows.db") == story(f"{folder}/columns.db")
        numbered = "SELECT id, kind, cause, time_ns, alert FROM alert_event ORDER BY id"
        assert rows(f"{folder}/rows.db", numbered) == rows(f"{folder}/columns.db", numbered)
