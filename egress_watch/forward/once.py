"""Records sent once, without a cursor: an export, or a test.

In: messages and a sink's settings. Out: counts, and what the receiver said. Never: success where anything is open.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from egress_watch.config import SinkSettings
from egress_watch.errors import StoreError
from egress_watch.forward.pause import pause_s
from egress_watch.sinks.kinds import opened
from egress_watch.sinks.sink import Message, Receipt, Sink, SinkDown

TRIES = 5
"""In a row without any progress; then it is for the caller to try again."""


class Sent(NamedTuple):
    """What became of all messages."""

    sent: int
    refused: dict[str, str]
    """Reasons by event id."""
    said: str


def send(settings: SinkSettings, messages: Iterable[Message], tries: int = TRIES) -> Sent:
    """Send messages in batches; raises ConfigError, and StoreError once the sink was down so many times."""
    sink, waiting = opened(settings), iter(messages)
    sent, refused, said = 0, dict[str, str](), ""
    try:
        while batch := list(islice(waiting, settings.batch)):
            while batch:
                receipt = _delivered(sink, settings, batch, tries)
                refused |= {batch[place].id: reason for place, reason in receipt.refused.items()}
                sent += receipt.done - len(receipt.refused)
                said, batch = receipt.said or said, batch[receipt.done :]
    except SinkDown as down:
        what = f"{down.what}; {sent:,} records were sent"
        remedy = "the same command sends all of it again, under the same ids"
        raise StoreError(what, where=f"sink {settings.name}", remedy=remedy) from down
    finally:
        sink.close()
    return Sent(sent, refused, said)


def _delivered(sink: Sink, settings: SinkSettings, batch: list[Message], tries: int) -> Receipt:
    """Return the first receipt that is for anything; raises SinkDown at the last try."""
    for number in range(1, tries + 1):
        try:
            return sink.deliver(batch)
        except SinkDown as down:
            if down.receipt.done:
                return down.receipt
            if number == tries:
                raise
            time.sleep(pause_s(number, settings.retry_s, settings.retry_most_s, down.retry_s))
    raise SinkDown("was not tried")
