"""RELP over TCP or TLS: every message is answered by the receiver.

In: messages. Out: RFC 5424 messages in RELP frames, up to a window of them under way. Never: a message counted as
delivered that the receiver did not answer.

The connection stays open between batches. The answer means that the receiver has put the message into its queue: one
in memory is lost with the receiver's process, so give it a disk queue (docs/sinks.md).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress

from egress_watch.config import SinkSettings
from egress_watch.sinks import tls
from egress_watch.sinks.frames import syslog
from egress_watch.sinks.relp_session import RelpError, RelpSession
from egress_watch.sinks.sink import RECEIVER_ACKNOWLEDGED, Kind, Message, Receipt, SinkDown
from egress_watch.sinks.syslog import check_facility
from egress_watch.sinks.wire import RECEIVE_BYTES, address, connected, down, heard, send

PORT = 2514
"""No number is assigned; rsyslog's documents use this one."""
MOST_REFUSALS = 3
"""RELP does not say whether an error is for good or of the moment, such as a full queue: so many times it is sent."""


class Relp:
    """A session with one receiver."""

    secure = False

    def __init__(self, settings: SinkSettings) -> None:
        self._settings = settings
        self._where = "{} port {}".format(*address(settings, PORT))
        self._connection: socket.socket | None = None
        self._session = RelpSession()
        self._refusals = ("", 0)
        """The message refused last, and how often in a row."""
        check_facility(settings)

    def deliver(self, messages: Sequence[Message]) -> Receipt:
        """Send a batch and wait for each answer; what is answered before a failure is done."""
        done, refused, sent = 0, {}, 0
        try:
            connection = self._ready()
            while done < len(messages):
                if room := min(self._session.room, len(messages) - sent):
                    some = messages[sent : sent + room]
                    self._send(connection, [syslog(message, self._settings.facility) for message in some])
                    sent += room
                self._hear(connection)
                for answer in self._session.done():
                    if answer.refused and self._for_good(messages[done].id, answer.refused):
                        refused[done] = answer.refused
                    done += 1
        except SinkDown as error:
            self.close()
            raise SinkDown(error.what, receipt=Receipt(done, refused)) from error
        return Receipt(done, refused, "answered 200 to each message")

    def _for_good(self, number: str, said: str) -> bool:
        """Return True where the receiver refuses a message for the last time; raises SinkDown before that."""
        self._refusals = (number, self._refusals[1] + 1 if self._refusals[0] == number else 1)
        if self._refusals[1] < MOST_REFUSALS:
            raise SinkDown(f"{self._where}: {said}")
        return True

    def _send(self, connection: socket.socket, messages: Sequence[bytes]) -> None:
        with down(self._where):
            send(connection, b"".join(map(self._session.syslog, messages)))

    def _hear(self, connection: socket.socket) -> None:
        """Take what the receiver says next.

        Its answers are small and many. Ours to them is not to wait for 40 ms (tcp(7), TCP_QUICKACK), which holds up the
        next of them where the receiver sends one small segment at a time (RFC 896).
        """
        with down(self._where):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            data = connection.recv(RECEIVE_BYTES)
        if not data:
            raise SinkDown(f"{self._where}: closed the connection")
        try:
            self._session.receive(data)
        except RelpError as error:
            raise SinkDown(f"{self._where}: {error}") from error

    def _ready(self) -> socket.socket:
        """Return the open connection, or a new one with a session begun."""
        if self._connection is not None and self._stale(self._connection):
            self.close()
        if self._connection is None:
            self._connection, self._session = self._connected(), RelpSession()
            with down(self._where):
                send(self._connection, self._session.open())
            while not self._session.ready:
                self._hear(self._connection)
        return self._connection

    def _connected(self) -> socket.socket:
        return connected(self._settings, PORT, secure=self.secure)

    def _stale(self, connection: socket.socket) -> bool:
        """Return whether the receiver has ended the session while nothing was under way."""
        try:
            if (data := heard(connection)) is not None:
                self._session.receive(data)
        except (OSError, RelpError):
            return True
        return data == b""

    def close(self) -> None:
        """End the session as far as it goes without waiting, and close."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.settimeout(1)
                if self._session.ready and not self._session.waiting:
                    self._connection.sendall(self._session.end())
            self._connection.close()
            self._connection = None


class RelpTls(Relp):
    """The same within TLS."""

    secure = True

    def __init__(self, settings: SinkSettings) -> None:
        super().__init__(settings)
        tls.context(settings)  # a mistake in the files is told at the start


RELP = Kind(
    "relp", "relp://siem.example:2514", "RELP, as rsyslog's imrelp takes it", RECEIVER_ACKNOWLEDGED, Relp,
    ("facility",), gaps=True,
)  # fmt: skip
RELP_TLS = Kind(
    "relp+tls", "relp+tls://siem.example:2514", "RELP within TLS", RECEIVER_ACKNOWLEDGED, RelpTls,
    ("facility", *tls.SETTINGS), gaps=True,
)  # fmt: skip
