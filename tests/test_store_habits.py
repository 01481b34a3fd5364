"""What a device usually sends in an hour: learned by packet time, the same however flows were cut into batches."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import flows, tally
from test_store_hours import NOTHING, judged

from egress_watch.model import Judged
from egress_watch.store import Store
from egress_watch.store.habits import ENOUGH_HOURS, LEAST_BYTES, Habits

HOUR_NS = 3600 * 10**9
MB = 1_000_000
Sent = tuple[int, int, int]
"""Hour, device, bytes."""


def of(sent: list[Sent]) -> Judged:
    """Return flows to the outside that ended in these hours, of these devices with these bytes."""
    hours, devices, counts = (np.array(column, np.int64) for column in zip(*sent, strict=True))
    like, plain = judged(len(sent)), flows(len(sent))
    some = plain.device[:1].repeat(len(sent), axis=0)
    some[:, 1] += devices.astype(some.dtype)
    moved = replace(
        plain, first_ns=hours * HOUR_NS, last_ns=hours * HOUR_NS, bytes_out=counts, device=some,
        device_mac=np.zeros_like(plain.device_mac),
    )  # fmt: skip
    return Judged(moved, np.zeros_like(like.judgement), like.places, like.verdicts, like.zones)


def times(path: Path | str, *recordings: list[list[Sent]]) -> list[int | None]:
    """Return `habit_times` of all flows, in the order they were written, of recordings of batches."""
    with Store(str(path)) as store:
        for number, batches in enumerate(recordings):
            recording = store.record(zone="eea", as_of="", inputs={"a": f"{number}"}, **NOTHING)
            for batch in batches:
                recording.write(of(batch), tally(len(batch)))
            recording.finish(tally(1), {"a": f"{number}"})
    with contextlib.closing(sqlite3.connect(path)) as db:
        return [row[0] for row in db.execute("SELECT habit_times FROM flows ORDER BY id")]


def test_a_day_of_hours_is_learned_before_anything_counts(tmp_path: Path) -> None:
    """Only what comes after 24 hours with traffic has a number: so many whole times the peak, hour for hour."""
    learned = [(hour, 0, 2 * MB) for hour in range(ENOUGH_HOURS)]
    told = times(tmp_path / "a.db", [[*learned, (30, 0, 9 * MB), (30, 0, 2 * MB), (31, 0, MB)]])
    assert told == [None] * ENOUGH_HOURS + [4, 5, 0]


def test_next_to_nothing_is_no_habit_to_be_measured_by(tmp_path: Path) -> None:
    """A device that sends a few bytes an hour is measured by a megabyte."""
    told = times(tmp_path / "a.db", [[*((hour, 0, 10) for hour in range(ENOUGH_HOURS)), (30, 0, LEAST_BYTES * 3)]])
    assert told[-1] == 3


def test_a_backup_every_night_is_a_habit_and_one_in_a_quarter_is_none(tmp_path: Path) -> None:
    """A peak fades by a 128th an hour: a day later little is gone, a quarter later nearly all."""
    nights = [(hour, 0, 50 * MB if hour % 24 == 2 else MB) for hour in range(200)]
    told = times(tmp_path / "a.db", [nights])
    assert max(times for times in told if times is not None) == 1
    rare = [(0, 0, 500 * MB), *((hour, 0, MB) for hour in range(1, 2000)), (2000, 0, 500 * MB)]
    assert times(tmp_path / "b.db", [rare])[-1] > 100


def test_one_device_says_nothing_of_another(tmp_path: Path) -> None:
    """Each has hours of its own."""
    told = times(tmp_path / "a.db", [[*((hour, 0, MB) for hour in range(30)), (31, 1, 100 * MB)]])
    assert told[-1] is None


def test_the_next_recording_knows_the_habits_of_the_one_before(tmp_path: Path) -> None:
    """As far as they lie before it by packet time: an old capture read later does not know the future."""
    learned = [(hour, 0, MB) for hour in range(100, 100 + ENOUGH_HOURS)]
    assert times(tmp_path / "a.db", [learned], [[(200, 0, 7 * MB)]])[-1] == 7
    with contextlib.closing(sqlite3.connect(tmp_path / "b.db")):
        times(tmp_path / "b.db", [learned], [[(50, 0, 7 * MB)]])
    with contextlib.closing(sqlite3.connect(tmp_path / "b.db")) as db:
        assert db.execute("SELECT habit_times FROM flows WHERE bytes_out > 1000000").fetchall() == [(None,)]


SENT = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2), st.sampled_from((1, MB, 9 * MB))), min_size=1,
                max_size=150)  # fmt: skip


@given(SENT, st.lists(st.integers(1, 149), max_size=5), st.sampled_from((0, 1, 1000)))
@settings(max_examples=25, deadline=None)
def test_any_cutting_and_any_room_give_the_same_numbers(sent: list[Sent], cuts: list[int], room: int) -> None:
    """Law 3: in one batch, in several, and with no room to remember any device."""
    edges = sorted({0, *(cut for cut in cuts if cut < len(sent)), len(sent)})
    batches = [sent[start:stop] for start, stop in pairwise(edges)]
    with tempfile.TemporaryDirectory() as folder:
        whole = times(f"{folder}/a.db", [sent])
        defaults, Habits.__init__.__defaults__ = Habits.__init__.__defaults__, (room,)
        try:
            assert times(f"{folder}/b.db", batches) == whole
        finally:
            Habits.__init__.__defaults__ = defaults


def test_a_batch_that_is_rolled_back_was_never_learned(tmp_path: Path) -> None:
    """Where the transaction fails, the same flows written again count once."""
    learned = [(hour, 0, MB) for hour in range(ENOUGH_HOURS)]
    with Store(str(tmp_path / "a.db")) as store:
        recording = store.record(zone="eea", as_of="", inputs={"a": "1"}, **NOTHING)
        recording.write(of(learned), tally(1))
        habits = recording._rows._habits
        habits.times(of([(30, 0, 3 * MB)]), np.array([1]))
        habits.forget()
        assert habits.times(of([(30, 0, 3 * MB)]), np.array([1])).tolist() == [3]
