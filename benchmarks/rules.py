"""Measure the rules: many over one batch, and a correlation over an hour of a million flows.

In: made-up flows of 10,000 devices. Out: milliseconds of the processor, as lines. Never: a file that stays.

    python benchmarks/rules.py [--flows 1000000]
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import numpy as np

from egress_watch.library import read_rules, rule_files
from egress_watch.model import Flows, Judged, Place, Tally, Verdict
from egress_watch.rules import Rule, RuleSet
from egress_watch.store import Store

BATCH, DEVICES, PLACES, HOUR_S = 10_000, 10_000, 300, 3_600
SECOND_NS = 1_000_000_000
MANY = 50
COUNTRIES = ("US", "CN", "SG", "NL", "DE", "IE", "FR", "GB", "JP", "BR", "IN", "ZA")


def world() -> tuple[list[Place], list[Verdict]]:
    """Return places and verdicts: a third each in the zone, outside, and under a foreign law."""
    places, verdicts = [], []
    for number in range(PLACES):
        country = COUNTRIES[number % len(COUNTRIES)]
        owner = f"Group {number}" if number % 4 else ""
        row = (country, "agreed", (country,), number, f"NET-{number}", f"Provider {number % 40}", "", owner, "US")
        places.append(Place(*row, ("US CLOUD Act",), "asn"))
        verdicts.append(Verdict(("IN", "OUT", "OWN", "UNKNOWN")[number % 4], f"for reason {number}"))
    return places, verdicts


def batches(count: int, places: list[Place], verdicts: list[Verdict]) -> Iterator[Judged]:
    """Yield ``count`` flows in batches, spread over an hour."""
    random = np.random.default_rng(7)
    for begin in range(0, count, BATCH):
        n = min(BATCH, count - begin)
        last_ns = ((begin + np.arange(n)) * (HOUR_S * SECOND_NS / count)).astype(np.int64)
        made = flows(n, last_ns, random)
        # A device talks to the same four places.
        yield Judged(
            made, (made.device[:, 1].astype(np.int64) * 7 + random.integers(0, 4, n)) % PLACES, places, verdicts
        )


def flows(n: int, last_ns: np.ndarray, random: np.random.Generator) -> Flows:
    """Return flows that end then: a few large, most small, half of them with a name."""
    device = np.stack([np.zeros(n), 0xFFFF0A000000 + random.integers(0, DEVICES, n)], axis=1).astype(np.uint64)
    remote = np.stack([np.zeros(n), 0xFFFFC0000000 + random.integers(0, 50_000, n)], axis=1).astype(np.uint64)
    out = (random.pareto(1.2, n) * 800 + 60).astype(np.int64)
    ports = random.choice([443, 443, 443, 80, 53, 123, 1883, 8883], n).astype(np.uint16)
    small = np.zeros(n, np.uint8)
    return Flows(
        first_ns=last_ns - SECOND_NS, last_ns=last_ns, device=device, remote=remote,
        device_port=random.integers(1024, 65535, n).astype(np.uint16), remote_port=ports,
        protocol=np.where(ports == 123, 17, 6).astype(np.uint8), device_mac=device[:, 1].copy(),
        vlan=np.zeros(n, np.uint16), packets_out=out // 800 + 1, bytes_out=out, packets_in=out // 900 + 1,
        bytes_in=out // 2, flags_out=small, flags_in=small, end_reason=small,
        name=tuple(f"host{k % 5000}.example" if k % 2 else "" for k in range(n)),
        name_source=tuple("tls" if k % 2 else "" for k in range(n)),
    )  # fmt: skip


def many(rules: list[Rule]) -> list[Rule]:
    """Return `MANY` rules: the shipped ones, and copies of those that look at one flow at a time."""
    single = [rule for rule in rules if rule.count is None]
    copies = [dataclasses.replace(single[n % len(single)], id=f"copy-{n}") for n in range(MANY - len(rules))]
    return [*rules, *copies]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser()
    options.add_argument("--flows", type=int, default=1_000_000)
    measure(options.parse_args().flows)


def measure(count: int) -> None:
    """Store so many flows of an hour batch by batch, and print what the rules took over the last ten batches."""
    rules, broken = read_rules(rule_files())
    assert not broken, broken
    counting = [rule for rule in rules if rule.count]
    with TemporaryDirectory() as folder, Store(f"{folder}/a.db") as store:
        recording = store.record(zone="eea", as_of="2026-01-01", data=[], rules=[], version="0", inputs={})
        everything, costs = RuleSet(many(rules)), {rule.id: [] for rule in counting}
        walls: list[float] = []
        kept: list[float] = []
        for judged in batches(count, *world()):
            batch = recording.write(judged, Tally())
            begun = time.process_time()
            hits = everything.hits(batch)
            walls.append(time.process_time() - begun)
            batch._rollup.begin()  # noqa: SLF001  # asked anew, one by one
            for rule, rows in zip(counting, batch.matching([rule.predicate for rule in counting]), strict=True):
                begun = time.process_time()
                found = batch.counted(rule.id, rows, rule.count)
                costs[rule.id].append(time.process_time() - begun)
                assert isinstance(found, list), found
            begun = time.process_time()
            recording.alert(hits, batch)
            kept.append(time.process_time() - begun)
        kept_rows = sum(counts.size for counts in recording._rollup._rules.values())  # noqa: SLF001
        recording.finish(Tally(), {})
    assert not everything.broken, everything.broken
    last = slice(-10, None)
    print(f"{MANY} rules over a batch of {BATCH:,} flows: {1000 * np.median(walls[last]):.0f} ms")
    for rule in counting:
        milliseconds = 1000 * np.median(costs[rule.id][last])
        print(f"one correlation over an hour of {count:,} flows: {milliseconds:.0f} ms  {rule.title}")
    print(f"storing alerts and counts of a batch: {1000 * np.median(kept[last]):.0f} ms; {kept_rows:,} rows of counts")


if __name__ == "__main__":
    main()
