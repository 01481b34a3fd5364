"""Real receivers for the delivery contract test, one of each kind of sink: started here, and asked what they hold."""

from __future__ import annotations

import io
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from receiving_brokers import BROKERS
from receiving_web import WEB

from egress_watch.config import SinkSettings
from egress_watch.sinks.sink import Message, Sink, SinkDown

PATIENCE_S = 30
HOSTILE = (
    "plain", "", "line\nbreak\r\n", "pipe|equals=quote\"'\\", "=cmd()|/C calc!A0", "]]> %s {0} ${jndi:x}",
    "\x1b[31mred\x07", "<13>1 - - - - - - injected", "\u202eright to left", "✓ no ASCII", "9999 <13>", "x" * 65_536,
)  # fmt: skip
"""What names on the wire may hold; a format escapes it before a sink sees it."""


class Receiver(NamedTuple):
    """One receiver that runs."""

    settings: SinkSettings
    """How to reach it."""
    bodies: Callable[[], list[bytes]]
    """Return the records it holds, as they were given to the sink, in the order it took them."""
    stop: Callable[[], None] | None = None
    """End it at once, as `kill -9` does, with what it holds; None where that has no meaning."""
    start: Callable[[], None] | None = None
    """Start it again at the same address, with what it held."""


def message(number: int, body: bytes, kind: str = "alert") -> Message:
    """Return a message as the outbox makes one; its id goes with its number."""
    made_id = f"0193b2f0-0000-7000-8000-{number:012x}"
    return Message(made_id, kind, 1_730_000_000_000_000_000 + number, "high", "192.0.2.7", "north", body, 3)


def relp_session(connection: socket.socket, takes: Callable[[bytes], bool | None]) -> None:
    """Be the receiver of a RELP session that answers each message 200 or 500, as it is told; None ends the session."""
    stream = connection.makefile("rb")
    while head := stream.readline():
        number, command, _ = head.split(b" ", 2)
        if command == b"open":
            stream.readline(), stream.readline()
            connection.sendall(number + b" rsp 6 200 OK\n")
        elif command == b"syslog":
            if (taken := takes(head)) is None:
                return
            connection.sendall(number + (b" rsp 6 200 OK\n" if taken else b" rsp 6 500 no\n"))


def apart(messages: list[Message]) -> list[Message]:
    """Return messages of as many devices: no order is asked of them."""
    return [one._replace(device=f"198.51.100.{number}") for number, one in enumerate(messages)]


def eventually(true: Callable[[], bool]) -> bool:
    """Return whether something comes true while anybody would wait for it."""
    end = time.monotonic() + PATIENCE_S
    while not (held := true()) and time.monotonic() < end:
        time.sleep(0.02)
    return held


def deliver(sink: Sink, messages: list[Message]) -> int:
    """Deliver as the outbox does, patiently: what is not done is sent again. Return how many were refused."""
    end, refused = time.monotonic() + PATIENCE_S, 0
    while messages:
        assert time.monotonic() < end, "no progress"
        try:
            receipt = sink.deliver(messages)
        except SinkDown as down:
            receipt = down.receipt
            time.sleep(0.05)
        refused += len(receipt.refused)
        messages = messages[receipt.done :]
    return refused


@contextmanager
def stdout(folder: Path) -> Iterator[Receiver]:
    """Put a file in the place of standard output."""
    before, path = sys.stdout, folder / "out"
    with path.open("wb") as file:
        sys.stdout = io.TextIOWrapper(file)
        try:
            yield Receiver(SinkSettings("out", "stdout:"), lambda: path.read_bytes().splitlines())
        finally:
            sys.stdout.detach()
            sys.stdout = before


@contextmanager
def log(folder: Path) -> Iterator[Receiver]:
    """Write to a file."""
    path = folder / "alerts.json"
    yield Receiver(SinkSettings("log", f"file:{path}"), lambda: path.read_bytes().splitlines())


def _rsyslog(scheme: str) -> Callable[[Path], AbstractContextManager[Receiver]]:
    def run(folder: Path) -> AbstractContextManager[Receiver]:
        from rsyslogs import rsyslog

        return rsyslog(folder, scheme)

    return run


RECEIVERS: dict[str, Callable[[Path], AbstractContextManager[Receiver]]] = {
    "file": log,
    "stdout": stdout,
    **{scheme: _rsyslog(scheme) for scheme in ("syslog+udp", "syslog+tcp", "syslog+tls", "relp", "relp+tls")},
    **WEB,
    **BROKERS,
}
"""By the scheme of the sink; each gets a folder of its own."""
