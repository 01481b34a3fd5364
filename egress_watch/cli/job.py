"""One run of replay, from paths to a report.

In: settings and paths. Out: a database and an exit code. Never: a signal that leaves the database in doubt.
"""

from __future__ import annotations

import gc
import json
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from errno import EACCES
from pathlib import Path
from typing import Any

from egress_watch import sinks
from egress_watch.cli.narrow import Asked
from egress_watch.cli.progress import progress
from egress_watch.cli.recorder import TOP, begin, stop_signal, tell
from egress_watch.config import Config
from egress_watch.decode import easily
from egress_watch.decode.carriers import Tables
from egress_watch.errors import DATA_TROUBLE, USAGE, CaptureError, EgressWatchError, RuleError
from egress_watch.exports.pseudonyms import Pseudonyms
from egress_watch.library import atlas, data_files, inventory, notices, rules, with_networks
from egress_watch.model import Frames, Packets, Snapshot, Tally
from egress_watch.sources import Inputs, open_inputs
from egress_watch.store import Reader, Recording, Store
from egress_watch.store.recording import FINISHED, INTERRUPTED
from egress_watch.watch import stages, watch

STOPPED = 130
Cover = Callable[[Callable[[str], bool]], Pseudonyms | None]
"""Who covers the report, given what tells whether an address is a device's."""
Decoded = Callable[[Frames], Packets] | None


class Job:
    """One run of replay: what was asked, and what came of it."""

    def __init__(
        self, config: Config, asked: Asked, *, again: bool, quiet: bool, jobs: int, cover: Cover = lambda _: None
    ) -> None:
        self._cover = cover
        self._inventory = inventory(config)
        config = with_networks(config)
        self._config, self._asked, self._again, self._quiet, self._jobs = config, asked, again, quiet, jobs
        self._rules, self._unsound = rules(config)
        self._broken = list(self._unsound)
        self._files = data_files(config)
        self._places = atlas(config, self._files)
        self._held: dict[str, str] = {}
        """Fingerprint by path of what the database holds already."""
        self._pipes: list[str] = []
        self._numbers: list[int] = []
        self._unwrapped: Counter[str] = Counter()
        """Packets taken out of mirrors and tunnels in this run, by kind."""
        self._failed: dict[str, str] = {}
        self._stopped = self._cut = False
        """Whether somebody asked to stop, and whether that left anything unread: the end of a file may come first."""

    def run(self, paths: Sequence[str], *, as_json: bool) -> int:
        """Record what the database does not hold yet, print what it now says of these captures, return the exit code.

        Files are recorded together and each pipe by itself: only at its end a pipe shows whether the database holds it
        already; then its recording goes, and no other.
        """
        self._inputs = open_inputs(paths)
        tell(["; ".join(told)] if (told := notices()) else [])
        with Store(self._config.db) as store:
            for group in self._groups(store):
                if self._stopped:
                    self._cut = True
                else:
                    self._record(group, store)
            return self._report(as_json=as_json)  # the writer closes last and takes the write-ahead log with it

    def _groups(self, store: Store) -> list[list[str]]:
        inputs, prints = self._inputs, self._asked.marks(self._inputs.fingerprints())
        known = set() if self._again else store.recorded(prints.values())
        self._held = {path: mark for path, mark in prints.items() if mark in known or self._twice(path, mark, prints)}
        self._failed = dict(inputs.failed)
        self._pipes = [path for path in inputs.files if path not in prints and path not in self._failed]
        files = [path for path in inputs.files if path not in self._held and path not in self._pipes]
        return [group for group in (files, *([path] for path in self._pipes)) if group]

    def _twice(self, path: str, mark: str, prints: Mapping[str, str]) -> bool:
        """Return whether an earlier input of this run is the same, under another name."""
        return not self._again and next(first for first, other in prints.items() if other == mark) != path

    def _record(self, paths: Sequence[str], store: Store) -> None:
        """Record some inputs, with a progress bar where a person watches; Ctrl-C ends it in good order."""
        inputs = open_inputs(paths).looked_at(self._inputs)
        through = stages(self._config, self._places, self._rules, secrets.randbits(63), self._inventory)
        marks = self._asked.marks(inputs.fingerprints())
        recording = begin(store, self._config, self._rules, self._files, marks, self._asked.words, broken=self._unsound)
        gc.freeze()  # modules, rules and tables stay: collections need not go over them again and again
        gc.enable()
        with (
            stop_signal() as stopped,
            self._frames(inputs, through.tables) as (source, decoded),
            progress(inputs, quiet=self._quiet) as advance,
        ):

            def go_on(frames: Frames, tally: Tally) -> bool:
                advance(frames, tally)
                self._cut = stopped()
                return not self._cut

            tally = watch(source, through, recording, go_on, decoded=decoded)
            advance(None, tally)  # the flows that the end of the captures closed
            self._stopped = stopped()
        self._unwrapped.update(tally.unwrapped)
        self._failed |= dict(inputs.failed)
        self._set_aside(through.rules.broken)
        if through.evidence and through.evidence.trouble:
            tell([f"evidence could not be written: {through.evidence.trouble}"])
        self._end(recording, inputs, store, tally)

    @contextmanager
    def _frames(self, inputs: Inputs, tables: Tables) -> Iterator[tuple[Iterator[Frames], Decoded]]:
        """Return what is to be followed: read here, or ahead of the loop by other processes; a pipe always here."""
        jobs = self._jobs or len(os.sched_getaffinity(0))
        if jobs == 1 or set(inputs.files) & set(self._pipes):
            narrowing = self._asked.narrowing  # what leaves frames out leaves nothing of what was read of them
            yield narrowing.narrowed(inputs.frames(None if narrowing else easily(tables))), None
            return
        from egress_watch.cli.ahead import Way, ahead

        with ahead(inputs, Way(self._asked.narrowing, tables), jobs - 1) as others:
            yield others.frames(), others.packets

    def _set_aside(self, broken: Mapping[str, str]) -> None:
        self._broken += [RuleError(broken[rule.id], where=rule.origin) for rule in self._rules if rule.id in broken]

    def _end(self, recording: Recording, inputs: Inputs, store: Store, tally: Tally) -> None:
        """End the recording, unless it is barren, or came through a pipe and is what the database holds already."""
        prints = self._asked.marks(inputs.fingerprints())
        late = {path: mark for path, mark in prints.items() if path in self._pipes}
        if not self._again and store.recorded(late.values()):
            self._held |= late
            store.remove(recording)
        elif not tally.frames and not self._cut and self._failed.keys() >= set(inputs.files):
            store.remove(recording)  # nothing was read at all; the next run tries again
        else:
            recording.finish(tally, prints, INTERRUPTED if self._cut else FINISHED, self._failed)
            self._numbers.append(recording.id)

    def _report(self, *, as_json: bool) -> int:
        with Reader(self._config.db) as reader:
            numbers = {*self._numbers, *reader.recordings_of(self._held.values())}
            reasons = reader.failed_inputs()
            self._failed |= {path: reasons[mark] for path, mark in self._held.items() if mark in reasons}
            snapshot = reader.snapshot(sorted(numbers) or [0], TOP)
            if covers := self._cover(reader.is_device):
                devices, alerts = tuple(covers.rows(snapshot.devices)), tuple(covers.rows(snapshot.alerts))
                snapshot = replace(snapshot, devices=devices, alerts=alerts)
        outcome: dict[str, Any] = {
            "db": str(Path(self._config.db).resolve()), "inputs": list(self._inputs.files), "held": list(self._held),
            "passed_over": self._inputs.passed_over, "failed": list(self._failed.items()), "interrupted": self._cut,
            "broken_rules": list(dict.fromkeys(map(str, self._broken))), "zone_asked": self._config.zone.lower(),
            "unwrapped": dict(self._unwrapped), "narrowed": self._asked.words,
        }  # fmt: skip
        self._print(snapshot, outcome, as_json=as_json)
        _complain(self._failed, outcome["broken_rules"])
        if self._cut:
            return STOPPED
        return DATA_TROUBLE if self._failed else USAGE if self._broken else 0

    def _print(self, snapshot: Snapshot, outcome: Mapping[str, Any], *, as_json: bool) -> None:
        if as_json:
            from egress_watch.cli.summary import summary

            sinks.write("-", [json.dumps(summary(snapshot, outcome))])
        elif snapshot.recordings or not self._failed:
            from egress_watch.cli.report import show

            show(snapshot, outcome, self._config)


def _complain(failed: Mapping[str, str], broken_rules: Sequence[str]) -> None:
    """Say on standard error why the exit code is not 0, whatever becomes of the report."""
    told = [str(_fruitless(path, reason)) for path, reason in failed.items()]
    told += [f"rule set aside: {error}" for error in broken_rules]
    tell(told)


def _fruitless(path: str, reason: str) -> EgressWatchError:
    """Return what is wrong with an input that gave nothing, and what to do about it."""
    what, unpack, _ = reason.partition(", unpack it first")
    remedy = "name a pcap or pcapng file" if what.startswith("no capture") else "capture or copy it anew"
    if unpack:
        remedy = "unpack it first"
    elif what == os.strerror(EACCES):
        remedy = "make it readable"
    return CaptureError(what, where=path, remedy=remedy)
