"""Time every stage of the pipeline, the whole replay as a process, and whichever peers are installed.

In: a built capture. Out: a table, or JSON. Never: a figure from another day; all are taken in turns, in the same run.

`make bench`, or `python benchmarks/stages.py --packets 1000000 --rounds 3 --json`; `--no-fast` leaves the work on
packets to NumPy. Everything runs on one core, the page cache is warm, and each figure is the median of the rounds.
Beside wall time stands what the process itself used (user and system): where the two differ much, something else was
running.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from time import perf_counter_ns, process_time_ns
from typing import Any, NamedTuple

import numpy as np
from build import CASES, MIXED, SCRATCH, Totals, add_calls, build, capture
from processes import Run, peers, replay, timed

from egress_watch import decode as decoding
from egress_watch import fast, library, watch
from egress_watch.config import Config
from egress_watch.decode import decode
from egress_watch.fast.library import SWITCH
from egress_watch.model import Frames, Tally
from egress_watch.sources import open_inputs
from egress_watch.store import Store

BY_PACKET = ("read", "decode", "duplicates.once", "names.hear", "devices.hear", "flows.update")
BY_FLOW = ("flows.flush", "names.name", "places.judge", "store.write", "store.tell", "rules.evaluate", "store.alert")

WORK = {"evaluate": "hits"}
"""Stages whose work has another name than they had before; `pairs.py` measures older checkouts too."""


class Clock:
    """Nanoseconds spent in each stage."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self.spent_ns = dict.fromkeys((*BY_PACKET, *BY_FLOW), 0)

    def timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return the work with a clock around it."""

        def clocked(*what: Any) -> Any:
            begin_ns = self._now_ns()
            try:
                return work(*what)
            finally:
                self.spent_ns[stage] += self._now_ns() - begin_ns

        return clocked

    def put_on(self, stage: str, room: object, work: str) -> None:
        """Put a clock around one function of a room."""
        setattr(room, work, self.timed(stage, getattr(room, work)))


class Pass(NamedTuple):
    """One pass over the capture."""

    clock: Clock
    tally: Tally


def stages_once(
    path: Path, folder: Path, db: str = "stages.db", now_ns: Callable[[], int] | None = None
) -> Pass:  # fmt: skip
    """Take the capture through `watch.watch`, with a clock around each stage."""
    config = Config(db=str(folder / db))
    clock = Clock(now_ns or perf_counter_ns)
    good, _ = library.rules(config)
    through = watch.stages(config, library.atlas(config), good)
    store = Store(config.db)
    recording = store.record(zone=config.zone, as_of="", data=[], rules=[], version="bench", inputs={})
    rooms = {
        "duplicates": through.duplicates, "names": through.names, "devices": through.devices, "flows": through.table,
        "places": through.atlas, "rules": through.rules, "store": recording,
    }  # fmt: skip
    for stage, room in rooms.items():
        for work in [name.partition(".")[2] for name in clock.spent_ns if name.startswith(f"{stage}.")]:
            clock.put_on(f"{stage}.{work}", room, WORK.get(work, work) if hasattr(room, WORK.get(work, work)) else work)
    clock.put_on("devices.hear", through.devices, "take")  # what was heard waits until then to be read
    gc.freeze()  # as the command does
    decoded, watch.decode = watch.decode, clock.timed("decode", decode)
    try:
        tally = watch.watch(iter(clock.timed("read", _next(path, through)), None), through, recording)
    finally:
        watch.decode = decoded
    store.close()
    return Pass(clock, tally)


def _next(path: Path, through: watch.Stages) -> Callable[[], Frames | None]:
    """Return a function that gives the next batch of a capture, None at its end, read as a replay reads it."""
    tables = [easily(through.tables)] if (easily := getattr(decoding, "easily", None)) else []
    batches = iter(open_inputs([str(path)]).frames(*tables))
    return lambda: next(batches, None)


def measure(path: Path, totals: Totals, rounds: int) -> dict[str, Any]:
    """Return all figures: stages, whole and peers, in turns, so that a slow minute hits all alike."""
    passes: list[Pass] = []
    runs: dict[str, list[Run]] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=SCRATCH) as name:
            folder = Path(name)
            passes.append(stages_once(path, folder))
            for peer in (replay(path, folder), *peers(path, folder)):
                runs.setdefault(peer.name, []).append(timed(peer))
    return {
        "capture": {name: getattr(totals, name) for name in totals.__slots__} | {"bytes": path.stat().st_size},
        "machine": _machine(),
        "found": {"packets": passes[0].tally.packets, "flows": passes[0].tally.flows},
        "stages": list(_stage_rows(passes)),
        "whole": [_whole_row(name, some, runs["egress-watch replay"], totals) for name, some in runs.items()],
    }


def _machine() -> dict[str, str]:
    cpu = [line.partition(":")[2].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    return {
        "cpu": cpu[0] if cpu else platform.processor(), "cores": str(os.cpu_count()),
        "python": platform.python_version(), "numpy": np.__version__, "load": f"{os.getloadavg()[0]:.2f}",
        "accelerator": "in use" if fast.accelerator() else "not in use",
    }  # fmt: skip


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _stage_rows(passes: list[Pass]) -> Iterator[dict[str, Any]]:
    tally = passes[0].tally
    for stage in (*BY_PACKET, *BY_FLOW):
        spent_ns = median(one.clock.spent_ns[stage] for one in passes)
        yield {
            "stage": stage, "ms": spent_ns / 1e6, "ns_a_packet": spent_ns / tally.packets,
            "us_a_flow": spent_ns / 1e3 / tally.flows if stage in BY_FLOW else None,
        }  # fmt: skip


def _whole_row(name: str, runs: list[Run], ours: list[Run], totals: Totals) -> dict[str, Any]:
    wall_s, base_s = median(run.wall_s for run in runs), median(run.wall_s for run in ours)
    return {
        "program": name, "wall_s": wall_s, "cpu_s": median(run.cpu_s for run in runs),
        "packets_a_second": totals.packets / wall_s, "peak_mb": median(run.peak_mb for run in runs),
        "our_speed_to_its": wall_s / base_s, "exit_codes": sorted({run.exit_code for run in runs}),
    }  # fmt: skip


def table(figures: dict[str, Any]) -> Iterator[str]:
    """Yield the figures as lines of text."""
    built, machine = figures["capture"], figures["machine"]
    yield f"{built['packets']:,} packets, {built['flows']:,} flows, {built['bytes'] / 1e6:,.0f} MB"
    yield f"{machine['cpu']}, one of {machine['cores']} cores, Python {machine['python']}, NumPy {machine['numpy']}"
    yield f"accelerator {machine['accelerator']}, load {machine['load']}\n"
    yield f"{'stage':<16}{'ms':>8}{'ns a packet':>13}{'us a flow':>11}"
    for row in figures["stages"]:
        by_flow = f"{row['us_a_flow']:>11.1f}" if row["us_a_flow"] is not None else ""
        yield f"{row['stage']:<16}{row['ms']:>8.0f}{row['ns_a_packet']:>13.0f}{by_flow}"
    total_ms = sum(row["ms"] for row in figures["stages"])
    by_flow_us = sum(row["us_a_flow"] or 0 for row in figures["stages"])
    yield f"{'together':<16}{total_ms:>8.0f}{total_ms * 1e6 / built['packets']:>13.0f}{by_flow_us:>11.1f}\n"
    yield f"{'process':<26}{'wall s':>8}{'cpu s':>8}{'packets/s':>12}{'peak MB':>9}{'our speed to its':>18}"
    for row in figures["whole"]:
        failed = "" if row["exit_codes"] == [0] else f"  exit {row['exit_codes']}"
        yield (
            f"{row['program']:<26}{row['wall_s']:>8.2f}{row['cpu_s']:>8.2f}{row['packets_a_second']:>12,.0f}"
            f"{row['peak_mb']:>9.0f}{row['our_speed_to_its']:>18.3f}{failed}"
        )


def by_case(packets: int, rounds: int) -> Iterator[str]:
    """Yield processor time in µs a flow of each case; alerts decide what a flow costs."""
    yield (
        f"{'processor us a flow':<20}{'flows':>9}{'hits':>9}"
        + "".join(f"{stage:>15}" for stage in BY_FLOW[1:])
        + "   all"
    )
    for case, (abroad, hard) in CASES.items():
        path = capture(packets, abroad, hard=hard)
        build(path, packets, abroad=abroad, hard=hard)
        with tempfile.TemporaryDirectory(dir=SCRATCH) as name:
            passes = [stages_once(path, Path(name), f"{number}.db", process_time_ns) for number in range(rounds)]
            hits = _hits(Path(name) / "0.db")
        flows = passes[0].tally.flows
        spent = [median(one.clock.spent_ns[stage] for one in passes) / 1e3 / flows for stage in BY_FLOW[1:]]
        costs = "".join(f"{cost:>15.2f}" for cost in spent)
        yield f"{case:<20}{flows:>9,}{hits:>9,}{costs}{sum(spent):>6.2f}"


def _hits(db: Path) -> int:
    with closing(sqlite3.connect(db)) as connection:
        return int(connection.execute("SELECT coalesce(sum(hits), 0) FROM alert").fetchone()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_calls(parser, MIXED)
    parser.add_argument("--no-fast", action="store_true", help="leave the work on packets to NumPy")
    parser.add_argument("--cases", action="store_true", help="what a flow costs in each case, and nothing else")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # children inherit it
    if options.no_fast:
        os.environ[SWITCH] = "0"  # the replays are processes of their own
        fast.turn_off()
    if options.cases:
        print("\n".join(by_case(options.packets, options.rounds)))
        return
    path = capture(options.packets, options.abroad, hard=options.hard)
    totals = build(path, options.packets, abroad=options.abroad, hard=options.hard)
    figures = measure(path, totals, options.rounds)
    print(json.dumps(figures, indent=1) if options.json else "\n".join(table(figures)))


if __name__ == "__main__":
    main()
