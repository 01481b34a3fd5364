"""Marks: told while headers are at hand, and nobody who looks only at what is marked misses anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from build import Wire, frames, tcp, udp
from corpus import captures, corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from test_names_books import contents

from egress_watch import fast
from egress_watch.decode import decode
from egress_watch.decode.carriers import Policy, Tables
from egress_watch.decode.marks import mark_tables
from egress_watch.devices import WISHES, Devices
from egress_watch.flows.sides import Sides
from egress_watch.model import DEVICES, NAMES, Frames, Packets, Wish
from egress_watch.names import Names
from egress_watch.sources import open_inputs

CITY = Path(__file__).parent.parent / "captures" / "city.pcapng"
HERE, THERE = "10.0.0.1", "192.0.2.1"
TABLES = mark_tables({NAMES: Names().wishes(), DEVICES: WISHES})


def marked(batch: Frames, unwrap: str = "mirrors") -> Packets:
    """Return the packets with the marks of those who listen in `watch`."""
    return decode(batch, Tables(Policy(unwrap), TABLES))


def marks_of(wishes: list[Wish], *wires: Wire) -> list[int]:
    """Return the marks of some frames where this is wished for."""
    return decode(frames(*wires), Tables(Policy(), mark_tables({NAMES: wishes}))).mark.tolist()


def said(batches: list[Packets]) -> list[Any]:
    """Return everything that names and devices make of the packets."""
    names, devices = Names(), Devices(Sides(()).ours)
    for packets in batches:
        names.hear(packets)
        devices.hear(packets)
    return [names.counters(), contents(names), devices.take(), devices.refused]


def test_a_source_port_is_not_a_destination_port():
    """Who wishes for what comes from a port is not shown what goes to it."""
    there, back = udp(f"{HERE}:53", f"{THERE}:9", payload=b"12"), udp(f"{THERE}:9", f"{HERE}:53", payload=b"12")
    assert marks_of([Wish(17, from_ports=(53,))], there, back) == [NAMES, 0]
    assert marks_of([Wish(17, ports=(53,))], there, back) == [NAMES, NAMES]


def test_a_protocol_is_not_the_other():
    """The ports and first bytes of UDP are not those of TCP."""
    ends = f"{HERE}:53", f"{THERE}:9"
    packets = udp(*ends, payload=b"GET"), tcp(*ends, payload=b"GET")
    assert marks_of([Wish(6, from_ports=(53,))], *packets) == [0, NAMES]
    assert marks_of([Wish(17, first_bytes=(ord("G"),))], *packets) == [NAMES, 0]


def test_an_empty_payload_is_not_looked_at():
    """What lies behind a packet without payload is not its first byte, and one byte says nothing."""
    ends = f"{HERE}:53", f"{THERE}:9"
    packets = (tcp(*ends), tcp(*ends, payload=b"G"), tcp(*ends, payload=b"GE"))
    assert marks_of([Wish(6, (53,), first_bytes=(ord("G"),))], *packets) == [0, 0, NAMES]


def test_without_wishes_there_are_no_marks():
    """Where nobody said what he wants, everything is looked at."""
    packets = decode(frames(udp(f"{HERE}:1", f"{THERE}:2"), udp(f"{HERE}:1", f"{THERE}:2")))
    assert packets.mark.tolist() == []
    assert packets.marked(NAMES).tolist() == [0, 1]


@pytest.mark.parametrize("accelerated", [True, False])
def test_nobody_misses_anything_in_the_city(accelerated, monkeypatch):
    """The same names and facts as when every payload is looked at; hardly any packet is marked."""
    if not accelerated:
        monkeypatch.setattr(fast, "_loaded", None)
    batches = list(open_inputs([str(CITY)]).frames())
    some = [marked(batch) for batch in batches]
    assert said(some) == said([decode(batch) for batch in batches])
    assert 0 < sum((packets.mark > 0).sum() for packets in some) < sum(map(len, some)) / 2


def test_nobody_misses_anything_in_the_corpus():
    """Likewise over every fortieth real capture, with all tunnels opened."""
    for path in captures(corpus())[::40]:
        batches = list(open_inputs([str(path)]).frames())
        everything = [decode(batch, Tables(Policy("all"))) for batch in batches]
        assert said([marked(batch, "all") for batch in batches]) == said(everything), path


ports = st.integers(0, 65535) | st.sampled_from([53, 67, 1900, 5353])


@given(st.lists(st.tuples(st.sampled_from([udp, tcp]), ports, ports, st.binary(max_size=9))))
@settings(deadline=None, max_examples=100)
def test_any_ports_and_bytes_are_marked_the_same(some):
    """The accelerator and NumPy mark the same packets."""
    batch = frames(*(way(f"{HERE}:{src}", f"{THERE}:{dst}", payload=said) for way, src, dst, said in some))
    accelerated = marked(batch).mark.tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "_loaded", None)
        assert marked(batch).mark.tolist() == accelerated
