"""Fetch one file over HTTP, within limits of size, time and redirects.

In: an address that the user's command leads to. Out: a file. Never: an address of another scheme, a step from https
down to http, a byte or a second beyond the limits; and never called but by `data update`.

The proxy of the environment (``https_proxy``, ``no_proxy``) is used, as by any other client.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from errno import EDQUOT, EFBIG, ENOSPC
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPSConnection
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from egress_watch import __version__
from egress_watch.errors import UpdateError
from egress_watch.library.publishers import Limits

CHUNK_BYTES = 1 << 16
ABSENT = (404, 410)
NO_ROOM = (ENOSPC, EDQUOT, EFBIG)
REMEDY = "try again later, or fetch the file elsewhere and give it with --from"


class Fetched(NamedTuple):
    """What came: from which address in the end, and when its publisher last changed it (ISO date, "" unknown)."""

    url: str
    changed: str


def fetch(url: str, target: Path, limits: Limits, most_bytes: int) -> Fetched | None:
    """Write what an address holds to ``target``; None where the server says there is no such file.

    Raises UpdateError with the address, for all that goes wrong on the way, and OSError where the disk is full.
    """
    check(url)
    clock = Clock(limits)
    try:
        with clock.running(), _opener(clock, limits).open(_request(url), timeout=limits.connect_s) as answer:
            _drain(answer, target, clock, url, most_bytes)
            return Fetched(answer.geturl(), _day(answer.headers))
    except HTTPError as error:
        error.close()
        if error.code in ABSENT:
            return None
        raise UpdateError(_answered(error), where=url, remedy=REMEDY) from error
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise  # our own disk, not the server
        raise UpdateError(clock.said(error), where=url, remedy=REMEDY) from error


def _answered(error: HTTPError) -> str:
    if not 300 <= error.code < 400:
        return f"the server answers {error.code}"
    endless = str(error.msg).startswith(HTTPRedirectHandler.inf_msg)
    return "redirects without an end" if endless else "redirects to no http or https address"


def check(url: str) -> None:
    """Refuse what is no plain address over http or https, and one that holds a password; raises UpdateError."""
    if not re.match(r"https?://[^/?#\s]", url):
        raise UpdateError("is no http or https address", where=url, remedy="give one that begins with https://")
    if "@" in url.split("/")[2]:
        shown = re.sub(r"//[^/]*@", "//...@", url)
        raise UpdateError("holds a name and a password", where=shown, remedy="give an address without them")


class Clock:
    """The time one download may take; at its end the connection is cut, wherever it stands."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._end_s = time.monotonic() + limits.whole_s
        self._socket: socket.socket | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch over a download."""
        timer = threading.Timer(self._limits.whole_s, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def connected(self, connection: HTTPConnection) -> None:
        """Take over a fresh connection; raises TimeoutError where it took too long."""
        self._socket = connection.sock
        connection.sock.settimeout(self._limits.read_s)
        self.check()

    def check(self) -> None:
        """Raise TimeoutError where the time is over."""
        if self.over():
            raise TimeoutError

    def over(self) -> bool:
        """Return whether the time is over."""
        return time.monotonic() >= self._end_s

    def said(self, error: Exception) -> str:
        """Return in words what ended a download."""
        if self.over():
            return f"took longer than {self._limits.whole_s:g} s"
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, TimeoutError):
            return f"no answer within {self._limits.connect_s:g} s, or silent for {self._limits.read_s:g} s"
        return f"cannot be fetched: {getattr(cause, 'strerror', None) or cause or type(cause).__name__}"

    def _cut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # closed meanwhile
                self._socket.shutdown(socket.SHUT_RDWR)


def _opener(clock: Clock, limits: Limits) -> OpenerDirector:
    """Return an opener for http and https only: no file, no FTP, no password kept."""

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            clock.connected(self)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            clock.connected(self)

    class OverHTTP(HTTPHandler):
        def http_open(self, req: Request) -> Any:
            return self.do_open(Plain, req)

    class OverHTTPS(HTTPSHandler):
        def https_open(self, req: Request) -> Any:
            return self.do_open(Secure, req)

    opener = OpenerDirector()
    steps = (ProxyHandler, OverHTTP, OverHTTPS, HTTPDefaultErrorHandler, HTTPErrorProcessor)
    for step in (*(each() for each in steps), _Redirects(limits)):
        opener.add_handler(step)
    return opener


class _Redirects(HTTPRedirectHandler):
    """Follow a few redirects, never out of http and https, never from https down to http."""

    def __init__(self, limits: Limits) -> None:
        self._left = limits.redirects

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Return the next request; raises UpdateError for a step that is not taken."""
        self._left -= 1
        try:
            _check_step(req.full_url, newurl, self._left)
        except UpdateError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_step(here: str, there: str, left: int) -> None:
    check(there)
    if left < 0:
        raise UpdateError("redirects too often", where=here, remedy=REMEDY)
    if here.startswith("https:") and not there.startswith("https:"):
        what = f"leads from https down to {there}"
        raise UpdateError(what, where=here, remedy="fetch the file elsewhere and give it with --from")


def _request(url: str) -> Request:
    headers = {"User-Agent": f"egress-watch/{__version__}", "Accept-Encoding": "identity"}
    return Request(url, headers=headers)  # noqa: S310 - its scheme was checked


def _drain(answer: Any, target: Path, clock: Clock, url: str, most_bytes: int) -> None:
    """Write an answer to a file, no further than the limits go."""
    length = answer.headers.get("Content-Length", "")
    announced = int(length) if length.isdecimal() and len(length) < 20 else -1
    _bound(announced, most_bytes, url)
    taken = 0
    with target.open("wb") as file:
        while chunk := answer.read1(CHUNK_BYTES):
            clock.check()
            taken += len(chunk)
            _bound(taken, most_bytes, url)
            file.write(chunk)
    clock.check()
    if announced not in {-1, taken}:
        raise UpdateError(f"cut short: {taken:,} of {announced:,} bytes came", where=url, remedy=REMEDY)


def _bound(size_bytes: int, most_bytes: int, url: str) -> None:
    if size_bytes > most_bytes:
        what = f"holds more than {most_bytes:,} bytes"
        raise UpdateError(what, where=url, remedy="see that the address leads to the right file")


def _day(headers: Any) -> str:
    try:
        return parsedate_to_datetime(headers.get("Last-Modified", "")).date().isoformat()
    except (ValueError, TypeError, OverflowError):
        return ""
