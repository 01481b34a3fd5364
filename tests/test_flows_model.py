"""The flow table against a slow one in plain Python that anyone can check against the text in `flows`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from build import framed, packets, pieces, tcp, udp
from hypothesis import given, settings
from hypothesis import strategies as st

from egress_watch import flows as flows_module
from egress_watch.flows import FlowTable
from egress_watch.flows import by_columns as by_columns_module
from egress_watch.flows.fragments import take
from egress_watch.model import END_REASONS, NAME_COLUMNS, Flows, Packets

pytestmark = pytest.mark.usefixtures("way")

SECOND = 1_000_000_000
SWEEP, LIMIT = 8, 6
ACTIVE_S, IDLE_S, TCP_IDLE_S = 30, 10, 40
HOLD_S, LINGER_S = 30, 5
FIN, SYN, RST, ACK = 1, 2, 4, 16
IDLE = {6: TCP_IDLE_S * SECOND}
COLUMNS = [column.name for column in fields(Flows) if column.name not in NAME_COLUMNS]
ROW = [
    column.name
    for column in fields(Packets)
    if column.name not in ("data", "skipped", "unwrapped", "print", "mark", "beacons")
]


class Slow:
    """A flow table as a dict in the order in which the flows began; an end is (address words, port)."""

    def __init__(self) -> None:
        self.open: dict[tuple, dict] = {}
        self.ended: list[tuple] = []
        self.firsts: dict[tuple, tuple] = {}
        self.early: dict[tuple, list] = {}
        self.clock, self.count, self.evicted, self.unclaimed = 0, 0, 0, 0

    def take(self, packet: dict) -> None:
        """Take one packet, and sweep after every SWEEP of them."""
        self.clock = max(self.clock, packet["time_ns"])
        self.give_up(self.clock)
        for one in self.ready(packet):
            self.add(one, self.clock)
        self.count += 1
        if self.count % SWEEP == 0:
            self.sweep()

    def ready(self, packet: dict) -> list[dict]:
        """Return what can be added now, with ports: nothing, the packet, or it and the fragments it releases."""
        datagram = (*packet["src"], *packet["dst"], packet["protocol"], packet["fragment_id"])
        ports = (packet["src_port"], packet["dst_port"])
        if packet["fragment"] == 1:
            self.firsts[datagram] = self.clock, ports
            return [packet] + [with_ports(one, ports) for _, one in self.early.pop(datagram, [])]
        if packet["fragment"] == 2:
            since, ports = self.firsts.get(datagram, (-(1 << 62), ports))
            if self.clock - since > HOLD_S * SECOND:
                self.early.setdefault(datagram, []).append((self.clock, packet))
                return []
        return [with_ports(packet, ports)]

    def give_up(self, now: int) -> None:
        """Add the early fragments whose datagram has waited too long, without ports."""
        for datagram, waiting in list(self.early.items()):
            until = waiting[0][0] + HOLD_S * SECOND
            if until < now:
                self.unclaimed += len(waiting)
                for _, one in self.early.pop(datagram):
                    self.add(one, min(until, self.clock))

    def add(self, packet: dict, now: int) -> None:
        """Add one packet to its flow, a new one where there is none or it is over."""
        src, dst = (*packet["src"], packet["src_port"]), (*packet["dst"], packet["dst_port"])
        key = (*sorted((src, dst)), packet["protocol"], packet["version"])
        flow, flags = self.open.get(key), packet["tcp_flags"]
        device = None
        if flow and (over := self.over(flow, now, flags)):
            device = flow["device"] if over == "active" else None
            self.end(self.open.pop(key), self.why(flow, now, "idle"))
        if key not in self.open:
            began = dst if flags & (SYN | ACK) == SYN | ACK else src
            macs = {src: packet["src_mac"], dst: packet["dst_mac"]} if src != dst else {src: packet["src_mac"]}
            self.open[key] = blank() | {"device": device or side(began, src, dst), "key": key, "macs": macs}
        flow = self.open[key]
        flow["began"] = now if flow["began"] is None else flow["began"]
        flow["last"] = now
        flow["times"].append(packet["time_ns"])
        flow["vlan"] = max(flow["vlan"], packet["vlan"])
        count = flow["out" if src == flow["device"] else "in"]
        count[:] = count[0] + 1, count[1] + packet["size"], count[2] | flags

    def over(self, flow: dict, now: int, flags: int) -> str:
        """Return how a flow was over before this packet, "" where it goes on."""
        if closed(flow):
            return "closed" if now > flow["last"] + LINGER_S * SECOND or flags & (SYN | ACK) == SYN else ""
        if now > flow["last"] + idle(flow):
            return "idle"
        return "active" if flow["began"] is not None and now > flow["began"] + ACTIVE_S * SECOND else ""

    def why(self, flow: dict, now: int, otherwise: str) -> str:
        """Return the reason a record gives: closed, else the time-out that came first, else as told."""
        active = flow["began"] + ACTIVE_S * SECOND if flow["began"] is not None else 1 << 62
        silent = flow["last"] + idle(flow)
        timed_out = ("active" if active <= silent else "idle") if now > min(active, silent) else otherwise
        return closed(flow) or timed_out

    def sweep(self) -> None:
        """End what is over by now, then what has been silent longest where there are too many."""
        for key, flow in list(self.open.items()):
            why = self.why(flow, self.clock, "")
            if closed(flow) and self.clock <= flow["last"] + LINGER_S * SECOND:
                continue
            if why == "active" and self.clock <= flow["last"] + idle(flow):
                self.end(flow, why)
                flow |= {name: value for name, value in blank().items() if name != "last"}
            elif why:
                self.end(self.open.pop(key), why)
        surplus = sorted(self.open.items(), key=lambda item: item[1]["last"])[: max(0, len(self.open) - LIMIT)]
        for key, flow in surplus:
            self.end(flow, self.why(flow, self.clock, "evicted"))
            del self.open[key]
        self.evicted += len(surplus)

    def flush(self) -> None:
        """End everything: the input is over."""
        for waiting in list(self.early.values()):
            self.unclaimed += len(waiting)
            for _, one in waiting:
                self.add(one, self.clock)
        for flow in self.open.values():
            self.end(flow, self.why(flow, self.clock, "end"))

    def end(self, flow: dict, why: str) -> None:
        """Write a record, in the order of the columns of `Flows`."""
        if not flow["times"]:
            return
        low, high, protocol, _ = flow["key"]
        device = flow["device"]
        remote = high if device == low else low
        (packets_out, bytes_out, flags_out), (packets_in, bytes_in, flags_in) = flow["out"], flow["in"]
        self.ended.append((
            min(flow["times"]), max(flow["times"]), list(device[:2]), list(remote[:2]), device[2], remote[2], protocol,
            flow["macs"][device], flow["vlan"], packets_out, bytes_out, packets_in, bytes_in, flags_out, flags_in,
            END_REASONS.index(why),
        ))  # fmt: skip


def blank() -> dict:
    """Return a flow of which nothing has been counted."""
    return {"began": None, "last": 0, "times": [], "vlan": 0, "out": [0, 0, 0], "in": [0, 0, 0]}


def with_ports(packet: dict, ports: tuple) -> dict:
    """Return a packet with the ports of its datagram."""
    return packet | {"src_port": ports[0], "dst_port": ports[1]}


def idle(flow: dict) -> int:
    """Return the idle time-out of a flow's protocol."""
    return IDLE.get(flow["key"][2], IDLE_S * SECOND)


def closed(flow: dict) -> str:
    """Return how a connection was closed, "" where it is open."""
    one, other = flow["out"][2], flow["in"][2]
    return "rst" if (one | other) & RST else "fin" if one & other & FIN else ""


def side(began: tuple, src: tuple, dst: tuple) -> tuple:
    """Return the end that is ours: not a group, in our networks, private, or the one that began."""
    for test in (lambda end: not GROUP(end), OWN, PRIVATE):
        if test(src) != test(dst):
            return src if test(src) else dst
    return began


def prefixed(*octets: int):
    """Return a test of an end: whether its IPv4 address begins with one of these."""
    return lambda end: end[1] >> 24 & 255 in octets


OWN, PRIVATE, GROUP = prefixed(9), prefixed(10), prefixed(239)
A, B = "8.0.0.1:2", "7.0.0.1:1"
ENDS = ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1", "9.0.0.1:1", "8.0.0.1:2", "7.0.0.1:1", "239.0.0.1:1"]
DATAGRAMS = [
    pieces(*ends, payload=bytes(50), ident=n)
    for n, ends in enumerate([("10.0.0.1:1", "8.0.0.1:2"), ("8.0.0.1:2", "10.0.0.1:1"), ("8.0.0.1:2", "7.0.0.1:1")], 1)
]

times = st.one_of(
    st.integers(0, 3), st.sampled_from([5, 6, 10, 11, 30, 31, 40, 41, 100]), st.integers(-20, -1)
)  # the time-outs, just over them, and back
pairs = st.tuples(st.sampled_from(ENDS), st.sampled_from(ENDS)).filter(lambda pair: pair[0] != pair[1])
few = st.sampled_from([(ENDS[0], ENDS[4]), (ENDS[4], ENDS[0])])
segments = st.tuples(
    st.just(tcp), st.one_of(few, pairs), st.sampled_from(["S", "SA", "A", "A", "FA", "R"]), st.sampled_from([0, 0, 7])
)
datagrams = st.tuples(st.just(udp), st.one_of(few, pairs), st.just(b"xyz"), st.sampled_from([0, 0, 5]))
fragments = st.sampled_from([piece for datagram in DATAGRAMS for piece in datagram])
mixed = st.lists(st.tuples(times, st.one_of(segments, segments, datagrams, fragments)), max_size=70)
steady = st.lists(  # long talks of the same two, in which records are cut again and again
    st.tuples(
        st.sampled_from([0, 1, 5, 10, 25, 30]),
        st.tuples(st.just(tcp), st.sampled_from([(A, B), (B, A), (A, B[:-1] + "7")]), st.just("A"), st.just(0)),
    ),
    min_size=20, max_size=50,
)  # fmt: skip
traffic = st.one_of(mixed, mixed, steady)


def heard(steps: list) -> Packets:
    """Return the packets of these steps; each says how many seconds after the last one it comes."""
    wires, now = [], 1000
    for later, what in steps:
        now += later
        if isinstance(what, bytes):
            wires.append(framed(what, now))
        else:
            make, (src, dst), rest, vlan = what
            wires.append(make(src, dst, rest, t=now, vlan=vlan))
    return packets(*wires)


def rows(packets: Packets) -> Iterator[dict]:
    """Yield the packets as dicts of plain numbers."""
    columns = [getattr(packets, name).tolist() for name in ROW]
    return (dict(zip(ROW, row, strict=True)) for row in zip(*columns, strict=True))


def records(flows: Flows) -> list[tuple]:
    """Return the flows as tuples."""
    return list(zip(*(getattr(flows, name).tolist() for name in COLUMNS), strict=True))


def table(seed: int = 0) -> FlowTable:
    """Return a table with short time-outs and room for few flows."""
    return FlowTable(
        ["9.0.0.0/8"], active_s=ACTIVE_S, idle_s=IDLE_S, tcp_idle_s=TCP_IDLE_S, limit=LIMIT, seed=seed
    )  # fmt: skip


def through(table: FlowTable, *batches: Packets) -> list[tuple]:
    """Return all records of a table over these batches."""
    return [record for batch in batches for record in records(table.update(batch))] + records(table.flush())


def slowly(packets: Packets) -> Slow:
    """Return the slow table after all these packets and the end of the input."""
    slow = Slow()
    for row in rows(packets):
        slow.take(row)
    slow.flush()
    return slow


@pytest.fixture(autouse=True, scope="module")
def _sweeps_often():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flows_module, "SWEEP_PACKETS", SWEEP)
        yield


@given(traffic)
@settings(deadline=None)
def test_the_table_makes_the_same_records_as_the_slow_one(steps):
    """On any traffic, the columns give record for record what a dict and one packet at a time give."""
    heard_packets, fast = heard(steps), table()
    slow = slowly(heard_packets)
    assert through(fast, heard_packets) == slow.ended
    assert (fast.evicted, fast.late_fragments) == (slow.evicted, slow.unclaimed)


@given(traffic, st.lists(st.integers(0, 70), max_size=8))
@settings(deadline=None)
def test_any_cutting_into_batches_gives_the_same_records_in_the_same_order(steps, cuts):
    """Law 3: where the batches end changes nothing, not even the order of the records."""
    whole, marks = heard(steps), [0, *sorted(cuts), len(steps)]
    batches = [take(whole, slice(min(a, len(whole)), b)) for a, b in pairwise(marks)]
    one, many = table(), table()
    assert through(many, *batches) == through(one, whole)
    assert (many.evicted, many.late_fragments) == (one.evicted, one.late_fragments)


@given(traffic)
@settings(deadline=None)
def test_packet_by_packet_gives_the_same_records(steps):
    """Law 3 at its finest: a batch for every packet."""
    whole = heard(steps)
    singles = [take(whole, slice(n, n + 1)) for n in range(len(whole))]
    assert through(table(), *singles) == through(table(), whole)


@given(traffic, st.integers(0, 2**63 - 1))
@settings(deadline=None)
def test_the_seed_changes_no_record(steps, seed):
    """The seed mixes the hash of the keys; the records and their order stay."""
    whole = heard(steps)
    assert through(table(seed), whole) == through(table(), whole)


@given(traffic, st.sampled_from([1, 2, 3]))
@settings(deadline=None)
def test_keys_that_collide_are_still_told_apart(steps, different):
    """A sender who finds keys of one hash makes the table slow, not wrong."""
    whole = heard(steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flows_module, "accelerator", lambda: None)  # its hash cannot be exchanged
        patch.setattr(
            by_columns_module, "hashes", lambda key, seed: key.sum(axis=1) % np.uint64(different) + np.uint64(seed)
        )
        assert through(table(), whole) == slowly(whole).ended


@given(traffic)
@settings(deadline=None)
def test_every_packet_is_in_one_record(steps):
    """Law 1: packets and bytes of all records, both ways, are those of the packets."""
    whole = heard(steps)
    ended = through(table(), whole)
    counted = np.array([[row[9] + row[11], row[10] + row[12]] for row in ended]).reshape(-1, 2).sum(axis=0)
    assert counted.tolist() == [len(whole), int(whole.size.sum())]


live = st.lists(st.tuples(times, st.one_of(segments, segments, datagrams)), max_size=70)


@given(st.one_of(live, steady), st.sets(st.integers(0, 70)))
@settings(deadline=None)
def test_a_clock_that_ends_silent_flows_changes_no_record(steps, looks):
    """Law 3, live: told between packets that nothing earlier will come, the table gives the same flows as a replay.

    Only their order may differ, the word for a flow that the end of the input would have ended, and, where an end
    changes its MAC while it talks, from which record on the new one is told.
    """
    whole = heard(steps)
    clock = np.maximum.accumulate(whole.time_ns)
    open_ended = FlowTable(active_s=ACTIVE_S, idle_s=IDLE_S, tcp_idle_s=TCP_IDLE_S)
    looked_at = FlowTable(active_s=ACTIVE_S, idle_s=IDLE_S, tcp_idle_s=TCP_IDLE_S)
    found: list[tuple] = []
    for n in range(len(whole)):
        if n in looks:  # as late as can be: when the next packet is about to come
            found += records(looked_at.update(take(whole, slice(n, n)), int(clock[n])))
        found += records(looked_at.update(take(whole, slice(n, n + 1))))
    found += records(looked_at.update(take(whole, slice(0, 0)), 10**15))  # and long after the last one
    assert len(looked_at.flush()) == 0
    kept = [n for n, name in enumerate(COLUMNS) if name not in ("end_reason", "device_mac")]
    plain = sorted([row[n] for n in kept] for row in through(open_ended, whole))
    assert sorted([row[n] for n in kept] for row in found) == plain
    timed_out = {END_REASONS.index(word) for word in ("idle", "active", "fin", "rst")}
    assert {row[COLUMNS.index("end_reason")] for row in found} <= timed_out
