"""How a database stands: who records it, what was lost lately, what was checked and found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest
from judging import START_S, judged, tally
from running import ROOT, environment

from egress_watch.cli.findings import BAD, GOOD, ODD, of_standing
from egress_watch.errors import UsageError
from egress_watch.model import Happening, Health
from egress_watch.store import Store
from egress_watch.store.integrity import BROKEN, SOUND
from egress_watch.store.lasting import DATABASE
from egress_watch.store.retention import Limits
from egress_watch.store.standing import KILLED, MINUTE_NS, standing

NOTHING = {"zone": "eea", "as_of": "", "data": [], "rules": [], "version": "0", "inputs": {"mon0": "live 1"}}
MINUTE = START_S * 10**9 // MINUTE_NS * MINUTE_NS
RECORDER = """
import sys, time
from judging import START_S, judged, tally
from egress_watch.store import Store
from egress_watch.store.retention import Limits
store = Store(sys.argv[1])
of = {"zone": "eea", "as_of": "", "data": [], "rules": [], "version": "0", "inputs": {"mon0": "live 1"}}
recording = store.record(**of, limits=Limits())
recording.write(judged(100), tally(100))
print("ready", flush=True)
time.sleep(60)
"""


def recorded(path: Path, *minutes: Health, happened: tuple[str, ...] = (), unstored: int = 0) -> Path:
    """Make a database that this process records into, with such minutes."""
    with Store(str(path)) as store:
        recording, counts = store.record(limits=Limits(), **NOTHING), tally(100)
        counts.unstored = unstored
        recording.write(judged(100), counts)
        recording.beat(
            counts, minutes, [Happening(START_S * 10**9 + n, DATABASE, what) for n, what in enumerate(happened)]
        )
        recording._folding.close()
    return path


def states(path: Path, about: str) -> list[str]:
    """Return the states of the findings about something."""
    return [one.state for one in of_standing(standing(str(path)), 0) if one.about == about]


def test_a_running_recorder_is_told_from_one_that_was_killed(tmp_path: Path) -> None:
    """While its process lives it records; after kill -9 it stopped without ending, and that is trouble."""
    path = tmp_path / "a.db"
    env = environment(PYTHONPATH=f"{ROOT}:{ROOT / 'tests'}")
    words = [sys.executable, "-c", RECORDER, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=env) as recorder:
        assert recorder.stdout
        assert recorder.stdout.readline() == b"ready\n"
        row = standing(str(path))["recordings"][0]
        assert (row["state"], row["pid"]) == ("running", recorder.pid)
        assert states(path, "recording") == [GOOD]
        recorder.send_signal(signal.SIGKILL)
    row = standing(str(path))["recordings"][0]
    assert (row["state"], row["pid"], row["flows"]) == (KILLED, 0, 100)
    assert states(path, "recording") == [BAD]


def test_a_recorder_that_writes_nothing_is_in_trouble(tmp_path: Path) -> None:
    """Its process lives, but the file was last written long ago."""
    path = recorded(tmp_path / "a.db")
    long_ago = time.time() - 3600
    for one in tmp_path.iterdir():
        os.utime(one, (long_ago, long_ago))
    assert states(path, "recording") == [BAD]


def test_what_was_lost_lately_is_summed_by_interface(tmp_path: Path) -> None:
    """Of 20 minutes the last 15 count, and for the rate the last 5; a loss is trouble, what came in broken is odd."""
    minutes = [Health(MINUTE + n * MINUTE_NS, "mon0", 100, 6_000, n, 1, 2, 0, n * 10**6) for n in range(20)]
    path = recorded(tmp_path / "a.db", *minutes, Health(MINUTE + 19 * MINUTE_NS, "mon1", 7, 420, 0, 0, 0, 3, 5))
    told = standing(str(path))
    lossy, whole = told["interfaces"]
    assert (lossy["frames"], lossy["lost"], lossy["overruns"], lossy["dropped"]) == (1500, sum(range(5, 20)), 15, 30)
    assert (lossy["lag_ns"], lossy["minutes"], told["rates"][0]["frames"]) == (19 * 10**6, 15, 500)
    assert (whole["interface"], whole["frames"], whole["errors"]) == ("mon1", 7, 3)
    assert states(path, "frames") == [BAD, GOOD, ODD]


def test_what_found_no_room_and_what_a_check_found_is_told(tmp_path: Path) -> None:
    """Flows that were not stored and a file that is damaged are trouble; the newest check counts."""
    sound = recorded(tmp_path / "a.db", happened=(f"{BROKEN}row 7 missing", SOUND))
    assert (states(sound, "disk"), states(sound, "database")) == ([GOOD], [GOOD])
    broken = recorded(tmp_path / "b.db", happened=(SOUND, f"{BROKEN}row 7 missing"), unstored=5)
    assert (states(broken, "disk"), states(broken, "database")) == ([GOOD, BAD], [BAD])
    assert [one.state for one in of_standing(standing(str(sound)), 1 << 62) if one.about == "disk"] == [BAD]


def test_a_sink_that_is_down_is_trouble(tmp_path: Path) -> None:
    """A sink with failures and alerts that wait is told with its error."""
    path = recorded(tmp_path / "a.db")
    with closing(connect(path)) as db:
        db.execute("""INSERT INTO sink(name, target, promise, records, failures, error, alerts_done, flows_done)
          VALUES ('siem', 'relp://a:1', 'at least once', 'flows', 3, 'refused', 0, 0)""")
        db.commit()
    found = [one for one in of_standing(standing(str(path)), 0) if one.about == "sink"]
    assert [one.state for one in found] == [BAD]
    assert "refused" in found[0].remedy
    assert "100 records wait" in found[0].what


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Nothing is made by looking."""
    with pytest.raises(UsageError):
        standing(str(tmp_path / "none.db"))
    assert list(tmp_path.iterdir()) == []
