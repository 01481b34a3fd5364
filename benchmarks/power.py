"""Cut the power while a recorder writes, as far as that can be made up: whatever was not synced may be gone or torn.

In: a built capture. Out: a table: cuts, broken databases, rows lost before the cut, rows doubled, hours that differ.
Never: a cut that waits for a good moment.

`python benchmarks/power.py --times 100`. At a random moment the recorder is stopped where it stands and its files are
copied. SQLite syncs the write-ahead log before it folds pages of it into the database (`synchronous = NORMAL`), so of
the copy everything behind the pages that folding may have touched is cut at a random byte, and what is left of the last
4 KB before the cut is filled with zeros or noise. Then the copy is opened as after a restart. Only the newest flows may
be missing, each whole: that is the price of not syncing each commit.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from build import SCRATCH, build
from kills import COUNTED, ask, wrong

from egress_watch.store import Store

HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
"""Of the write-ahead log (sqlite.org/fileformat2.html, 4.1 and 4.2)."""
ATTEMPTED = 128
"""Where the -shm says up to which frame folding was begun (sqlite.org/walformat.html, 2.2)."""
TORN_BYTES = 4096
RECORDER = """
import sys
from egress_watch import watch
from egress_watch.cli import main
watch.TOGETHER = 500
sys.exit(main(sys.argv[1:]))
"""
"""A replay that commits as often as `watch` does."""


def synced_bytes(db: Path) -> int:
    """Return how much of the log is on the disk for sure: what folding may have touched."""
    log, index = Path(f"{db}-wal"), Path(f"{db}-shm")
    if not log.exists() or log.stat().st_size < HEADER_BYTES:
        return 0
    (page_bytes,) = struct.unpack(">I", log.read_bytes()[8:12])
    told = index.read_bytes()[ATTEMPTED : ATTEMPTED + 4]
    frames = struct.unpack("=I", told)[0] if len(told) == 4 else 0
    return HEADER_BYTES + frames * (FRAME_HEADER_BYTES + page_bytes)


def begun(db: Path) -> bool:
    """Return whether a flow is stored."""
    with suppress(sqlite3.Error):
        return db.exists() and ask(db, COUNTED)[0][0] > 0
    return False


def stopped(path: Path, db: Path, after_s: float) -> bool:
    """Record for so long, stop in the middle, copy the files; return whether it was in the middle."""
    words = [sys.executable, "-c", RECORDER, "replay", str(path), "--db", str(db), "--quiet", "--json"]
    recorder = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while recorder.poll() is None and not begun(db):
        time.sleep(0.02)
    time.sleep(after_s)
    recorder.send_signal(signal.SIGSTOP)
    while recorder.poll() is None and b"T (stopped)" not in Path(f"/proc/{recorder.pid}/status").read_bytes():
        time.sleep(0.001)
    for end in ("", "-wal", "-shm"):
        if Path(f"{db}{end}").exists():
            shutil.copy(f"{db}{end}", f"{db}.cut{end}")
    within = recorder.poll() is None
    recorder.kill()
    recorder.wait()
    return within


def cut(db: Path, draw: random.Random) -> int:
    """Take away what was not synced from a random byte on, and tear what is before it; return the bytes left."""
    log = Path(f"{db}-wal")
    least, size = synced_bytes(db), log.stat().st_size if log.exists() else 0
    Path(f"{db}-shm").unlink(missing_ok=True)  # it is memory, gone with the power
    if size <= least:
        return size
    left = draw.randint(least, size)
    torn = draw.randint(max(least, left - TORN_BYTES), left)
    noise = draw.choice((bytes(left - torn), draw.randbytes(left - torn)))
    with log.open("r+b") as file:
        file.truncate(left)
        file.seek(torn)
        file.write(noise)
    return torn


def one_cut(path: Path, db: Path, after_s: float, draw: random.Random) -> Counter[str]:
    """Record, cut the power, look at what is left beside what was there."""
    for old in db.parent.glob(f"{db.name}*"):
        old.unlink()
    within = stopped(path, db, after_s)
    whole, left = (db.with_name(f"{db.name}.{name}") for name in ("whole", "cut"))
    for end in ("", "-wal"):
        if Path(f"{left}{end}").exists():
            shutil.copy(f"{left}{end}", f"{whole}{end}")
    torn = cut(left, draw)
    with Store(str(left)):  # as the next start does: what it had only half set up is set up
        pass
    found = Counter(dict(wrong(left, 0)), cuts=1, **{"in the middle": int(within), "log bytes left": torn})
    if found["flows left"] and not found["broken"]:
        last = ask(left, "SELECT max(id) FROM flow")[0][0]
        before = ask(whole, COUNTED)[0][0]
        among = ask(whole, f"SELECT count(*) FROM flow WHERE id <= {last}")[0][0]
        found["lost"] = among - found["flows left"]
        found["not synced, gone"] = before - among
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--longest-s", type=float, default=2.0, help="after the first flow is stored")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw, found = random.Random(options.seed), Counter[str]()
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as name:
        path, db = Path(name) / "power.pcap", Path(name) / "power.db"
        build(path, options.packets)
        for _ in range(options.times):
            found += one_cut(path, db, draw.uniform(0, options.longest_s), draw)
    for what in ("cuts", "in the middle", "broken", "lost", "doubled", "hours that differ", "flows left",
                 "not synced, gone"):  # fmt: skip
        print(f"{what:<20}{found[what]:>12,}")
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
