"""A recorder that is killed while the rules look at a batch, and what the next run makes of it."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from running import CITY, ROOT, content, environment, sound, spawn

KILLED_IN = """
import os, signal, sys
from importlib import import_module
from egress_watch import watch
from egress_watch.cli import main
watch.TOGETHER = 40
room, owner, name, calls = sys.argv[1:5]
owner = getattr(import_module(room), owner)
whole, left = getattr(owner, name), [int(calls)]
def once_more(*given, **named):
    found = whole(*given, **named)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
setattr(owner, name, once_more)
main(["replay", sys.argv[5], "--config", sys.argv[6], "--db", sys.argv[7], "--quiet"])
"""
"""The real program, with a real SIGKILL to itself once it has come so far; 40 flows are a batch."""
SETTINGS = ROOT / "captures" / "city.conf.toml"


def replayed(db: Path, *killed: object) -> subprocess.CompletedProcess[bytes]:
    """Replay the city in batches of 40 flows, killed somewhere or not."""
    where = killed or ("egress_watch.store.batch", "Batch", "matching", 10**6)
    command = [sys.executable, "-c", KILLED_IN, *map(str, (*where, CITY, SETTINGS, db))]
    return subprocess.run(command, env=environment(), capture_output=True, timeout=120, check=False)


def counts(db: Path) -> tuple[int, int, int, str]:
    """Return flows, flows that the rules are done with, alerts and the state of the one recording."""
    with contextlib.closing(sqlite3.connect(db)) as connection:
        (found,) = connection.execute("""SELECT (SELECT count(*) FROM flow),
          (SELECT count(*) FROM flow WHERE id <= rules_done), (SELECT count(*) FROM alert), state FROM recording""")
    return found


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the database of a run that nobody killed."""
    db = tmp_path_factory.mktemp("clean") / "a.db"
    done = replayed(db)
    assert done.returncode == 0, done.stderr
    return db


@pytest.mark.parametrize(
    ("where", "flows", "judged_by_rules"),
    [
        (("egress_watch.store.batch", "Batch", "matching", 3), 120, 80),
        (("egress_watch.store.rollup", "Rollup", "counted", 20), None, None),
        (("egress_watch.store.episodes", "Episodes", "add", 3), 120, 80),
        (("egress_watch.store.recording", "Recording", "alert", 3), 120, 120),
    ],
    ids=["rules have looked", "a rule has counted", "alerts are written, not committed", "alerts are committed"],
)
def test_a_kill_while_rules_run_leaves_whole_batches_and_the_next_run_is_as_if_nothing_was(
    tmp_path: Path, clean: Path, where: tuple[object, ...], flows: int | None, judged_by_rules: int | None
) -> None:
    """The flows are there, the alerts of the batch all or none; the same command then gives what a clean run gave."""
    db = tmp_path / "a.db"
    assert replayed(db, *where).returncode == -signal.SIGKILL
    assert sound(db)
    held, done, _, state = counts(db)
    assert state == "running"
    assert held % 40 == 0
    assert done in (held - 40, held)
    if flows:
        assert (held, done) == (flows, judged_by_rules)
    assert replayed(db).returncode == 0
    assert content(db) == content(clean)
    assert counts(db) == counts(clean)


def test_the_program_itself_takes_up_what_a_kill_left(tmp_path: Path, clean: Path) -> None:
    """Run as a user runs it, the next replay replaces what was left, and a third one has nothing to do."""
    db = tmp_path / "a.db"
    replayed(db, "egress_watch.store.batch", "Batch", "matching", 2)
    for _ in range(2):
        assert spawn("replay", CITY, "--config", SETTINGS, "--db", db, "--quiet").returncode == 0
        assert counts(db)[0] == counts(clean)[0]
        assert counts(db)[2:] == counts(clean)[2:]
