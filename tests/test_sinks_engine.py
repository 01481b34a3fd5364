"""A receiver that is not ours takes what we send: Tenzir, over each transport it speaks.

Where the package is not installed the module is skipped, but not in CI.
"""

from __future__ import annotations

import json

import pytest
from engines import SOURCES, Engine, engine, needed
from receiving import HOSTILE, deliver, eventually, message

from egress_watch.exports.format import json_line
from egress_watch.exports.plain import printable
from egress_watch.sinks.kinds import opened

pytestmark = needed
BODIES = [json_line({"n": number, "name": printable(text[:4096])}).encode() for number, text in enumerate(HOSTILE * 20)]
BATCH = [message(number, body) for number, body in enumerate(BODIES)]


@pytest.mark.parametrize("scheme", SOURCES)
def test_the_engine_takes_what_a_sink_sends(tmp_path, scheme):
    """Each record comes once, in its order, with its text as it was; over TLS both ends show a certificate."""
    with engine(tmp_path, scheme) as receiver:
        sink = opened(receiver.settings)
        assert deliver(sink, BATCH) == 0
        sink.close()
        assert eventually(lambda: len(receiver.bodies()) >= len(BATCH))
        assert list(map(json.loads, receiver.bodies())) == list(map(json.loads, BODIES))


@pytest.mark.parametrize("scheme", ["relp", "syslog+tcp"])
def test_a_batch_that_the_engine_did_not_take_comes_again(tmp_path, scheme):
    """It is killed and started anew between two batches: nothing of either is lost, and no other id appears."""
    with engine(tmp_path, scheme) as receiver:
        sink = opened(receiver.settings)
        assert deliver(sink, BATCH[:100]) == 0
        assert eventually(lambda: len(receiver.bodies()) >= 100)
        receiver.stop()
        receiver.start()
        assert deliver(sink, BATCH[100:]) == 0
        sink.close()
        assert eventually(lambda: set(receiver.bodies()) == set(BODIES))


def test_the_engine_finds_the_envelope_of_the_collector(tmp_path):
    """Host and source type stand beside the event, as the event collector wants them."""
    run = Engine(tmp_path, "splunk-unacknowledged")
    try:
        sink = opened(run.settings)
        assert deliver(sink, BATCH[:5]) == 0
        sink.close()
        assert eventually(lambda: len(run.events()) >= 5)
        assert {(event["host"], event["sourcetype"]) for event in run.events()} == {("north", "egress_watch:ecs")}
    finally:
        run.stop()
