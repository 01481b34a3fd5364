"""The names that the accelerator finds by itself are those that the readers find, on any bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_names import CAM, CLOUD, RESOLVER, TCP, UDP, Packet, packets
from test_names_books import contents
from test_names_dns import CNAME, TO_QUESTION, alias, at, labels, record, response
from test_names_http import request
from test_names_tls import handshake, hello, in_records, real_hello, server_name

from egress_watch import fast
from egress_watch.fast import names as fast_names
from egress_watch.names import PLAINEST, Names, quic
from egress_watch.names.bearers import Sieve, stretch_of

FAST = fast.accelerator()
built = pytest.mark.skipif(FAST is None, reason="the accelerator is not built or turned off")
ECH = b"\xfe\x0d\x00\x02ab"
GREASE = b"\x0a\x0a\x00\x00"


def tls(*extensions: bytes) -> bytes:
    """Return a hello with these extensions in one record."""
    return in_records(handshake(b"".join(extensions)))


HELLOS = [
    hello(b"a.example"), hello(b"A.Example."), hello(b"192.0.2.1"), hello(b"a b"), hello(b"x" * 254), hello(b""),
    real_hello("cam.example"), real_hello(None), tls(GREASE, server_name(b"b.example")), tls(ECH),
    tls(server_name(b"b.example"), ECH), tls(server_name(b"c.example"), server_name(b"d.example")),
    tls(server_name(b"b.example", 1)), in_records(handshake(None)),
    in_records(handshake(server_name(b"many.example")), 40), hello(b"a.example")[:-3], hello(b"a.example") + b"more",
]  # fmt: skip
REQUESTS = [
    request("Host: a.example"), request("HOST:\t b.example:8080 "), request("Accept: *", "host: [::1]"),
    request("Host: a b"), request("Host: a", "Host: b"), request(), request("Host:"),
    request("Host: a.example", line="POST /x HTTP/1.0"), request("Host: a", line="CONNECT b.example:443 HTTP/1.1"),
    request("Host: a.example", line="GET http://b.example/ HTTP/1.1"), request("Host: a", line="GET  / HTTP/1.1"),
    request("Host: a.example", line="GET /HTTP/1.1 x HTTP/1.1"), request("Host: a.example")[:-2],
    request("Host: a.example").replace(b"\r\n", b"\n"), request("Host: a.example") + b"\nhost: b.example\r\n\r\n",
]  # fmt: skip
TO_TARGET = b"\xc0\x27"
"""A pointer to the target of an alias that is the first record of an answer for a.example."""
ALIAS = record(TO_QUESTION, CNAME, labels("b.example"))
ANSWERS = [
    response("a.example", at(CLOUD)), response("a.example", at("2001:db8::1", ttl_s=5), at(CLOUD, ttl_s=1 << 31)),
    response("A.example", ALIAS, at(CLOUD, TO_TARGET), at(CLOUD, TO_QUESTION)), response("a.example"),
    response("a.example", ALIAS, record(TO_TARGET, CNAME, b"\xc0\x0e"), at(CLOUD, b"\xc0\x33")),
    response("a.example", at(CLOUD, "c.example")), response("a.example", alias("a.example", "b.example")),
    response("a.example", ALIAS), response("", at(CLOUD)), response(b"\x03a.b\0", at(CLOUD)),
    response("a.example", record(TO_QUESTION, 65, b"\0\1\0"), at(CLOUD)), response("a.example", at(CLOUD, b"\xc0\x10")),
    response("a.example", record(TO_QUESTION, 16, b"text"), at(CLOUD, ttl_s=100_000)),
    response("a.example", record(TO_QUESTION, 1, b"12345")), response("x" * 64, at(CLOUD)),
    response(".".join(["x" * 63] * 4), at(CLOUD)), response(".".join(["x" * 61] * 4), at(CLOUD)),
]  # fmt: skip


def books(names: Names) -> list[Any]:
    """Return everything that was learned, with the order in which it would be forgotten."""
    return [names.counters(), *contents(names)]


def both(some: list[Packet], size: int = 1_000_000, limit: int = 200_000) -> tuple[Any, Any]:
    """Return what is learned of packets with the accelerator and without, in batches of this size."""

    def learned() -> list[Any]:
        names = Names(limit)
        for start in range(0, len(some), size):
            names.hear(packets(*some[start : start + size]))
        return books(names)

    with pytest.MonkeyPatch.context() as patch:
        accelerated = learned()
        patch.setattr(fast, "_loaded", None)
        return accelerated, learned()


def found(*payloads: bytes, port: int = 40_000, protocol: int = TCP) -> int:
    """Return in how many of these payloads the accelerator finds a name by itself."""
    batch = packets(*(Packet(1, CAM, port, CLOUD, 443, protocol, payload) for payload in payloads))
    names = Names()
    names._sieve.find(batch, stretch_of(batch, 0))
    return len(names._sieve.take().row)


def mutated(data: bytes, changes: list[tuple[int, int]], cut: int) -> bytes:
    """Return the bytes with some of them exchanged, and cut there, 0 for nowhere."""
    changed = bytearray(data)
    for where, value in changes:
        if changed:
            changed[where % len(changed)] = value
    return bytes(changed[: cut or None])


def packet(payload: bytes, kind: int, time_ns: int, device: int, ports: tuple[int, int]) -> Packet:
    """Return a packet of a kind: 0 and 1 TCP to a server, 2 an answer over UDP, 3 over TCP, 4 multicast."""
    if kind <= 1:
        return Packet(time_ns, f"10.0.0.{device}", ports[0], CLOUD, (443, 80)[kind], TCP, payload)
    source = (53, 53, 5353)[kind - 2]
    return Packet(time_ns, RESOLVER, source, f"10.0.0.{device}", ports[1], TCP if kind == 3 else UDP, payload)


changes = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4)
sound = st.sampled_from(HELLOS + REQUESTS + ANSWERS)
payloads = st.one_of(
    sound,
    st.builds(mutated, sound, changes, st.one_of(st.just(0), st.integers(1, 400))),
    st.builds(bytes.__add__, st.sampled_from([b"\x16\x03", b"GET /", b"\x00" * 4]), st.binary(max_size=80)),
)  # fmt: skip
some_packets = st.lists(
    st.builds(packet, payloads, st.integers(0, 4), st.integers(0, 5), st.integers(1, 4),
              st.tuples(st.integers(40_000, 40_002), st.integers(40_000, 40_001))), max_size=40,
)  # fmt: skip


@built
@given(some_packets, st.integers(1, 40))
@settings(deadline=None, max_examples=600)
def test_any_packets_teach_the_same(some, size):
    """Sound payloads, mutated and cut ones, streams among them: the same names, counts and order in the books."""
    accelerated, plain = both(some, size)
    assert accelerated == plain


@built
@pytest.mark.parametrize("limit", [3, 10])
def test_full_books_forget_the_same(limit):
    """Where books are full, the same names go."""
    some = [packet(payload, kind, at, at % 5, (40_000 + at, 40_000)) for at in range(30)
            for kind, payload in ((0, HELLOS[0]), (1, REQUESTS[0]), (2, ANSWERS[1]))]  # fmt: skip
    accelerated, plain = both(some, 11, limit)
    assert accelerated == plain
    assert accelerated[0]["forgotten"] > 0


@built
def test_the_plainest_are_found():
    """A usual hello, request and answer are read by the accelerator: it is no ornament."""
    assert found(HELLOS[0], real_hello("cam.example")) == 2
    assert found(REQUESTS[0], REQUESTS[1], request("Host: a", line="POST /x HTTP/1.1")) == 3
    assert found(*ANSWERS[:3], port=53, protocol=UDP) == 3


@built
def test_what_is_odd_is_left():
    """A hello with ECH, two names or a missing end, a proxied or cut request: none of the accelerator's business."""
    assert found(*HELLOS[9:]) == 1  # the last one has something behind its record
    assert found(*REQUESTS[4:6], *REQUESTS[8:11], REQUESTS[12]) == 0


@built
def test_beyond_the_room_nothing_is_lost(monkeypatch):
    """Names, texts and addresses that have no room are read in Python."""
    some = [packet(payload, kind, at, at % 5, (40_000 + at, 40_000)) for at in range(30)
            for kind, payload in ((0, HELLOS[0]), (2, ANSWERS[1]))]  # fmt: skip
    for room, text, texts in ((5, 1000, 64), (7, 20, 64), (0, 0, 1)):
        monkeypatch.setattr(fast_names, "ROOM", room)
        monkeypatch.setattr(fast_names, "TEXT_BYTES", text)
        monkeypatch.setattr(fast_names, "MOST_TEXTS", texts)
        accelerated, plain = both(some)
        assert accelerated == plain


@built
@given(st.lists(st.integers(0, 60), min_size=8, max_size=60), st.sampled_from([1, 4, 16]), st.integers(1, 9))
def test_texts_that_give_way_to_others_are_read_again(some, texts, size):
    """However few texts are at hand, and whenever they give way, the same names are learned, and as often refused."""
    heard = [packet(hello(b"%d.example" % one if one % 7 else b"a b"), 0, at, one % 5, (40_000 + at % 3, 40_000))
             for at, one in enumerate(some)]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_names, "MOST_TEXTS", texts)
        accelerated, plain = both(heard, size)
        assert accelerated == plain


@built
@given(
    st.lists(
        st.tuples(
            st.integers(0xC0, 0xEF), st.sampled_from([*quic.VERSIONS, 2, 0x6B3343CE, 0xFF000023]),
            st.sampled_from([5, quic.LEAST_BYTES - 1, quic.LEAST_BYTES, quic.LEAST_BYTES + 1]),
        ), min_size=1, max_size=20,
    )
)  # fmt: skip
def test_what_begins_like_quic_is_left_where_quic_wants_it(some):
    """Of all datagrams, the accelerator leaves to the reader of QUIC those that it wants, and no others."""
    payloads = [(bytes([first]) + version.to_bytes(4, "big")).ljust(size, b"x") for first, version, size in some]
    batch = packets(*(Packet(1, CAM, 50_000, CLOUD, 443, UDP, payload) for payload in payloads))
    with pytest.MonkeyPatch.context() as patch:
        accelerated = Names()._sieve.find(batch, stretch_of(batch, 0))
        patch.setattr(fast, "_loaded", None)
        assert accelerated == Names()._sieve.find(batch, stretch_of(batch, 0))


def test_without_the_accelerator_all_are_left(monkeypatch):
    """Whoever has no accelerator finds all candidates in the columns."""
    monkeypatch.setattr(fast, "_loaded", None)
    batch = packets(*(packet(payload, 0, 1, 1, (40_000, 40_000)) for payload in HELLOS))
    sieve = Sieve(list(PLAINEST), PLAINEST)
    assert len(sieve.find(batch, stretch_of(batch, 0))) == len(HELLOS)
    assert sieve.take() is fast.NO_NAMES
