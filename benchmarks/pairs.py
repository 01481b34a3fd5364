"""Compare two checkouts stage by stage, in pairs, to tell a faster program from a quieter machine.

In: two folders that hold `egress_watch`. Out: the median ratio of each stage with its quartiles. Never: a best-of.

`python benchmarks/pairs.py BEFORE AFTER --pairs 12`. Each pair is two fresh processes, in alternating order. Processor
time, not wall time. Look at stages that the change does not touch first: their ratios show what noise looks like here.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median, quantiles

from build import MIXED, add_calls, build, capture

PASS = """
import json, sys, tempfile, time
from pathlib import Path
import stages
stages.perf_counter_ns = time.process_time_ns
with tempfile.TemporaryDirectory(dir=stages.SCRATCH) as folder:
    print(json.dumps(stages.stages_once(Path(sys.argv[1]), Path(folder)).clock.spent_ns))
"""


def once(tree: Path, capture: Path) -> dict[str, int]:
    """Return the processor time of each stage in ns, and of all together, of one pass with this checkout's code."""
    folders = os.pathsep.join((str(tree.resolve()), str(Path(__file__).parent)))
    command = [sys.executable, "-c", PASS, str(capture)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": folders}, cwd=tree, check=True, capture_output=True)
    spent_ns: dict[str, int] = json.loads(done.stdout)
    return spent_ns | {"together": sum(spent_ns.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=12)
    add_calls(parser, MIXED)
    options = parser.parse_args()
    path = capture(options.packets, options.abroad, hard=options.hard)
    build(path, options.packets, abroad=options.abroad, hard=options.hard)
    runs: dict[Path, list[dict[str, int]]] = {options.before: [], options.after: []}
    for number in range(options.pairs):
        for tree in list(runs)[:: 1 if number % 2 else -1]:
            runs[tree].append(once(tree, path))
    print(f"{'stage':<16}{'before ms':>10}{'after ms':>10}{'ratio':>8}{'quartiles':>14}{'faster':>12}")
    for stage in runs[options.before][0]:
        before, after = ([run[stage] for run in runs[tree]] for tree in (options.before, options.after))
        ratios = [new / old for old, new in zip(before, after, strict=True)]
        low, _, high = quantiles(ratios, n=4)
        print(
            f"{stage:<16}{median(before) / 1e6:>10.0f}{median(after) / 1e6:>10.0f}{median(ratios):>8.2f}"
            f"{low:>8.2f}{high:>6.2f}{sum(ratio < 1 for ratio in ratios):>6} of {options.pairs}"
        )


if __name__ == "__main__":
    main()
