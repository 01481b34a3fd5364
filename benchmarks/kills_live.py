"""Kill `watch` at random moments under load, many times, and look at what it left behind and how much is missing.

In: a number of kills. Out: a table: broken databases, committed rows lost, rows doubled, and for how many seconds of
what was sent no flow is there. Never: a kill that waits for a good moment.

`sudo python benchmarks/kills_live.py --times 100` sends the packets of `city.py` through a cable between two name
spaces, while a second process reads the database: what it saw must be there after
the kill. The interface counts what was sent. A flow is stored when it ends, so what is missing are the flows still
open: those of the last `tcp_idle_s` seconds, a second until silence is believed, `commit_s`, and a second for the work.
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
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import city
from build import SCRATCH
from kills import COUNTED, ask, wrong
from live import ROOT, cable, inside
from soak import sending

HERE, FAR = "ew-kill-here", "ew-kill-far"
IDLE_S, COMMIT_S = 3.0, 1.0
SETTINGS = f"""
networks = ["10.0.0.0/8"]
[flows]
idle_s = {IDLE_S}
tcp_idle_s = {IDLE_S}
active_s = {IDLE_S}
[watch]
ring_bytes = 67108864
commit_s = {COMMIT_S}
"""
PACKETS = "SELECT coalesce(sum(packets_out + packets_in), 0) FROM flow WHERE recording = {}"


def sent() -> int:
    """Return how many frames have come through the cable."""
    words = inside(HERE, "cat", "/sys/class/net/mon0/statistics/rx_packets")
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def begun(db: Path, before: int) -> bool:
    """Return whether a recording after this one has seen a frame."""
    with suppress(sqlite3.Error, IndexError):
        return bool(ask(db, f"SELECT 1 FROM recording WHERE id > {before} AND frames > 0"))
    return False


def one_kill(db: Path, settings: Path, run_s: float) -> tuple[Counter[str], float]:
    """Record, read along, kill; return what is wrong, and how many seconds of what was sent are missing."""
    before = ask(db, "SELECT coalesce(max(id), 0) FROM recording")[0][0] if db.exists() else 0
    words = [sys.executable, "-m", "egress_watch", "watch", "-i", "mon0", "--db", str(db), "--quiet", "--config",
             str(settings)]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tui'}"}
    recorder = subprocess.Popen(inside(HERE, *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    while not begun(db, before):
        assert recorder.poll() is None
        time.sleep(0.05)
    frames, at, seen = ask(db, f"SELECT frames FROM recording WHERE id > {before}")[0][0], sent(), 0
    begin_s = time.monotonic()
    while time.monotonic() - begin_s < run_s:
        with suppress(sqlite3.Error):
            seen = ask(db, COUNTED)[0][0]
        time.sleep(0.05)
    recorder.send_signal(signal.SIGKILL)
    pps = (sent() - at) / (time.monotonic() - begin_s)
    came = frames + sent() - at
    recorder.wait()
    missing = came - ask(db, PACKETS.format(before + 1))[0][0]
    return Counter(dict(wrong(db, seen)), kills=1), missing / pps


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--pps", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw, found, missing_s = random.Random(options.seed), Counter[str](), [0.0]
    SCRATCH.mkdir(exist_ok=True)
    try:
        cable(HERE, FAR, lay=True)
        with tempfile.TemporaryDirectory(dir=SCRATCH) as name:
            capture, settings, db = (Path(name) / one for one in ("city.pcap", "settings.toml", "killed.db"))
            city.capture(capture, 1)
            settings.write_text(SETTINGS, encoding="utf-8")
            sender = sending(capture, options.pps, FAR)
            try:
                for _ in range(options.times):
                    wrongs, late_s = one_kill(db, settings, draw.uniform(0.1, 6))
                    found += wrongs
                    missing_s.append(late_s)
            finally:
                sender.kill()
                sender.wait()
    finally:
        cable(HERE, FAR, lay=False)
    for what in ("kills", "broken", "lost", "doubled", "hours that differ"):
        print(f"{what:<20}{found[what]:>12,}")
    half = sorted(missing_s)[len(missing_s) // 2]
    print(f"missing: at most {max(missing_s):.1f} s of what was sent, half the time {half:.1f} s")
    print(f"stated: {IDLE_S + COMMIT_S + 2:.0f} s; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
