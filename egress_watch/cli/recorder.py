"""What every command that records does: begin a recording, stop in good order, tell what went wrong.

In: settings, rules, data files. Out: a `Recording`; a flag that signals raise. Never: a signal that leaves the database
in doubt.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from egress_watch import __version__
from egress_watch.cli.judges import described
from egress_watch.config import Config
from egress_watch.errors import RuleError
from egress_watch.exports.plain import printable
from egress_watch.library import DataFile, adequate, zone
from egress_watch.model import Pace
from egress_watch.rules import Rule
from egress_watch.store import Recording, Store
from egress_watch.store.retention import Limits


def begin(
    store: Store, config: Config, rules: Iterable[Rule], files: Iterable[DataFile], inputs: Mapping[str, str],
    narrowed: str, *, broken: Iterable[RuleError] = (), live: bool = False,
) -> Recording:  # fmt: skip
    """Begin a recording of ``inputs`` (name to mark) as configured; a live one keeps to [retention]: `Store.record`."""
    law = zone(config.zone, config.as_of, config.own_zone)
    pace, limits = config.alerts, Limits(**asdict(config.retention)) if live else None
    return store.record(
        zone=law.id, as_of=law.as_of, data=described(files), rules=as_rows(rules), version=__version__, inputs=inputs,
        narrowed=narrowed, adequate=adequate(config), unsound=as_places(broken),
        pace=Pace(int(pace.silence_s * 10**9), pace.jump, pace.jump_bytes, pace.storm), limits=limits,
    )  # fmt: skip


def as_rows(rules: Iterable[Rule]) -> list[tuple[str, ...]]:
    """Return rules as the store keeps them."""
    return [(rule.id, rule.title, rule.level, rule.digest, rule.origin) for rule in rules]


def as_places(broken: Iterable[RuleError]) -> list[tuple[str, str]]:
    """Return what is wrong with other rules as the store keeps it."""
    return [(error.where, error.what) for error in broken]


def tell(told: Sequence[str]) -> None:
    """Say lines on standard error, whoever still reads there."""
    if sys.stderr is not None:
        with suppress(OSError):
            for error in told:
                print(*map(printable, f"egress-watch: {error}".split("\n")), sep="\n", file=sys.stderr, flush=True)


TOP = 15
"""How many rows each table of the report has, and how many destinations of alerts it tells of."""

STOPPING = "stopping after this batch; Ctrl-C again to stop at once"


@contextmanager
def stop_signal(said: str = f"\n{STOPPING}") -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C (or SIGTERM) into a question that the loop asks after each batch; the second one kills.

    ``said`` is the line that tells whoever sent it.
    """
    seen: list[int] = []

    def note(number: int, _: Any) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)
        with suppress(OSError):  # not print: the signal may have come in the middle of one
            os.write(2, f"{said}\n".encode())

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
