"""Kafka: records to a topic, acknowledged by all replicas, those of a device in one partition.

In: messages. Out: the same, keyed by device, with the event id in a header. Never: a producer used on after a failure:
what it still holds would come beside what is sent again.

confluent-kafka (librdkafka) is imported when a sink is opened. Its producer is idempotent: it does not double a record
by its own retries. A batch that is sent again after a failure is told by its event ids.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError
from egress_watch.sinks.secret import secret
from egress_watch.sinks.sink import RECEIVER_ACKNOWLEDGED, Kind, Message, Receipt, SinkDown

WAY = re.compile(r"kafka(?P<tls>\+tls)?://(?P<brokers>[^/\s@]+)/(?P<topic>[A-Za-z0-9._-]{1,249})")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
TOO_LARGE = "larger than the broker takes (MSG_SIZE_TOO_LARGE)"
_QUIET = logging.getLogger("egress_watch.sinks.kafka")
_QUIET.setLevel(logging.CRITICAL + 1)
"""librdkafka writes to standard error otherwise; what matters comes back as errors."""


class Kafka:
    """Produces batches."""

    def __init__(self, settings: SinkSettings) -> None:
        where = f"sink {settings.name}"
        try:
            from confluent_kafka import Producer
        except ImportError:
            remedy = "pip install 'egress-watch[kafka]'"
            raise ConfigError("Kafka needs the package confluent-kafka", where=where, remedy=remedy) from None
        way = WAY.fullmatch(settings.to)
        if not way:
            raise ConfigError("to: no brokers and topic", where=where, remedy=f"write it as {KAFKA.example}")
        self._topic, self._timeout_s, self._said = way["topic"], settings.timeout_s, ""
        self._make = partial(Producer, {**_options(settings, way), "error_cb": self._hear}, logger=_QUIET)
        self._producer: Any = _tried(self._make, where)

    def deliver(self, messages: Sequence[Message]) -> Receipt:
        """Produce a batch and wait until each record is acknowledged or failed."""
        self._producer, self._said = self._producer or self._make(), ""
        said: dict[int, Any] = {}
        for place, message in enumerate(messages):
            self._produce(place, message, said)
        self._producer.flush(self._timeout_s + 1)
        if len(messages) > 1 and any(map(_too_large, said.values())):  # said of a request, not of each record in it
            return self.deliver(messages[: len(messages) // 2])
        return self._receipt(len(messages), said)

    def close(self) -> None:
        """Let go of the producer and of what it holds."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge(in_queue=True, in_flight=True)
            producer.flush(0)

    def _produce(self, place: int, message: Message, said: dict[int, Any]) -> None:
        from confluent_kafka import KafkaException

        headers = [("event_id", message.id.encode()), ("kind", message.kind.encode())]
        try:
            self._producer.produce(
                self._topic, message.body, message.device.encode(), headers=headers,
                on_delivery=lambda error, _: said.__setitem__(place, error),
            )  # fmt: skip
        except KafkaException as error:
            said[place] = TOO_LARGE if _too_large(error.args[0]) else error.args[0]
        except BufferError:
            said[place] = "its queue is full"

    def _receipt(self, count: int, said: dict[int, Any]) -> Receipt:
        refused: dict[int, str] = {}
        for place in range(count):
            error = said.get(place, f"is silent for {self._timeout_s:g} s")
            if error is None:
                continue
            if error is TOO_LARGE or _too_large(error):
                refused[place] = TOO_LARGE
                continue
            self.close()
            raise SinkDown(self._why(error), receipt=Receipt(place, refused))
        return Receipt(count, refused, "acknowledged by all replicas")

    def _why(self, error: Any) -> str:
        """Return why a record failed: what the brokers said, where the record itself only timed out."""
        own = getattr(error, "name", lambda: "")()
        said = self._said if own in {"_MSG_TIMED_OUT", "_PURGE_QUEUE", "_PURGE_INFLIGHT", ""} else ""
        return (said or f"{own} {error.str() if own else error}").strip()

    def _hear(self, error: Any) -> None:
        if not self._said or error.name() != "_ALL_BROKERS_DOWN":  # which only sums up what was said before
            self._said = f"{error.name()} {error.str()}"


def _tried(make: Any, where: str) -> Any:
    from confluent_kafka import KafkaException

    try:
        return make()
    except KafkaException as error:
        remedy = "see ca_file, cert_file, key_file and sasl"
        raise ConfigError(f"cannot be opened: {error.args[0].str()}", where=where, remedy=remedy) from None


def _options(settings: SinkSettings, way: re.Match[str]) -> dict[str, Any]:
    """Return librdkafka's configuration."""
    timeout_ms = max(int(settings.timeout_s * 1000), 1000)
    found, named = secret(settings), bool(settings.user)
    if named and settings.sasl not in MECHANISMS:
        what, remedy = f"sasl: {settings.sasl!r} is none", f"one of: {', '.join(MECHANISMS)}"
        raise ConfigError(what, where=f"sink {settings.name}", remedy=remedy)
    if named and settings.sasl == "PLAIN" and not way["tls"]:
        what = "sasl PLAIN would send the password in the clear"
        raise ConfigError(what, where=f"sink {settings.name}", remedy="write kafka+tls://, or use SCRAM-SHA-512")
    protocol = ("SASL_" if named else "") + ("SSL" if way["tls"] else "PLAINTEXT")
    options = {
        "bootstrap.servers": way["brokers"], "client.id": "egress-watch", "acks": "all", "enable.idempotence": True,
        "message.timeout.ms": timeout_ms, "socket.timeout.ms": timeout_ms, "linger.ms": 5,
        "security.protocol": protocol, "allow.auto.create.topics": True, "reconnect.backoff.max.ms": 1000,
    }  # fmt: skip
    if named:
        options |= {"sasl.mechanism": settings.sasl, "sasl.username": settings.user, "sasl.password": found}
    files = (("ssl.ca.location", settings.ca_file), ("ssl.certificate.location", settings.cert_file),
             ("ssl.key.location", settings.key_file))  # fmt: skip
    return {**options, **{key: path for key, path in files if path and way["tls"]}}


def _too_large(error: Any) -> bool:
    return getattr(error, "name", lambda: "")() == "MSG_SIZE_TOO_LARGE"


_SETTINGS = ("secret_file", "secret_env", "user", "sasl")
KAFKA = Kind(
    "kafka", "kafka://broker1:9092,broker2:9092/egress",
    "a Kafka topic, stored by all replicas, keyed by device (extra: kafka)",
    RECEIVER_ACKNOWLEDGED, Kafka, _SETTINGS, gaps=True,
)  # fmt: skip
KAFKA_TLS = Kind(
    "kafka+tls", "kafka+tls://broker1:9093,broker2:9093/egress", "Kafka within TLS", RECEIVER_ACKNOWLEDGED, Kafka,
    (*_SETTINGS, "ca_file", "cert_file", "key_file"), gaps=True,
)  # fmt: skip
