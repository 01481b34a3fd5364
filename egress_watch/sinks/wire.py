"""Connections: TCP and TLS to the receiver that the settings name.

In: settings. Out: a connected socket, or `SinkDown` with words. Never: TLS below 1.2, or a certificate that is not
checked against its authorities and its name.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError
from egress_watch.sinks.sink import SinkDown

if TYPE_CHECKING:  # at run time only those load it that speak TLS
    import ssl

TLS_SETTINGS = ("ca_file", "cert_file", "key_file", "server_name")
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


def tls(settings: SinkSettings) -> ssl.SSLContext:
    """Return how TLS is spoken: 1.2 or newer (RFC 9325), names checked (RFC 9525). Raises ConfigError."""
    import ssl

    where = f"sink {settings.name}"
    if bool(settings.key_file) and not settings.cert_file:
        raise ConfigError("key_file without cert_file", where=where, remedy="name both, or neither")
    for name in ("ca_file", "cert_file", "key_file"):
        if (path := getattr(settings, name)) and not os.access(path, os.R_OK):
            raise ConfigError(f"{name}: {path} cannot be read", where=where, remedy="name a file (PEM) and allow it")
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.cert_file:
            # a password would be asked for on the terminal; an empty one is refused instead
            context.load_cert_chain(settings.cert_file, settings.key_file or None, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        what = f"ca_file, cert_file or key_file: {getattr(error, 'reason', None) or error}"
        raise ConfigError(what, where=where, remedy="give PEM files, the key without a password") from error
    return context


def connected(settings: SinkSettings, default_port: int, *, secure: bool = False) -> socket.socket:
    """Return a connected socket whose every wait ends after ``timeout_s``; raises SinkDown."""
    host, port = address(settings, default_port)
    with down(f"{host} port {port}"):
        plain = socket.create_connection((host, port), settings.timeout_s)
        if not secure:
            return plain
        try:
            return tls(settings).wrap_socket(plain, server_hostname=settings.server_name or host)
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
    """Return what went wrong, without what OpenSSL adds for its authors."""
    verified = getattr(error, "verify_message", None)
    if verified:
        return f"its certificate is not accepted: {verified}"
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason).replace("_", " ").lower() if str(reason).isupper() else str(reason)


def heard(connection: socket.socket) -> bytes | None:
    """Return what the peer has said, b"" where it has ended, None where it said nothing; without waiting for it.

    A TLS connection may have something to read that is no word of the peer's: tickets, or half a record.
    """
    import ssl

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
