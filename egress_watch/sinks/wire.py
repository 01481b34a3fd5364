"""Connections: TCP and TLS to the receiver that the settings name.

In: settings. Out: a connected socket, or `SinkDown` with words. Never: TLS below 1.2, or a certificate that is not
checked against its authorities and its name.
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from termios import TIOCOUTQ
from urllib.parse import urlsplit

from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError
from egress_watch.sinks import tls
from egress_watch.sinks.sink import SinkDown

RECEIVE_BYTES = 65_536


def address(settings: SinkSettings, default_port: int) -> tuple[str, int]:
    """Return host and port of ``to``; raises ConfigError."""
    where = f"sink {settings.name}"
    try:
        parts = urlsplit(settings.to)
        host, port = parts.hostname, parts.port or default_port
    except ValueError as error:
        raise ConfigError(f"to: {error}", where=where, remedy="write it as scheme://host:port") from error
    if not host or parts.path.strip("/") or parts.query or parts.fragment:
        what = f"to: {settings.to!r} is no host and port"
        raise ConfigError(what, where=where, remedy="write it as scheme://host:port, or scheme://[2001:db8::1]:port")
    return host, port


def connected(settings: SinkSettings, default_port: int, *, secure: bool = False) -> socket.socket:
    """Return a connected socket whose every wait ends after ``timeout_s``; raises SinkDown."""
    host, port = address(settings, default_port)
    with down(f"{host} port {port}"):
        plain = socket.create_connection((host, port), settings.timeout_s)
        if not secure:
            return plain
        try:
            return tls.context(settings).wrap_socket(plain, server_hostname=settings.server_name or host)
        except BaseException:
            plain.close()
            raise


@contextmanager
def down(where: str) -> Iterator[None]:
    """Turn what a socket complains of into SinkDown."""
    try:
        yield
    except ConfigError as error:  # a certificate that was there when we began
        raise SinkDown(f"{where}: {error.what}") from error
    except TimeoutError as error:
        raise SinkDown(f"{where}: no answer in time") from error
    except (OSError, ValueError) as error:  # ValueError: a name that cannot be written as IDNA, among others
        raise SinkDown(f"{where}: {words(error)}") from error


def words(error: BaseException) -> str:
    """Return what went wrong."""
    if isinstance(error, ssl.SSLError):
        return tls.said(error)
    return str(getattr(error, "strerror", None) or error)


def heard(connection: socket.socket) -> bytes | None:
    """Return what the peer has said, b"" where it has ended, None where it said nothing; without waiting for it.

    A TLS connection may have something to read that is no word of the peer's: tickets, or half a record.
    """
    timeout_s = connection.gettimeout()
    connection.settimeout(0)
    try:
        return connection.recv(RECEIVE_BYTES)
    except (BlockingIOError, ssl.SSLWantReadError):
        return None
    finally:
        connection.settimeout(timeout_s)


def all_read(connection: socket.socket, timeout_s: float) -> None:
    """Raise OSError unless the peer, whose end has come, took every byte of ours before it closed.

    A process that is killed closes too. If it had read what was there, its machine says the same as one that read all;
    what comes behind is answered by a reset, which `recv` does not tell once it told the end (tcp(7), SO_ERROR).
    """
    end = time.monotonic() + timeout_s
    while error := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or _unread(connection):
        if error != errno.EAGAIN or time.monotonic() > end:
            raise OSError(error, "closed before it had everything")
        time.sleep(0.001)


def _unread(connection: socket.socket) -> int:
    """Return EAGAIN while bytes of ours are not yet acknowledged by the peer's machine, else 0."""
    waiting = int.from_bytes(ioctl(connection.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder)
    return errno.EAGAIN if waiting else 0


def ended(connection: socket.socket) -> bool:
    """Return whether the peer has closed its side already."""
    watch = select.poll()
    watch.register(connection, select.POLLRDHUP)
    return bool(watch.poll(0))


def send(connection: socket.socket, data: bytes) -> None:
    """Send all; a receiver that takes some bytes within each time-out is slow, not down. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[connection.send(view[:RECEIVE_BYTES]) :]
