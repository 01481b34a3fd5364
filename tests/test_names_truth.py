"""Our names against an independent tool's (tshark 4.0.17), over the shared corpus; `make names-truth` shows all."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from corpus import corpus
from test_laws import one_of

from egress_watch.names import Names


def _load() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "names_truth.py"
    spec = importlib.util.spec_from_file_location("names_truth", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["names_truth"] = module
    spec.loader.exec_module(module)
    return module


names_truth = _load()

WHOLE = {
    "arkime/curl-enabled-tls13.pcap": {"tls": 1, "dns": 4},
    "arkime/quicietfooo.pcap": {"quic": 1},
    "mercury/quic_reordered_frames.pcap": {"quic": 2},
    "ndpi/quic-28.pcap": {"quic": 1},
    "ndpi/quic-29.pcap": {"quic": 1},
    "ndpi/quic-v2.pcapng": {"quic": 1},
    "ndpi/quic_t50.pcap": {"quic": 1},
    "ndpi/quic_frags_different_dcid.pcapng": {"quic": 1},
    "suricata-verify/quic-frag-unordered/input.pcap": {"quic": 1},
    "suricata-verify/quic-initial-not-first/input.pcap": {"quic": 1},
    "suricata-verify/quic-retry-multiple/input.pcap": {"quic": 1},
    "wireshark/quic_follow_multistream.pcapng": {"quic": 1},
    "zeek/quic/quic-multiple-initial-fragmented-crypto.pcap": {"quic": 1},
    "zeek/quic/quicv2-echo-dpd-custom-port-4433.pcap": {"quic": 1},
}
"""Captures in which nothing may be missed, with the least number of names by protocol."""


@pytest.fixture(scope="module")
def compared() -> list:
    """Return every capture of the corpus, compared."""
    return names_truth.compare_all(corpus())


@pytest.mark.parametrize("file", WHOLE)
def test_nothing_is_missed_in_these(compared: list, file: str) -> None:
    """Drafts, both versions, Retry, fragments, any order: every name of the truth is heard."""
    (one,) = [row for row in compared if row.file == file]
    assert {fact for fact in one.missed if fact[0] in WHOLE[file]} == set()
    for protocol, least in WHOLE[file].items():
        assert sum(fact[0] == protocol for fact in one.found) >= least


@pytest.mark.parametrize("file", [*WHOLE, "zeek/dns/ech.pcap", "ndpi/webdav.pcap", "mercury/emix.pcap"])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_batches_change_nothing(file: str, size: int) -> None:
    """Law 3: frame by frame, by three or by a hundred, the same names are heard and the same is counted."""
    path = corpus() / "pcaps" / file
    whole, parts = names_truth.listen(path), names_truth.Listening()
    for batch in names_truth.open_inputs([str(path)]).frames():
        for first in range(0, len(batch), size):
            parts.hear(names_truth.decode(one_of(batch, slice(first, first + size))))
    assert parts.counters() == whole.counters()
    assert parts.facts == whole.facts


@pytest.mark.parametrize("protocol", names_truth.GOALS)
def test_the_goals_are_reached(compared: list, protocol: str) -> None:
    """Of all names in the corpus, 99 % of those of TLS, HTTP and DNS are heard, and 97 % of QUIC."""
    one = names_truth.shares(compared)[protocol]
    assert one.found > {"tls": 1000, "http": 1200, "dns": 3800, "quic": 25}[protocol]
    assert one.share_of_all >= names_truth.GOALS[protocol]


def test_every_miss_has_a_name(compared: list) -> None:
    """No name is missed for a reason that nobody has looked at."""
    missed = [(row.file, fact, why) for row in compared for fact, why in row.missed.items()]
    assert [one for one in missed if one[2] == "unexplained"] == []


def test_reasons_found_by_hand_are_still_needed(compared: list) -> None:
    """A capture stays on the list of hand-made explanations only while it differs."""
    missed = {(fact[0], row.file) for row in compared for fact in row.missed}
    assert {(protocol, file) for protocol, files in names_truth.LOOKED_AT.items() for file in files} <= missed


def test_a_missing_name_is_a_miss() -> None:
    """The comparison sees a name that was not heard, and calls it unexplained."""
    truth = names_truth.Truth.__new__(names_truth.Truth)
    truth.fragments = {}
    names = names_truth.Listening()
    names.decoded = {"here"}
    assert isinstance(names, Names)
    assert names_truth.reason("x.pcap", ("tls", "here", "a.example"), {"here"}, names, truth) == "unexplained"
    assert names_truth.reason("x.pcap", ("tls", "there", "a.example"), {"there"}, names, truth) == names_truth.UNREAD
