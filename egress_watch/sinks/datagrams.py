"""Syslog over UDP (RFC 5426): a datagram a message, and no word from anybody whether it came.

In: messages. Out: datagrams. Never: a message cut in two, or one longer than the receiver is said to take.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from errno import EMSGSIZE

from egress_watch.config import SinkSettings
from egress_watch.sinks.frames import syslog
from egress_watch.sinks.sink import BEST_EFFORT, Kind, Message, Receipt, SinkDown
from egress_watch.sinks.syslog import check_facility
from egress_watch.sinks.wire import address, down, words

PORT = 514


class SyslogUdp:
    """One socket, connected, so that the machine says when the port of the receiver is closed."""

    def __init__(self, settings: SinkSettings) -> None:
        self._settings = settings
        self._host, self._port = address(settings, PORT)
        self._socket: socket.socket | None = None
        check_facility(settings)

    def deliver(self, messages: Sequence[Message]) -> Receipt:
        """Send each message; one that is too long is refused, a closed port is down."""
        refused: dict[int, str] = {}
        for number, message in enumerate(messages):
            data = syslog(message, self._settings.facility)
            if len(data) > self._settings.datagram_bytes or not self._sent(data, Receipt(number, refused)):
                refused[number] = f"{len(data):,} bytes are too long for a datagram"
        return Receipt(len(messages), refused, "sent; UDP has no answer")

    def _sent(self, data: bytes, before: Receipt) -> bool:
        """Send a datagram; return whether the machine takes one of that length."""
        try:
            self._opened().send(data)
        except OSError as error:
            if error.errno == EMSGSIZE:
                return False
            self.close()
            raise SinkDown(f"{self._host} port {self._port}: {words(error)}", receipt=before) from error
        return True

    def _opened(self) -> socket.socket:
        if self._socket is None:
            with down(f"{self._host} port {self._port}"):
                family, _, _, _, there = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[0]
                self._socket = socket.socket(family, socket.SOCK_DGRAM)
                self._socket.settimeout(self._settings.timeout_s)
                self._socket.connect(there)
        return self._socket

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


SYSLOG_UDP = Kind(
    "syslog+udp", "syslog+udp://siem.example:514", "RFC 5424 over UDP (RFC 5426)", BEST_EFFORT, SyslogUdp,
    ("facility", "datagram_bytes"),
)  # fmt: skip
