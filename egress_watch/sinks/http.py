"""HTTP to one receiver: a request goes out, an answer comes back, within limits of time and size.

In: an address from the settings, bodies. Out: answers. Never: a redirect followed, a proxy that the settings do not
name, a secret over plain HTTP to another machine, or a secret in words of error.

urllib3 keeps the connection, checks certificates and reads the answer; what it has no limit for, the time of a whole
answer that comes byte by byte, is ended here.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from egress_watch import __version__
from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError
from egress_watch.sinks import tls
from egress_watch.sinks.secret import secret
from egress_watch.sinks.sink import Message, Receipt, SinkDown
from egress_watch.sinks.waves import waves

if TYPE_CHECKING:
    from urllib3 import HTTPConnectionPool

SETTINGS = ("secret_file", "secret_env", "proxy", *tls.SETTINGS)
"""Settings that every sink over HTTP reads."""
JSON_FORMATS = ("ecs", "ocsf", "eve", "ndjson", "zeek-json")
MOST_BYTES = 16_000_000
"""Of an answer: far above that to a bulk of 10,000 records."""
LONGEST_RETRY_S = 3600.0
WHOLE = 3
"""An answer may take so many times ``timeout_s`` from its first byte to its last."""
CONTENT = (400, 413, 422)
"""Status codes that speak of what was sent (RFC 9110): sent again it would fare no better."""


class Answer(NamedTuple):
    """What a receiver said."""

    status: int
    body: bytes
    retry_s: float
    """From Retry-After (RFC 9110, 10.2.3), 0 where it does not say."""


class Http:
    """One connection, kept between requests."""

    def __init__(self, settings: SinkSettings, headers: Mapping[str, str]) -> None:
        self._settings = settings
        self.address = address(settings)
        self._headers = {"User-Agent": f"egress-watch/{__version__}", **headers}
        self._pool = _pool(settings, self.address)
        self.proved = False
        """Whether it has ever taken a record."""

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send one request; raises SinkDown where no whole answer comes in time."""
        from urllib3.exceptions import HTTPError

        try:
            answer = self._pool.urlopen(
                "POST", self._target(path), body, {**self._headers, **headers}, retries=False, redirect=False,
                preload_content=False, assert_same_host=False,
            )  # fmt: skip
            with _kept(answer):
                content = _content(answer, time.monotonic() + WHOLE * self._settings.timeout_s)
        except (HTTPError, OSError, ValueError) as error:
            raise SinkDown(_words(error, self._settings)) from None
        return Answer(answer.status, content, _retry_s(answer.headers.get("Retry-After", "")))

    def close(self) -> None:
        """Let go of the connection."""
        self._pool.close()

    def _target(self, path: str) -> str:
        """Return the target of a request: a proxy is asked for a plain address by its whole name (RFC 9112, 3.2.2)."""
        whole = self._settings.proxy and self.address.scheme == "http"
        return f"http://{self.address.netloc}{path}" if whole else path


def address(settings: SinkSettings) -> SplitResult:
    """Return the address behind the first colon of ``to``; raises ConfigError for one that cannot be meant."""
    where, text = f"sink {settings.name}", settings.to.partition(":")[2]
    try:
        found = urlsplit(text)
        sound = found.scheme in {"http", "https"} and bool(found.hostname) and found.port != 0
    except ValueError:
        sound = False
    if not sound or re.search(r"[\s\x00-\x20\x7f-\U0010ffff]", text):
        scheme = settings.to.partition(":")[0]
        raise ConfigError("to: no address", where=where, remedy=f"write it as {scheme}:https://siem.example:8088/")
    if "@" in found.netloc or found.query or found.fragment:
        raise ConfigError("to: holds more than host, port and path", where=where, remedy="secrets go in secret_file")
    return found


def authorised(settings: SinkSettings) -> str:
    """Return the secret of a sink; raises ConfigError where it would be sent in the clear to another machine."""
    found, place = secret(settings), address(settings)
    if found and place.scheme == "http" and not _here(place.hostname or ""):
        what = "the secret would be sent in the clear"
        raise ConfigError(what, where=f"sink {settings.name}", remedy="write https, or leave the secret out")
    return found


def taken(answer: Answer) -> bool:
    """Return whether a batch was taken; False where its content is refused; raises SinkDown for anything else."""
    if 200 <= answer.status < 300:
        return True
    if answer.status in CONTENT:
        return False
    raise SinkDown(_meaning(answer.status), retry_s=answer.retry_s)


def spoken(answer: Answer) -> dict[str, Any]:
    """Return the JSON object of an answer, an empty one where it is none."""
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def narrowed(
    http: Http, deliver: Callable[[Sequence[Message]], Receipt], messages: Sequence[Message], why: str
) -> Receipt:
    """Go on after a batch was refused: with its first half, until the one record that is meant stands alone.

    Whoever never took a record may be somebody else at a wrong address, who refuses all there are: nothing is set aside
    for him. So another device's first record is tried before; where it is taken it comes again later, as a double.
    """
    alone, doubtful = len(messages) == 1, not http.proved and not why.startswith("413")  # which speaks of size alone
    if doubtful and alone:
        raise SinkDown(f"answers {why}, and has taken no record so far: are its address and format right?")
    if doubtful:
        deliver([messages[waves(messages)[0][-1]]])
    return Receipt(1, {0: why}) if alone else deliver(messages[: len(messages) // 2])


def plain(text: object, longest: int = 200) -> str:
    """Return a receiver's words without what a terminal or a log would obey."""
    return str(text).encode("unicode_escape").decode("ascii")[:longest]


def _meaning(status: int) -> str:
    if 300 <= status < 400:
        return f"answers {status}: it leads elsewhere, which is not followed; name the right address in `to`"
    if status in {401, 403, 407}:
        return f"answers {status}: it does not accept our secret or certificate"
    if status in {404, 405, 410}:
        return f"answers {status}: nothing takes records at this address"
    return f"answers {status}"


def _pool(settings: SinkSettings, to: SplitResult) -> HTTPConnectionPool:
    """Return a pool of one connection; raises ConfigError for certificates that cannot be used."""
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, ProxyManager, Timeout

    options: dict[str, Any] = {"timeout": Timeout(settings.timeout_s), "maxsize": 1, "retries": False}
    secure = to.scheme == "https"
    if secure:
        options |= {"ssl_context": tls.context(settings), "server_hostname": settings.server_name or None}
    if settings.proxy:
        options.pop("maxsize")
        through = ProxyManager(_proxy(settings), num_pools=1, **options)
        pool = through.connection_from_host(to.hostname, to.port, to.scheme)
    else:
        kind = HTTPSConnectionPool if secure else HTTPConnectionPool
        pool = kind(to.hostname or "", to.port, **options)
    pool.ConnectionCls = _watched(pool.ConnectionCls, WHOLE * settings.timeout_s)
    return pool


def _proxy(settings: SinkSettings) -> str:
    if not re.fullmatch(r"https?://[^/?#\s@]+/?", settings.proxy):
        what = "proxy: no address without a name and password"
        raise ConfigError(what, where=f"sink {settings.name}", remedy='write it as "http://proxy.example:3128"')
    return settings.proxy


def _watched(kind: Any, whole_s: float) -> Any:
    """Return a class of connections whose wait for an answer ends, however slowly its head comes."""

    class Watched(kind):  # type: ignore[misc]
        def getresponse(self) -> Any:
            with _ended(self.sock, whole_s):
                return super().getresponse()

    return Watched


@contextmanager
def _ended(connection: socket.socket | None, whole_s: float) -> Iterator[None]:
    """Cut a connection that takes longer; raises TimeoutError then, also where what came looks like an answer."""
    over = threading.Event()

    def cut() -> None:
        over.set()
        if connection is not None:
            with suppress(OSError):  # closed meanwhile
                connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(whole_s, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if over.is_set():
            raise TimeoutError("its answer comes too slowly")


@contextmanager
def _kept(answer: Any) -> Iterator[None]:
    """Give the connection back after a whole answer, and close it after anything else."""
    try:
        yield
    except BaseException:
        answer.close()
        raise
    answer.release_conn()


def _content(answer: Any, end_s: float) -> bytes:
    pieces, size = [], 0
    for piece in answer.stream(65_536):
        size += len(piece)
        if size > MOST_BYTES or time.monotonic() > end_s:
            raise TimeoutError("its answer is too long")
        pieces.append(piece)
    return b"".join(pieces)


def _retry_s(text: str) -> float:
    """Return the seconds of Retry-After, which is a number or a date."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return min(float(text), LONGEST_RETRY_S)
    try:
        left_s = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
    return min(max(left_s, 0.0), LONGEST_RETRY_S)


def _words(error: Exception, settings: SinkSettings) -> str:
    """Return in words why there was no answer: the innermost reason, without what was sent."""
    chain: list[BaseException] = [error]
    while (inner := _inside(chain[-1])) is not None and inner not in chain:
        chain.append(inner)
    for reason in reversed(chain):
        if isinstance(reason, ssl.SSLError):
            return plain(tls.said(reason))
        if isinstance(reason, TimeoutError):
            return str(reason) if str(reason).startswith("its") else f"is silent for {settings.timeout_s:g} s"
        if isinstance(reason, OSError) and (reason.strerror or str(reason).startswith("Tunnel")):
            return plain(reason.strerror or f"the proxy refuses: {reason}")
    if "Timeout" in type(error).__name__:
        return f"is silent for {settings.timeout_s:g} s"
    return "closed the connection before it answered"


def _inside(error: BaseException) -> BaseException | None:
    named = [one for one in (getattr(error, "reason", None), *error.args) if isinstance(one, BaseException)]
    return error.__cause__ or next(iter(named), None) or error.__context__


def _here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
