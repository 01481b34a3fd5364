"""`status`: a line for each thing that was looked at, a remedy for what is wrong, and an exit code for monitors."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from running import CITY, command, environment, run
from test_store_standing import MINUTE, recorded

from egress_watch.model import Health
from egress_watch.store.recording import writer


def test_a_recording_that_runs_well_is_no_trouble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, rate and lateness by interface, and no remedy but for the age of data."""
    path = recorded(tmp_path / "a.db", Health(MINUTE, "mon0", 600, 75_000, 0, 0, 0, 0, 7 * 10**6))
    code, out, _ = run(capsys, "status", path)
    assert code == 0
    assert "recording 1: running" in out
    assert "mon0: 10 frames and 0.0 Mbit a second over 1 minutes, read at most 7 ms late" in out
    assert "mon0: 0 of 600 frames lost" in out


def test_trouble_has_a_remedy_and_an_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Losses end with what to do, as text and as JSON, and the exit code is 1."""
    path = recorded(tmp_path / "a.db", Health(MINUTE, "mon0", 90, 900, 10, 0, 0, 0, 0))
    code, out, _ = run(capsys, "status", path)
    assert (code, "10 of 100 frames lost" in out, "  try: raise watch.ring_bytes" in out) == (1, True, True)
    code, out, _ = run(capsys, "status", path, "--json")
    told = json.loads(out)
    assert code == 1
    bad = [one for one in told["findings"] if one["state"] == "trouble"]
    assert [one["about"] for one in bad] == ["frames"]
    assert all(one["remedy"] for one in bad)


def test_nobody_records_a_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A finished replay is a warning, not trouble: the exit code stays 0."""
    path = tmp_path / "city.db"
    subprocess.run(command("replay", CITY, "--db", path, "--quiet"), check=True, env=environment(), capture_output=True)
    code, out, _ = run(capsys, "status", path)
    assert (code, "nobody records here" in out, "recording 1: finished" in out) == (0, True, True)


def test_a_sink_says_what_waits_and_what_will_not_come(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is down is trouble with its reason; what it refused, or what was dropped for it, is counted."""
    path = recorded(tmp_path / "a.db", Health(MINUTE, "mon0", 600, 75_000, 0, 0, 0, 0, 7 * 10**6))
    with closing(sqlite3.connect(path)) as db, db:
        columns = "name, records, forwarder, alerts_done, flows_done, refused, dropped_flows, failures, error"
        values = "'siem', 'alerts', ?, 0, 0, 7, 1000, 2, 'Connection refused'"
        db.execute(f"INSERT INTO sink({columns}) VALUES ({values})", (writer(os.getpid()),))
    code, out, _ = run(capsys, "status", path)
    assert code == 1
    assert "✗ sink       siem: down, 0 records wait, 7 refused, 1,000 dropped\n  try: Connection refused; see" in out


def test_what_interfaces_are_called_cannot_write_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name with control characters comes out harmless."""
    path = recorded(tmp_path / "a.db", Health(MINUTE, "mon\x1b[2J0", 1, 1, 0, 0, 0, 0, 0))
    assert "\x1b" not in run(capsys, "status", path)[1]
