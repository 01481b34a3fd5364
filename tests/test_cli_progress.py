"""Progress is for a person who watches: how much, how fast, how long still, which file; and for nobody else."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest
from running import CITY, command, environment, many_cities, run, spawn

from egress_watch.cli.progress import at, said
from egress_watch.model import Tally
from egress_watch.sources import open_inputs


def watched(*arguments) -> str:
    """Return what the program shows on a terminal of 160 columns, without its colours."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        size = environment(COLUMNS="160", TERM="xterm")
        process = subprocess.Popen(command(*arguments), stderr=theirs, stdout=subprocess.DEVNULL, env=size)
        os.close(theirs)
        shown = b""
        while piece := _read(screen):
            shown += piece
        assert process.wait(60) == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())


def _read(screen) -> bytes:
    try:
        return screen.read(4096)
    except OSError:  # the other end of a terminal is closed
        return b""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two captures, one of them with a name that looks like markup."""
    folder = tmp_path_factory.mktemp("two")
    return [many_cities(folder / "b.pcap", 3), many_cities(folder / "[red]a.pcap", 2)]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_person_sees_how_far_the_work_is(tmp_path, two, jobs):
    """Bytes of all, packets, their rate, flows, the time left, and the file with its number; names are no markup."""
    shown = watched("replay", *two, "--db", tmp_path / "a.db", "--jobs", jobs)
    assert re.search(r"[0-9.]+/[0-9.]+ MB", shown)
    assert re.search(r"17,135 packets, [0-9,]+/s, 1,[0-9]+ flows", shown)
    assert re.search(r"[0-9-]+:[0-9-]+", shown)
    assert re.search(r"\[red\]a\.pcap \(2 of 2\)", shown)


def test_quiet_is_quiet(tmp_path, two):
    """With --quiet a terminal stays empty."""
    assert watched("replay", *two, "--db", tmp_path / "a.db", "--quiet") == ""


def test_nobody_watches_a_pipe(tmp_path):
    """Where standard error is a pipe there is no word of progress."""
    assert spawn("replay", CITY, "--db", tmp_path / "a.db").stderr == b""


def test_the_words_of_progress():
    """Counters have their rate once time has passed; a single file has no number, and hostile names are escaped."""
    tally = Tally(packets=12_000, flows=7)
    assert said(tally, 0) == "12,000 packets, 7 flows"
    assert said(tally, 2.0) == "12,000 packets, 6,000/s, 7 flows"
    inputs = open_inputs([str(CITY)])
    assert at(inputs, str(CITY)) == "city.pcapng"
    assert at(inputs, "-") == "standard input"
    assert at(inputs, "folder/\x1b[2Jevil") == "\\x1b[2Jevil"


def test_the_words_after_a_second_ctrl_c(capsys, tmp_path, monkeypatch):
    """Stopped at once, the program says that what was committed stays and that the same command records it anew."""

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("egress_watch.cli.job.watch", stopped)
    code, _, err = run(capsys, "replay", CITY, "--db", tmp_path / "a.db")
    assert code == 130
    assert err == "\negress-watch: stopped; what was committed stays, and the same command begins anew\n"
