"""`egress-watch forward` beside a recorder, in a process of its own, for as long as the recorder runs.

In: a database and settings. Out: a process, and what to say when it ended. Never: one that outlives the recorder,
whatever ends that, or a recorder that waits for it.

It begins when the recorder has given up its rights, so it has none either, and is its user. It leaves when its standard
input ends, which a kill of the recorder does too.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Self

from egress_watch.forward.pause import pause_s

LEAVE_S = 20.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 300.0
STEADY_S = 600.0
"""One that ran for so long was no failure at its start."""


class Beside:
    """A forwarder that is started, and started again where it ends by itself."""

    def __init__(self, path: str, config: str) -> None:
        self._command = [sys.executable, "-m", "egress_watch", "forward", path, "--config", config, "--until-eof"]
        self._child: subprocess.Popen[bytes] | None = None
        self._ended, self._begun_s, self._due_s = 0, 0.0, 0.0

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._child:
            self._leave(self._child)

    @property
    def pid(self) -> int:
        """Number of its process, 0 where none runs."""
        return self._child.pid if self._child and self._child.poll() is None else 0

    def look(self) -> str:
        """Start it again where it ended and the pause is over; return what there is to say, "" for nothing."""
        now_s = time.monotonic()
        if self._child is None:
            if now_s >= self._due_s:
                self._start()
            return ""
        code = self._child.poll()
        if code is None:
            return ""
        self._leave(self._child)
        self._child = None
        self._ended = 1 if now_s - self._begun_s > STEADY_S else self._ended + 1
        wait_s = pause_s(self._ended, FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._due_s = now_s + wait_s
        return f"the forwarder ended with {code}; alerts wait in the database, it starts again in {wait_s:.0f} s"

    def _start(self) -> None:
        self._begun_s = time.monotonic()
        self._child = subprocess.Popen(self._command, stdin=subprocess.PIPE)  # noqa: S603 - ourselves

    @staticmethod
    def _leave(child: subprocess.Popen[bytes]) -> None:
        assert child.stdin
        child.stdin.close()
        try:
            child.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
