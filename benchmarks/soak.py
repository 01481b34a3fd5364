"""Hours of a city's traffic into one recording, and how it fares: memory, file, log, lateness, losses.

In: minutes. Out: a table every few minutes, and a picture. Never: an interface of this machine's own.

`sudo python benchmarks/soak.py --minutes 60` makes the packets of a part of the city of `city.py`, sends them in a loop
through a cable between two name spaces, and records them with `watch` under a small
limit on bytes, so that the oldest flows go all the while. `--picture FILE` draws what came of it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import city
from build import SCRATCH
from live import ROOT, cable, inside

HERE, FAR = "ew-soak-here", "ew-soak-far"
SETTINGS = """
networks = ["10.0.0.0/8"]
[flows]
idle_s = 15
tcp_idle_s = 15
active_s = 60
[watch]
check_hours = 0.1
[retention]
most_bytes = {most_bytes}
"""
ASKED = """
SELECT frames, lost, flows, unstored, (SELECT coalesce(max(lag_ns), 0) FROM health WHERE minute_ns >= ?),
  (SELECT count(*) FROM flow), (SELECT count(*) FROM alert) FROM recording
"""


class Sample(NamedTuple):
    """How it stood at one moment."""

    at_s: float
    memory_mb: float
    file_mb: float
    log_mb: float
    lag_ms: float
    frames: int
    lost: int
    flows: int
    stored: int
    alerts: int
    unstored: int
    cpu_s: float


def watching(folder: Path, most_bytes: int) -> subprocess.Popen[bytes]:
    """Start the recorder in its name space."""
    settings = folder / "settings.toml"
    settings.write_text(SETTINGS.format(most_bytes=most_bytes), encoding="utf-8")
    words = [sys.executable, "-m", "egress_watch", "watch", "-i", "mon0", "--db", str(folder / "soak.db"), "--quiet",
             "--config", str(settings)]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tui'}"}
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(inside(HERE, *words), stdout=said, stderr=said, env=env)


def sending(capture: Path, pps: int, space: str = FAR) -> subprocess.Popen[bytes]:
    """Send in a loop; each takes longer than a flow may be silent, so its flows are new.

    Asleep between handfuls of packets: a sender that waits busily would take a core from whoever records.
    """
    words = ["tcpreplay", "-q", f"--pps={pps}", "--pps-multi=100", "--timer=nano", "-K", "--loop=100000000",
             "--no-flow-stats", "-i", "gen0", str(capture)]  # fmt: skip
    return subprocess.Popen(inside(space, *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def sample(pid: int, db: Path, begin_s: float) -> Sample:
    """Look at the process and its database (fields of /proc: proc_pid_status(5), proc_pid_stat(5))."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    memory_kib = int(status.partition("VmRSS:")[2].split()[0])
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    minute_ns = (time.time_ns() // 60_000_000_000 - 1) * 60_000_000_000
    with closing(sqlite3.connect(db, timeout=30)) as connection:
        frames, lost, flows, unstored, lag_ns, stored, alerts = connection.execute(ASKED, (minute_ns,)).fetchone()
    sizes = [Path(f"{db}{end}").stat().st_size / 1e6 for end in ("", "-wal")]
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return Sample(time.monotonic() - begin_s, memory_kib / 1024, *sizes, lag_ns / 1e6, frames, lost, flows, stored,
                  alerts, unstored, cpu_s)  # fmt: skip


def soaked(folder: Path, options: argparse.Namespace) -> Iterator[Sample]:
    """Record for so long, and yield samples."""
    capture, db = folder / "city.pcap", folder / "soak.db"
    city.capture(capture, 1)
    recorder = watching(folder, options.most_bytes)
    while not db.exists() or db.stat().st_size < 4096:
        time.sleep(0.5)
    time.sleep(3)
    sender, begin_s = sending(capture, options.pps), time.monotonic()
    try:
        while time.monotonic() - begin_s < options.minutes * 60:
            time.sleep(options.each_s)
            yield sample(recorder.pid, db, begin_s)
    finally:
        for running in (sender, recorder):
            running.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                running.wait(timeout=300)


def line(one: Sample) -> str:
    """Return a row of the table."""
    return (
        f"{one.at_s / 60:>7.1f}{one.memory_mb:>9,.0f}{one.file_mb:>9,.0f}{one.log_mb:>8,.0f}{one.lag_ms:>9,.0f}"
        f"{one.frames:>14,}{one.lost:>10,}{one.flows:>12,}{one.stored:>11,}{one.alerts:>9,}"
        f"{100 * one.cpu_s / one.at_s:>7.0f}"
    )


COLUMNS = {"min": 7, "RSS MB": 9, "file MB": 9, "log MB": 8, "late ms": 9, "frames": 14, "lost": 10, "flows": 12,
           "kept": 11, "alerts": 9, "cpu %": 7}  # fmt: skip
HEAD = "".join(f"{name:>{width}}" for name, width in COLUMNS.items())
GRAPHS = (
    ("memory, MB", "memory_mb"), ("file, MB", "file_mb"), ("read late, ms", "lag_ms"), ("frames lost", "lost"),
)  # fmt: skip
WIDE, HIGH, LEFT = 720, 110, 90


def picture(samples: Sequence[Sample]) -> str:
    """Return the samples as SVG: a graph each for memory, file, lateness and losses over minutes."""
    parts = [_graph(name, [(s.at_s / 60, float(getattr(s, of))) for s in samples], n * (HIGH + 40))
             for n, (name, of) in enumerate(GRAPHS)]  # fmt: skip
    size = f'width="{WIDE + LEFT + 20}" height="{len(GRAPHS) * (HIGH + 40)}"'
    style = 'font-family="sans-serif" font-size="12" fill="#333"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><g {style}>\n' + "\n".join(parts) + "\n</g></svg>\n"


def _graph(name: str, points: Sequence[tuple[float, float]], top: int) -> str:
    last, most = points[-1][0], max(y for _, y in points) * 1.1 or 1.0
    low = top + 24 + HIGH
    at = " ".join(f"{LEFT + x / last * WIDE:.1f},{low - y / most * HIGH:.1f}" for x, y in points)
    return (
        f'<text x="{LEFT}" y="{top + 16}">{name}</text>'
        f'<rect x="{LEFT}" y="{top + 24}" width="{WIDE}" height="{HIGH}" fill="#f7f7f7" stroke="#ccc"/>'
        f'<text x="{LEFT - 6}" y="{top + 34}" text-anchor="end">{most:,.0f}</text>'
        f'<text x="{LEFT - 6}" y="{low}" text-anchor="end">0</text>'
        f'<text x="{LEFT + WIDE}" y="{low + 13}" text-anchor="end">{last:,.0f} min</text>'
        f'<polyline points="{at}" fill="none" stroke="#1f6feb" stroke-width="1.5"/>'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--pps", type=int, default=20_000)
    parser.add_argument("--each-s", type=float, default=10)
    parser.add_argument("--most-bytes", type=int, default=400_000_000)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--save", type=Path, help="the samples as JSON")
    options = parser.parse_args()
    SCRATCH.mkdir(exist_ok=True)
    samples: list[Sample] = []
    try:
        cable(HERE, FAR, lay=True)
        with tempfile.TemporaryDirectory(dir=SCRATCH) as name:
            print(HEAD, flush=True)
            for one in soaked(Path(name), options):
                samples.append(one)
                print(line(one), flush=True)
            print((Path(name) / "said").read_text(encoding="utf-8", errors="replace")[-2000:])
    finally:
        cable(HERE, FAR, lay=False)
        if options.save and samples:
            options.save.write_text(json.dumps([one._asdict() for one in samples]), encoding="utf-8")
    if options.picture:
        options.picture.write_text(picture(samples), encoding="utf-8")
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
