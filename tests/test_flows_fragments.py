from __future__ import annotations

import tracemalloc

import pytest
from build import Wire, ether, framed, ns, packets, pieces, tcp, udp

from egress_watch import flows as flows_module
from egress_watch.flows import FlowTable, fragments
from egress_watch.flows.fragments import HOLD_NS
from egress_watch.model import Flows

pytestmark = pytest.mark.usefixtures("way")

CAM, CLOUD, TICK = "10.0.0.5:4000", "52.1.2.3:443", "10.0.0.9:1"
HOLD_S = HOLD_NS // 1_000_000_000
PAYLOAD = bytes(80)
BODIES = pieces(CAM, CLOUD, PAYLOAD, ident=7)
SIX = pieces("[fd00::5]:4000", "[2001:db8::1]:443", PAYLOAD, ident=7)


def run(*wires: Wire) -> tuple[FlowTable, dict[tuple[int, int], int]]:
    """Return the table, and packets by port pair over all records (device's port first)."""
    table = FlowTable()
    found: dict[tuple[int, int], int] = {}
    for part in (table.update(packets(*wires)), table.flush()):
        add(found, part)
    return table, found


def add(found: dict[tuple[int, int], int], part: Flows) -> None:
    """Add the packets of these records, by port pair."""
    counts = (part.packets_out + part.packets_in).tolist()
    for *ports, count in zip(part.device_port.tolist(), part.remote_port.tolist(), counts, strict=True):
        found[tuple(ports)] = found.get(tuple(ports), 0) + count


@pytest.mark.parametrize("bodies", [BODIES, SIX])
def test_later_fragments_are_in_the_flow_of_their_first_one(bodies):
    """Fragments carry no ports; they get those of their datagram."""
    table, found = run(*[framed(body) for body in bodies])
    assert (found, table.late_fragments) == ({(4000, 443): 3}, 0)


@pytest.mark.parametrize("bodies", [BODIES, SIX])
@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_early_fragments_wait_for_their_first_one(bodies, order):
    """Whatever the order of arrival, all fragments of a datagram are in one flow."""
    table, found = run(*[framed(bodies[n], t=at) for at, n in enumerate(order)])
    assert (found, table.late_fragments) == ({(4000, 443): 3}, 0)


def test_a_held_fragment_keeps_its_own_time():
    """What was held back widens the record to when it really came."""
    table = FlowTable()
    ended = table.update(packets(framed(BODIES[1], 1), framed(BODIES[0], 4))), table.flush()
    assert (ended[1].first_ns[0], ended[1].last_ns[0]) == (ns(1), ns(4))


def test_fragments_without_a_first_one_are_counted_without_ports():
    """What is never claimed stays in the sums, in a flow without ports, and is counted as late."""
    table, found = run(framed(BODIES[1]), framed(BODIES[2], 1))
    assert (found, table.late_fragments) == ({(0, 0): 2}, 2)


@pytest.mark.parametrize(("wait_ns", "claimed"), [(HOLD_NS, True), (HOLD_NS + 1, False)])
def test_early_fragments_wait_for_thirty_seconds_and_no_longer(wait_ns, claimed):
    """At exactly the hold time the first fragment still claims them, a nanosecond later it does not."""
    first = framed(BODIES[0])._replace(time_ns=ns(1) + wait_ns)
    table, found = run(framed(BODIES[1], 1), first)
    assert found == ({(4000, 443): 2} if claimed else {(4000, 443): 1, (0, 0): 1})
    assert table.late_fragments == (0 if claimed else 1)


@pytest.mark.parametrize(("wait_ns", "claimed"), [(HOLD_NS, True), (HOLD_NS + 1, False)])
def test_a_first_fragment_is_remembered_for_thirty_seconds_and_no_longer(wait_ns, claimed):
    """Identifications are used again: a fragment much later belongs to another datagram."""
    later = framed(BODIES[1])._replace(time_ns=ns(1) + wait_ns)
    assert run(framed(BODIES[0], 1), later)[0].late_fragments == (0 if claimed else 1)


def test_datagrams_are_told_apart_by_addresses_protocol_and_identification():
    """A fragment with another identification, or of the other direction, is not claimed."""
    other = pieces(CAM, CLOUD, PAYLOAD, ident=8)[1], pieces(CLOUD, CAM, PAYLOAD, ident=7)[1]
    table, _ = run(framed(BODIES[0]), *[framed(body) for body in other])
    assert table.late_fragments == 2


def test_an_identification_used_again_takes_the_newest_ports():
    """The later of two first fragments with the same identification claims what follows it."""
    again = pieces("10.0.0.5:5000", CLOUD, PAYLOAD, ident=7)
    _, found = run(framed(BODIES[0]), framed(BODIES[1]), framed(again[0], 1), framed(again[1], 1))
    assert found == {(4000, 443): 2, (5000, 443): 2}


def test_claiming_works_across_batches():
    """First and later fragments may come in different batches, in either order."""
    table = FlowTable()
    for body in (BODIES[1], BODIES[0], BODIES[2]):
        assert len(table.update(packets(framed(body)))) == 0
    assert table.flush().packets_out.tolist() == [3]
    assert table.late_fragments == 0


def test_a_held_fragment_is_given_up_though_no_other_fragment_comes():
    """Time goes on with any packet: what waited too long comes out with the next one."""
    table = FlowTable()
    table.update(packets(framed(BODIES[1], 1), udp(TICK, CLOUD, t=2 + HOLD_S)))
    assert (table.late_fragments, len(table)) == (1, 2)


def test_what_is_given_up_stands_behind_the_last_packet_that_was_in_time():
    """A held fragment comes back before the first packet that is too late, not before the last that is not."""
    table = FlowTable()
    wires = [framed(BODIES[1], 1), udp(TICK, CLOUD, t=1 + HOLD_S), udp(TICK, CAM, t=2 + HOLD_S)]
    table.update(packets(*wires))
    assert table.flush().remote_port.tolist() == [443, 0, 4000]


def test_first_fragments_remembered_are_bounded(monkeypatch):
    """Beyond the bound the oldest datagram is forgotten: its later fragments go without ports."""
    monkeypatch.setattr(fragments, "MOST_DATAGRAMS", 2)
    several = [pieces(CAM, CLOUD, PAYLOAD, ident=n) for n in range(3)]
    table, _ = run(*[framed(bodies[0]) for bodies in several], *[framed(bodies[1]) for bodies in several])
    assert table.late_fragments == 1


def test_fragments_held_are_bounded(monkeypatch):
    """Beyond the bound the datagram that has waited longest is given up, and counted."""
    monkeypatch.setattr(fragments, "MOST_HELD", 2)
    several = [pieces(CAM, CLOUD, PAYLOAD, ident=n) for n in range(3)]
    table, found = run(*[framed(bodies[1]) for bodies in several], *[framed(bodies[0]) for bodies in several])
    assert (table.late_fragments, found) == (1, {(0, 0): 1, (4000, 443): 5})


def test_a_flood_of_one_datagram_is_bounded_too(monkeypatch):
    """A sender who repeats one later fragment for ever fills no memory: the datagram is given up again and again."""
    monkeypatch.setattr(fragments, "MOST_HELD", 16)
    table = FlowTable()
    table.update(packets(*[framed(BODIES[1])] * 100))
    assert table.late_fragments == 85
    assert table.flush().packets_out.tolist() == [100]


def test_a_held_fragment_does_not_keep_the_buffer_of_its_batch():
    """A batch of megabytes is let go of, though a fragment of it waits."""
    table = FlowTable()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for n in range(4):
            big = Wire(ether(BODIES[1], tags=[(0x8100, n)]) + bytes(1_000_000))
            table.update(packets(big))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2_000_000


def test_the_clock_goes_on_while_a_fragment_is_held(monkeypatch):
    """A held fragment is a packet like others: its time counts for time-outs and sweeps."""
    monkeypatch.setattr(flows_module, "SWEEP_PACKETS", 2)
    table = FlowTable(idle_s=5)
    ended = table.update(packets(tcp(CAM, CLOUD, "R", t=1), framed(BODIES[1], 20)))
    assert ended.packets_out.tolist() == [1]


@pytest.mark.parametrize("cut", range(1, 5))
def test_where_a_batch_ends_does_not_change_when_a_released_fragment_counts(cut):
    """A released fragment stands right behind its first one, also where much later packets are in the batch."""
    wires = [
        framed(BODIES[1], 0),
        framed(BODIES[0], 1),
        udp(TICK, CLOUD, t=200),
        udp(CAM, CLOUD, t=201),
        udp(TICK, CAM),
    ]
    whole, parts = FlowTable(), FlowTable()
    one = whole.update(packets(*wires)), whole.flush()
    two = parts.update(packets(*wires[:cut])), parts.update(packets(*wires[cut:])), parts.flush()
    counts = [[part.packets_out.tolist() for part in group if len(part)] for group in (one, two)]
    assert counts[0] == counts[1] == [[2], [1, 1, 1]]
