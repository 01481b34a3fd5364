"""How time, memory and the database grow with packets and with flows.

In: captures it builds and removes again. Out: a table, a row a capture.
Never: a peer's figure beside ours from another file or another minute.

`python benchmarks/growth.py` takes up to 8 GB of disk and about half an hour; `--packets 100000 1000000` and
`--flows 1000 100000` choose other steps. Everything runs on one core, the page cache is warm.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from build import PACKETS_PER_FLOW, SCRATCH, Totals, build
from processes import Run, peers, replay, timed

PACKETS = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000, 20_000_000)
FLOWS = (1_000, 10_000, 100_000, 500_000, 2_000_000)
PACKETS_FOR_FLOWS = 14_000_000
"""Packets of every capture whose flows vary: seven for each of the most flows."""
BESIDE = "nfpcapd"


class Step(NamedTuple):
    """One capture and what it took."""

    totals: Totals
    ours: Run
    beside: Run | None
    db_bytes: int


def step(path: Path, packets: int, flows: int, rounds: int) -> Step:
    """Build a capture, read it with us and with the peer in turns, and remove it."""
    totals = build(path, packets, flows_wanted=flows)
    runs: dict[str, list[Run]] = {}
    try:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(dir=SCRATCH) as name:
                folder = Path(name)
                for program in (replay(path, folder), *(peer for peer in peers(path, folder) if peer.name == BESIDE)):
                    runs.setdefault(program.name, []).append(timed(program))
                db_bytes = (folder / "whole.db").stat().st_size
    finally:
        path.unlink()
    return Step(totals, _middle(runs["egress-watch replay"]), _middle(runs.get(BESIDE, [])), db_bytes)


def _middle(runs: list[Run]) -> Run | None:
    """Return the medians of several runs; the worst exit code."""
    if not runs:
        return None
    wall_s, cpu_s, peak_mb = (median(getattr(run, what) for run in runs) for what in Run._fields[:3])
    return Run(wall_s, cpu_s, peak_mb, max(run.exit_code for run in runs))


def rows(wanted: list[tuple[int, int]], rounds: int) -> Iterator[str]:
    """Yield a line of a table for each capture."""
    yield "| packets | flows | wall s | processor s | packets/s | peak MB | db MB | nfpcapd s | our speed to its |"
    yield "| ---: " * 9 + "|"
    for packets, flows in wanted:
        done = step(SCRATCH / "growth.pcap", packets, flows, rounds)
        ours, beside = done.ours, done.beside
        peer = f"{beside.wall_s:.2f} | {beside.wall_s / ours.wall_s:.2f}" if beside else "not installed | "
        failed = "" if ours.exit_code == 0 else f" exit {ours.exit_code}"
        yield (
            f"| {done.totals.packets:,} | {done.totals.flows:,} | {ours.wall_s:.2f}{failed} | {ours.cpu_s:.2f} "
            f"| {done.totals.packets / ours.wall_s:,.0f} | {ours.peak_mb:.0f} | {done.db_bytes / 1e6:.1f} | {peer} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--packets", type=int, nargs="*", default=PACKETS, help="captures of so many packets")
    parser.add_argument("--flows", type=int, nargs="*", default=FLOWS, help="captures of so many flows")
    parser.add_argument("--of", type=int, default=PACKETS_FOR_FLOWS, help="packets of those captures")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # children inherit it
    SCRATCH.mkdir(exist_ok=True)
    by_packets = [(packets, packets // PACKETS_PER_FLOW) for packets in options.packets]
    for line in rows(by_packets + [(options.of, flows) for flows in options.flows], options.rounds):
        print(line, flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
