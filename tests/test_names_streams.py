from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_names import CAM, CLOUD, RESOLVER, TCP, Flow, Packet, after, named, packets, s, tls, web
from test_names_dns import at, response
from test_names_http import request
from test_names_tls import handshake, in_records, server_name, sized

from egress_watch.names import Names
from egress_watch.names.streams import MOST_SEGMENTS, OVERTAKING

BIG = in_records(handshake(b"\x00\x33" + sized(bytes(1700), 2) + server_name(b"cloud.example")), 600)
FLOW = Flow(0, s(99))


def segments(stream: bytes, *cuts: int, start: int = 1000, like: Packet | None = None) -> list[Packet]:
    """Return a stream in segments, a second apart; sequence numbers go on behind 2**32."""
    like = like or tls(0, "")
    bounds = [0, *cuts, len(stream)]
    return [
        like._replace(time_ns=s(row), payload=stream[one:end], sequence=(start + one) % 2**32)
        for row, (one, end) in enumerate(pairwise(bounds))
    ]


def heard(*rows: Packet, batches: int = 1) -> Names:
    """Return the names after packets in batches of equal size."""
    names, size = Names(), -(-len(rows) // batches)
    for first in range(0, len(rows), size):
        names.hear(packets(*rows[first : first + size]))
    return names


@pytest.mark.parametrize("start", [1000, 2**32 - 700])
@pytest.mark.parametrize("batches", [1, 2, 3])
@given(st.permutations(range(3)), st.booleans())
@settings(deadline=None, max_examples=12)
def test_a_hello_over_segments_gives_its_name(start, batches, order, twice):
    """In any order, some sent twice, in any batches, behind the end of sequence numbers: the hello is put together."""
    parts = segments(BIG, 700, 1300, start=start)
    rows = [parts[at] for at in order for _ in range(1 + twice)]
    assert named(heard(*rows, batches=batches), FLOW) == [("cloud.example", "tls")]


@given(st.sets(st.integers(2, len(BIG) - 1), max_size=8), st.integers(1, 9), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_cutting_into_batches_does_not_matter(cuts, batches, dice):
    """The same packets in any batches give the same names and the same counts."""
    rows = segments(BIG, *sorted(cuts))
    rows += [web(3, "a.example", port=40_001), tls(4, "b.example", port=40_002)._replace(sequence=7)]
    rows += segments(request("Host: c.example"), 9, 30, like=web(0, "", port=40_003))
    dice.shuffle(rows)
    whole, parts = heard(*rows), heard(*rows, batches=batches)
    flows = [FLOW, *(Flow(0, s(99), device_port=40_000 + at) for at in (1, 2, 3))]
    assert named(parts, *flows) == named(whole, *flows)
    assert parts.counters() == whole.counters()


def test_segments_of_many_connections_are_kept_apart():
    """Hellos that come in turns, segment by segment, are put together each for itself."""
    filling = b"\0\x15" + sized(bytes(900), 2)
    hellos = [in_records(handshake(server_name(f"n{at}.example".encode()) + filling)) for at in range(20)]
    streams = [segments(one, 40, 500, like=tls(0, "", port=40_000 + at)) for at, one in enumerate(hellos)]
    names = heard(*[one for turn in zip(*streams, strict=True) for one in turn], batches=4)
    flows = [Flow(0, s(99), device_port=40_000 + at) for at in range(20)]
    assert named(names, *flows) == [(f"n{at}.example", "tls") for at in range(20)]
    assert names.refused == {}


@pytest.mark.parametrize("between", [OVERTAKING - 2, OVERTAKING])
def test_a_segment_may_overtake_by_so_many_packets(between):
    """The second segment may come before the first, if not too many other packets lie between them."""
    one, two = segments(BIG, 1300)
    others = [tls(0, "")._replace(payload=b"x" * 9, src_port=50_000)] * between
    names = heard(two, *others, one, batches=5)
    assert bool(named(names, FLOW)[0][0]) == (between < OVERTAKING)


def test_requests_and_answers_go_on_in_other_segments():
    """A request in pieces, as small devices write it, and DNS messages over several segments are read."""
    pieces = segments(request("X: y", "Host: a.example", line="POST /up HTTP/1.1"), 5, 22, 30, 40, like=web(0, ""))
    assert named(after(*pieces), FLOW) == [("a.example", "http")]
    messages = [response(f"n{n}.example", *[at(f"192.0.2.{n}")] * 40) for n in (1, 2, 3)]
    stream = b"".join(len(one).to_bytes(2, "big") + one for one in messages)
    like = Packet(0, RESOLVER, 53, CAM, 5353, TCP, b"")
    for cuts in ((2,), (300, 301), (2, 700, 1400), (1300, 1900)):
        names = after(*segments(stream, *cuts, like=like))
        flows = [Flow(s(9), s(9), remote=f"192.0.2.{n}") for n in (1, 2, 3)]
        assert [name for name, _ in named(names, *flows)] == ["n1.example", "n2.example", "n3.example"]
        assert names.refused == {}


def test_the_mark_of_ech_may_come_later():
    """A name in the first segment counts at once; that it is an outer one is known with the second."""
    encrypted = b"\xfe\x0d" + sized(bytes(900), 2)
    message = in_records(handshake(server_name(b"public.example") + encrypted))
    one, two = segments(message, message.index(encrypted))
    assert named(after(one), FLOW) == [("public.example", "tls")]
    assert named(after(one, two), FLOW) == [("public.example", "ech")]


def test_a_new_message_takes_the_place_of_one_that_never_ends():
    """Where a segment is lost, the next request of the connection is read all the same."""
    lost = segments(request("X: " + "y" * 900, "Host: a.example"), 300)[0]
    names = after(lost, web(5, "b.example")._replace(sequence=lost.sequence + 900))
    assert named(names, FLOW) == [("b.example", "http")]
    assert names.refused == {"http: cut": 1}


def test_a_stream_that_never_ends_is_given_up():
    """After so many segments without an end the stream is dropped and counted, and so is one too many."""
    one = segments(BIG, 700)[0]
    names = after(one, *[one._replace(payload=b"z", sequence=5000 + 2 * at) for at in range(MOST_SEGMENTS)])
    assert names.refused == {"tls: cut": 1}
    assert names.counters()["waiting"] == 0
    few = Names(waiting=2)
    few.hear(packets(*[one._replace(src_port=port) for port in range(5)]))
    assert (few.refused, few.counters()["waiting"]) == ({"tls: cut": 3}, 2)


def test_a_hello_without_its_headers_is_read_alone():
    """Where no sequence number can be told, a cut hello is counted."""
    batch = packets(segments(BIG, 700)[0])
    names = Names()
    names.hear(replace(batch, data=np.concatenate((np.zeros(32, np.uint8), batch.data[32:]))))
    assert names.refused == {"tls: cut": 1}


@given(st.lists(st.tuples(st.binary(max_size=30), st.integers(0, 2**32 - 1), st.integers(0, 2)), max_size=12))
@settings(deadline=None)
def test_any_segments_are_heard_without_an_error(rows):
    """Whatever segments and sequence numbers come, hearing goes on."""
    starts = (b"", b"\x16\x03\x01\x40\x00\x01\x00\x30\x00", b"GET / HTTP/1.1\r\nX: ", b"\0\x99\0\1\x81\x80\0\1\0\1")
    names = after(*[
        Packet(0, CAM, 53, CLOUD, 9, TCP, starts[at] + tail, sequence) for tail, sequence, kind in rows
        for at in (kind, 3)
    ])  # fmt: skip
    assert names.counters()["waiting"] <= 1
