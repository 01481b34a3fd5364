"""Receivers over HTTP that keep to the documented protocols strictly, as good or as bad as a test wants them.

Elasticsearch's bulk API, Splunk's HTTP Event Collector, and a webhook that verifies signatures with another's library.
None of the real ones can be installed here.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from standardwebhooks import Webhook, WebhookVerificationError

from egress_watch.config import SinkSettings
from egress_watch.exports.format import json_line

Fault = Callable[["Page"], None]
TOKEN = "b5a79f2c-0000-4000-8000-4c1d2e3f4a5b"
KEY = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"


class Page(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # as servers do that are no toys: head and body of an answer go at once
    server: Web

    def setup(self) -> None:
        """Remember the connection, so that it can be cut."""
        super().setup()
        self.server.connections.add(self.connection)

    def do_POST(self) -> None:
        """Answer with the next fault, else as the protocol says."""
        self.body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.requests.append((self.path, dict(self.headers), self.body))
        with suppress(OSError):  # the client has left
            if self.server.faults:
                self.server.faults.pop(0)(self)
            else:
                with self.server.lock:
                    status, said = self.server.answer(self)
                self.say(status, said)

    def say(self, status: int, said: object, **headers: str) -> None:
        """Send an answer in JSON; headers with underlines for dashes."""
        content = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        for key, value in {"Content_Type": "application/json", "Content_Length": str(len(content)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class Web(ThreadingHTTPServer):
    """A receiver that runs; ``faults`` are what the next requests get in place of an answer."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(
        self, answer: Callable[[Page], tuple[int, object]], port: int = 0, chain: tuple[str, str] | None = None
    ) -> None:
        super().__init__(("127.0.0.1", port), Page)
        self.answer, self.lock = answer, threading.Lock()
        self.connections: set[socket.socket] = set()
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        if chain:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*chain)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Keep quiet about clients that leave."""

    def end(self) -> None:
        """Stop, and cut every connection."""
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Receiving:
    """A web receiver that can be ended and begun again at the same port, with what it held."""

    def __init__(self, answer: Callable[[Page], tuple[int, object]], chain: tuple[str, str] | None = None) -> None:
        self._answer, self._chain = answer, chain
        self.web = Web(answer, 0, chain)
        self.port = self.web.server_port

    def stop(self) -> None:
        """End it, with what it had taken and not yet stored."""
        self.web.end()
        if isinstance(self._answer, Collector):
            self._answer.forget()

    def start(self) -> None:
        """Begin it again."""
        self.web = Web(self._answer, self.port, self._chain)


@contextmanager
def running(answer: Callable[[Page], tuple[int, object]], chain: tuple[str, str] | None = None) -> Iterator[Receiving]:
    """Run a receiver."""
    receiving = Receiving(answer, chain)
    try:
        yield receiving
    finally:
        receiving.stop()


class Bulk:
    """What an Elasticsearch holds: documents by index and id, in the order in which they were created."""

    def __init__(self, authorization: str = "") -> None:
        self.held: dict[tuple[str, str], bytes] = {}
        self.authorization = authorization
        self.item_faults: dict[str, tuple[int, str]] = {}
        """Status and type of error by document id."""

    def __call__(self, page: Page) -> tuple[int, object]:
        """Answer a bulk."""
        path = page.path.partition("?")[0]
        if self.authorization and page.headers.get("Authorization") != self.authorization:
            return 401, {"error": {"type": "security_exception", "reason": "missing credentials"}, "status": 401}
        if path != "/_bulk":
            return 405, {"error": f"no handler found for uri [{path}]", "status": 405}
        if page.headers["Content-Type"] not in {"application/x-ndjson", "application/json"}:
            return 406, {"error": "Content-Type header is not supported", "status": 406}
        lines = page.body.split(b"\n")
        if lines.pop() != b"" or len(lines) % 2 or not lines:
            reason = "The bulk request must be terminated by a newline [\\n]"
            return 400, {"error": {"type": "illegal_argument_exception", "reason": reason}, "status": 400}
        items = [self._item(action, source) for action, source in zip(lines[::2], lines[1::2], strict=True)]
        errors = any("error" in item["create"] for item in items)
        return 200, {"took": 1, "errors": errors, "items": items}

    def _item(self, action: bytes, source: bytes) -> dict:
        ((kind, meta),) = json.loads(action).items()
        assert kind == "create", "a data stream takes no other"
        assert meta.keys() == {"_index", "_id"}
        said = {"_index": meta["_index"], "_id": meta["_id"]}
        status, cause = self._indexed(meta, source)
        return {"create": {**said, "status": status, **({"error": cause} if cause else {})}}

    def _indexed(self, meta: dict, source: bytes) -> tuple[int, dict]:
        if fault := self.item_faults.get(meta["_id"]):
            return fault[0], {"type": fault[1], "reason": "as the test wants it"}
        try:
            assert isinstance(json.loads(source), dict)
        except (ValueError, AssertionError):
            return 400, {"type": "document_parsing_exception", "reason": "[1:1] failed to parse"}
        if (meta["_index"], meta["_id"]) in self.held:
            reason = f"[{meta['_id']}]: version conflict, document already exists (current version [1])"
            return 409, {"type": "version_conflict_engine_exception", "reason": reason}
        self.held[meta["_index"], meta["_id"]] = source
        return 201, {}


class Collector:
    """What a Splunk holds: events that are indexed, and those that were only taken; acknowledgements by channel."""

    def __init__(self, *, acknowledges: bool = True, polls: int = 2) -> None:
        self.acknowledges, self.polls = acknowledges, polls
        self.indexed: list[dict] = []
        self.waiting: dict[tuple[str, int], tuple[int, list[dict]]] = {}
        self.numbers: dict[str, int] = {}

    def __call__(self, page: Page) -> tuple[int, object]:
        """Answer a request to the collector."""
        kind, _, token = page.headers.get("Authorization", "").partition(" ")
        if kind != "Splunk":
            return 401, {"text": "Invalid authorization", "code": 3}
        if token != TOKEN:
            return 403, {"text": "Invalid token", "code": 4}
        channel = page.headers.get("X-Splunk-Request-Channel", "")
        if self.acknowledges and not re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", channel):
            return 400, {"text": "Data channel is missing", "code": 10}
        if page.path == "/services/collector/event":
            return self._events(page.body, channel)
        if page.path == "/services/collector/ack":
            return self._acks(page.body, channel)
        return 404, {"text": "The requested URL was not found on this server.", "code": 404}

    def forget(self) -> None:
        """Lose what is not indexed, and every channel, as a collector does that is killed."""
        self.waiting.clear()
        self.numbers.clear()

    def _events(self, body: bytes, channel: str) -> tuple[int, object]:
        text, events, at = body.decode(), [], 0
        if not text:
            return 400, {"text": "No data", "code": 5}
        while at < len(text):
            try:
                event, at = json.JSONDecoder().raw_decode(text, at)
            except ValueError:
                return 400, {"text": "Invalid data format", "code": 6, "invalid-event-number": len(events)}
            if not event.get("event"):
                code, said = (13, "blank") if "event" in event else (12, "required")
                return 400, {"text": f"Event field is {said}", "code": code, "invalid-event-number": len(events)}
            assert event.keys() <= {"time", "host", "source", "sourcetype", "index", "event", "fields"}
            events.append(event)
        if not self.acknowledges:
            self.indexed += events
            return 200, {"text": "Success", "code": 0}
        number = self.numbers.get(channel, 0)
        self.numbers[channel] = number + 1
        self.waiting[channel, number] = self.polls, events
        return 200, {"text": "Success", "code": 0, "ackId": number}

    def _acks(self, body: bytes, channel: str) -> tuple[int, object]:
        if not self.acknowledges:
            return 400, {"text": "ACK is disabled", "code": 14}
        return 200, {"acks": {str(number): self._indexed(channel, number) for number in json.loads(body)["acks"]}}

    def _indexed(self, channel: str, number: int) -> bool:
        left, events = self.waiting.get((channel, number), (-1, []))
        if left > 0:
            self.waiting[channel, number] = left - 1, events
            return False
        self.indexed += events
        self.waiting.pop((channel, number), None)  # a number is forgotten once it was said
        return left == 0


class Hook:
    """What a webhook was given: bodies by batch, verified as Standard Webhooks says where it has a key."""

    def __init__(self, *, key: str = "", lines: bool = False) -> None:
        self.key, self.lines = key, lines
        self.batches: list[tuple[str, bytes]] = []

    def __call__(self, page: Page) -> tuple[int, object]:
        """Take a batch."""
        if self.key:
            try:
                Webhook(self.key).verify(page.body, {key.lower(): value for key, value in page.headers.items()})
            except WebhookVerificationError:
                return 401, {"error": "signature"}
        self.batches.append((page.headers["webhook-id"], page.body))
        return 202, {}

    def records(self) -> list[bytes]:
        """Return the records of all batches."""
        if self.lines:
            return [line for _, body in self.batches for line in body.splitlines()]
        return [json_line(value).encode() for _, body in self.batches for value in json.loads(body)]


def secret(folder: Path, text: str) -> str:
    """Return the path of a file that holds a secret."""
    path = folder / "secret"
    path.write_text(f"{text}\n", encoding="utf-8")
    return str(path)


@contextmanager
def elastic(folder: Path) -> Iterator:
    """Run a strict bulk API."""
    from receiving import Receiver

    bulk = Bulk("ApiKey a2V5")
    with running(bulk) as web:
        to = f"elastic:http://127.0.0.1:{web.port}/logs-egress_watch.{{kind}}-default"
        settings = SinkSettings("es", to, secret_file=secret(folder, "a2V5"), timeout_s=5)
        yield Receiver(settings, lambda: list(bulk.held.values()), web.stop, web.start)


def _splunk(scheme: str) -> Callable:
    @contextmanager
    def start(folder: Path) -> Iterator:
        from receiving import Receiver

        collector = Collector(acknowledges=scheme == "splunk")
        with running(collector) as web:
            told = {"secret_file": secret(folder, TOKEN), **({"acknowledge_s": 2.0} if scheme == "splunk" else {})}
            settings = SinkSettings("hec", f"{scheme}:http://127.0.0.1:{web.port}", timeout_s=5, **told)
            held = lambda: [json_line(event["event"]).encode() for event in collector.indexed]  # noqa: E731
            yield Receiver(settings, held, web.stop, web.start)

    return start


@contextmanager
def webhook(folder: Path) -> Iterator:
    """Run a webhook that verifies."""
    from receiving import Receiver

    hook = Hook(key=KEY)
    with running(hook) as web:
        to = f"webhook:http://127.0.0.1:{web.port}/egress"
        yield Receiver(SinkSettings("hook", to, secret_file=secret(folder, KEY), timeout_s=5), hook.records,
                       web.stop, web.start)  # fmt: skip


WEB = {
    "elastic": elastic, "splunk": _splunk("splunk"), "splunk-unacknowledged": _splunk("splunk-unacknowledged"),
    "webhook": webhook,
}  # fmt: skip


def answers(status: int, said: object = b"", **headers: str) -> Fault:
    """Return a fault that is only an answer."""
    return lambda page: page.say(status, said, **headers)


def hangs(page: Page) -> None:
    """Say nothing until the client leaves."""
    with suppress(OSError):
        page.connection.recv(1)


def breaks_off(page: Page) -> None:
    """Close in the middle of an answer."""
    page.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"took"')
    page.connection.shutdown(socket.SHUT_RDWR)
    page.close_connection = True


def resets(page: Page) -> None:
    """Close without a word."""
    page.connection.shutdown(socket.SHUT_RDWR)
    page.close_connection = True


def takes_then_resets(page: Page) -> None:
    """Store the batch, then lose the answer: the worst case."""
    page.server.answer(page)
    resets(page)


def drips(page: Page) -> None:
    """Send the head of an answer, a byte now and then, for ever."""
    page.close_connection = True
    for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000:
        page.wfile.write(bytes([byte]))
        time.sleep(0.05)


def endless(page: Page) -> None:
    """Send an answer without end."""
    page.close_connection = True
    page.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        page.wfile.write(bytes(1 << 16))
