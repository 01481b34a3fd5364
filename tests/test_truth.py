"""Our flows against an independent tool's (tshark 4.0.17), over the shared corpus; `make truth` shows the whole."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from corpus import corpus

LEAST_SHARE = 0.995
LEAST_CONVERSATIONS = 19_000


def _load() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "truth.py"
    spec = importlib.util.spec_from_file_location("truth", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["truth"] = module
    spec.loader.exec_module(module)
    return module


truth = _load()
HERE, THERE = (0, 1, 1000), (0, 2, 443)


@pytest.fixture(scope="module", params=["outer", "inner"])
def compared(request: pytest.FixtureRequest) -> list:
    """Return every capture of the corpus, compared in one view."""
    return truth.compare_all(corpus(), request.param)


def test_nearly_all_conversations_are_equal(compared: list) -> None:
    """Over everything we read, from outside and from inside: same ends, packets and layer-3 bytes both ways."""
    _, conversations, equal = truth.share(truth.readable(compared))
    assert conversations > LEAST_CONVERSATIONS
    assert equal / conversations >= LEAST_SHARE


def test_every_difference_has_a_name(compared: list) -> None:
    """No conversation differs for a reason that nobody has looked at."""
    assert [row for one in compared for row in one.differences if row.reason == "unexplained"] == []


def test_hand_written_reasons_are_still_needed() -> None:
    """A file stays on the list of hand-made explanations only while it differs, in one view or the other."""
    views = [truth.compare_all(corpus(), view) for view in truth.VIEWS]
    different = {row.capture.file for compared in views for row in compared if row.differences}
    assert truth.LOOKED_AT.keys() <= different


def test_a_conversation_has_one_key_whoever_sent_first() -> None:
    """The lower end comes first, and the counters turn with it."""
    assert truth.ordered(6, HERE, THERE, (1, 40, 2, 80)) == ((6, HERE, THERE), (1, 40, 2, 80))
    assert truth.ordered(6, THERE, HERE, (1, 40, 2, 80)) == ((6, HERE, THERE), (2, 80, 1, 40))


def test_a_conversation_with_itself_has_one_direction() -> None:
    """Where both ends are the same, no direction can be told."""
    assert truth.ordered(17, HERE, HERE, (1, 40, 2, 80)) == ((17, HERE, HERE), (3, 120, 0, 0))


def test_fragments_are_compared_without_ports() -> None:
    """Later fragments, which have no ports, are summed with the rest of their pair; other pairs keep their ports."""
    first, later, other = (17, HERE, THERE), (17, (0, 1, 0), (0, 2, 0)), (6, HERE, THERE)
    rows = [(first, (1, 1500, 0, 0)), (later, (2, 3000, 0, 0)), (other, (1, 40, 0, 0))]
    assert truth.without_ports(rows, {later}) == {later: (3, 4500, 0, 0), other: (1, 40, 0, 0)}


def test_a_missing_packet_is_a_difference() -> None:
    """The comparison sees one packet too few, and calls it unexplained."""
    expected = truth.Truth.__new__(truth.Truth)
    expected.rows, expected.fragments = {"x.pcap": [((17, HERE, THERE), (2, 200, 0, 0))]}, {}
    expected.quoting = set()
    ours = truth.Measured(truth.Tally(frames=1), 100, {(17, HERE, THERE): (1, 100, 0, 0)})
    result = truth.compare(truth.Capture("x.pcap", "EN10MB", 1), ours, expected)
    assert [difference.reason for difference in result.differences] == ["unexplained"]
