"""Run a program over a capture as a process of its own, and say what it took.

In: a capture. Out: wall time, processor time and peak memory. Never: a peer that is not installed, or its output kept.

To add a peer: a line in `peers`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple


class Program(NamedTuple):
    """A program and how to call it."""

    name: str
    command: Sequence[str]


class Run(NamedTuple):
    """What one run took."""

    wall_s: float
    cpu_s: float
    """User and system."""
    peak_mb: float
    """Not below the 10 MB or so of the Python that starts the program."""
    exit_code: int


def replay(path: Path, folder: Path) -> Program:
    """Return our own replay: flows, names, places, verdicts, rules and store, with its report."""
    command = [sys.executable, "-m", "egress_watch", "replay", str(path), "--db", str(folder / "whole.db"), "--json"]
    return Program("egress-watch replay", command)


def peers(path: Path, folder: Path) -> list[Program]:
    """Return the installed peers. None of them resolves a place, judges, or stores in a database.

    tcpdump only reads; softflowd (NetFlow to a port that nobody listens on), nfpcapd and argus make flows; ndpiReader
    and nfstream add names; tshark dissects everything.
    """
    capture, out = str(path), folder / "nf"
    out.mkdir(exist_ok=True)
    known = (
        Program("tcpdump -w /dev/null", ["tcpdump", "-r", capture, "-w", "/dev/null"]),
        Program("softflowd", ["softflowd", "-r", capture, "-v", "9", "-m", "1000000", "-n", "127.0.0.1:29995"]),
        Program("nfpcapd", ["nfpcapd", "-r", capture, "-w", str(out)]),
        Program("argus", ["argus", "-F", "/dev/null", "-X", "-r", capture, "-w", str(folder / "argus.out")]),
        Program("ndpiReader", ["ndpiReader", "-v", "0", "-i", capture]),
        Program("tshark -q -z conv,ip", ["tshark", "-n", "-q", "-z", "conv,ip", "-r", capture]),
    )
    return [peer for peer in known if shutil.which(peer.command[0])] + _nfstream(capture)


def _nfstream(capture: str) -> list[Program]:
    """Return nfstream, a library: one meter, flows and names, nothing written.

    NFSTREAM_PYTHON names the Python that has it: it brings pandas, which sqlite-utils loads wherever it is.
    """
    python = os.environ.get("NFSTREAM_PYTHON", "")
    flows = "import sys, nfstream; print(sum(1 for _ in nfstream.NFStreamer(sys.argv[1], n_meters=1)))"
    return [Program("nfstream", [python, "-c", flows, capture])] if python else []


def timed(program: Program) -> Run:
    """Run it to its end, started by a small process: memory peaks are inherited from whoever starts a program.

    Python keeps its bytecode, as an installed program has it, even where the environment forbids that.
    """
    command = [sys.executable, "-S", __file__, *program.command]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return Run(*json.loads(subprocess.run(command, check=True, capture_output=True, env=kept).stdout))


def _run(command: Sequence[str]) -> Run:
    begin = perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        wall_s = perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
    # ru_maxrss is in kilobytes on Linux (getrusage(2))
    return Run(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, process.returncode)


if __name__ == "__main__":
    print(json.dumps(_run(sys.argv[1:])))
