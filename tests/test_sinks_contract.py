"""The contract that every sink keeps, with a real receiver of each: tests/receiving.py."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from receiving import HOSTILE, RECEIVERS, deliver, eventually, message

from egress_watch.exports.format import json_line
from egress_watch.exports.plain import printable
from egress_watch.sinks.kinds import SINKS, kind, opened
from egress_watch.sinks.sink import BEST_EFFORT, WRITTEN, SinkDown

KINDS = [known.scheme for known in SINKS]
BODIES = [json_line({"n": number, "name": printable(text[:4096])}).encode() for number, text in enumerate(HOSTILE * 9)]
"""Hostile text as the formats write it, every line another, none longer than a datagram of UDP but where told."""


@pytest.fixture(params=KINDS)
def receiving(request, tmp_path):
    """Return what starts the receiver of one kind."""
    return lambda: RECEIVERS[request.param](tmp_path)


@contextmanager
def opened_at(receiver):
    """Open the sink that sends to a receiver, and close it."""
    sink = opened(receiver.settings)
    try:
        yield sink
    finally:
        sink.close()


def test_every_sink_has_a_receiver_here():
    """A kind that nobody tested against a receiver is not in the list."""
    assert list(RECEIVERS) == KINDS


def test_what_is_done_has_come_whole_and_in_order(receiving):
    """Each record is received as it was given, in the order given, hostile text and all, and no further line."""
    bodies = [body for body in BODIES if len(body) < 1200]
    with receiving() as receiver:
        with opened_at(receiver) as sink:
            assert deliver(sink, [message(number, body) for number, body in enumerate(bodies)]) == 0
        assert eventually(lambda: len(receiver.bodies()) >= len(bodies))
        assert receiver.bodies() == bodies


def test_a_batch_sent_again_is_the_same(receiving):
    """What is sent twice comes with the same content, so its id tells it: nothing is added, nothing is lost."""
    batch = [message(number, body) for number, body in enumerate(BODIES[:5])]
    with receiving() as receiver:
        with opened_at(receiver) as sink:
            deliver(sink, batch)
            deliver(sink, batch)
        assert eventually(lambda: len(receiver.bodies()) >= len(batch))
        assert set(receiver.bodies()) == set(BODIES[:5])


def test_a_receiver_that_is_gone_is_told_and_comes_back(receiving):
    """While nobody listens the sink says so, and the same sink goes on once somebody does."""
    with receiving() as receiver:
        if receiver.stop is None or receiver.start is None:
            assert kind(receiver.settings).promise in {BEST_EFFORT, WRITTEN}
            return
        with opened_at(receiver) as sink:
            deliver(sink, [message(0, BODIES[0])])
            receiver.stop()
            assert _told(sink)
            receiver.start()
            deliver(sink, [message(1, BODIES[1]), message(2, BODIES[2])])
        kept = BODIES[2:3] if kind(receiver.settings).promise == BEST_EFFORT else BODIES[:3]
        assert eventually(lambda: set(kept) <= set(receiver.bodies()) <= set(BODIES[:3]))


def _told(sink):
    """Return what a sink says of a receiver that is gone; at the third batch at the latest."""
    for _ in range(3):
        try:
            sink.deliver([message(1, BODIES[1])])
        except SinkDown as down:
            return down.what
    return ""


def test_closing_twice_is_closing(receiving):
    """A sink may be closed at any time, used or not."""
    with receiving() as receiver:
        sink = opened(receiver.settings)
        sink.close()
        sink.close()
