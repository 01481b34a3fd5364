"""A whole city on one host: 500,000 street lights, 30,000 traffic lights, 2,000 parking installations, 2,000 cameras.

In: hours to make up. Out: a table: rows a second, bytes a device and day, memory, and how long ten questions take.
Never: a device's day drawn larger than it is: what was extrapolated is called so.

`python benchmarks/city.py flows --hours 1` sends the flows of a city through judge, store and rules; `--days 1` adds
days of history as the sums they leave. `python benchmarks/city.py packets --minutes 6` makes a capture of the same
city, every device with an open connection, and replays it.

A device keeps one connection and says something every five minutes; a camera has ten flows a minute. The numbers are
those of an operator in a policy brief on Dutch smart cities (2019), and 5 % of another 40,000 things as cameras.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from build import SCRATCH
from numpy.typing import NDArray
from processes import replay, timed

from egress_watch import library, watch
from egress_watch.config import Config
from egress_watch.model import Flows, Tally, address_words
from egress_watch.store import Reader, Store

Columns = NDArray[Any]
SECOND_NS = 1_000_000_000
START_NS = 1_793_520_000 * SECOND_NS
KEEPALIVE_S = 300


class Kind(NamedTuple):
    """A sort of device."""

    name: str
    count: int
    each_s: int
    """Seconds from one of its flows to the next."""
    bytes_out: int
    bytes_in: int
    remotes: tuple[str, ...]


KINDS = (
    Kind("street lights", 500_000, 300, 420, 380, ("52.17.0.10", "20.50.1.10", "145.100.1.10")),
    Kind("traffic lights", 30_000, 300, 900, 500, ("10.255.0.1", "185.3.211.10")),
    Kind("parking", 2_000, 300, 1_500, 700, ("34.90.1.10", "47.254.128.10")),
    Kind("cameras", 2_000, 6, 250_000, 9_000, ("10.255.1.1", "52.28.1.10", "47.88.1.10")),
)
DEVICES = sum(kind.count for kind in KINDS)
NUMBERS = np.cumsum([0, *(kind.count for kind in KINDS)])
PER_ROUTER = 1_000
"""Devices behind one router, whose MAC the mirror sees."""


def devices_of(number: Columns) -> tuple[Columns, Columns]:
    """Return addresses (n, 2) and MACs of devices by number."""
    words = np.zeros((len(number), 2), np.uint64)
    words[:, 1] = 0xFFFF_0000_0000 | 0x0A00_0000 | number.astype(np.uint64)
    return words, (0x0200_0000_0000 + number // PER_ROUTER).astype(np.uint64)


def flows_of(kind: int, turn: int) -> Flows:
    """Return one flow of each device of a kind, in its turn; who speaks when is the same in each."""
    what, count = KINDS[kind], KINDS[kind].count
    random = np.random.default_rng((kind, 7))
    phase_ns = np.sort(random.integers(0, what.each_s * SECOND_NS, count))
    number = NUMBERS[kind] + random.permutation(count)
    first = START_NS + turn * what.each_s * SECOND_NS + phase_ns
    device, mac = devices_of(number)
    remotes = np.array([address_words(ip) for ip in what.remotes], np.uint64)
    ones = np.ones(count, np.int64)
    size = 1 + number % 7
    return Flows(
        first_ns=first, last_ns=first + SECOND_NS, device=device, remote=remotes[number % len(remotes)],
        device_port=(20_000 + turn % 40_000 * ones).astype(np.uint16), remote_port=np.full(count, 443, np.uint16),
        protocol=np.full(count, 6, np.uint8), device_mac=mac, vlan=(100 + kind * ones).astype(np.uint16),
        packets_out=3 * ones, bytes_out=what.bytes_out + 10 * size, packets_in=2 * ones, bytes_in=what.bytes_in * ones,
        flags_out=np.full(count, 24, np.uint8), flags_in=np.full(count, 24, np.uint8),
        end_reason=np.full(count, 4, np.uint8),
    )  # fmt: skip


def stream(seconds: int) -> Iterator[tuple[int, Flows]]:
    """Yield the flows of so many seconds kind by kind and turn by turn, with the time they are over."""
    turns = sorted(
        (turn * what.each_s, kind, turn) for kind, what in enumerate(KINDS) for turn in range(seconds // what.each_s)
    )
    for at_s, kind, turn in turns:
        yield START_NS + (at_s + KINDS[kind].each_s) * SECOND_NS, flows_of(kind, turn)


def live_flows(db: str, seconds: int) -> tuple[int, float]:
    """Judge, store and check the flows as a recorder does; return how many there were and the seconds it took."""
    config = Config(db=db)
    good, _ = library.rules(config)
    through, tally = watch.stages(config, library.atlas(config), good), Tally()
    begin_s = perf_counter()
    with Store(db) as store:
        recording = store.record(zone="eea", as_of="", data=[], rules=[], version="bench", inputs={})
        pending = watch.Pending()
        for now_ns, flows in stream(seconds):
            tally.last_ns = now_ns
            pending.add(flows, now_ns)
            for some in pending.due(now_ns):
                watch.settle(some, through, recording, tally)
        for some in pending.rest():
            watch.settle(some, through, recording, tally)
        recording.finish(tally, {})
    return tally.flows, perf_counter() - begin_s


def history(db: str, days: int) -> float:
    """Copy the sums of the recorded hours to as many hours before as make up the days; return the seconds it took."""
    begin_s = perf_counter()
    with Store(db) as store:
        connection = store._db.conn  # noqa: SLF001 - no recorder writes the past
        first, last = connection.execute("SELECT min(hour), max(hour) FROM segment_hour").fetchone()
        for table, columns in (("hour", "device, vlan, place"), ("segment_hour", "asset, place")):
            for back in range(1, days * 24 // (last - first + 1) + 1):
                hour = f"hour - {back * (last - first + 1)}"
                connection.execute(f"""INSERT INTO {table} SELECT recording, {hour}, {columns}, flows, packets_out,
                  bytes_out, packets_in, bytes_in FROM {table} WHERE hour >= {first}""")
                connection.execute("PRAGMA wal_checkpoint")
    return perf_counter() - begin_s


def questions(db: str) -> Iterator[tuple[str, float]]:
    """Yield ten questions of screens and reports, and the seconds each takes."""
    with Reader(db) as reader:
        rows: Callable[..., list[dict[str, Any]]] = reader._rows  # noqa: SLF001 - as the screens' own queries
        last = rows("SELECT max(hour) AS h FROM segment_hour")[0]["h"]
        newest = rows("SELECT max(id) AS id FROM flow")[0]["id"]
        quarter = newest - (900_000 << 12)
        by = "SELECT {}, sum(bytes_out) FROM segment_hour JOIN place ON place.id = place WHERE hour > {} GROUP BY 1"
        asked = {
            "bytes by verdict, 24 hours": by.format("verdict", last - 24),
            "bytes by country, all time": by.format("country", 0),
            "bytes by owner, all time": by.format("owner", 0),
            "hours of a week by verdict": by.format("hour || verdict", last - 168),
            "top devices, last hour": f"""SELECT device, sum(bytes_out) AS n FROM hour
              WHERE recording = 1 AND hour = {last} GROUP BY 1 ORDER BY 2 DESC LIMIT 20""",
            "one device, all time": """SELECT hour, sum(bytes_out) FROM hour WHERE recording = 1 AND device = 4711
              AND hour IN (SELECT DISTINCT hour FROM segment_hour WHERE recording = 1) GROUP BY 1""",
            "newest 100 flows": "SELECT * FROM flows ORDER BY id DESC LIMIT 100",
            "flows to China, 15 minutes": f"SELECT * FROM flows WHERE id > {quarter} AND country = 'CN' LIMIT 100",
            "flows of a device, 15 minutes": f"SELECT * FROM flows WHERE id > {quarter} AND device = 4711 LIMIT 100",
            "open alerts": "SELECT * FROM alerts WHERE closed_ns IS NULL ORDER BY id DESC LIMIT 100",
        }
        for name, query in asked.items():
            begin_s = perf_counter()
            rows(query)
            yield name, perf_counter() - begin_s


FRAME = np.dtype([
    ("second", "<u4"), ("micro", "<u4"), ("caught", "<u4"), ("wire", "<u4"), ("dst_mac", "u1", 6), ("src_mac", "u1", 6),
    ("ether", ">u2"), ("vihl", "u1"), ("tos", "u1"), ("size", ">u2"), ("id", ">u2"), ("cut", ">u2"), ("ttl", "u1"),
    ("protocol", "u1"), ("sum", ">u2"), ("src", ">u4"), ("dst", ">u4"), ("src_port", ">u2"), ("dst_port", ">u2"),
    ("seq", ">u4"), ("ack", ">u4"), ("offset", "u1"), ("flags", "u1"), ("window", ">u2"), ("tcp_sum", ">u2"),
    ("urgent", ">u2"), ("payload", "u1", 60),
])  # fmt: skip
"""A record of pcap with one keepalive: Ethernet, IPv4 and TCP with 60 bytes that look like TLS application data."""


def capture(path: Path, minutes: int) -> int:
    """Write the packets of so many minutes; return their number."""
    packets = 0
    with path.open("wb") as file:
        file.write(np.array([0xA1B2C3D4, 0x00040002, 0, 0, 262_144, 1], "<u4").tobytes())
        for minute in range(minutes):
            frames = _frames(minute)
            frames[np.lexsort((frames["micro"], frames["second"]))].tofile(file)
            packets += len(frames)
    return packets


def _frames(minute: int) -> Columns:
    """Return what happens in a minute: a question and an answer for each device whose time it is."""
    parts = []
    for kind, what in enumerate(KINDS):
        random = np.random.default_rng((kind, 7))
        phase_s = random.random(what.count) * what.each_s
        first = minute * 60 - phase_s
        for turn in range(max(1, 60 // what.each_s)):
            due_s = np.ceil((first + turn * what.each_s) / what.each_s) * what.each_s + phase_s
            here = np.flatnonzero((due_s >= minute * 60 + turn * what.each_s) & (due_s < minute * 60 + 60))
            parts += [_keepalive(kind, here, due_s[here], back=back) for back in (False, True)]
    opaque = f"V{FRAME.itemsize}"  # as records, concatenate would give every field the order of bytes of this machine
    return np.concatenate([part.view(opaque) for part in parts]).view(FRAME)


def _keepalive(kind: int, which: Columns, due_s: Columns, *, back: bool) -> Columns:
    what, frames = KINDS[kind], np.zeros(len(which), FRAME)
    number = NUMBERS[kind] + which
    device, mac = devices_of(number)
    hosts = np.array([int.from_bytes(map(int, ip.split("."))) for ip in what.remotes], np.uint32)
    time_us = (due_s * 1e6).astype(np.int64) + (20_000 if back else 0)
    frames["second"], frames["micro"] = START_NS // SECOND_NS + time_us // 1_000_000, time_us % 1_000_000
    frames["caught"] = frames["wire"] = FRAME.itemsize - 16
    macs = mac.astype(">u8").view("u1").reshape(-1, 8)[:, 2:]
    frames["dst_mac" if back else "src_mac"] = macs
    frames["ether"], frames["vihl"], frames["size"], frames["ttl"], frames["protocol"] = 0x0800, 0x45, 100, 60, 6
    ends = (device[:, 1] & np.uint64(0xFFFF_FFFF)).astype(np.uint32), hosts[number % len(hosts)]
    frames["src"], frames["dst"] = ends[::-1] if back else ends
    ports = 20_000 + number % 40_000, np.full(len(which), 443)
    frames["src_port"], frames["dst_port"] = ports[::-1] if back else ports
    frames["offset"], frames["flags"] = 0x50, 24
    frames["payload"][:, :5] = (23, 3, 3, 0, 55)
    return frames


def _flows(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    db = str(folder / "city.db")
    count, took_s = live_flows(db, options.hours * 3600)
    file_bytes = Path(db).stat().st_size
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = sum(kind.count / kind.each_s for kind in KINDS)
    yield f"{DEVICES:,} devices, {options.hours} h: {count:,} flows, {rate:,.0f} a second in the city"
    yield f"judged, stored and rule-checked: {count / took_s:,.0f} a second, {count / took_s / rate:.0f} times that"
    yield f"peak memory {peak_mb:,.0f} MB; file {file_bytes / 1e6:,.0f} MB, {file_bytes / count:.0f} bytes a flow"
    with Reader(db) as reader:
        tables = reader._rows("SELECT name, sum(pgsize) AS n FROM dbstat GROUP BY 1 ORDER BY 2 DESC LIMIT 6")  # noqa: SLF001
    yield "; ".join(f"{row['name']} {row['n'] / 1e6:,.1f} MB" for row in tables)
    if options.days:
        took_s = history(db, options.days)
        yield f"{options.days} days of history as sums in {took_s:.0f} s; file {Path(db).stat().st_size / 1e6:,.0f} MB"
    for name, took_s in questions(db):
        yield f"{name:<32}{took_s * 1e3:>10.1f} ms"


def _packets(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    path = folder / "city.pcap"
    count = capture(path, options.minutes)
    yield f"{DEVICES:,} devices, {options.minutes} min: {count:,} packets, {count / options.minutes / 60:,.0f} a second"
    run = timed(replay(path, folder))
    yield (
        f"replayed in {run.wall_s:.1f} s ({run.cpu_s:.1f} of processor): {count / run.wall_s:,.0f} packets a second; "
        f"peak {run.peak_mb:,.0f} MB; exit {run.exit_code}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("load", choices=("flows", "packets"))
    parser.add_argument("--hours", type=int, default=1, help="of flows")
    parser.add_argument("--days", type=int, default=1, help="of history as sums, before those hours")
    parser.add_argument("--minutes", type=int, default=6, help="of packets")
    options = parser.parse_args()
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as name:
        for line in (_flows if options.load == "flows" else _packets)(options, Path(name)):
            print(line, flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
