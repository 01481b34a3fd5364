"""Live capture beside others: a cable between two name spaces, tcpreplay at top speed, one tool at a time.

In: a capture and a list of tools. Out: a table. Never: an interface of this machine's own.

`sudo python benchmarks/live.py --seconds 120` builds the mixed capture, sends it in a loop for two minutes to each tool
in turn, and prints frames sent, seen and lost, their rate, and the processor time of the tool. While `watch` runs,
another process looks at its database as a screen does. The sender gets one core and the tool the other; `--pps`
sends at a steady rate in place of top speed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from build import SCRATCH

HERE, FAR = "ew-bench-here", "ew-bench-far"
ROOT = Path(__file__).parent.parent
DRAIN_S = 3.0
SNIFFER = """
import signal, socket, struct, sys
from scapy.all import AsyncSniffer, conf
seen = 0
def count(_):
    global seen
    seen += 1
conf.bufsize = 1 << 26
listening = conf.L2listen(iface="mon0")
sniffer = AsyncSniffer(opened_socket=listening, prn=count, store=False)
sniffer.start()
signal.sigwait([signal.SIGINT])
print(seen, struct.unpack("II", listening.ins.getsockopt(263, 6, 8))[1], flush=True)
import os; os._exit(0)
"""
READER = """
import sys, time
from egress_watch.store import Reader
looks, worst = 0, 0.0
try:
    while True:
        begun = time.monotonic()
        with Reader(sys.argv[1]) as reader:
            reader.snapshot()
        looks, worst = looks + 1, max(worst, time.monotonic() - begun)
        time.sleep(1)
except KeyboardInterrupt:
    print(f"{looks} looks, the longest {worst:.2f} s", flush=True)
"""


class Found(NamedTuple):
    """What a tool says of itself."""

    seen: int
    lost: int
    more: str = ""


class Tool(NamedTuple):
    """A program under test: its command line in a folder, and what it saw, from its output."""

    words: Callable[[Path], list[str]]
    found: Callable[[Path, str], Found]


def _watch(folder: Path) -> list[str]:
    return [sys.executable, "-m", "egress_watch", "watch", "-i", "mon0", "--db", str(folder / "live.db"), "--quiet"]


def _watched(folder: Path, _: str) -> Found:
    with closing(sqlite3.connect(folder / "live.db")) as db:
        seen, lost, flows = db.execute("SELECT frames, lost, flows FROM recording").fetchone()
        lag_ns, alerts = db.execute("SELECT max(lag_ns), (SELECT count(*) FROM alert) FROM health").fetchone()
        others = db.execute("SELECT sum(overruns), sum(dropped), sum(errors) FROM health").fetchone()
    size = (folder / "live.db").stat().st_size / 1e6
    more = f"{flows:,} flows, {alerts:,} alerts, {size:,.0f} MB, at most {lag_ns / 1e6:,.0f} ms behind"
    return Found(seen, lost, f"{more}; overruns, dropped, errors {others}")


def _dumped(_: Path, said: str) -> Found:
    numbers = {kind: int(number) for number, kind in re.findall(r"(\d+) packets? (captured|dropped by kernel)", said)}
    return Found(numbers.get("captured", 0), numbers.get("dropped by kernel", 0))


def _argus(folder: Path, _: str) -> Found:
    """Ask argus' own counter; it says nothing of frames without IP, which are 1.1 % of the mixed capture."""
    told = subprocess.run(["racount", "-r", str(folder / "argus")], capture_output=True, text=True, check=False).stdout
    numbers = re.findall(r"sum +(\d+) +(\d+)", told)
    return Found(int(numbers[0][1]), -1, f"{int(numbers[0][0]):,} records") if numbers else Found(-1, -1, told)


TOOLS = {
    "egress-watch": Tool(_watch, _watched),
    "tcpdump": Tool(lambda d: ["tcpdump", "-n", "-B", "262144", "-i", "mon0", "-w", str(d / "dump")], _dumped),
    "argus": Tool(lambda d: ["argus", "-F", "/dev/null", "-X", "-i", "mon0", "-w", str(d / "argus")], _argus),
    "scapy": Tool(lambda _: [sys.executable, "-c", SNIFFER], lambda _, said: Found(*map(int, said.split()[-2:]))),
}  # fmt: skip


def inside(space: str, *words: str) -> list[str]:
    return ["ip", "netns", "exec", space, *words]


def cable(here: str = HERE, far: str = FAR, *, lay: bool) -> None:
    for space in (here, far):
        subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)
        if lay:
            subprocess.run(["ip", "netns", "add", space], check=True)
    if not lay:
        return
    words = f"link add mon0 mtu 9000 netns {here} type veth peer name gen0 mtu 9000 netns {far}"
    subprocess.run(["ip", *words.split()], check=True)
    for space, name in ((here, "mon0"), (far, "gen0")):
        subprocess.run(inside(space, "sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1"), check=True)
        subprocess.run(inside(space, "ip", "link", "set", name, "arp", "off", "up"), check=True)


def spent_s(group: int) -> float:
    """Return the processor time of a process group so far (fields 5, 14 and 15 of /proc/PID/stat, proc_pid_stat(5))."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12]) if int(fields[2]) == group else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def send(capture: Path, seconds: int, pps: int, unique: bool) -> tuple[int, float]:
    """Send in a loop; return the frames that went out, and the seconds that took."""
    speed = [f"--pps={pps}"] if pps else ["-t"]
    more = ["--unique-ip"] if unique else []
    words = ["taskset", "-c", "0", "tcpreplay", "-q", *speed, "-K", "-l", "0", *more, f"--duration={seconds}",
             "--no-flow-stats", "-i", "gen0", str(capture)]  # fmt: skip
    said = subprocess.run(inside(FAR, *words), capture_output=True, text=True, check=False)
    sent = re.search(r"Successful packets:\s+(\d+)", said.stdout)
    took = re.search(r"sent in ([\d.]+) seconds", said.stdout)
    assert sent, said.stderr
    assert took, said.stdout
    return int(sent[1]), float(took[1])


def measure(name: str, capture: Path, options: argparse.Namespace) -> dict[str, object]:
    tool = TOOLS[name]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tui'}"}
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        folder = Path(scratch)
        folder.chmod(0o777)  # tcpdump writes as a user of its own
        words = inside(HERE, "taskset", "-c", "1", *tool.words(folder))
        said = (folder / "said").open("w+", encoding="utf-8")  # a pipe that nobody reads would stop the tool
        running = subprocess.Popen(words, stdout=said, stderr=subprocess.STDOUT, text=True, env=env,
                                   start_new_session=True)  # fmt: skip
        time.sleep(DRAIN_S)
        reader = None
        if name == "egress-watch":
            looking = [sys.executable, "-c", READER, str(folder / "live.db")]
            reader = subprocess.Popen(looking, stdout=subprocess.PIPE, text=True, env=env)
        before_s, load = spent_s(running.pid), os.getloadavg()[0]
        sent, took_s = send(capture, options.seconds, options.pps, options.unique)
        time.sleep(DRAIN_S)
        used_s = spent_s(running.pid) - before_s
        looked = ""
        if reader:
            reader.send_signal(signal.SIGINT)
            looked = "; read meanwhile: " + reader.communicate()[0].strip()
        running.send_signal(signal.SIGINT)
        running.wait(timeout=600)
        said.seek(0)
        found = tool.found(folder, said.read())
        said.close()
    return {
        "tool": name, "sent": sent, "sent_per_s": round(sent / took_s), "seen": found.seen, "lost": found.lost,
        "missing": sent - found.seen if found.seen >= 0 else None, "cpu_s": round(used_s, 1),
        "cpu_share": round(used_s / took_s, 2), "seconds": round(took_s, 1), "load": [round(load, 1),
        round(os.getloadavg()[0], 1)], "more": found.more + looked,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("capture", nargs="?", type=Path, default=SCRATCH / "mixed.pcap")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--pps", type=int, default=0, help="0, the default, is as fast as can be")
    parser.add_argument("--unique", action="store_true", help="other addresses in each loop, so that flows are new")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--scratch", type=Path, default=None, help="a folder for what the tools write")
    options = parser.parse_args()
    if not options.capture.exists():
        options.capture.parent.mkdir(exist_ok=True)
        subprocess.run([sys.executable, str(ROOT / "benchmarks" / "build.py"), str(options.capture)], check=True)
    try:
        for name in options.tools:
            cable(lay=True)
            print(json.dumps(measure(name, options.capture, options)), flush=True)
    finally:
        cable(lay=False)


if __name__ == "__main__":
    main()
