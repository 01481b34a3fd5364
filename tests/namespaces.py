"""Two network name spaces with a cable between them: real interfaces, a real kernel, nothing of this machine's own.

The watched end is ``mon0`` in one, the other end ``gen0``, from which tcpreplay sends, in the other. Neither has an
address, answers ARP or speaks IPv6, so whatever arrives at the far end, the program sent.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from running import STRICT, command, environment

TOOLS = ("ip", "tcpreplay", "tcpdump", "ethtool", "strace")
MTU = 9000
needs_namespaces = pytest.mark.skipif(
    not STRICT and (os.geteuid() != 0 or not all(map(shutil.which, TOOLS))),
    reason=f"network name spaces need root and {', '.join(TOOLS)}",
)
LATE_S = 90.0


class Pair(NamedTuple):
    """The names of both spaces."""

    watched: str
    far: str

    def inside(self, *words: str, far: bool = False) -> list[str]:
        """Return a command line that runs in one of the spaces."""
        return ["ip", "netns", "exec", self.far if far else self.watched, *words]

    def run(self, *words: str, far: bool = False) -> str:
        """Run a command in one of the spaces to its end and return what it printed."""
        done = subprocess.run(self.inside(*words, far=far), capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def send(self, path: Path, *options: str) -> None:
        """Send a capture from the far end, at top speed."""
        self.run("tcpreplay", "-q", "-t", "-i", "gen0", *options, str(path), far=True)

    def connect(self, watched: str = "mon0", far: str = "gen0") -> None:
        """Lay a cable and bring both ends up, silent."""
        _ip("link", "add", watched, "mtu", str(MTU), "netns", self.watched, "type", "veth", "peer", "name", far,
            "mtu", str(MTU), "netns", self.far)  # fmt: skip
        for name, there in ((watched, False), (far, True)):
            self.run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1", far=there)
            self.run("ip", "link", "set", name, "arp", "off", "up", far=there)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def connected() -> Iterator[Pair]:
    """Yield two spaces with a cable, and take them away."""
    pair = Pair(f"ew-watched-{os.getpid()}", f"ew-far-{os.getpid()}")
    for name in pair:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        _ip("netns", "add", name)
    try:
        pair.connect()
        yield pair
    finally:
        for name in pair:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def until(true: Callable[[], object], what: str) -> None:
    """Wait until something holds; a test that waits in vain says for what."""
    end_s = time.monotonic() + LATE_S
    while not true():
        assert time.monotonic() < end_s, f"waited in vain for {what}"
        time.sleep(0.02)


_running: list[subprocess.Popen] = []


def started(words: list[str]) -> subprocess.Popen:
    """Start a program that a test ends; `end_all` ends it where the test does not come to that."""
    program = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=environment(NO_COLOR="1"))  # fmt: skip
    _running.append(program)
    return program


def end_all() -> None:
    """End the programs that still run, and close what they were heard through."""
    while _running:
        program = _running.pop()
        if program.poll() is None:
            program.terminate()
        program.communicate()


def rows_of(db: Path, query: str) -> list[tuple]:
    """Return what a database says; nothing while it, or the table, is not there."""
    try:
        with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []


class Watching:
    """A run of ``egress-watch watch`` in the watched space."""

    def __init__(self, pair: Pair, db: Path, *arguments: object, before: tuple[str, ...] = ()) -> None:
        words = command("watch", "--db", db, *map(str, arguments))
        self.db, self._pair = db, pair
        self.process = started(pair.inside(*before, *words))
        until(self._listens, "the recording to begin")

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()
        return self.sql("SELECT count(*) FROM health") not in ([], [(0,)])

    def sql(self, query: str) -> list[tuple]:
        """Return what the database says, as another process sees it; nothing while there is none."""
        return rows_of(self.db, query)

    def saw(self, frames: int) -> None:
        """Wait until so many frames are told in the database."""
        until(lambda: (self.sql("SELECT max(frames) FROM recording") or [(0,)])[0][0] >= frames, f"{frames} frames")

    def end(self, how: int) -> tuple[int, str, str]:
        """Send a signal and return exit code, standard output and standard error."""
        own = self.sql("SELECT writer FROM recording WHERE state = 'running'")
        os.kill(int(own[0][0].partition(":")[0]) if own else self.process.pid, how)
        out, err = self.process.communicate(timeout=60)
        assert "Traceback" not in err, err
        return self.process.returncode, out, err


NEW_MOUNTS, NEW_NETWORK = 0x20000, 0x40000000
"""CLONE_NEWNS and CLONE_NEWNET of linux/sched.h."""


@contextmanager
def entered(pair: Pair) -> Iterator[None]:
    """Be in the watched space, with its /sys, and come back; the mounts of this process are its own from then on."""
    libc = ctypes.CDLL(None, use_errno=True)
    watched = Path("/run/netns") / pair.watched
    with Path("/proc/self/ns/net").open("rb") as home, watched.open("rb") as there:
        assert libc.unshare(NEW_MOUNTS) == 0
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        assert libc.setns(there.fileno(), NEW_NETWORK) == 0
        subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "/sys"], check=True)
            assert libc.setns(home.fileno(), NEW_NETWORK) == 0
