"""Kill the recorder at random moments, many times, and look at what it left behind.

In: a built capture. Out: a table: kills, broken databases, committed rows lost, rows doubled, and whether the run after
the last kill comes to the same as one that nobody disturbed. Never: a kill that waits for a good moment.

`python benchmarks/kills.py --times 100`. A second process reads the number of stored flows all the while: what it saw
once must be there after the kill.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic, sleep

from build import SCRATCH, build

COUNTED = "SELECT count(*) FROM flow"
SAME = {
    "flows": "SELECT * FROM flows ORDER BY id",
    "alerts": "SELECT * FROM alerts ORDER BY rule, device_ip, owner, country, first_ns",
    "hours": "SELECT * FROM hours ORDER BY 2, 3, 4, 5, 8, 9, 10, 11",
}  # fmt: skip
PASSING = {"id", "recording", "device", "dataset"}
"""Columns that count recordings and alerts, and go on counting after a recording that was replaced."""


def replaying(path: Path, db: Path) -> subprocess.Popen[bytes]:
    """Start a replay."""
    command = [sys.executable, "-m", "egress_watch", "replay", str(path), "--db", str(db), "--quiet", "--json"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def one_kill(path: Path, db: Path, after_s: float) -> Counter[str]:
    """Start a replay, read along, kill it, and count what is wrong with what it left."""
    recorder, until_s, seen = replaying(path, db), monotonic() + after_s, 0
    while monotonic() < until_s and recorder.poll() is None:
        with suppress(sqlite3.Error):  # before the first table there is nothing to read
            seen = ask(db, COUNTED)[0][0]
        sleep(0.01)
    recorder.send_signal(signal.SIGKILL)
    recorder.wait()
    return Counter(dict(wrong(db, seen)), kills=1)


def wrong(db: Path, seen: int) -> Iterator[tuple[str, int]]:
    """Yield what is wrong with a database in which so many flows were seen."""
    if not db.exists() or not ask(db, "SELECT count(*) FROM sqlite_master")[0][0]:
        return
    yield "broken", int(ask(db, "PRAGMA integrity_check") != [("ok",)])
    stored = ask(db, COUNTED)[0][0]
    yield "lost", max(0, seen - stored)
    yield "flows left", stored
    yield "hours that differ", abs(stored - (ask(db, "SELECT sum(flows) FROM hour")[0][0] or 0))
    twice = """SELECT count(*) FROM (SELECT 1 FROM flow GROUP BY recording, device, device_port, remote, remote_port,
      protocol, first_ns HAVING count(*) > 1)"""
    yield "doubled", ask(db, twice)[0][0]


def ask(db: Path, query: str) -> list[tuple[int, ...]]:
    """Return what a query finds, as any reader would; the log of a killed writer is folded in by the first one."""
    with closing(sqlite3.connect(db, timeout=10)) as connection:
        return connection.execute(query).fetchall()


def content(db: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return all that a database says of flows, alerts and hours, but for what only counts."""
    found = {}
    with closing(sqlite3.connect(db)) as connection:
        for name, query in SAME.items():
            cursor = connection.execute(query)
            keep = [n for n, column in enumerate(cursor.description) if column[0] not in PASSING]
            found[name] = [tuple(row[n] for n in keep) for row in cursor]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--packets", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw, found = random.Random(options.seed), Counter[str]()
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as name:
        path, calm, db = (Path(name) / one for one in ("kills.pcap", "calm.db", "killed.db"))
        build(path, options.packets)
        begin_s = monotonic()
        replaying(path, calm).wait()
        whole_s = monotonic() - begin_s
        for _ in range(options.times):
            found += one_kill(path, db, draw.uniform(0.1, whole_s))
        replaying(path, db).wait()
        same = "the same" if content(db) == content(calm) else "DIFFERENT"
    print(f"{options.packets:,} packets, a run of {whole_s:.1f} s, killed after 0.1 s to all of that")
    for what in ("kills", "broken", "lost", "doubled", "hours that differ", "flows left"):
        print(f"{what:<20}{found[what]:>12,}")
    print(f"a whole run after them: {same} as one that nobody disturbed; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
