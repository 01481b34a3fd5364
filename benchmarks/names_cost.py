"""What names cost a replay: the whole program with them and without, in pairs.

In: a number of packets and pairs. Out: the processor time of both, and the share that names take, with its quartiles.
Never: wall time, or a pair of which one half ran at another hour.

`python benchmarks/names_cost.py --pairs 8`. Each pair is two fresh processes of `replay`, in alternating order. Without
names means that nothing is heard and no flow gets a name. What names change further on (a place for each name, what
rules say) is in the share as well; what a process spends within `Names` alone is told beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles

from build import MIXED, SCRATCH, add_calls, build, capture

WITH, WITHOUT = "with", "without"
PROGRAM = """
import resource, sys, time
from egress_watch.cli import main
from egress_watch.names import Names
spent_ns = 0
def timed(method):
    def call(self, rows):
        global spent_ns
        begin = time.process_time_ns()
        try:
            return method(self, rows)
        finally:
            spent_ns += time.process_time_ns() - begin
    return call
if sys.argv[1] == "without":
    Names.hear, Names.name = (lambda self, packets: None), (lambda self, flows: flows)
else:
    Names.hear, Names.name = timed(Names.hear), timed(Names.name)
code = main(["replay", sys.argv[2], "--db", sys.argv[3], "--json", "--quiet"])
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, spent_ns / 1e9, file=sys.stderr)
sys.exit(code)
"""


def once(which: str, path: Path) -> tuple[float, float]:
    """Return the processor time of one replay, and of its names, in seconds."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        command = [sys.executable, "-c", PROGRAM, which, str(path), str(Path(folder) / "cost.db")]
        done = subprocess.run(command, check=True, capture_output=True, env=os.environ, text=True)
    whole_s, names_s = map(float, done.stderr.splitlines()[-1].split())
    return whole_s, names_s


def main() -> None:
    """Measure and print."""
    command = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    command.add_argument("--packets", type=int, default=1_000_000)
    command.add_argument("--pairs", type=int, default=8)
    add_calls(command, MIXED)
    options = command.parse_args()
    path = capture(options.packets, options.abroad, hard=options.hard)
    build(path, options.packets, abroad=options.abroad, hard=options.hard)
    runs: dict[str, list[tuple[float, float]]] = {WITH: [], WITHOUT: []}
    for number in range(options.pairs):
        for which in list(runs)[:: 1 if number % 2 else -1]:
            runs[which].append(once(which, path))
    wholes = {which: [run[0] for run in found] for which, found in runs.items()}
    shares = {
        "fewer without": [1 - less / more for more, less in zip(wholes[WITH], wholes[WITHOUT], strict=True)],
        "within Names": [names / whole for whole, names in runs[WITH]],
    }
    load = os.getloadavg()[0]
    told: dict[str, object] = {which: round(median(times), 2) for which, times in wholes.items()}
    for name, rows in shares.items():
        low, middle, high = quantiles(rows, n=4)
        told[name] = f"{middle:.1%} ({low:.1%} to {high:.1%})"
    print(json.dumps({**told, "pairs": options.pairs, "packets": options.packets, "load": round(load, 1)}, indent=1))


if __name__ == "__main__":
    main()
