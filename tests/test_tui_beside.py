"""The screen beside a recorder: `replay --tui` in a real terminal, and where there is none."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from running import CITY, environment

from egress_watch.cli import main

LIMIT_S = 120.0


def test_a_replay_is_watched_and_reports_when_the_screen_is_left(tmp_path: Path) -> None:
    """In a terminal the screen shows what is recorded; q leaves it, and the replay's own report follows."""
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    command = [sys.executable, "-m", "egress_watch", "replay", str(CITY), "--db", str(tmp_path / "a.db"), "--tui"]
    with subprocess.Popen(
        command, stdin=inner, stdout=inner, stderr=inner, env=environment(TERM="xterm-256color"), start_new_session=True
    ) as program:
        os.close(inner)
        until(terminal, b"finished")
        os.write(terminal, b"q")
        said = until(terminal, b"By verdict")
        assert b"348 flows" in said
        until(terminal, b"")
        assert program.wait(LIMIT_S) == 0
    os.close(terminal)


def until(terminal: int, wanted: bytes) -> bytes:
    """Return what the terminal is sent up to some words, "" for its end; fails after a while."""
    said, deadline = b"", time.monotonic() + LIMIT_S
    while not wanted or wanted not in said:
        assert time.monotonic() < deadline, said[-2000:]
        try:
            some = os.read(terminal, 65_536)
        except OSError:  # Linux says so when the other end is closed
            some = b""
        if not some:
            assert not wanted, said[-2000:]
            break
        said += some
    return said


@pytest.mark.parametrize(("path", "words"), [(str(CITY), "needs a terminal"), ("-", "standard input")])
def test_without_a_terminal_nothing_is_recorded(
    path: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is nothing to draw on, or no keyboard, the command says so and leaves no database."""
    assert main(["replay", path, "--db", str(tmp_path / "a.db"), "--tui"]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "a.db").exists()
