"""Sums by the hour: as exact as the flows, and kept when those go."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import flows, judged, tally
from running import CITY, city_db, spawn
from sqlite_utils import Database

from egress_watch.model import Judged
from egress_watch.store import Store
from egress_watch.store.hours import HOUR_NS
from egress_watch.store.schema import _version_7

NOTHING = {"data": [], "rules": [], "version": "0"}
FROM_FLOWS = f"""
SELECT recording, max(0, first_ns + duration_ns) / {HOUR_NS}, device, vlan, place, count(*), sum(packets_out),
  sum(bytes_out), sum(packets_in), sum(bytes_in) FROM flow GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""


def both(path):
    """Return the stored sums, and the same made of the flows now."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        kept = db.execute("SELECT * FROM hour ORDER BY 1, 2, 3, 4, 5").fetchall()
        return kept, db.execute(FROM_FLOWS).fetchall()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(-(10**15), 10**19 // 2), max_size=20), min_size=1, max_size=4))
def test_hours_are_the_sums_of_the_flows(batches: list[list[int]]) -> None:
    """Whatever the times of flows and however they come in batches, each hour holds what its flows sum up to."""
    with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/a.db") as store:
        recording = store.record(zone="eea", as_of="", inputs={"a": "1"}, **NOTHING)
        for times in batches:
            moved = replace(flows(len(times)), first_ns=np.array(times, np.int64), last_ns=np.array(times, np.int64))
            like = judged(len(times))
            batch = Judged(moved, like.judgement, like.places, like.verdicts, like.zones)
            recording.write(batch, tally(len(times)))
        kept, found = both(f"{folder}/a.db")
        assert kept == found
        assert sum(row[5] for row in kept) == sum(map(len, batches))


def test_segments_have_their_hours(tmp_path: Path) -> None:
    """With an inventory the hours of a segment are the sums of its devices' flows."""
    path, listed = tmp_path / "a.db", tmp_path / "city.toml"
    listed.write_text('[[network]]\nprefix = "10.20.0.0/17"\nsegment = "north"\n')
    config = tmp_path / "conf.toml"
    config.write_text('inventory = "city.toml"\n')
    assert spawn("replay", CITY, "--db", path, "--config", config).returncode == 0
    by_segment = "SELECT segment, verdict, {} FROM {} WHERE segment IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
    of_hours = "segment_hour AS s JOIN asset ON asset.id = s.asset JOIN place ON place.id = s.place"
    with contextlib.closing(sqlite3.connect(path)) as db:
        kept = db.execute(by_segment.format("sum(flows), sum(bytes_out)", of_hours)).fetchall()
        assert kept == db.execute(by_segment.format("count(*), sum(bytes_out)", "flows")).fetchall() != []
        (all_of_them,) = db.execute("SELECT sum(flows) FROM segment_hour")
        assert all_of_them == db.execute("SELECT count(*) FROM flow").fetchone()


def test_the_city_has_its_hours(tmp_path: Path) -> None:
    """After a replay the view tells bytes by segment, country, owner and verdict, and they sum up to the flows'."""
    path = city_db(tmp_path)
    kept, found = both(path)
    assert kept == found
    assert len(kept) > 50
    with contextlib.closing(sqlite3.connect(path)) as db:
        by_verdict = "SELECT verdict, sum(bytes_out) FROM {} GROUP BY 1 ORDER BY 1"
        assert db.execute(by_verdict.format("hours")).fetchall() == db.execute(by_verdict.format("flows")).fetchall()


def test_hours_go_with_their_recording(tmp_path: Path) -> None:
    """A recording that is replaced takes its hours with it."""
    with Store(str(tmp_path / "a.db")) as store:
        recording = store.record(zone="eea", as_of="", inputs={"a": "1"}, **NOTHING)
        recording.write(judged(5), tally(5))
        assert both(tmp_path / "a.db")[0]
        store.remove(recording)
        assert both(tmp_path / "a.db") == ([], [])


def test_a_database_without_hours_gets_them(tmp_path: Path) -> None:
    """The step that brings the hours sums all flows that are there."""
    path = city_db(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("DROP VIEW hours")
        db.execute("DROP TABLE hour")
        db.execute("ALTER TABLE recording DROP COLUMN thinned_hour")
        _version_7(Database(db))
        db.commit()
    kept, found = both(path)
    assert kept
    assert kept == found
