"""A publisher to update from: a real HTTP server on this machine, as good or as bad as a test wants it."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import maxminddb

from egress_watch.library import DATA

Answer = Callable[[BaseHTTPRequestHandler], None]
METADATA = b"\xab\xcd\xefMaxMind.com"
DAY_S = 86400
LIMITS = {
    "connect_s": 2.0, "read_s": 1.0, "whole_s": 20.0, "redirects": 3, "most_packed_bytes": 20_000_000,
    "most_bytes": 20_000_000, "most_list_bytes": 20_000_000,
}  # fmt: skip
"""Of the tests' publishers: as shipped, but for the patience."""


def shipped(name: str) -> bytes:
    """Return a shipped database."""
    return (DATA / f"{name}.mmdb").read_bytes()


def epoch_s(name: str) -> int:
    """Return when a shipped database says it was built."""
    with maxminddb.open_database(DATA / f"{name}.mmdb") as reader:
        return reader.metadata().build_epoch


@cache
def dated(name: str, days: float) -> bytes:
    """Return a shipped database that says it was built so many days later than it does."""
    return at(name, epoch_s(name) + int(days * DAY_S))


def at(name: str, moment_s: int) -> bytes:
    """Return a shipped database that says it was built at a moment."""
    content = shipped(name)
    start = content.rindex(METADATA)
    head, tail = content[:start], content[start:]
    old = epoch_s(name).to_bytes(4, "big")
    assert tail.count(old) == 1
    return head + tail.replace(old, moment_s.to_bytes(4, "big"))


@contextmanager
def serving(pages: dict[str, bytes | Answer]) -> Iterator[str]:
    """Serve pages by their path and give the address; what is not listed is a 404."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = pages.get(self.path, status(404))
            with suppress(OSError):  # the client has left
                answer(self) if callable(answer) else send(self, answer)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(page: BaseHTTPRequestHandler, content: bytes, code: int = 200, **headers: str) -> None:
    """Answer with a code, headers (dashes as underlines) and a body."""
    page.send_response(code)
    for key, value in {"Content_Length": str(len(content)), **headers}.items():
        page.send_header(key.replace("_", "-"), value)
    page.end_headers()
    page.wfile.write(content)


def status(code: int) -> Answer:
    """Return an answer that is only a status."""
    return lambda page: send(page, b"<html>no</html>", code)


def moved(to: str) -> Answer:
    """Return a redirect."""
    return lambda page: send(page, b"", 302, Location=to)


def cut(content: bytes) -> Answer:
    """Return an answer that announces all and sends half."""

    def answer(page: BaseHTTPRequestHandler) -> None:
        send(page, content[: len(content) // 2], Content_Length=str(len(content)))

    return answer


def endless(page: BaseHTTPRequestHandler) -> None:
    """Send bytes for ever, with no length."""
    page.send_response(200)
    page.end_headers()
    while True:
        page.wfile.write(bytes(1 << 16))


def dripping(page: BaseHTTPRequestHandler) -> None:
    """Send a byte now and then: never silent, never done."""
    page.send_response(200)
    page.end_headers()
    while True:
        page.wfile.write(b"x")
        time.sleep(0.05)


def dripping_headers(page: BaseHTTPRequestHandler) -> None:
    """Send one endless header, a byte now and then."""
    page.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        page.wfile.write(b"x")
        time.sleep(0.05)


def silent(page: BaseHTTPRequestHandler) -> None:
    """Accept, and say nothing."""
    time.sleep(5)
    page.close_connection = True


def bomb(content_bytes: int) -> bytes:
    """Return a small gzip file that becomes large."""
    return gzip.compress(bytes(content_bytes))


def table_of(folder: Path, databases: list[dict], providers: list[dict] = (), **limits: float) -> str:
    """Write a table of publishers and return its path."""
    rows = [f"[limits]\n{_lines(LIMITS | limits)}"]
    rows += [f"[[database]]\n{_lines(row)}" for row in databases] + [
        f"[[provider]]\n{_lines(row)}" for row in providers
    ]
    path = folder / "publishers.toml"
    path.write_text("\n\n".join(rows) + "\n", encoding="utf-8")
    return str(path)


def _lines(row: dict) -> str:
    return "\n".join(f"{key} = {_toml(value)}" for key, value in row.items())


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {json.dumps(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)


def database(name: str, kind: str, type_: str, *urls: str) -> dict:
    """Return a row of a table of publishers."""
    source = {"publisher": "a test", "url": "https://example.org"}
    return {
        "name": name, "kind": kind, "types": [type_], "urls": list(urls), "source": source, "licence": "CC0-1.0",
        "attribution": "a test",
    }  # fmt: skip
