"""One sink's way through the outbox: read, send, move the cursor; wait where the receiver is down.

In: a database and a sink. Out: its cursor, its state. Never: a cursor moved over what is not done, or a wait that
anybody but this sink notices.

The order is: a heartbeat where one is due, what was dropped, then news of alerts, then flows, each stream in the order
of its numbers with one batch under way. All pauses go by the monotonic clock, so a clock that is set does not matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Any

from egress_watch.config import SinkSettings
from egress_watch.errors import EgressWatchError, StoreError
from egress_watch.exports.plain import printable
from egress_watch.forward.pause import pause_s
from egress_watch.forward.pulse import Pulse
from egress_watch.forward.words import Row, Words, wanted_streams
from egress_watch.sinks.kinds import kind, opened
from egress_watch.sinks.sink import Receipt, Sink, SinkDown
from egress_watch.store.gaps import ALERTS, FLOWS
from egress_watch.store.outbox import Done, Outbox, Refusal

IDLE_S = 0.5
LIMITS_S = 10.0
"""How often the limits are looked at."""
MOST_WORDS = 300


class Lane:
    """Forwards to one sink."""

    def __init__(self, settings: SinkSettings, tell: Callable[[str], None] = lambda _: None) -> None:
        self.settings = settings
        self.trouble = ""
        """Why it is down, "" where it is not."""
        self._sink: Sink = opened(settings)
        self._tell = tell
        self._failures = 0
        self._pulse = Pulse(settings)
        self._limits_due = time.monotonic()

    def claim(self, outbox: Outbox, *, from_now: bool = False) -> None:
        """Take the sink over in the database; raises StoreError while another process forwards to it."""
        known = kind(self.settings)
        told = {"target": self.settings.to, "promise": known.promise.word, "records": " ".join(self.settings.records)}
        outbox.claim(self.settings.name, told, from_now=from_now)

    def run(self, outbox: Outbox, words: Words, stop: Event, *, once: bool = False) -> None:
        """Forward until ``stop``, or where ``once`` until nothing is left or the sink is down."""
        try:
            while not stop.is_set():
                pause = self._turn(outbox, words, stop, beats=not once)
                if once and (pause or self.trouble):
                    break
                stop.wait(pause)
        finally:
            self._sink.close()
            outbox.release(self.settings.name)

    def _turn(self, outbox: Outbox, words: Words, stop: Event, *, beats: bool) -> float:
        """Send the next batch; return how long to wait: not at all, until there may be more, or until the next try."""
        try:
            self._keep_limits(outbox)
            if beats:
                self._beat(outbox, words)
            sent = self._gaps(outbox, words) or any(
                self._batch(outbox, words, stream, stop) for stream in wanted_streams(self.settings)
            )
        except SinkDown as down:
            return self._down(outbox, f"{down.what}", down.retry_s)
        except StoreError as error:
            return self._down(None, str(error).partition("\n")[0], 0)
        return 0.0 if sent else IDLE_S

    def _keep_limits(self, outbox: Outbox) -> None:
        """Drop the oldest flows where too many wait, and alerts only at their own, last limit."""
        if time.monotonic() < self._limits_due:
            return
        limits = {FLOWS: self.settings.flows_limit, ALERTS: self.settings.alerts_limit}
        for stream, limit in limits.items():
            if stream in self.settings.records and (dropped := outbox.drop(self.settings.name, stream, limit)):
                self._say(f"{dropped:,} {stream} dropped: more than {limit:,} were waiting")
        self._limits_due = time.monotonic() + LIMITS_S

    def _beat(self, outbox: Outbox, words: Words) -> None:
        """Tell the receiver that we live, where that is due; it counts as no record of its streams."""
        if message := self._pulse.due(outbox, words):
            for reason in self._deliver([message]).refused.values():
                self._say(f"a heartbeat was refused: {printable(reason[:MOST_WORDS])}")
            self._pulse.told()
            outbox.done(self.settings.name, ALERTS, Done(0, 0))  # it is up, as one that has nothing to send shows too

    def _gaps(self, outbox: Outbox, words: Words) -> bool:
        """Tell the receiver what was dropped; return whether there was something to tell."""
        gaps = outbox.gaps(self.settings.name)[: self.settings.batch]
        if gaps:
            receipt = self._deliver([words.gap(gap) for gap in gaps])
            outbox.told([gap["id"] for gap in gaps[: receipt.done]])
        return bool(gaps)

    def _batch(self, outbox: Outbox, words: Words, stream: str, stop: Event) -> bool:
        """Send the next batch of a stream; return whether there was one."""
        rows = words.read(outbox, stream, getattr(outbox.cursor(self.settings.name), stream))
        if not rows:
            return False
        messages = [row.message for row in rows if row.message]
        try:
            receipt = self._deliver(messages) if messages else Receipt(0)
        except SinkDown as down:
            if down.receipt.done:
                self._write(outbox, stream, done_of(rows, down.receipt), stop)
            raise
        self._write(outbox, stream, done_of(rows, receipt), stop)
        return True

    def _deliver(self, messages: Sequence[Any]) -> Receipt:
        receipt = self._sink.deliver(messages)
        if not receipt.done:
            raise SinkDown("took nothing")
        if self._failures:
            self._say("delivers again")
        self._failures, self.trouble = 0, ""
        return receipt

    def _write(self, outbox: Outbox, stream: str, done: Done, stop: Event) -> None:
        """Move the cursor; while the database cannot be written nothing more is sent, since it would be sent twice."""
        failures = 0
        while True:
            try:
                outbox.done(self.settings.name, stream, done)
            except StoreError as error:
                failures += 1
                self._say(f"cannot note what is delivered: {error.what}")
                if stop.wait(pause_s(failures, 0.1, 30)):
                    raise
            else:
                return

    def _down(self, outbox: Outbox | None, what: str, asked_s: float) -> float:
        """Note that it did not work; return the pause."""
        self._failures += 1
        wait_s = pause_s(self._failures, self.settings.retry_s, self.settings.retry_most_s, asked_s)
        what = printable(what[:MOST_WORDS])
        if what != self.trouble:
            self._say(f"down: {what}")
        self.trouble = what
        if outbox is not None:
            try:
                outbox.failed(self.settings.name, what, time.time_ns() + int(wait_s * 1e9))
            except EgressWatchError as error:
                self._say(f"cannot note that it is down: {error.what}")
        return wait_s

    def _say(self, text: str) -> None:
        self._tell(f"sink {self.settings.name}: {text}")


def done_of(rows: Sequence[Row], receipt: Receipt) -> Done:
    """Return what a receipt for the messages of rows means for the cursor: up to the row before the next to send."""
    sent = refused = passed = 0
    last, refusals = 0, list[Refusal]()
    for row in rows:
        if row.message is None:
            passed += 1
        elif sent + refused == receipt.done:
            break
        elif reason := _reason(receipt.refused, sent + refused):
            refused += 1
            refusals.append(Refusal(row.message.kind, row.number, row.message.id, printable(reason[:MOST_WORDS])))
        else:
            sent += 1
        last = row.number
    return Done(last, sent, passed, refusals)


def _reason(refused: Mapping[int, str], place: int) -> str:
    return (refused[place] or "refused") if place in refused else ""
