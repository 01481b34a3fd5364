"""NATS JetStream: records to a subject that a stream stores, each acknowledged by the stream.

In: messages. Out: the same, under the event id as Nats-Msg-Id, by which a stream drops doubles within its window.
Never: a record counted as done that no stream has stored.

nats-py is imported when a sink is opened. Its client lives in an event loop of its own, which runs only while a batch
is delivered, so a connection that lay still is made anew.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError
from egress_watch.sinks import tls
from egress_watch.sinks.secret import secret
from egress_watch.sinks.sink import RECEIVER_ACKNOWLEDGED, Kind, Message, Receipt, SinkDown

WAY = re.compile(r"nats(?P<tls>\+tls)?://(?P<servers>[^/\s@]+)/(?P<subject>[^\s*>.]+(\.[^\s*>.]+)*)")
STILL_S = 30.0
"""A connection unused for longer is made anew: nobody answered the server's pings meanwhile."""
TOO_LARGE = 10_054
"""JetStream's error code for a message larger than the stream takes."""


class Nats:
    """Publishes batches."""

    def __init__(self, settings: SinkSettings) -> None:
        where = f"sink {settings.name}"
        try:
            import nats  # noqa: F401
        except ImportError:
            remedy = "pip install 'egress-watch[nats]'"
            raise ConfigError("NATS needs the package nats-py", where=where, remedy=remedy) from None
        way = WAY.fullmatch(settings.to)
        if not way:
            raise ConfigError("to: no server and subject", where=where, remedy=f"write it as {NATS.example}")
        self._subject, self._timeout_s = way["subject"], settings.timeout_s
        self._options = _options(settings, way)
        self._loop = asyncio.new_event_loop()
        self._client: Any = None
        self._used_s = 0.0

    def deliver(self, messages: Sequence[Message]) -> Receipt:
        """Publish a batch and wait until the stream acknowledged each record."""
        if self._client is not None and time.monotonic() - self._used_s > STILL_S:
            self._leave()
        try:
            receipt = self._loop.run_until_complete(self._deliver(messages))
        except SinkDown:
            self._leave()
            raise
        self._used_s = time.monotonic()
        return receipt

    def close(self) -> None:
        """Let go of the connection and the loop."""
        if not self._loop.is_closed():
            self._leave()
            self._loop.close()

    def _leave(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            self._loop.run_until_complete(_ended(client))

    async def _deliver(self, messages: Sequence[Message]) -> Receipt:
        stream = await self._stream()
        acks = [asyncio.ensure_future(self._publish(stream, message)) for message in messages]
        said = await asyncio.gather(*acks, return_exceptions=True)
        refused: dict[int, str] = {}
        for place, error in enumerate(said):
            if not isinstance(error, BaseException):
                continue
            if _too_large(error):
                refused[place] = "larger than the server or the stream takes"
                continue
            raise SinkDown(self._why(error), receipt=Receipt(place, refused))
        doubles = sum(getattr(ack, "duplicate", None) is True for ack in said)
        return Receipt(len(said), refused, f"stored by the stream, {doubles} known already")

    async def _publish(self, stream: Any, message: Message) -> Any:
        headers = {"Nats-Msg-Id": message.id, "Egress-Watch-Kind": message.kind}
        return await stream.publish(self._subject, message.body, timeout=self._timeout_s, headers=headers)

    async def _stream(self) -> Any:
        """Return JetStream over a connection that is up; raises SinkDown."""
        if self._client is None or not self._client.is_connected:
            from nats.aio.client import Client

            self._client = Client()
            try:
                await asyncio.wait_for(self._client.connect(**self._options), self._timeout_s)
            except Exception as error:  # noqa: BLE001 - the client raises what the network, TLS or the server made of it
                raise SinkDown(self._why(error)) from None
        return self._client.jetstream(timeout=self._timeout_s)

    def _why(self, error: BaseException) -> str:
        from nats.js.errors import APIError, NoStreamResponseError

        if isinstance(error, NoStreamResponseError):
            return f"no stream takes the subject {self._subject}"
        if isinstance(error, APIError):
            return f"the stream answers {error.code} {error.description or ''}".strip()
        if isinstance(error, ssl.SSLError):
            return tls.said(error)
        if isinstance(error, TimeoutError):
            return f"is silent for {self._timeout_s:g} s"
        return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _too_large(error: BaseException) -> bool:
    from nats.errors import MaxPayloadError
    from nats.js.errors import APIError

    return isinstance(error, MaxPayloadError) or (isinstance(error, APIError) and error.err_code == TOO_LARGE)


async def _ended(client: Any) -> None:
    """Close a connection, and wait for all that it had begun."""
    with suppress(Exception):  # whatever ends it, it is ended
        await asyncio.wait_for(client.close(), 1)
    begun = asyncio.all_tasks() - {asyncio.current_task()}
    for task in begun:
        task.cancel()
    await asyncio.gather(*begun, return_exceptions=True)


async def _no_word(_: Exception) -> None:
    """Say nothing: what matters is raised to the batch."""


def _options(settings: SinkSettings, way: re.Match[str]) -> dict[str, Any]:
    found, servers = secret(settings), way["servers"].split(",")
    options: dict[str, Any] = {
        "servers": [f"{'tls' if way['tls'] else 'nats'}://{server}" for server in servers], "name": "egress-watch",
        "allow_reconnect": False, "connect_timeout": settings.timeout_s, "error_cb": _no_word,
    }  # fmt: skip
    if found:
        options |= {"user": settings.user, "password": found} if settings.user else {"token": found}
    if way["tls"]:
        options["tls"] = tls.context(settings)
        options["tls_hostname"] = settings.server_name or servers[0].rpartition(":")[0] or servers[0]
    return options


_SETTINGS = ("secret_file", "secret_env", "user")
NATS = Kind(
    "nats", "nats://nats.example:4222/egress.alerts",
    "a NATS subject that a JetStream stream stores, which drops doubles (extra: nats)",
    RECEIVER_ACKNOWLEDGED, Nats, _SETTINGS, gaps=True,
)  # fmt: skip
NATS_TLS = Kind(
    "nats+tls", "nats+tls://nats.example:4222/egress.alerts", "NATS JetStream within TLS", RECEIVER_ACKNOWLEDGED, Nats,
    (*_SETTINGS, *tls.SETTINGS), gaps=True,
)  # fmt: skip
