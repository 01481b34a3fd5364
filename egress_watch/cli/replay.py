"""Replay captures: judge every flow, store it, raise alerts, and print who talks to whom.

Captures are pcap or pcapng, plain or packed with gzip, xz or zstd: files, a folder of them, or - for standard input.
A capture that the database holds already is not recorded twice; one that was stopped half-way is recorded anew.

In: captures and settings. Out: a database and a report. Never: a packet sent, or a name looked up.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from egress_watch import __version__, sinks
from egress_watch.cli.options import with_zone
from egress_watch.config import Config, load
from egress_watch.errors import DATA_TROUBLE, RuleError
from egress_watch.library import DataFile, atlas, data_files, rules, zone
from egress_watch.model import Frames, Tally
from egress_watch.rules import Rule
from egress_watch.sources import Inputs, open_inputs
from egress_watch.store import Reader, Recording, Store
from egress_watch.watch import stages, watch

HELP = "judge captures and store the flows"
EXAMPLES = (
    "egress-watch replay capture.pcap",
    "egress-watch replay /var/captures/ --db city.db --zone eu27",
    "ssh sensor tcpdump -w - | egress-watch replay - --db live.db",
    "egress-watch replay capture.pcapng.gz --json | jq .verdicts",
)
STDIN = "-"
STOPPED = 130


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument(
        "paths", metavar="PATH", nargs="+", help="a capture, a folder of captures, or - for standard input"
    )
    command.add_argument(
        "--db", default="", metavar="FILE", help="the database to write; default: as configured (egress.db)"
    )
    command.add_argument("--zone", default="", help="eu27, eea, eea+adequacy or ch; default: as configured (eea)")
    command.add_argument("--config", default="", metavar="FILE", help="a TOML file of settings")
    command.add_argument(
        "--again", action="store_true", help="record captures that the database holds already once more"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object instead of the report")


def run(options: argparse.Namespace) -> int:
    """Replay and report."""
    config = with_zone(load(options.config), options.zone)
    config = replace(config, db=options.db or config.db)
    good, broken = rules(config)
    files, places = data_files(config), atlas(config)
    inputs = open_inputs(options.paths)
    store = Store(config.db)
    known = set() if options.again else store.recorded(inputs.fingerprints().values())
    left = [path for path in inputs.files if inputs.fingerprints().get(path) not in known]
    job = _Job(config, files, good, broken, store, again=options.again)
    if left:
        job.record(open_inputs(left), stages(config, places, good, secrets.randbits(63)))
    store.close()
    return job.report(inputs, known, as_json=options.json)


class _Job:
    """One run of replay: what was asked, and what came of it."""

    def __init__(
        self, config: Config, files: list[DataFile], good: list[Rule], broken: list[RuleError], store: Store, *,
        again: bool,
    ) -> None:  # fmt: skip
        self.config, self.files, self.rules, self.broken = config, files, good, broken
        self._store, self._again = store, again
        self._numbers: list[int] = []
        self._failed: list[tuple[str, str]] = []
        self._stopped = False
        self._tally = Tally()

    def record(self, inputs: Inputs, through: Any) -> None:
        """Record the inputs, with a progress bar where a person watches; Ctrl-C ends it in good order."""
        law = zone(self.config.zone)
        rows = [(rule.id, rule.title, rule.level, rule.digest, rule.origin) for rule in self.rules]
        recording = self._store.record(
            zone=law.id, as_of=law.as_of, data=[_described(file) for file in self.files], rules=rows,
            version=__version__, inputs=inputs.fingerprints(),
        )  # fmt: skip
        with _stop_signal() as stopped, _progress(inputs) as advance:

            def go_on(frames: Frames, tally: Tally) -> bool:
                advance(frames, tally)
                return not stopped()

            self._tally = watch(inputs.frames(), through, recording, go_on)
            self._stopped = stopped()
        self._failed = inputs.failed
        self._close(recording, inputs)

    def _close(self, recording: Recording, inputs: Inputs) -> None:
        """End the recording, unless standard input turned out to be what the database holds already."""
        prints = inputs.fingerprints()
        doubled = self._store.recorded(prints[path] for path in (STDIN,) if path in prints)
        if doubled and not self._again:
            self._store.remove(recording)
            self._numbers = []
            return
        recording.finish(self._tally, prints, "interrupted" if self._stopped else "finished")
        self._numbers = [recording.id]

    def report(self, inputs: Inputs, known: set[str], *, as_json: bool) -> int:
        """Print what the database now says of these captures, and return the exit code."""
        reader = Reader(self.config.db)
        held = [path for path, mark in inputs.fingerprints().items() if mark in known]
        numbers = self._numbers or reader.recordings_of(inputs.fingerprints().values())
        snapshot = reader.snapshot(numbers or [0])
        outcome = {
            "db": str(Path(self.config.db).resolve()), "inputs": list(inputs.files), "held": held,
            "passed_over": inputs.passed_over, "failed": self._failed, "interrupted": self._stopped,
            "broken_rules": [str(error) for error in self.broken],
        }  # fmt: skip
        if as_json:
            from egress_watch.cli.summary import summary

            sinks.write("-", [json.dumps(summary(snapshot, outcome))])
        else:
            from egress_watch.cli.report import show

            show(snapshot, outcome, zone(self.config.zone))
        if self._stopped:
            return STOPPED
        return DATA_TROUBLE if self._failed else 0


def _described(file: DataFile) -> dict[str, str]:
    return {
        "name": file.name, "kind": file.kind, "built": file.built, "licence": file.licence,
        "attribution": file.attribution, "sha256": file.sha256,
    }  # fmt: skip


@contextmanager
def _stop_signal() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C (or SIGTERM) into a question that the loop asks after each batch; the second one kills."""
    seen: list[int] = []

    def note(number: int, _: Any) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)
        print("\nstopping after this batch; Ctrl-C again to stop at once", file=sys.stderr)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(inputs: Inputs) -> Iterator[Callable[[Frames, Tally], None]]:
    """Show bytes, packets and flows on standard error while a person watches; stay quiet in a pipe."""
    if not sys.stderr.isatty():
        yield lambda _, __: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("replay"), BarColumn(), TextColumn("{task.percentage:>3.0f}%  {task.fields[counts]}"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("replay", total=inputs.total_bytes or None, counts="")

        def advance(frames: Frames, tally: Tally) -> None:
            counts = f"{tally.packets:,} packets, {tally.flows:,} flows"
            progress.update(task, completed=frames.read_bytes, counts=counts)

        yield advance
