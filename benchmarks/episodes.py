"""A week of 10,000 devices: how many hits, how many episodes, how many records an exporter would send.

Two rules match; each device talks to its supplier every 30 minutes, one in ten to a second one in bursts on some days,
and on the fifth day a fault makes 2,000 devices talk to a stranger within an hour.

In: nothing. Out: a few lines. Never: a packet; hits are made as the rules would make them.
"""

from __future__ import annotations

import sys
import tempfile
import time

import numpy as np

from egress_watch.model import Alert, Pace
from egress_watch.store import Store
from egress_watch.store.episodes import Episodes

START_NS, MINUTE_NS = 1_700_000_000 * 10**9, 60 * 10**9
DAY_MINUTES = 1440


def hits(devices: int, days: int, seed: int = 1) -> np.ndarray:
    """Return (n, 4) hits by time: minute, rule, device, bytes out."""
    dice = np.random.default_rng(seed)
    everyone = np.arange(devices)
    slots = np.arange(0, days * DAY_MINUTES, 30)
    usual = np.stack(np.meshgrid(slots, everyone, indexing="ij"), -1).reshape(-1, 2)
    usual[:, 0] += dice.integers(0, 30, len(usual))
    some = everyone[::10]
    bursts = np.array([(day * DAY_MINUTES + m, d) for d in some for day in dice.choice(days, 2) for m in range(20)])
    fault = np.stack((4 * DAY_MINUTES + dice.integers(0, 60, devices // 5), everyone[: devices // 5]), -1)
    parts = [
        np.column_stack((part[:, 0], np.full(len(part), n), part[:, 1]))
        for n, part in enumerate((usual, bursts, fault))
    ]
    rows = np.concatenate(parts)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return np.column_stack((rows, dice.integers(100, 5000, len(rows))))


def alert(flow: int, minute: int, rule: int, device: int, sent: int) -> Alert:
    """Return one hit."""
    at_ns = START_NS + minute * MINUTE_NS
    return Alert(
        f"rule {rule}", "A rule", "high", device + 1, "", "203.0.113.1", f"owner {rule}", "CN", "OUT", at_ns, at_ns, 1,
        sent, 0, flow, flow, "so", "", at_ns, sent, 0, at_ns,
    )  # fmt: skip


def main(devices: int = 10_000, days: int = 7) -> None:
    rows = hits(devices, days)
    with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/a.db") as store:
        recording = store.record(zone="eea", as_of="2020-01-01", data=[], rules=[], version="0", inputs={"a": "1"})
        episodes, begun = Episodes(store._db, recording.id, 1, pace=Pace()), time.perf_counter()  # noqa: SLF001
        for start in range(0, len(rows), 8192):
            batch = [alert(start + n, *row) for n, row in enumerate(rows[start : start + 8192].tolist())]
            batch.sort(key=lambda hit: (hit.rule, hit.first_flow))
            store._db.conn.execute("BEGIN")  # noqa: SLF001
            episodes.add(batch)
            store._db.conn.execute("COMMIT")  # noqa: SLF001
            episodes.keep()
        episodes.end(START_NS + days * DAY_MINUTES * MINUTE_NS)
        took_s = time.perf_counter() - begun
        kinds = dict(store._db.conn.execute("SELECT kind, count(*) FROM alert_event GROUP BY kind"))  # noqa: SLF001
        found = dict(store._db.conn.execute("SELECT kind, count(*) FROM alert GROUP BY kind"))  # noqa: SLF001
        kept = store._db.conn.execute("SELECT sum(hits) FROM alert").fetchone()[0]  # noqa: SLF001
    print(f"{devices:,} devices, {days} days: {len(rows):,} hits ({kept:,} counted), {took_s:.1f} s")
    print(f"alerts: {found}; records an exporter would send: {sum(kinds.values()):,} {kinds}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
