"""What a sink is: the contract between the outbox and every way to a receiver.

In: messages, each a record that is formatted. Out: how many of them, from the front, need not be sent again.
Never: a message counted as done of which the sink's promise does not hold.

A sink is opened from its settings by its `Kind` and sends nothing until `deliver` is called. One thread calls it, one
batch at a time, the oldest message first. `deliver` blocks for at most about ``timeout_s`` without progress.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from egress_watch.config import SinkSettings
from egress_watch.model import PROMISES

NONE: Mapping[int, str] = MappingProxyType({})


class Message(NamedTuple):
    """One record on its way to one receiver."""

    id: str
    """The event id: the same however often it is sent, so that a receiver can drop doubles."""
    kind: str
    """``alert`` or ``flow``."""
    time_ns: int
    """The record's own time, nanoseconds since 1970 UTC."""
    level: str
    """Sigma level; `exports.severity` has it on every scale."""
    device: str
    """Address of the device, within which order is kept (`waves`); partitions take it as their key."""
    sensor: str
    """Who saw it: the host name of syslog."""
    body: bytes
    """The record in the sink's format: one line of UTF-8 without its line break, printable ASCII in most formats."""
    severity: int = 6
    """The level as RFC 5424 counts it, 2 Critical to 6 Informational."""


class Receipt(NamedTuple):
    """What became of a batch."""

    done: int
    """Messages from the front that are delivered as far as the sink promises, or refused for good."""
    refused: Mapping[int, str] = NONE
    """Of these, by their place in the batch, those the receiver will never take, and why. They are set aside."""
    said: str = ""
    """What the receiver answered, in a few words, for `sinks test`; "" where it says nothing."""


class SinkDown(Exception):  # noqa: N818 - a state, not a mistake
    """The receiver cannot be reached, or takes nothing now; what is not done is sent again later, under the same ids.

    ``receipt`` is what was done before, ``retry_s`` how long the receiver asks to be left alone, 0 where it does not
    say. The words go to `sinks` and to the screen: they hold no secret and no text of a record.
    """

    def __init__(self, what: str, *, receipt: Receipt = Receipt(0), retry_s: float = 0.0) -> None:  # noqa: B008
        super().__init__(what)
        self.what = what
        self.receipt = receipt
        self.retry_s = retry_s


class Sink(Protocol):
    """An opened sink."""

    def deliver(self, messages: Sequence[Message]) -> Receipt:
        """Send a batch; return what is done, perhaps less than all, or raise `SinkDown`. Never raises OSError."""
        ...

    def close(self) -> None:
        """Let go of files and connections; never raises, and waits for nobody."""
        ...


class Promise(NamedTuple):
    """What a delivery that was reported means."""

    word: str
    about: str


BEST_EFFORT, CONNECTION_ACKNOWLEDGED, RECEIVER_ACKNOWLEDGED, WRITTEN = (Promise(*one) for one in PROMISES.items())


class Kind(NamedTuple):
    """One way to a receiver: what `SINKS` lists."""

    scheme: str
    """What the setting ``to`` begins with, before ``:``."""
    example: str
    """A whole ``to``."""
    about: str
    promise: Promise
    open: Callable[[SinkSettings], Sink]
    """Opens it without a word to the receiver; raises ConfigError for settings that cannot work, UsageError."""
    settings: tuple[str, ...] = ()
    """Names of `SinkSettings` that this kind reads beside those that all do; any other that is set is a mistake."""
    gaps: bool = False
    """Whether its receiver may take a record and not the one before it: records of a device then go one by one."""
