"""Kafka and NATS: order within a device, doubles by id, what is too large, certificates, words when they are gone."""

from __future__ import annotations

import sys

import pytest
from certificates import Authority
from receiving import apart, deliver, message
from receiving_brokers import consumed, nats_server, stored, stream, tansu, topic

from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError
from egress_watch.sinks.kinds import opened
from egress_watch.sinks.sink import SinkDown

BATCH = [message(number, b'{"n":%d}' % number) for number in range(50)]


def sent(settings, messages):
    """Return what a sink says of one batch."""
    sink = opened(settings)
    try:
        return sink.deliver(messages)
    finally:
        sink.close()


def to_kafka(port, **settings):
    """Return the settings of a sink to a topic."""
    way = "+tls" if "ca_file" in settings else ""
    return SinkSettings("kafka", f"kafka{way}://localhost:{port}/egress", **{"timeout_s": 3, **settings})


def to_nats(port, subject="egress.alerts", **settings):
    """Return the settings of a sink to a subject."""
    way = "+tls" if "ca_file" in settings else ""
    return SinkSettings("nats", f"nats{way}://localhost:{port}/{subject}", **{"timeout_s": 3, **settings})


def test_kafka_keeps_the_order_of_each_device():
    """Records of one device lie in one partition in their order, with id and kind in their headers."""
    batch = [one._replace(device=f"192.0.2.{number % 7}") for number, one in enumerate(BATCH)]
    with tansu() as broker:
        topic(broker.port)
        assert sent(to_kafka(broker.port), batch).done == len(batch)
        held = consumed(broker.port)
    assert len({partition for partition, *_ in held}) == 2
    for device in {one.device for one in batch}:
        mine = [one for one in batch if one.device == device]
        theirs = [(partition, value, headers) for partition, key, value, headers in held if key == device.encode()]
        assert len({partition for partition, *_ in theirs}) == 1
        assert [value for _, value, _ in theirs] == [one.body for one in mine]
        assert [headers["event_id"].decode() for *_, headers in theirs] == [one.id for one in mine]
        assert {headers["kind"] for *_, headers in theirs} == {b"alert"}


def test_kafka_sets_aside_what_no_broker_takes():
    """A record above the largest size is refused alone, by its place; the others are stored."""
    batch = apart([*BATCH[:2], message(99, b"x" * 2_000_000), *BATCH[2:4]])
    with tansu() as broker:
        topic(broker.port)
        receipt = sent(to_kafka(broker.port), batch)
        assert sorted(value for _, _, value, _ in consumed(broker.port)) == [one.body for one in BATCH[:4]]
    assert receipt.done == 5
    assert list(receipt.refused) == [2]


def test_kafka_over_tls_checks_the_broker(tmp_path):
    """With our authority the batch is stored; with another nothing is, and the words say why."""
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    with tansu(authority.signed("localhost")) as broker:
        topic(broker.port, **{"security.protocol": "ssl", "ssl.ca.location": authority.ca_file})
        with pytest.raises(SinkDown, match=r"(?i)ssl|certificate"):
            sent(to_kafka(broker.port, ca_file=other.ca_file), BATCH)
        assert sent(to_kafka(broker.port, ca_file=authority.ca_file), BATCH).done == len(BATCH)
        held = consumed(broker.port, **{"security.protocol": "ssl", "ssl.ca.location": authority.ca_file})
    assert [value for *_, value, _ in held] == [one.body for one in BATCH]


def test_kafka_over_tls_with_a_client_certificate(tmp_path):
    """A broker that asks for ours gets it, and takes nothing without; one that bears another name is not spoken to."""
    authority = Authority(tmp_path)
    cert, key = authority.signed("sensor.test")
    ours = {"ca_file": authority.ca_file, "cert_file": cert, "key_file": key}
    told = {"security.protocol": "ssl", "ssl.ca.location": authority.ca_file, "ssl.certificate.location": cert,
            "ssl.key.location": key}  # fmt: skip
    with tansu((*authority.signed("localhost"), authority.ca_file)) as broker:
        topic(broker.port, **told)
        with pytest.raises(SinkDown):
            sent(to_kafka(broker.port, ca_file=authority.ca_file), BATCH)
        assert sent(to_kafka(broker.port, **ours), BATCH).done == len(BATCH)
        assert len(consumed(broker.port, **told)) == len(BATCH)
    with tansu(authority.signed("elsewhere.test")) as broker, pytest.raises(SinkDown, match=r"(?i)ssl|certificate"):
        sent(to_kafka(broker.port, **ours), BATCH)


def test_kafka_says_that_nobody_is_there():
    """Brokers that are gone are told in words, and nothing counts as done."""
    with pytest.raises(SinkDown) as down:
        sent(to_kafka(9, timeout_s=1), BATCH)
    assert down.value.receipt.done == 0
    assert "refused" in down.value.what or "down" in down.value.what.lower()


def test_nats_drops_what_it_has(tmp_path):
    """A batch sent again is stored once, and the receipt says how much was known."""
    with nats_server(tmp_path) as server:
        stream(server.port)
        assert sent(to_nats(server.port), apart(BATCH)).said == "stored by the stream, 0 known already"
        assert sent(to_nats(server.port), apart(BATCH)).said == "stored by the stream, 50 known already"
        assert stored(server.port) == [one.body for one in BATCH]


def test_nats_needs_a_stream(tmp_path):
    """A subject that no stream takes is a sink that is down, not a record that is done."""
    with nats_server(tmp_path) as server:
        with pytest.raises(SinkDown, match=r"no stream takes the subject egress\.alerts"):
            sent(to_nats(server.port), BATCH)
        stream(server.port)
        assert sent(to_nats(server.port), BATCH).done == len(BATCH)


def test_nats_sets_aside_what_is_too_large(tmp_path):
    """Above the stream's limit, and above the server's: each is refused alone, the others are stored."""
    batch = apart([BATCH[0], message(98, b"x" * 20_000), BATCH[1], message(99, b"x" * 2_000_000), BATCH[2]])
    with nats_server(tmp_path) as server:
        stream(server.port, max_msg_size=10_000)
        receipt = sent(to_nats(server.port), batch)
        assert stored(server.port) == [one.body for one in BATCH[:3]]
    assert list(receipt.refused) == [1, 3]
    assert receipt.done == 5


def test_a_full_stream_is_down_and_takes_the_rest_later(tmp_path):
    """A stream that refuses new records because it is full keeps what it has; the rest waits."""
    with nats_server(tmp_path) as server:
        stream(server.port, max_msgs=10, discard="new")
        with pytest.raises(SinkDown) as down:
            sent(to_nats(server.port), BATCH)
        assert down.value.receipt.done == 10
        assert "maximum messages exceeded" in down.value.what


def test_nats_over_tls_with_a_client_certificate(tmp_path):
    """Server and client show certificates of our authority; another authority, or none of ours, is not accepted."""
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    (server_cert, server_key), (cert, key) = authority.signed("localhost"), authority.signed("client")
    options = (
        "--tls",
        "--tlsverify",
        "--tlscert",
        server_cert,
        "--tlskey",
        server_key,
        "--tlscacert",
        authority.ca_file,
    )
    with nats_server(tmp_path, *options) as server:
        files = {"ca_file": authority.ca_file, "cert_file": cert, "key_file": key}
        with pytest.raises(SinkDown, match="no stream"):  # so far did it come: TLS stands
            sent(to_nats(server.port, **files), BATCH)
        with pytest.raises(SinkDown, match="certificate is not accepted"):
            sent(to_nats(server.port, **{**files, "ca_file": other.ca_file}), BATCH)
        with pytest.raises(SinkDown):
            sent(to_nats(server.port, ca_file=authority.ca_file), BATCH)


def test_nats_wants_its_password(tmp_path):
    """A wrong token or none is told, without the token."""
    with nats_server(tmp_path, "--auth", "right-token") as server:
        for token in ("", "wrong-token"):
            path = tmp_path / "token"
            path.write_text(token or " ")
            settings = to_nats(server.port, **({"secret_file": str(path)} if token else {}))
            with pytest.raises(SinkDown) as down:
                sent(settings, BATCH)
            assert "uthoriz" in down.value.what
            assert "wrong-token" not in down.value.what


def test_a_frozen_nats_server_is_silent_and_comes_back(tmp_path):
    """No answer within the time is down; afterwards the same sink delivers, and the stream has each record once."""
    with nats_server(tmp_path) as server:
        stream(server.port)
        sink = opened(to_nats(server.port, timeout_s=1))
        server.freeze()
        with pytest.raises(SinkDown, match="silent"):
            sink.deliver(BATCH)
        server.thaw()
        assert deliver(sink, BATCH) == 0
        sink.close()
        assert stored(server.port) == [one.body for one in BATCH]


@pytest.mark.parametrize(("library", "to", "extra"), [
    ("confluent_kafka", "kafka://b:9092/t", "egress-watch[kafka]"), ("nats", "nats://s:4222/t", "egress-watch[nats]"),
])  # fmt: skip
def test_a_missing_library_is_told_with_what_to_install(monkeypatch, library, to, extra):
    """Without its library a sink stops the start and names the extra."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match="needs the package") as error:
        opened(SinkSettings("out", to))
    assert extra in error.value.remedy


MISTAKES = {
    "no topic": {"to": "kafka://broker:9092"}, "no broker": {"to": "kafka:///egress"},
    "secret in it": {"to": "kafka://me:pw@broker:9092/egress"}, "no subject": {"to": "nats://server:4222"},
    "a wildcard": {"to": "nats://server:4222/egress.>"}, "a star": {"to": "nats://server:4222/*"},
    "sasl": {"to": "kafka://broker:9092/egress", "user": "me", "sasl": "MAGIC"},
    "plain in the clear": {"to": "kafka://broker:9092/egress", "user": "me", "sasl": "PLAIN"},
    "no ca": {"to": "nats+tls://server:4222/egress", "ca_file": "/nowhere.pem"},
    "no ca for kafka": {"to": "kafka+tls://broker:9092/egress", "ca_file": "/nowhere.pem"},
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_settings_stops_the_start(mistake):
    """What, where and a remedy."""
    with pytest.raises(ConfigError) as error:
        opened(SinkSettings("out", **MISTAKES[mistake]))
    assert error.value.where == "sink out"
    assert error.value.remedy
