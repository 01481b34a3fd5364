"""A live recording in the store: minutes add up, happenings stay, and new data files judge from now on."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from judging import START_S, judged, tally

from egress_watch.model import Happening, Health
from egress_watch.store import Reader, Store

OLD = [{"name": "d", "kind": "country", "built": "2026-01-01", "licence": "", "attribution": "", "sha256": "00"}]
NEW = [{**OLD[0], "built": "2026-06-01", "sha256": "01"}]
RULE, OTHER = ("r-1", "A rule", "high", "digest", "a.yml"), ("r-2", "Another", "low", "digest", "b.yml")
MINUTE_NS = 60 * 10**9


@pytest.fixture
def path(tmp_path):
    """Return where a new database goes."""
    return str(tmp_path / "a.db")


def record(store):
    """Begin a recording of an interface."""
    return store.record(
        zone="eea", as_of="2020-02-01", data=OLD, rules=[RULE], version="0", inputs={"eth1": "live 1"}
    )  # fmt: skip


def test_a_minute_is_the_sum_of_what_was_told_of_it(path):
    """Counts of one minute and interface add up, the lag is the longest, and others are rows of their own."""
    with Store(path) as store:
        recording = record(store)
        recording.beat(tally(1), [Health(0, "eth1", 5, 500, 1, 0, 0, 2, 9)], [])
        recording.beat(tally(1), [Health(0, "eth1", 2, 100, 3, 1, 1, 0, 4), Health(MINUTE_NS, "eth1", *[0] * 7)],
                       [Happening(7, "eth1", "down")])  # fmt: skip
        recording.beat(tally(1), [Health(0, "eth2", *[1] * 7)], [Happening(9, "eth1", "up")])
        with Reader(path) as reader:
            rows = [tuple(row.values())[1:] for row in reader.health(recording.id)]
            happened = [(row["interface"], row["what"]) for row in reader.happened(recording.id)]
    assert rows == [
        (0, "eth1", 7, 600, 4, 1, 1, 2, 9), (0, "eth2", 1, 1, 1, 1, 1, 1, 1), (MINUTE_NS, "eth1", 0, 0, 0, 0, 0, 0, 0),
    ]  # fmt: skip
    assert happened == [("eth1", "down"), ("eth1", "up")]


def test_a_beat_shows_the_counters_before_any_flow_ended(path):
    """Who reads meanwhile sees what came, though nothing was to be stored yet."""
    with Store(path) as store:
        recording = record(store)
        recording.beat(tally(4), [], [])
        with Reader(path) as reader:
            assert reader.snapshot().recordings[0]["frames"] == tally(4).frames


def test_new_data_judges_from_now_on(path):
    """A flow keeps the data set that judged it; the recording tells the newest, and new rules are listed."""
    with Store(path) as store:
        recording = record(store)
        recording.write(judged(2), tally(2))
        recording.reload(NEW, [RULE, OTHER])
        recording.write(judged(2, START_S + 10), tally(4))
    with closing(sqlite3.connect(path)) as db:
        dates = db.execute("SELECT json_extract(dates, '$[0].built') FROM flow JOIN place ON place.id = flow.place"
                           " JOIN dataset ON dataset.id = place.dataset ORDER BY flow.id").fetchall()  # fmt: skip
        now = db.execute("SELECT dates FROM recording JOIN dataset ON dataset.id = dataset").fetchone()
        rules = db.execute("SELECT id FROM rule ORDER BY 1").fetchall()
    assert [built for (built,) in dates] == ["2026-01-01"] * 2 + ["2026-06-01"] * 2
    assert "2026-06-01" in now[0]
    assert rules == [("r-1",), ("r-2",)]


def test_what_is_removed_takes_its_minutes_along(path):
    """No minute is left of a recording that is gone."""
    with Store(path) as store:
        recording = record(store)
        recording.beat(tally(1), [Health(0, "eth1", *[1] * 7)], [Happening(7, "eth1", "down")])
        store.remove(recording)
        with Reader(path) as reader:
            assert (reader.health(recording.id), reader.happened(recording.id)) == ([], [])
