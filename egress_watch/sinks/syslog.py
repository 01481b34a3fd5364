"""Syslog over TCP and TLS: a connection for each batch, and the batch counts once the receiver closed in good order.

In: messages. Out: RFC 5424 messages with their length in front. Never: a batch that counts as delivered because `send`
returned: what lies in a buffer of a receiver that is killed is gone, and nobody is told.

After the last message our side is closed; the receiver reads to the end and closes too. That says that its process
read everything, not that anything is on a disk. A connection that is reset, or silent, means the batch is sent again.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence

from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError
from egress_watch.sinks import tls
from egress_watch.sinks.frames import counted, syslog
from egress_watch.sinks.sink import CONNECTION_ACKNOWLEDGED, Kind, Message, Receipt
from egress_watch.sinks.wire import RECEIVE_BYTES, address, all_read, connected, down, ended, send

TCP_PORT, TLS_PORT = 601, 6514
"""syslog-conn (RFC 3195) and syslog-tls (RFC 5425)."""
SAID = "read to the end and closed in good order"


class SyslogTcp:
    """RFC 6587, octet counting."""

    def __init__(self, settings: SinkSettings) -> None:
        self._settings, self._port = settings, TCP_PORT
        host, port = address(settings, self._port)
        self._where = f"{host} port {port}"
        check_facility(settings)

    def deliver(self, messages: Sequence[Message]) -> Receipt:
        """Send a batch over a connection of its own."""
        data = b"".join(counted(syslog(message, self._settings.facility)) for message in messages)
        with self._connected() as connection, down(self._where):
            send(connection, data)
            if ended(connection):
                raise OSError(0, "closed before it had everything")
            self._finish(connection)
            all_read(connection, self._settings.timeout_s)
        return Receipt(len(messages), said=SAID)

    def _connected(self) -> socket.socket:
        return connected(self._settings, self._port)

    def _finish(self, connection: socket.socket) -> None:
        """Close our side and wait until the receiver, who has nothing to say, closes its own."""
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(RECEIVE_BYTES):
            pass

    def close(self) -> None:
        """Nothing stays open between batches."""


class SyslogTls(SyslogTcp):
    """RFC 5425: the same frames within TLS, with a client certificate where one is given."""

    def __init__(self, settings: SinkSettings) -> None:
        super().__init__(settings)
        self._port = TLS_PORT
        self._where = "{} port {}".format(*address(settings, TLS_PORT))
        tls.context(settings)  # a mistake in the files is told at the start

    def _connected(self) -> socket.socket:
        return connected(self._settings, self._port, secure=True)

    def _finish(self, connection: socket.socket) -> None:
        """Say that all was sent (close_notify) and wait for the same, or for the end of the connection.

        rsyslog with GnuTLS never says it and closes the connection: that counts. One that is killed with bytes unread
        resets it, which raises.
        """
        assert isinstance(connection, ssl.SSLSocket)
        try:
            connection.unwrap()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return


def check_facility(settings: SinkSettings) -> None:
    """Raise ConfigError for a facility that RFC 5424 (table 1) does not have."""
    if settings.facility > 23:
        where = f"sink {settings.name}"
        raise ConfigError(f"facility: {settings.facility} is none", where=where, remedy="give a number from 0 to 23")


SYSLOG_TCP = Kind(
    "syslog+tcp", "syslog+tcp://siem.example:601", "RFC 5424 over TCP, octet counting (RFC 6587)",
    CONNECTION_ACKNOWLEDGED, SyslogTcp, ("facility",),
)  # fmt: skip
SYSLOG_TLS = Kind(
    "syslog+tls", "syslog+tls://siem.example:6514", "RFC 5424 over TLS (RFC 5425)",
    CONNECTION_ACKNOWLEDGED, SyslogTls, ("facility", *tls.SETTINGS),
)  # fmt: skip
