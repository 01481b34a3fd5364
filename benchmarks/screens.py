"""How long screens wait for a database of many flows: opening, every screen, filters; median and 95th percentile.

By the clock, and of processor time, which other work on the machine lengthens less.

In: a file to make or to ask, a number of flows. Out: a table of milliseconds. Never: real traffic: addresses, names
and times are counted up, so that every run makes the same file.

    python benchmarks/screens.py make small.db --flows 5000000 --days 3
    python benchmarks/screens.py repeat big.db --of small.db --times 10
    python benchmarks/screens.py ask big.db

5,000 devices speak with about 20 of 6,000 remotes each; every tenth device is silent for most of them. To repeat the
flows of some days, and their sums, takes a tenth of the time that making as many takes: what is asked costs the same.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from egress_watch.store import Store
from egress_watch.store.bulk import attach
from egress_watch.store.scope import Scope
from egress_watch.store.screens import Screens
from egress_watch.store.sums import CUBES, SECOND_NS, add, merging

DEVICES, REMOTES, PLACES, ALERTS = 5_000, 6_000, 900, 20_000
START_MS = 1_790_000_000_000
STEP = 1_000_000
COUNTRIES = ("NL", "DE", "FR", "IE", "US", "CN", "SG", "GB", "BE", "SE", "PL", "RU", "IN", "JP", "BR", "ZA", "IT", "ES")
OWNERS = ("Amazon", "Microsoft", "Google", "Hikvision", "Alibaba", "Tencent", "KPN", "SURF", "Hetzner", "OVHcloud",
          "Dahua", "Huawei", "Cloudflare", "Akamai", "Philips", "Siemens", "Bosch", "Baidu")  # fmt: skip
RUNS = 15
FILTERS = (
    "", "verdict:out", "country:CN", "owner:hikvision", "device:10.1.2.3", "device:10.1.2.*", "port:443", "!port:443",
    "name:host-41*", "/hikvision/", "country:CN device:10.1.*", "owner:amazon verdict:own bytes>1M", "segment:cameras",
)  # fmt: skip
RANGES = (("15 min", 900), ("hour", 3_600), ("day", 86_400), ("week", 604_800), ("all", 0))

_NUMBERS = """CREATE TEMP TABLE n AS WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < {last})
  SELECT i FROM c"""
_FLOWS = f"""
INSERT INTO flow(id, recording, first_ns, duration_ns, protocol, device, device_port, remote, remote_port, vlan,
  packets_out, bytes_out, packets_in, bytes_in, flags_out, flags_in, end_reason, name, name_source, place, facts)
SELECT end_ms << 12 | (i & 4095), 1, (end_ms - i % 9000) * 1000000, i % 9000 * 1000000, 6, device, 40000 + i % 20000,
  remote, CASE remote % 9 WHEN 0 THEN 53 WHEN 1 THEN 8883 WHEN 2 THEN 80 ELSE 443 END, 100 + device % 12, 4 + i % 40,
  300 + i * 7919 % 9000 * (1 + remote % 5), 4 + i % 60, 200 + i * 104729 % 30000, 27, 27, i % 3, remote, 1,
  1 + remote % {PLACES}, 0
FROM (SELECT i, {START_MS} + (:base + i) * 86400000 * :days / :flows AS end_ms, device,
    1 + (device * 37 + (h >> 13) % (4 + device % 33)) * 61 % {REMOTES} AS remote
  FROM (SELECT i, (:base + i) * 2654435761 % 4294967296 AS h,
      1 + ((:base + i) * 2654435761 % 4294967296 >> 7) % CASE (:base + i) / 40000 % 20 WHEN 0 THEN {DEVICES}
        ELSE {DEVICES * 9 // 10} END AS device
    FROM temp.n WHERE :base + i < :flows))
"""


_HOURS = """
INSERT INTO hour SELECT recording, (first_ns + duration_ns) / 3600000000000, device, vlan, place, count(*),
  sum(packets_out), sum(bytes_out), sum(packets_in), sum(bytes_in) FROM flow GROUP BY 1, 2, 3, 4, 5
"""
_MORE = "ON CONFLICT DO UPDATE SET " + ", ".join(
    f"{name} = {name} + excluded.{name}" for name in ("flows", "packets_out", "bytes_out", "packets_in", "bytes_in")
)


def make(path: str, flows: int, days: int) -> None:
    """Fill a new database."""
    Store(path).close()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA cache_size = -400000")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute(_NUMBERS.format(last=STEP - 1))
    _texts(db, flows, days)
    begun = time.monotonic()
    for base in range(0, flows, STEP):
        db.execute(_FLOWS, {"base": base, "flows": flows, "days": days})
        if base // STEP % 10 == 9:
            print(f"  {base + STEP:,} flows, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    print(f"flows: {time.monotonic() - begun:.0f} s")
    begun = time.monotonic()
    db.execute(_HOURS)
    print(f"hours: {time.monotonic() - begun:.0f} s")
    begun = time.monotonic()
    attach(_Connected(db))  # type: ignore[arg-type]
    db.execute("BEGIN")
    add(_Connected(db))  # type: ignore[arg-type]
    db.execute("COMMIT")
    print(f"sums: {time.monotonic() - begun:.0f} s, {1e6 * (time.monotonic() - begun) / flows:.2f} us a flow")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _sizes(db)


class _Connected:
    """A connection as the store's functions want it."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self.conn = conn


def _texts(db: sqlite3.Connection, flows: int, days: int) -> None:
    """Fill the tables of texts, alerts and the one recording."""
    data = [{"name": "benchmark", "built": "2026-11-01", "licence": "MIT", "attribution": "", "kind": "country"}]
    db.execute("BEGIN")
    db.execute("INSERT INTO dataset VALUES (1, 'd', ?1, ?1)", (json.dumps(data),))
    start, end = START_MS * 10**6, (START_MS + days * 86_400_000) * 10**6
    db.execute(
        """INSERT INTO recording(id, state, zone, zone_as_of, dataset, version, frames, packets, packet_bytes, flows,
          first_ns, last_ns) VALUES (1, 'finished', 'eea', '2026-11-01', 1, '0', ?1 * 30, ?1 * 30, ?1, ?1, ?2, ?3)""",
        (flows, start, end),
    )
    db.executemany(
        "INSERT INTO device(id, ip, mac, first_ns) VALUES (?, ?, ?, ?)",
        [(n, f"10.{n >> 8 & 255}.{n & 255}.{n % 250 + 1}" if n != 771 else "10.1.2.3",
          f"44:19:b6:00:{n >> 8:02x}:{n & 255:02x}", start) for n in range(1, DEVICES + 1)],
    )  # fmt: skip
    db.executemany("INSERT INTO remote VALUES (?, ?)",
                   [(n, f"198.{18 + (n >> 16)}.{n >> 8 & 255}.{n & 255}") for n in range(1, REMOTES + 1)])  # fmt: skip
    db.executemany("INSERT INTO name VALUES (?, ?)", [(n, f"host-{n}.example.net") for n in range(1, REMOTES + 1)])
    db.executemany(
        """INSERT INTO place(id, digest, zone, dataset, country, location_status, countries, asn, as_name, provider,
          region, owner, owner_seat, laws, evidence, ties, verdict, why)
          VALUES (?, ?, 'eea', 1, ?, ?, ?, ?, ?, ?, ?, ?, ?,
          '["A Law"]', 'name', '[]', ?, 'because')""",
        [_place(n) for n in range(1, PLACES + 1)],
    )
    segments = ("cameras", "lights", "parking", "water", "traffic", "offices", "displays", "sensors")
    db.executemany(
        "INSERT INTO asset(id, digest, device_name, segment, segment_class, listed) VALUES (?, ?, ?, ?, 'iot', 1)",
        [(n, str(n), f"dev-{n}", segments[n % len(segments)]) for n in range(1, DEVICES + 1)],
    )
    db.executemany("INSERT INTO listing VALUES (1, ?, ?, ?)", [(n, 100 + n % 12, n) for n in range(1, DEVICES + 1)])
    levels = ("high", "medium", "low", "informational", "critical")
    db.executemany(
        """INSERT INTO alert(recording, dataset, rule, title, level, device, remote_ip, owner, country, verdict,
          first_ns, last_ns, hits, bytes_out, bytes_in, first_flow, last_flow, why, network, kind, due_ns, updates,
          told_bytes, closed_ns)
          VALUES (1, 1, 'r', 'Data leaves the zone', ?, ?, '198.18.0.1', ?, 'CN', 'OUT', ?, ?, 9, ?, 9, 1, 1,
          'because', '', 'episode', 0, 0, 0, ?)""",
        [(levels[n % 5], 1 + n % DEVICES, f"{OWNERS[n % 18]} {n}", start + n * 10**9, start + n * 129 * 10**9,
          n * 977 % 10**7,          None if n % 3 else end) for n in range(ALERTS)],
    )  # fmt: skip
    db.execute("COMMIT")


def _place(n: int) -> tuple[object, ...]:
    country, owner = COUNTRIES[n * n % 18], OWNERS[n % 18]
    verdict = ("IN", "IN", "OWN", "OUT", "UNKNOWN", "OWN")[n % 6]
    return (n, f"p{n}", country, ("agreed", "declared", "single")[n % 3], f'["{country}"]', 64500 + n, f"AS {n}",
            owner, f"region-{n % 40}", owner if n % 7 else None, "US" if n % 2 else "CN", verdict)  # fmt: skip


def repeat(path: str, of: str, times: int) -> None:
    """Make a database in which the flows of another come so many times, one after the other; alerts come once."""
    shutil.copy(of, path)
    db = sqlite3.connect(path, isolation_level=None)
    for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -400000"):
        db.execute(f"PRAGMA {setting}")
    db.execute("ATTACH ? AS part", (of,))
    first_ns, last_ns = db.execute("SELECT first_ns, last_ns FROM recording").fetchone()
    for number in range(1, times):
        begun = time.monotonic()
        _later(db, number * (last_ns - first_ns) // SECOND_NS)
        print(f"  {number + 1} times, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    db.execute("UPDATE summed SET flow = (SELECT max(id) FROM flow)")
    db.execute("UPDATE recording SET last_ns = ?, flows = flows * ?", (first_ns + times * (last_ns - first_ns), times))
    db.execute("DETACH part")
    db.execute("PRAGMA journal_mode = WAL")
    _sizes(db)


def _later(db: sqlite3.Connection, seconds: int) -> None:
    """Add the flows of the other database, and their sums, so many seconds later."""
    shift = {"id": seconds * 1_000 << 12, "ns": seconds * SECOND_NS}
    moved = {"id": "id + :id", "first_ns": "first_ns + :ns", "hour": f"hour + {seconds // 3_600}",
             "slot": f"slot + {seconds} / max(width_s, 1) * (width_s > 0)", "first_flow": "first_flow + :id",
             "last_flow": "last_flow + :id", "last_ns": "last_ns + :ns"}  # fmt: skip
    clashes = {"flow": "", "hour": _MORE, **{cube.table: merging(cube) for cube in CUBES}}
    for table, clash in clashes.items():
        names = [row[1] for row in db.execute(f"PRAGMA part.table_info({table})")]
        chosen = ", ".join(moved.get(name, name) for name in names)
        db.execute(f"INSERT INTO main.{table} SELECT {chosen} FROM part.{table} WHERE 1 {clash}", shift)


def _sizes(db: sqlite3.Connection) -> None:
    pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    print(f"file: {pages * size / 1e9:.2f} GB")
    for (table,) in db.execute("SELECT name FROM sqlite_master WHERE name LIKE 'sum%' AND type = 'table'").fetchall():
        print(f"  {table}: {db.execute(f'SELECT count(*) FROM {table}').fetchone()[0]:,} rows")


def ask(path: str) -> None:
    """Time every question of the screens, each time on a connection of its own, as the screens do."""
    newest = _timed("open, newest time", lambda: Screens(path).newest_ns())
    for name, span in RANGES:
        scope = Scope(since_ns=newest - span * 10**9) if span else Scope()
        for what, question in _questions(path).items():
            _timed(f"{what}, {name}", lambda question=question, scope=scope: question(scope))
    for line in FILTERS[1:]:
        with Screens(path) as screens:
            scope = Scope(screens.filtered(line))
        for what in ("destinations", "flows"):
            _timed(f"{what}, {line}", lambda what=what, scope=scope: _questions(path)[what](scope), runs=5)


def _questions(path: str) -> dict[str, Callable[[Scope], object]]:
    def asked(question: Callable[[Screens, Scope], object]) -> Callable[[Scope], object]:
        def ask_it(scope: Scope) -> object:
            with Screens(path) as screens:
                return question(screens, scope)

        return ask_it

    return {
        "overview": asked(lambda screens, scope: screens.overview(scope)),
        **{kind: asked(lambda screens, scope, kind=kind: screens.sums(kind, scope, 200))
           for kind in ("devices", "destinations", "owners")},
        "alerts": asked(lambda screens, scope: screens.alert_rows(scope, 200)),
        "flows": asked(lambda screens, scope: screens.flow_rows(scope, 200)),
    }  # fmt: skip


def _timed(what: str, question: Callable[[], object], runs: int = RUNS) -> object:
    took, used, answer = [], [], None
    for _ in range(runs):
        begun, begun_cpu = time.perf_counter(), time.process_time()
        try:
            answer = question()
        except Exception as error:  # noqa: BLE001 - the table says it
            print(f"{what:44} {str(error).splitlines()[0]}")
            return answer
        took.append(1e3 * (time.perf_counter() - begun))
        used.append(1e3 * (time.process_time() - begun_cpu))
    print(f"{what:44} by the clock {_spread(took)}   processor {_spread(used)}", flush=True)
    return answer


def _spread(some: list[float]) -> str:
    p95 = statistics.quantiles(some, n=20)[-1] if len(some) > 5 else max(some)
    return f"median {statistics.median(some):7.1f} 95th {p95:7.1f} ms"


def main() -> None:
    """Make or ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("act", choices=("make", "repeat", "ask"))
    parser.add_argument("db", type=Path)
    parser.add_argument("--flows", type=int, default=50_000_000)
    parser.add_argument("--days", type=int, default=30, help="over so many days")
    parser.add_argument("--of", type=Path, help="the database to repeat")
    parser.add_argument("--times", type=int, default=10)
    options = parser.parse_args()
    if options.act == "make":
        make(str(options.db), options.flows, options.days)
    elif options.act == "repeat":
        repeat(str(options.db), str(options.of), options.times)
    else:
        ask(str(options.db))


if __name__ == "__main__":
    main()
