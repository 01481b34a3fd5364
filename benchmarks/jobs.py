"""Is a second process faster? The same replay with --jobs 1 and --jobs 2, in turns.

In: a built capture, or any. Out: a table of medians. Never: one figure without its pair.

`python benchmarks/jobs.py --rounds 7 [FILE...]`. Beside wall time stands the processor time of the loop and of its
readers: on two free cores the replay takes about as long as the slower of the two, whatever else the machine does now.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

from build import SCRATCH, build, capture

LOOP = """
import resource, sys
from egress_watch.cli import main
code = main(sys.argv[1:])
spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(*(one.ru_utime + one.ru_stime for one in spent), file=sys.stderr)
sys.exit(code)
"""


class Run(NamedTuple):
    """One replay."""

    wall_s: float
    loop_s: float
    """Processor seconds of the process that holds the loop."""
    readers_s: float


def replay(paths: list[str], jobs: int, folder: Path) -> Run:
    """Replay the files into a fresh database."""
    db = folder / f"{jobs}.db"
    for old in folder.glob("*.db*"):
        old.unlink()
    command = [sys.executable, "-c", LOOP, "replay", *paths, "--db", str(db), "--jobs", str(jobs), "--json"]
    begin_s = perf_counter()
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    loop_s, readers_s = map(float, done.stderr.split()[-2:])
    return Run(perf_counter() - begin_s, loop_s, readers_s)


def _built(packets: int) -> Path:
    path = capture(packets)
    if not path.exists():
        build(path, packets)
    return path


def main() -> None:
    """Run in turns and print medians and the ratio of the pairs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("paths", metavar="FILE", nargs="*", help="captures; default: the built one")
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    paths = options.paths or [str(_built(options.packets))]
    runs: dict[int, list[Run]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory(dir=SCRATCH) as name:
        for turn in range(options.rounds):
            for jobs in (1, 2) if turn % 2 else (2, 1):
                runs[jobs].append(replay(paths, jobs, Path(name)))
    for jobs, found in runs.items():
        told = (f"{what} {median(getattr(run, what) for run in found):.2f}" for what in Run._fields)
        print(f"--jobs {jobs}: {', '.join(told)}")
    ratios = [two.wall_s / one.wall_s for one, two in zip(runs[1], runs[2], strict=True)]
    told = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"wall, --jobs 2 to --jobs 1 in pairs: {told}; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
