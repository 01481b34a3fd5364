"""HTTP on bad days: nothing lost, nothing under a new id, no secret let out, and words that say what is wrong."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from threading import Thread

import pytest
import receiving_web as web
from certificates import Authority
from receiving import HOSTILE, apart, deliver, message
from receiving_brokers import copied
from receiving_web import Bulk, Collector, Hook, answers, running

from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError
from egress_watch.exports.format import json_line
from egress_watch.exports.plain import printable
from egress_watch.sinks.http import LONGEST_RETRY_S
from egress_watch.sinks.kinds import opened
from egress_watch.sinks.sink import SinkDown

BODIES = [json_line({"n": number, "name": printable(text)}).encode() for number, text in enumerate(HOSTILE)]
BATCH = apart([message(number, body) for number, body in enumerate(BODIES)])


@contextmanager
def sending(tmp_path, answer, scheme, path="", **settings):
    """Run a receiver with an answer and open a sink to it."""
    with running(answer) as receiver:
        place = f"http://127.0.0.1:{receiver.port}"
        token = settings.pop("token", web.TOKEN)
        settings = {"timeout_s": 5.0, **({"acknowledge_s": 1.0} if scheme == "splunk" else {}), **settings}
        if token:
            settings["secret_file"] = web.secret(tmp_path, token)
        sink = opened(SinkSettings("out", f"{scheme}:{place}{path}", **settings))
        try:
            yield sink, receiver.web
        finally:
            sink.close()


def to_elastic(tmp_path, bulk, **settings):
    """Open a sink to a bulk API."""
    return sending(tmp_path, bulk, "elastic", "/logs-egress_watch.{kind}-default", **{"token": "", **settings})


FAULTS = {
    "503": answers(503), "429": answers(429), "408": answers(408), "500": answers(500, b"<html>"),
    "401": answers(401), "403": answers(403), "404": answers(404), "302": answers(302, Location="http://127.0.0.1:9/"),
    "307": answers(307, Location="https://evil.example/"), "hangs": web.hangs, "breaks off": web.breaks_off,
    "resets": web.resets, "drips": web.drips, "endless": web.endless, "no json": answers(200, b"<html>ok</html>"),
    "nothing": answers(200, b""), "a list": answers(200, [1]), "deep": answers(200, b"[" * 100_000),
    "one item for all": answers(200, {"errors": True, "items": [{"create": {"status": 201}}]}),
    "acks by name": answers(200, {"code": 0, "ackId": "0"}), "stored, answer lost": web.takes_then_resets,
}  # fmt: skip
PATIENCE_S = {"hangs": 1.0, "drips": 1.0}
"""How long a sink waits where a test waits for it to lose patience; a busy machine gets more in all others."""
NO_FAULT_FOR_A_WEBHOOK = {"no json", "nothing", "a list", "deep", "one item for all", "acks by name"}
"""A webhook says 2xx and no more."""


@pytest.mark.parametrize("fault", FAULTS)
def test_no_document_is_lost_or_doubled_on_a_bad_day(tmp_path, fault):
    """Elasticsearch: after the fault, sent again, each document is there once, under its id."""
    bulk = Bulk()
    with to_elastic(tmp_path, bulk, timeout_s=PATIENCE_S.get(fault, 5.0)) as (sink, server):
        server.faults.append(FAULTS[fault])
        with pytest.raises(SinkDown) as down:
            sink.deliver(BATCH)
        assert down.value.receipt.done == 0
        assert down.value.what.isprintable()
        assert deliver(sink, BATCH) == 0
    assert list(bulk.held.values()) == BODIES
    assert [key for _, key in bulk.held] == [one.id for one in BATCH]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_event_is_lost_on_a_bad_day(tmp_path, fault):
    """Splunk: after the fault, sent again, each event is indexed; at most doubled, with the same content."""
    collector = Collector()
    with sending(tmp_path, collector, "splunk", timeout_s=PATIENCE_S.get(fault, 5.0)) as (sink, server):
        server.faults.append(FAULTS[fault])
        with pytest.raises(SinkDown) as down:
            sink.deliver(BATCH)
        assert down.value.what.isprintable()
        assert web.TOKEN not in down.value.what
        assert deliver(sink, BATCH) == 0
    assert {json_line(event["event"]).encode() for event in collector.indexed} == set(BODIES)


@pytest.mark.parametrize("fault", FAULTS.keys() - NO_FAULT_FOR_A_WEBHOOK)
def test_no_record_is_lost_for_a_webhook_on_a_bad_day(tmp_path, fault):
    """A webhook: what is sent again after the fault comes under the same batch id."""
    hook = Hook()
    with sending(tmp_path, hook, "webhook", "/in", token="", timeout_s=PATIENCE_S.get(fault, 5.0)) as (sink, server):
        server.faults.append(FAULTS[fault])
        with pytest.raises(SinkDown):
            sink.deliver(BATCH)
        assert deliver(sink, BATCH) == 0
    assert hook.records()[-len(BATCH) :] == BODIES
    assert len({batch for batch, _ in hook.batches}) == 1


def test_an_items_error_is_its_own(tmp_path):
    """A busy item and all behind it are sent again, a bad one is set aside, what is there already counts as done."""
    bulk = Bulk()
    bulk.item_faults = {BATCH[2].id: (400, "document_parsing_exception"), BATCH[5].id: (429, "es_rejected_execution")}
    with to_elastic(tmp_path, bulk) as (sink, _):
        with pytest.raises(SinkDown) as down:
            sink.deliver(BATCH)
        assert down.value.receipt.done == 5
        assert list(down.value.receipt.refused) == [2]
        assert "document_parsing_exception" in down.value.receipt.refused[2]
        assert "429" in down.value.what
        del bulk.item_faults[BATCH[5].id]
        receipt = sink.deliver(BATCH[5:])
    assert receipt.done == len(BATCH) - 5
    assert "1 created" in receipt.said
    assert sorted(bulk.held.values()) == sorted(BODIES[:2] + BODIES[3:])


def test_a_wrong_index_name_sets_nothing_aside(tmp_path):
    """Status 400 for every item means the settings: the sink is down and the records wait."""
    bulk = Bulk()
    bulk.item_faults = {one.id: (400, "invalid_index_name_exception") for one in BATCH}
    with to_elastic(tmp_path, bulk) as (sink, _), pytest.raises(SinkDown) as down:
        sink.deliver(BATCH)
    assert not down.value.receipt.done
    assert "invalid_index_name_exception" in down.value.what


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_batch_that_is_refused_is_narrowed_to_the_one_record(tmp_path, status):
    """Whoever refuses a whole batch for one record gets all others, and that one is set aside with the reason."""
    held = []

    def picky(page):
        if BODIES[7] in page.body:
            return status, {"error": {"type": "too_large", "reason": "no"}}
        held.extend(json.loads(page.body))
        return 200, {}

    with sending(tmp_path, picky, "webhook", "/in", token="") as (sink, _):
        assert deliver(sink, BATCH) == 1
    if status != 413:  # whether anything is taken there at all is tried with the last one
        assert json_line(held.pop(0)).encode() == BODIES[-1]
    assert [json_line(value).encode() for value in held] == BODIES[:7] + BODIES[8:]


@pytest.mark.parametrize("scheme", ["elastic", "splunk-unacknowledged", "webhook"])
def test_whoever_refuses_everything_is_at_a_wrong_address(tmp_path, scheme):
    """Another program that answers 400 to all there is has nothing set aside for it: the sink is down, and says so."""
    path = "/logs" if scheme == "elastic" else ""
    with sending(tmp_path, lambda _: (400, b"Request must contain a header"), scheme, path) as (sink, _):
        for batch in (BATCH, BATCH[:1]):
            with pytest.raises(SinkDown, match="has taken no record so far") as down:
                sink.deliver(batch)
            assert (down.value.receipt.done, dict(down.value.receipt.refused)) == (0, {})


def test_alerts_and_flows_go_to_their_own_streams(tmp_path):
    """{kind} in the address is the kind of the record."""
    bulk = Bulk()
    with to_elastic(tmp_path, bulk) as (sink, _):
        sink.deliver([message(0, b"{}"), message(1, b"{}", "flow")])
    assert [index for index, _ in bulk.held] == ["logs-egress_watch.alert-default", "logs-egress_watch.flow-default"]


@pytest.mark.parametrize(("user", "sent"), [("", "ApiKey c2VjcmV0"), ("elastic", "Basic ZWxhc3RpYzpjMlZqY21WMA==")])
def test_elastic_is_asked_with_key_or_password(tmp_path, user, sent):
    """Without a user the secret is an API key, with one its password (RFC 7617)."""
    with to_elastic(tmp_path, Bulk(sent), token="c2VjcmV0", user=user) as (sink, _):
        assert sink.deliver(BATCH).done == len(BATCH)


def test_an_event_has_its_time_host_and_source_type(tmp_path):
    """The envelope says when, from which sensor, and in which format; a format that is no JSON is a string in it."""
    collector = Collector()
    with sending(tmp_path, collector, "splunk", format="cef") as (sink, _):
        sink.deliver([message(5, b'CEF:0|a|b\\="|')])
    (event,) = collector.indexed
    assert event["event"] == 'CEF:0|a|b\\="|'
    assert (event["host"], event["sourcetype"]) == ("north", "egress_watch:cef")
    assert event["time"] == 1_730_000_000.0


def test_nothing_is_done_before_an_indexer_has_it(tmp_path):
    """An acknowledgement that does not come in time leaves the batch undone; one that comes late is no harm."""
    collector = Collector(polls=10**6)
    with sending(tmp_path, collector, "splunk") as (sink, _):
        with pytest.raises(SinkDown, match="no indexer acknowledged within 1 s"):
            sink.deliver(BATCH)
        assert collector.indexed == []
        collector.polls = 0
        assert sink.deliver(BATCH).done == len(BATCH)
    assert len(collector.indexed) == len(BATCH)


def test_what_a_killed_collector_had_only_taken_is_sent_again(tmp_path):
    """A collector that took a batch and died before it was indexed has it in the end, once."""
    collector = Collector(polls=10**6)
    with running(collector) as receiver:
        to, token = f"splunk:http://127.0.0.1:{receiver.port}", web.secret(tmp_path, web.TOKEN)
        sink = opened(SinkSettings("out", to, secret_file=token, timeout_s=2, acknowledge_s=20))
        receiver.web.faults += [_taken, _taken, lambda page: (Thread(target=receiver.stop).start(), web.hangs(page))]
        with pytest.raises(SinkDown):
            sink.deliver(BATCH)
        collector.polls = 0
        receiver.start()
        assert deliver(sink, BATCH) == 0
        sink.close()
    assert [json_line(event["event"]).encode() for event in collector.indexed] == BODIES


def _taken(page):
    """Answer as the collector does."""
    page.say(*page.server.answer(page))


def test_a_token_without_acknowledgement_is_no_promise(tmp_path):
    """A sink that asks for it says so and counts nothing; the kind that does not ask takes what there is."""
    collector = Collector(acknowledges=False)
    with sending(tmp_path, collector, "splunk") as (sink, _), pytest.raises(SinkDown, match="acknowledgement off"):
        sink.deliver(BATCH)
    assert collector.indexed == []
    with sending(tmp_path, collector, "splunk-unacknowledged") as (sink, _):
        assert sink.deliver(BATCH).done == len(BATCH)


def test_an_event_that_splunk_refuses_is_set_aside_alone(tmp_path):
    """The record that is named by its number is set aside; those before and behind it are indexed."""
    collector = Collector()
    batch = [*BATCH[:3], message(99, b'""'), *BATCH[3:]]
    with sending(tmp_path, collector, "splunk") as (sink, _):
        assert deliver(sink, batch) == 1
    assert [json_line(event["event"]).encode() for event in collector.indexed] == BODIES


@pytest.mark.parametrize(("text", "least", "most"), [("7", 7, 7), ("99999999", LONGEST_RETRY_S, LONGEST_RETRY_S),
    ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0), ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_RETRY_S, LONGEST_RETRY_S),
    ("", 0, 0), ("soon", 0, 0), ("-1", 0, 0), ("9" * 400, 0, 0), ("²", 0, 0)])  # fmt: skip
def test_a_receiver_may_ask_for_a_pause(tmp_path, text, least, most):
    """Retry-After in seconds or as a date is kept, within an hour; nonsense is none."""
    with to_elastic(tmp_path, Bulk()) as (sink, server):
        server.faults.append(answers(429, **({"Retry_After": text.encode().decode("latin-1")} if text else {})))
        with pytest.raises(SinkDown) as down:
            sink.deliver(BATCH)
    assert least <= down.value.retry_s <= most


def test_a_redirect_takes_no_secret_along(tmp_path):
    """Nobody at the other address hears a word, and the words say what to mend."""
    with running(lambda _: (200, {})) as other, to_elastic(tmp_path, Bulk(), token="a2V5") as (sink, server):
        server.faults.append(answers(307, Location=f"http://127.0.0.1:{other.port}/_bulk"))
        with pytest.raises(SinkDown, match="leads elsewhere, which is not followed"):
            sink.deliver(BATCH)
        assert other.web.requests == []


def test_the_proxy_of_the_environment_is_not_asked(tmp_path, monkeypatch):
    """Only a proxy that the settings name is used; that one is."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    bulk, asked = Bulk(), []
    with to_elastic(tmp_path, bulk) as (sink, _):
        sink.deliver(BATCH)
    assert len(bulk.held) == len(BATCH)

    def proxy(page):
        asked.append(page.path)
        return 200, {}

    with running(proxy) as through:
        settings = SinkSettings("out", "webhook:http://siem.example/in", proxy=f"http://127.0.0.1:{through.port}")
        opened(settings).deliver(BATCH[:1])
    assert asked == ["http://siem.example/in"]


def test_https_goes_through_a_proxy_as_a_tunnel(authority, tmp_path):
    """The proxy hears a CONNECT and no secret; the certificate is that of the receiver; its refusal is told."""
    heard, bulk = [], Bulk("ApiKey a2V5")
    with (
        running(bulk, authority.signed("localhost")) as receiver, socket.create_server(("127.0.0.1", 0)) as listener,
    ):  # fmt: skip
        Thread(target=_tunnel, args=(listener, heard, receiver.port), daemon=True).start()
        settings = SinkSettings(
            "out", f"elastic:https://localhost:{receiver.port}/egress", ca_file=authority.ca_file, timeout_s=3,
            proxy=f"http://127.0.0.1:{listener.getsockname()[1]}", secret_file=web.secret(tmp_path, "a2V5"),
        )  # fmt: skip
        sink = opened(settings)
        assert sink.deliver(BATCH).done == len(BATCH)
        sink.close()
        sink = opened(settings)
        with pytest.raises(SinkDown, match="the proxy refuses: Tunnel connection failed: 403"):
            sink.deliver(BATCH)
        sink.close()
    assert all(head.startswith(f"CONNECT localhost:{receiver.port} ".encode()) for head in heard)
    assert not any(b"a2V5" in head for head in heard)
    assert len(bulk.held) == len(BATCH)


def _tunnel(listener, heard, port):
    """Be a proxy for one connection, and refuse the next."""
    client, _ = listener.accept()
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        heard.append(client.recv(65_536))
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        back = Thread(target=copied, args=(server, client), daemon=True)
        back.start()
        copied(client, server)
        back.join()
    client, _ = listener.accept()
    with client:
        heard.append(client.recv(65_536))
        client.sendall(b"HTTP/1.1 403 No\x1b[31m\r\nContent-Length: 0\r\n\r\n")


def test_a_webhook_signs_as_others_verify(tmp_path):
    """A verifier that is not ours takes the signature, none by another key; a bearer token is sent as one."""
    with sending(tmp_path, Hook(key=web.KEY), "webhook", "/in", token=web.KEY) as (sink, _):
        assert sink.deliver(BATCH).done == len(BATCH)
    other = "whsec_" + "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aA=="
    with sending(tmp_path, Hook(key=web.KEY), "webhook", "/in", token=other) as (sink, _), pytest.raises(SinkDown):
        sink.deliver(BATCH)
    with sending(tmp_path, Hook(), "webhook", "/in", auth="bearer") as (sink, server):
        sink.deliver(BATCH)
        assert server.requests[0][1]["Authorization"] == f"Bearer {web.TOKEN}"


def test_a_webhook_may_take_lines(tmp_path):
    """One record a line, as it was given, in any format."""
    hook = Hook(lines=True)
    with sending(tmp_path, hook, "webhook", "/in", token="", body="lines", format="cef") as (sink, server):
        sink.deliver([message(0, b"CEF:0|a"), message(1, b"CEF:0|b")])
        assert server.requests[0][1]["Content-Type"] == "text/plain"
    assert hook.records() == [b"CEF:0|a", b"CEF:0|b"]


@pytest.fixture
def authority(tmp_path):
    """Return an authority of our own."""
    return Authority(tmp_path)


def over_tls(authority, chain, **settings):
    """Return what becomes of one batch over TLS: the documents, or the words."""
    bulk = Bulk()
    with running(bulk, chain) as receiver:
        to = f"elastic:https://localhost:{receiver.port}/egress"
        sink = opened(SinkSettings("out", to, **{"ca_file": authority.ca_file, "timeout_s": 3, **settings}))
        try:
            sink.deliver(BATCH)
        except SinkDown as down:
            assert not bulk.held
            return down.what
        finally:
            sink.close()
        return len(bulk.held)


def test_a_certificate_of_our_own_authority_is_accepted(authority):
    """Name and issuer fit: the batch is delivered."""
    assert over_tls(authority, authority.signed("localhost")) == len(BATCH)


def test_a_certificate_by_another_name_can_be_asked_for(authority):
    """server_name says what the certificate must bear, where the host of the address is not it."""
    chain = authority.signed("siem.example")
    assert "mismatch" in over_tls(authority, chain)
    assert over_tls(authority, chain, server_name="siem.example") == len(BATCH)


def test_a_certificate_that_is_over_or_foreign_is_not_accepted(tmp_path, authority):
    """Expired, of another authority, or not of the system's: nothing is sent, and the words say which."""
    expired = authority.signed("localhost", days=-0.1)
    assert "expired" in over_tls(authority, expired)
    foreign = Authority(tmp_path, "other").signed("localhost")
    assert "certificate is not accepted" in over_tls(authority, foreign)
    assert "certificate is not accepted" in over_tls(authority, authority.signed("localhost"), ca_file="")


def test_a_server_that_speaks_no_tls_is_told(authority):
    """A plain server at an https address is down with a reason."""
    with running(Bulk()) as receiver:
        to = f"elastic:https://localhost:{receiver.port}/egress"
        sink = opened(SinkSettings("out", to, ca_file=authority.ca_file, timeout_s=2))
        with pytest.raises(SinkDown, match=r"no TLS|closed the connection"):
            sink.deliver(BATCH)
        sink.close()


def test_nobody_listens_and_no_such_host():
    """A refused connection and a name that does not resolve are told in words."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for host, words in ((f"127.0.0.1:{port}", "refused"), ("nowhere.invalid:1", "")):
            sink = opened(SinkSettings("out", f"webhook:http://{host}/in", timeout_s=2))
            with pytest.raises(SinkDown) as down:
                sink.deliver(BATCH)
            assert words in down.value.what
            assert down.value.what


def test_a_server_that_reads_slowly_counts_as_down():
    """A receiver that accepts and reads nothing is given up within the time, however large the batch."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        sink = opened(SinkSettings("out", f"webhook:http://127.0.0.1:{listener.getsockname()[1]}/in", timeout_s=0.5))
        large = [message(number, b'"%s"' % (b"x" * 1_000_000)) for number in range(20)]
        held: list[socket.socket] = []
        Thread(target=lambda: held.append(listener.accept()[0]), daemon=True).start()
        with pytest.raises(SinkDown, match=r"silent|closed"):
            sink.deliver(large)
        sink.close()
        held[0].close()


MISTAKES = {
    "no host": {"to": "elastic:https:///egress"}, "no scheme": {"to": "elastic:es.example/egress"},
    "no index": {"to": "elastic:https://es.example:9200/"}, "a password": {"to": "webhook:https://me:pw@x.example/"},
    "a query": {"to": "webhook:https://x.example/?token=1"}, "a port": {"to": "webhook:https://x.example:99999/"},
    "a space": {"to": "webhook:https://x.example/a b"}, "no token": {"to": "splunk:https://x.example:8088"},
    "cef": {"to": "elastic:https://x.example/i", "format": "cef"},
    "body": {"to": "webhook:https://x.example/", "body": "xml"},
    "auth": {"to": "webhook:https://x.example/", "auth": "magic"},
    "no ca": {"to": "webhook:https://x.example/", "ca_file": "/nowhere.pem"},
    "proxy": {"to": "webhook:https://x.example/", "proxy": "http://me:pw@proxy:1"},
    "clear": {"to": "webhook:http://x.example/", "secret_env": "EGRESS_TEST_SECRET"},
    "whsec": {"to": "webhook:https://x.example/", "secret_env": "EGRESS_TEST_BROKEN"},
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_settings_stops_the_start(monkeypatch, mistake):
    """What, where and a remedy; and never the secret."""
    monkeypatch.setenv("EGRESS_TEST_SECRET", "hunter2")
    monkeypatch.setenv("EGRESS_TEST_BROKEN", "whsec_hunter2!")
    with pytest.raises(ConfigError) as error:
        opened(SinkSettings("out", **MISTAKES[mistake]))
    assert error.value.where == "sink out"
    assert error.value.remedy
    assert "hunter2" not in str(error.value)
