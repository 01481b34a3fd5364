"""A week of 10,000 devices: how many hits, how many alerts, how many records an exporter would send.

The shipped rules look at made-up flows, which are stored like any others. Each device talks to its supplier, who is
under a foreign law, every 30 minutes; one in ten to a Chinese cloud outside the zone, in bursts on two days; and on the
fifth day a fault makes 2,000 devices talk to a stranger in cleartext within an hour.

In: nothing. Out: a few lines. Never: a file that stays.

    python benchmarks/episodes.py [DEVICES [DAYS]]
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing

import numpy as np

from egress_watch.library import read_rules, rule_files
from egress_watch.model import Flows, Judged, Place, Tally, Verdict
from egress_watch.rules import RuleSet
from egress_watch.store import Store
from egress_watch.watch import TOGETHER

START_NS, MINUTE_NS = 1_700_000_000 * 10**9, 60 * 10**9
DAY_MINUTES, SUPPLIERS = 1440, 40
USUAL, BURST, FAULT = range(3)
CLOUD, STRANGER = SUPPLIERS, SUPPLIERS + 1
_IN_EUROPE = ("IE", "declared", ("IE",), 64500, "NET-IE")
PLACES = [
    *(Place(*_IN_EUROPE, f"Net {n}", "", f"Supplier {n}", "US", ("US CLOUD Act",), "asn") for n in range(SUPPLIERS)),
    Place("SG", "agreed", ("SG",), 64501, "NET-SG", "Cloud", "", "Cloud", "CN", ("CN Data Security Law",), "asn"),
    Place("BR", "single", ("BR",), 64502, "NET-BR", "", "", "", "", (), ""),
]  # fmt: skip
VERDICTS = [*(Verdict("OWN", "owned outside the zone") for _ in range(SUPPLIERS)),
            Verdict("OUT", "in SG"), Verdict("OUT", "in BR")]  # fmt: skip
PORTS = np.array([443, 443, 80])


def week(devices: int, days: int, seed: int = 1) -> np.ndarray:
    """Return (n, 4) flows by time: minute, what it is, device, bytes out."""
    dice = np.random.default_rng(seed)
    everyone = np.arange(devices)
    slots = np.arange(0, days * DAY_MINUTES, 30)
    usual = np.stack(np.meshgrid(slots, everyone, indexing="ij"), -1).reshape(-1, 2)
    usual[:, 0] += dice.integers(0, 30, len(usual))
    bursts = np.array(
        [(day * DAY_MINUTES + m, d) for d in everyone[::10] for day in dice.choice(days, 2) for m in range(20)]
    )
    fault = np.stack((4 * DAY_MINUTES + dice.integers(0, 60, devices // 5), everyone[: devices // 5]), -1)
    parts = [
        np.column_stack((part[:, 0], np.full(len(part), what), part[:, 1]))
        for what, part in enumerate((usual, bursts, fault))
    ]
    rows = np.concatenate(parts)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return np.column_stack((rows, dice.integers(200, 9000, len(rows))))


def judged(rows: np.ndarray) -> Judged:
    """Return the flows of some rows as they come from the judge."""
    minute, what, number, out = rows.T
    place = np.select([what == USUAL, what == BURST], [number % SUPPLIERS, CLOUD], STRANGER)
    device, remote = (np.stack((np.zeros(len(rows)), 0xFFFF00000000 + low), 1).astype(np.uint64)
                      for low in (0x0A000000 + number, 0xCB007100 + place))  # fmt: skip
    small, last_ns = np.zeros(len(rows), np.uint8), START_NS + minute * MINUTE_NS
    flows = Flows(
        first_ns=last_ns - 10**9, last_ns=last_ns, device=device, remote=remote,
        device_port=(40_000 + minute % 9000).astype(np.uint16), remote_port=PORTS[what].astype(np.uint16),
        protocol=small + np.uint8(6), device_mac=device[:, 1].copy(), vlan=small.astype(np.uint16),
        packets_out=out // 800 + 1, bytes_out=out, packets_in=out // 900 + 1, bytes_in=out // 2, flags_out=small,
        flags_in=small, end_reason=small,
    )  # fmt: skip
    return Judged(flows, place, PLACES, VERDICTS)


def recorded(rows: np.ndarray, path: str) -> int:
    """Record flows batch by batch as the loop does; return how often a rule held."""
    rules, broken = read_rules(rule_files())
    assert not broken, broken
    everything, hits = RuleSet(rules), 0
    with Store(path) as store:
        recording = store.record(zone="eea", as_of="2023-11-14", data=[], rules=[], version="0", inputs={"a": "1"})
        for begin in range(0, len(rows), TOGETHER):
            batch = recording.write(judged(rows[begin : begin + TOGETHER]), Tally())
            found = everything.hits(batch)
            hits += sum(one.hits if hasattr(one, "hits") else len(one.flow) for one in found)
            recording.alert(found, batch)
        assert not everything.broken, everything.broken
        recording.finish(Tally(last_ns=START_NS + int(rows[-1, 0]) * MINUTE_NS), {"a": "1"})
    return hits


def said(path: str) -> Iterator[str]:
    """Yield what stands in the database."""
    with closing(sqlite3.connect(path)) as db:
        alerts = db.execute(
            "SELECT title, kind, count(*), sum(hits) FROM alert GROUP BY 1, 2 ORDER BY 4 DESC"
        ).fetchall()
        events = dict(db.execute("SELECT kind, count(*) FROM alert_event GROUP BY 1"))
    for title, kind, count, hits in alerts:
        yield f"{count:>7,} {'storms  ' if kind == 'storm' else 'episodes'} {hits:>10,} hits  {title}"
    counted, total = sum(row[3] for row in alerts), sum(row[2] for row in alerts)
    yield f"{counted:,} hits counted in {total:,} alerts"
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(events.items()))
    yield f"{sum(events.values()):,} records for an exporter: {kinds}"


def main(devices: int = 10_000, days: int = 7) -> None:
    """Make a week, record it, and print what became of it."""
    rows = week(devices, days)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        hits = recorded(rows, f"{folder}/a.db")
        print(f"{devices:,} devices, {days} days: {len(rows):,} flows, {hits:,} hits of rules", end="; ")
        print(f"{time.process_time() - begun:.0f} s of the processor")
        print(*said(f"{folder}/a.db"), sep="\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
