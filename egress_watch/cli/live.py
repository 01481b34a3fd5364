"""One run of watch, from interfaces to a report.

In: settings. Out: a database and an exit code. Never: a packet lost because rules or data are loaded anew.
"""

from __future__ import annotations

import gc
import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from egress_watch import sinks
from egress_watch.cli.ahead import Way
from egress_watch.cli.fanout import Fanout
from egress_watch.cli.forward import beside
from egress_watch.cli.judges import described
from egress_watch.cli.log import ERROR, JSON, WARNING, Log
from egress_watch.cli.recorder import STOPPING, TOP, as_places, as_rows, begin, stop_signal
from egress_watch.cli.status_line import StatusLine
from egress_watch.config import Config
from egress_watch.decode.carriers import Tables
from egress_watch.errors import CaptureError, EgressWatchError, RuleError
from egress_watch.library import atlas, data_files, inventory, notices, rule_files, rules, with_networks
from egress_watch.model import Frames, Happening, Health, Packets, Tally
from egress_watch.rules import RuleSet
from egress_watch.sources.filter import Filter
from egress_watch.sources.live import HARDWARE, Live
from egress_watch.sources.narrowing import Narrowing
from egress_watch.sources.tap import LIVE
from egress_watch.store import Reader, Recording, Store
from egress_watch.store.integrity import Checking
from egress_watch.store.lasting import DATABASE
from egress_watch.store.recording import FINISHED
from egress_watch.watch import Stages, stages, watch

BEAT_S = 1.0
LOOK_S = 5.0
"""How often the files of rules and data are looked at for a change."""
CHECK_S = 60.0
"""How long after the start the database is looked at for damage the first time, unless that is asked for sooner."""
TELL_S = 60.0
"""A loss is said at most so often; the database has every minute of it."""


class LiveJob:
    """One run of watch, over interfaces that are listened to already, once for each reader."""

    def __init__(self, config: Config, lives: Sequence[Live], by: Filter | None, *, settings: str, quiet: bool) -> None:
        self._lives, self._filter = lives, by
        self._live: Live | Fanout = lives[0]
        self._forwarder = beside(config, settings)
        self._log = Log("watch", config.watch.log)
        for note in lives[0].notes:
            self._log.say(note, WARNING)
        self._inventory = inventory(config)
        self._config = with_networks(config)
        self._quiet = quiet
        self._tally = Tally()
        self._status = StatusLine(quiet=quiet)
        self._broken: dict[str, str] = {}
        self._load()
        self._next_beat_s = self._next_look_s = self._next_tell_s = 0.0
        self._lost = 0
        self._hup = False
        self._checking: Checking | None = None
        self._check_s = config.watch.check_hours * 3600
        self._next_check_s = time.monotonic() + min(CHECK_S, self._check_s)

    def run(self, *, seconds: int, frames: int, as_json: bool) -> int:
        """Record until a signal, or what was asked for has come; print what was seen, return the exit code."""
        if told := notices():
            self._log.say("; ".join(told), WARNING)
        with Store(self._config.db) as store, self._forwarder or nullcontext():
            number = self._record(store, seconds, frames)
            if as_json or not self._quiet:
                self._report(number, as_json=as_json)
        if self._live.failed:
            raise CaptureError(self._live.failed, where=", ".join(self._live.interfaces))
        return 0

    def _load(self) -> None:
        """Read rules and data; raises what is wrong with the settings."""
        files = data_files(self._config)
        found, broken = rules(self._config)
        self._places = atlas(self._config, files)
        self._files, self._rules, self._unsound = files, found, broken
        for error in broken:
            self._log.say(f"rule set aside: {error}", WARNING)
        self._stamp = self._stamped()

    def _record(self, store: Store, seconds: int, frames: int) -> int:
        through = stages(self._config, self._places, self._rules, secrets.randbits(63), self._inventory)
        begun = f"{LIVE}{time.time_ns()} {os.getpid()}"
        narrowed = f"--filter {self._filter.expression!r}" if self._filter else ""
        marks = {name: f"{begun} {name}" for name in self._live.interfaces}
        recording = begin(
            store, self._config, self._rules, self._files, marks, narrowed, broken=self._unsound, live=True
        )
        gc.freeze()  # modules, rules and tables stay: collections need not go over them again and again
        gc.enable()
        until_s = time.monotonic() + seconds if seconds else float("inf")
        with stop_signal(self._stopping()) as stopped, self._on_hup():

            def go_on(_: Frames, tally: Tally) -> bool:
                self._beat(recording, through, tally)
                if stopped() or time.monotonic() >= until_s:
                    self._live.end()  # what has come by now is recorded still
                return True

            source, decoded = self._source(through.tables, frames)
            wait_ns = int(self._config.watch.commit_s * 1e9)
            tally = watch(source, through, recording, go_on, wait_ns, time.monotonic_ns, decoded)
        self._tally = tally
        self._tell_broken(through.rules.broken)
        self._end(recording, tally, marks)
        return recording.id

    def _stopping(self) -> str:
        """Return what is said to whoever stops it: behind the figures on a terminal, which end with no line."""
        return self._log.line(STOPPING) if self._config.watch.log == JSON else f"\n{STOPPING}"

    def _source(self, tables: Tables, frames: int) -> tuple[Iterator[Frames], Callable[[Frames], Packets] | None]:
        """Return what is to be followed: read here, or by readers, who have decoded it already."""
        narrowing = Narrowing(filter=self._filter)
        if len(self._lives) == 1:
            return narrowing.narrowed(self._lives[0].frames(frames)), None
        self._live = Fanout(self._lives, Way(narrowing, tables), spool_bytes=self._config.watch.spool_bytes)
        return self._live.frames(), self._live.packets

    def _end(self, recording: Recording, tally: Tally, marks: dict[str, str]) -> None:
        recording.beat(tally, self._live.health(), [*self._live.happened(), *recording.tidy()])
        recording.finish(tally, marks, FINISHED)
        self._live.close()
        self._status.clear()
        if self._config.watch.times == HARDWARE and tally.frames and not self._live.by_hardware():
            self._log.say("no time came from an interface itself; all are the kernel's", WARNING)

    def _beat(self, recording: Recording, through: Stages, tally: Tally) -> None:
        """Once a second: store how it goes and show it; load anew what changed."""
        now_s = time.monotonic()
        if now_s < self._next_beat_s:
            return
        self._next_beat_s = now_s + BEAT_S
        minutes, happened = self._live.health(), [*self._live.happened(), *recording.tidy(), *self._checked(now_s)]
        recording.beat(tally, minutes, happened)
        self._status.show(self._live.states(), tally, minutes)
        for one in happened:
            self._log.say(f"{one.interface}: {one.what}", interface=one.interface, what=one.what)
        self._tell_losses(minutes, now_s)
        self._tell_broken(through.rules.broken)
        if self._forwarder and (ended := self._forwarder.look()):
            self._log.say(ended, WARNING)
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + LOOK_S
            self._hup |= self._stamped() != self._stamp
        if self._hup:
            self._hup = False
            self._reload(recording, through)

    def _checked(self, now_s: float) -> list[Happening]:
        """Have the database looked at when that is due; return what came of it."""
        if self._checking and (said := self._checking.said()):
            self._checking = None
            return [Happening(time.time_ns(), DATABASE, said)]
        if self._check_s and not self._checking and now_s >= self._next_check_s:
            self._next_check_s, self._checking = now_s + self._check_s, Checking(self._config.db)
        return []

    def _tell_losses(self, minutes: list[Health], now_s: float) -> None:
        self._lost += sum(one.lost + one.overruns + one.dropped for one in minutes)
        if self._lost and now_s >= self._next_tell_s:
            self._next_tell_s = now_s + TELL_S
            said = f"{self._lost:,} frames lost since this was last said; the table health has them by minute"
            self._log.say(said, WARNING, lost=self._lost)
            self._lost = 0

    def _tell_broken(self, broken: Mapping[str, str]) -> None:
        """Say once of each rule that it failed or was too slow."""
        fresh = {rule: why for rule, why in broken.items() if rule not in self._broken}
        origins = {rule.id: rule.origin for rule in self._rules}
        for rule, why in fresh.items():
            self._log.say(f"rule set aside: {RuleError(why, where=origins.get(rule, rule))}", WARNING)
        self._broken |= fresh

    def _reload(self, recording: Recording, through: Stages) -> None:
        """Judge by the rules and data as they are now; what is wrong with them is said, and those before stay."""
        self._stamp = self._stamped()
        try:
            self._load()
            recording.reload(described(self._files), as_rows(self._rules), as_places(self._unsound))
        except EgressWatchError as error:
            self._log.say(f"rules and data stay as they were: {error}", ERROR)
            return
        through.rules, through.atlas = RuleSet(self._rules), self._places
        self._broken.clear()
        rules_, files = len(self._rules), len(self._files)
        self._log.say(f"loaded anew: {rules_} rules, {files} data files", rules=rules_, data_files=files)

    def _stamped(self) -> list[tuple[str, int, int]]:
        """Return what shows that a file of rules or data changed."""
        found = []
        with suppress(EgressWatchError):
            for path in (*rule_files(self._config.rules.folder), *(file.path for file in self._files)):
                with suppress(OSError):
                    status = Path(path).stat()
                    found.append((str(path), status.st_mtime_ns, status.st_size))
        return found

    @contextmanager
    def _on_hup(self) -> Iterator[None]:
        def note(_: int, __: Any) -> None:
            self._hup, self._next_beat_s = True, 0.0

        before = signal.signal(signal.SIGHUP, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, before)

    def _report(self, number: int, *, as_json: bool) -> None:
        with Reader(self._config.db) as reader:
            snapshot = reader.snapshot([number], TOP)
        outcome: dict[str, Any] = {
            "db": str(Path(self._config.db).resolve()), "inputs": list(self._live.interfaces), "held": [],
            "passed_over": [], "failed": [], "interrupted": False,
            "broken_rules": [*map(str, self._unsound), *self._broken.values()],
            "zone_asked": self._config.zone.lower(), "unwrapped": dict(self._tally.unwrapped),
            "narrowed": self._filter.expression if self._filter else "",
        }  # fmt: skip
        if as_json:
            from egress_watch.cli.summary import summary

            sinks.write("-", [json.dumps(summary(snapshot, outcome))])
            return
        from egress_watch.cli.report import show

        show(snapshot, outcome, self._config)
