"""Time the whole judgement of new and remembered addresses, beside single look-ups in the same files; and start-up.

In: the shipped data. Out: a table, or JSON. Never: a figure from another day; all are taken in turns, in the same run.

`make bench-places`, or `python benchmarks/places.py --rounds 5 --json`. One core, warm page cache, medians of
the rounds. Addresses are random and distinct; IPv4 ones are routable, IPv6 ones lie in prefixes that the AS file lists.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import maxminddb
import numpy as np

from egress_watch import library
from egress_watch.config import Config
from egress_watch.library.files import kept_files
from egress_watch.model import Flows, Words, address_text
from egress_watch.places import Atlas, Knowledge

BATCHES = (1, 20, 200, 2_000, 20_000)
MOST = 40_000
"""Addresses a measurement, fewer where a batch is small."""

NAMED = ("www.amazon.com", "login.microsoftonline.com", "dev.hik-connect.com", "example.nl", "a.b.c.example.com")
COMMANDS = {
    "--version": ["--version"], "config": ["config"], "who amazon": ["who", "amazon"],
    "where 1.1.1.1": ["where", "1.1.1.1"],
}  # fmt: skip
WATCHED = """
import sys
opened = []
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
from egress_watch.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print(len({name for name in opened if name.endswith(".mmdb")}), file=sys.stderr)
"""


def ipv4(count: int, dice: np.random.Generator) -> Words:
    """Return addresses from 1.0.0.0 to 223.255.255.255."""
    low = dice.integers(1 << 24, 224 << 24, count, np.uint64) | np.uint64(0xFFFF << 32)
    return np.stack([np.zeros_like(low), low], axis=1)


def ipv6(count: int, dice: np.random.Generator) -> Words:
    """Return addresses of which most are routed: each a listed one with its last 80 bits drawn anew."""
    listed = _listed(dice)
    high = listed[dice.integers(0, len(listed), count)] & ~np.uint64(0xFFFF) | dice.integers(
        0, 1 << 16, count, np.uint64
    )
    return np.stack([high, dice.integers(0, 1 << 63, count, np.uint64)], axis=1)


def _listed(dice: np.random.Generator, tries: int = 200_000) -> Words:
    """Return first words of addresses that the AS file lists, found by drawing."""
    asked = np.zeros((tries, 2), np.uint64)
    tops = np.array([0x2001, 0x2400, 0x2600, 0x2604, 0x2607, 0x2800, 0x2A00, 0x2A02, 0x2A0C, 0x2C0F], np.uint64)
    asked[:, 0] = dice.choice(tops, tries) << np.uint64(48) | dice.integers(0, 1 << 48, tries, np.uint64)
    networks = library.knowledge(Config()).networks
    return asked[networks.numbers(asked) > 0, 0]


def mixed(count: int, dice: np.random.Generator) -> Words:
    """Return both kinds in turns."""
    found = ipv4(count, dice)
    found[::2] = ipv6(count, dice)[::2]
    return found


KINDS = {"IPv4": ipv4, "IPv6": ipv6, "mixed": mixed}


def flows(remote: Words, names: tuple[str, ...]) -> Flows:
    """Return flows to these remotes; all else is the same in each."""
    count = len(remote)
    zeros, small = np.zeros(count, np.int64), np.zeros(count, np.uint8)
    ports = np.zeros(count, np.uint16)
    return Flows(
        first_ns=zeros, last_ns=zeros, device=np.zeros((count, 2), np.uint64), remote=remote, device_port=ports,
        remote_port=ports, protocol=small, device_mac=np.zeros(count, np.uint64), vlan=ports, packets_out=zeros,
        bytes_out=zeros, packets_in=zeros, bytes_in=zeros, flags_out=small, flags_in=small, end_reason=small,
        name=names, name_source=names,
    )  # fmt: skip


def batches(remote: Words, size: int, named: bool) -> list[Flows]:
    """Cut addresses into batches of flows."""
    parts = [remote[at : at + size] for at in range(0, len(remote), size)]
    return [flows(part, tuple(NAMED[row % len(NAMED)] if named else "" for row in range(len(part)))) for part in parts]


def rate(work: Callable[[Any], Any], parts: list[Any], count: int) -> float:
    """Return how many addresses a second of processor time the work does: other programs' turns do not count."""
    begin = process_time()
    for part in parts:
        work(part)
    return count / (process_time() - begin)


def judged(know: Knowledge, kind: str, size: int, named: bool, seed: int) -> dict[str, float]:
    """Return new and remembered addresses a second, of an atlas without a memory over files that were asked before."""
    count = min(MOST, size * 100)
    dice = np.random.default_rng(seed)
    remote = np.unique(KINDS[kind](count, dice), axis=0)
    dice.shuffle(remote)
    atlas = Atlas(know)
    parts = batches(remote, size, named)
    return {"new": rate(atlas.judge, parts, len(remote)), "again": rate(atlas.judge, parts, len(remote))}


def looked_up(paths: list[Path], kind: str, seed: int) -> float:
    """Return the peer's figure: addresses a second of `get` of maxminddb's compiled reader, in all files in turn."""
    texts = [address_text(*row) for row in KINDS[kind](MOST, np.random.default_rng(seed)).tolist()]
    readers = [maxminddb.open_database(str(path)) for path in paths]
    return rate(lambda text: [reader.get(text) for reader in readers], texts, len(texts))


def memory(know: Knowledge, limit: int) -> dict[str, float]:
    """Return what an atlas holds with as many addresses as it keeps, in MB."""
    remote = mixed(limit, np.random.default_rng(1))
    tracemalloc.start()
    atlas = Atlas(know, limit)
    for part in batches(remote, 20_000, named=False):
        atlas.judge(part)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return {"addresses": limit, "mb": held / 1e6, "places": len(atlas.places)}


def started(rounds: int) -> Iterator[dict[str, Any]]:
    """Yield for each command the wall time of the whole process, and how many big files it opened."""
    for name, given in COMMANDS.items():
        spent_s = []
        for _ in range(2 * rounds + 1):
            begin = perf_counter()
            subprocess.run([sys.executable, "-m", "egress_watch", *given], check=True, capture_output=True)
            spent_s.append(perf_counter() - begin)
        seen = subprocess.run([sys.executable, "-c", WATCHED, *given], check=True, capture_output=True, text=True)
        yield {"command": name, "wall_s": median(spent_s), "big_files": int(seen.stderr.split()[-1])}


def built(rounds: int) -> float:
    """Return the time to build the atlas in a process that has loaded the program, in seconds."""
    script = (
        "import time; from egress_watch import library; from egress_watch.config import Config; "
        "begin = time.perf_counter(); library.atlas(Config()); print(time.perf_counter() - begin)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True) for _ in range(2 * rounds + 1)
    ]
    return median(float(run.stdout) for run in runs)


def measure(rounds: int) -> dict[str, Any]:
    """Return all figures."""
    know = library.knowledge(Config())
    paths = [file.path for file in kept_files()]
    warm = Atlas(know)
    warm.answers(mixed(MOST, np.random.default_rng(0)), ("",) * MOST)
    runs: dict[tuple[str, int, bool], list[dict[str, float]]] = {}
    peers: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for seed in range(1, rounds + 1):
        for kind in KINDS:
            peers[kind].append(looked_up(paths, kind, seed))
            for size in BATCHES:
                for named in (False, True):
                    runs.setdefault((kind, size, named), []).append(judged(know, kind, size, named, seed))
    return {
        "judged": [
            {"kind": kind, "batch": size, "named": named, **{key: median(run[key] for run in some) for key in some[0]}}
            for (kind, size, named), some in runs.items()
        ],
        "peer": {kind: median(some) for kind, some in peers.items()},
        "memory": memory(know, 500_000), "start": list(started(rounds)), "atlas_s": built(rounds),
    }  # fmt: skip


def table(figures: dict[str, Any]) -> Iterator[str]:
    """Yield the figures as lines of text."""
    yield f"{'addresses a second':<20}{'batch':>8}{'new':>12}{'new, named':>12}{'again':>12}{'get of 4 files':>16}"
    plain, named = ([row for row in figures["judged"] if row["named"] is which] for which in (False, True))
    for one, other in zip(plain, named, strict=True):
        peer = figures["peer"][one["kind"]]
        rates = f"{one['new']:>12,.0f}{other['new']:>12,.0f}{one['again']:>12,.0f}{peer:>16,.0f}"
        yield f"{one['kind']:<20}{one['batch']:>8,}{rates}"
    held = figures["memory"]
    yield f"\n{held['addresses']:,} addresses remembered: {held['mb']:,.0f} MB, {held['places']:,} different places\n"
    yield f"{'process':<20}{'wall s':>8}{'big files opened':>18}"
    for row in figures["start"]:
        yield f"{row['command']:<20}{row['wall_s']:>8.3f}{row['big_files']:>18}"
    yield f"{'building the atlas':<20}{figures['atlas_s']:>8.3f}{'(within a process)':>20}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # children inherit it
    figures = measure(options.rounds)
    print(json.dumps(figures, indent=1) if options.json else "\n".join(table(figures)))


if __name__ == "__main__":
    main()
