"""Processor time of the terminal UI: while nothing changes, and beside a recorder that writes 5,000 flows a second.

In: a database to look at (it is not changed). Out: a share of one core for each. Never: a figure by the wall clock:
the kernel's own count of the process is read, so that other work on the machine does not matter.

    python benchmarks/idle.py city.db
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

SECONDS = 20
FLOWS_A_SECOND = 5_000
SOCKET = f"egress-watch-idle-{os.getpid()}"
SCREENS = (("1", "overview"), ("3", "devices"), ("6", "flows"))


def tmux(*words: str) -> str:
    """Run a command of tmux, on a server of its own, and return what it says."""
    return subprocess.run(["tmux", "-L", SOCKET, *words], check=True, capture_output=True, text=True).stdout


def used_s(pid: int) -> float:
    """Return the processor time a process has used (proc_pid_stat(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def write(path: str, seconds: int) -> None:
    """Write flows at that rate, a batch a second."""
    from judging import judged, tally

    from egress_watch.store import Store

    with Store(path) as store:
        recording = store.record(zone="eea", as_of="2026-11-01", data=[], rules=[], version="0", inputs={"a": "1"})
        begun = time.monotonic()
        for second in range(seconds):
            some = judged(FLOWS_A_SECOND, time.time())
            recording.write(some, replace(tally((second + 1) * FLOWS_A_SECOND), last_ns=time.time_ns()))
            time.sleep(max(0.0, begun + second + 1 - time.monotonic()))


def watched(path: str, what: str) -> None:
    """Open a database in a terminal and print what each screen takes."""
    screen = f"exec {sys.executable} -m egress_watch tui {path}"
    tmux("-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", screen)
    try:
        pid = int(tmux("list-panes", "-F", "#{pane_pid}"))
        time.sleep(8)
        for key, name in SCREENS:
            tmux("send-keys", key)
            time.sleep(3)
            before = used_s(pid)
            time.sleep(SECONDS)
            print(f"{what}, {name}: {(used_s(pid) - before) / SECONDS:.1%} of a core", flush=True)
    finally:
        subprocess.run(["tmux", "-L", SOCKET, "kill-server"], check=False, capture_output=True)


def main(path: str) -> None:
    """Measure both."""
    if len(sys.argv) > 2:
        write(path, int(sys.argv[2]))
        return
    watched(path, "nothing changes")
    with tempfile.TemporaryDirectory() as folder:
        grown = str(Path(folder) / "grown.db")
        lasts = str(len(SCREENS) * (SECONDS + 3) + 20)
        with subprocess.Popen([sys.executable, __file__, grown, lasts]) as writer:
            time.sleep(4)
            watched(grown, f"{FLOWS_A_SECOND:,} flows a second")
            writer.terminate()


if __name__ == "__main__":
    main(sys.argv[1])
