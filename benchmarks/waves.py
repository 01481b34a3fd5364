"""What the order within a device costs: records a second through each sink that sends in waves, by whose they are.

    python benchmarks/waves.py                 # each such sink, to the receiver of the delivery contract test
    python benchmarks/waves.py elastic nats

A batch of 500 is one wave where each record is another device's, and 500 where all are one device's.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from receiving import RECEIVERS, message  # noqa: E402 - found by the path above

from egress_watch.sinks.kinds import SINKS, opened  # noqa: E402

BATCH, BODY = 500, b'{"n":1,"pad":"%b"}' % (b"x" * 800)
CHANCE = random.Random(1)
WHOSE = {
    "each another device's": (4000, lambda number: number),
    "of 150 devices, a fourth of one": (4000, lambda number: CHANCE.randrange(150) if number % 4 else 0),
    "all of one device": (1000, lambda _: 0),
}


def rate(scheme: str, whose: str) -> float:
    """Return records a second."""
    size, device = WHOSE[whose]
    messages = [message(number, BODY)._replace(device=f"{device(number)}") for number in range(size)]
    with tempfile.TemporaryDirectory() as folder, RECEIVERS[scheme](Path(folder)) as receiver:
        sink = opened(receiver.settings)
        sink.deliver([message(size, BODY)])  # connected
        begin, done = time.perf_counter(), 0
        while done < size:
            done += sink.deliver(messages[done : done + BATCH]).done
        seconds = time.perf_counter() - begin
        sink.close()
    return size / seconds


def main() -> None:
    """Print a table."""
    print(" | ".join(["", "records a second to", *WHOSE, ""]).strip())
    print("| --- " * (len(WHOSE) + 1) + "|")
    for scheme in sys.argv[1:] or [known.scheme for known in SINKS if known.gaps]:
        print(" | ".join(["", scheme, *(f"{rate(scheme, whose):,.0f}" for whose in WHOSE), ""]).strip(), flush=True)


if __name__ == "__main__":
    main()
