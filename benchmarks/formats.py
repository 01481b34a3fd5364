"""Time every export format on records of a real capture's shape, on one core.

In: the shipped city capture, replayed. Out: a table, or JSON. Never: a figure from another day.

`make bench-formats`, or `python benchmarks/formats.py --records 20000 --rounds 5 --json`. The city's rows are
taken over and over, each time with other numbers and times. `record` is making the neutral record; a format's figure is
the format alone. A whole export costs both, and reading the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from itertools import count, islice
from pathlib import Path
from statistics import median
from time import process_time_ns
from typing import Any

from egress_watch.cli import main as egress_watch
from egress_watch.exports.formats import FORMATS
from egress_watch.exports.record import EXPORTED, FLOW, Origin, record
from egress_watch.store.reader import Reader

CITY = Path(__file__).parent.parent / "captures" / "city.pcapng"
ORIGIN = Origin("bench", "0", "2026-11-23")
HOUR_NS = 3_600_000_000_000


def rows(reader: Reader, kind: str) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Return the city's rows, an alert with the newest flow of its episode."""
    if kind == FLOW:
        return [(row, None) for row in reader.flows({})]
    return [(row, next(reader.flows({"id": row["last_flow"]}), None)) for row in reader.episodes({})]


def many(found: list[tuple[dict[str, Any], dict[str, Any] | None]]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield the rows again and again, each round an hour later and under new numbers."""
    for turn in count():
        for row, flow in found:
            later = {name: row[name] + turn * HOUR_NS for name in ("first_ns", "last_ns")}
            yield {**row, **later, "id": row["id"] + turn}, flow


def timed(work: Callable[[], Iterable[Any]]) -> tuple[int, int]:
    """Return the nanoseconds of processor time that the work took, and the bytes it made."""
    begin_ns = process_time_ns()
    size = sum(len(piece) if isinstance(piece, bytes) else len(str(piece).encode()) + 1 for piece in work())
    return process_time_ns() - begin_ns, size


def measure(path: str, records: int, rounds: int) -> list[dict[str, Any]]:
    """Return one row a format and kind, all in turns."""
    spent: dict[tuple[str, str], list[tuple[int, int]]] = {}
    with Reader(path) as reader:
        found = {kind: rows(reader, kind) for kind in EXPORTED}
    for _ in range(rounds):
        for kind in EXPORTED:
            raw = list(islice(many(found[kind]), records))
            kept: list[dict[str, Any]] = []
            begin_ns = process_time_ns()
            kept.extend(record(kind, row, ORIGIN, flow=flow) for row, flow in raw)
            spent.setdefault(("record", kind), []).append((process_time_ns() - begin_ns, 0))
            for known in FORMATS:
                if kind in known.kinds:
                    work = timed(lambda known=known, kept=kept, kind=kind: known.encode(kept, kind))
                    spent.setdefault((known.name, kind), []).append(work)
    return [_row(name, kind, some, records) for (name, kind), some in spent.items()]


def _row(name: str, kind: str, some: list[tuple[int, int]], records: int) -> dict[str, Any]:
    spent_ns = median(time_ns for time_ns, _ in some)
    return {
        "format": name, "kind": kind, "records": records, "records_a_second": round(records / spent_ns * 1e9),
        "us_a_record": round(spent_ns / records / 1000, 1), "bytes_a_record": round(some[0][1] / records),
    }  # fmt: skip


def main() -> None:
    """Print the figures."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--records", type=int, default=10_000, help="records in each round (default: 10000)")
    words.add_argument("--rounds", type=int, default=3, help="the median of so many rounds is taken (default: 3)")
    words.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "city.db")
        with redirect_stdout(StringIO()):
            egress_watch(["replay", str(CITY), "--db", path, "--json"])
        figures = measure(path, options.records, options.rounds)
    machine = {"python": platform.python_version(), "load": f"{os.getloadavg()[0]:.2f}"}
    if options.json:
        print(json.dumps({"machine": machine, "formats": figures}))
        return
    print(f"Python {machine['python']}, load {machine['load']}, processor time, median of {options.rounds}")
    shown = "{format:10} {kind:6} {records_a_second:>9,}/s {us_a_record:>7} µs {bytes_a_record:>6} bytes"
    for row in figures:
        print(shown.format(**row))


if __name__ == "__main__":
    main()
