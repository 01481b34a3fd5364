from __future__ import annotations

import pytest
from build import Wire, ether, framed, ip, ns, packets, tcp, udp
from hypothesis import given
from hypothesis import strategies as st

from egress_watch import flows as flows_module
from egress_watch.flows import LINGER_NS, FlowTable
from egress_watch.flows.sides import PRIVATE
from egress_watch.model import END_REASONS, Flows, address_text, mac_text

pytestmark = pytest.mark.usefixtures("way")

CAM, NVR, CLOUD, OTHER = "10.0.0.5:4000", "10.0.0.6:4001", "52.1.2.3:443", "8.8.8.8:53"
GROUP, MDNS6 = "239.1.2.3:5000", "[ff02::fb]:5353"
A, B = "198.51.100.1:1000", "203.0.113.9:2000"
LINGER_S = LINGER_NS / 1_000_000_000


def flows(*wires: Wire, table: FlowTable | None = None) -> Flows:
    """Return the records of these frames after the input has ended, in one column set."""
    table = FlowTable() if table is None else table
    closed, rest = table.update(packets(*wires)), table.flush()
    assert not (len(closed) and len(rest)), "ask for one of them"
    return closed if len(closed) else rest


def sides(one: Flows) -> tuple[str, str]:
    """Return device and remote of the only record, each as address:port."""
    assert len(one) == 1
    ends = (one.device, one.device_port), (one.remote, one.remote_port)
    device, remote = (f"{address_text(*column[0].tolist())}:{port[0]}" for column, port in ends)
    return device, remote


def reasons(*parts: Flows) -> list[str]:
    """Return why each record ended, in words."""
    return [END_REASONS[code] for part in parts for code in part.end_reason.tolist()]


def split(*wires: Wire, **settings) -> list[str]:
    """Return why each record of these frames ended, in order."""
    table = FlowTable(**settings)
    return reasons(table.update(packets(*wires)), table.flush())


def test_both_directions_are_one_flow():
    """Out and in are counted apart, with the bytes of the IP packets and the flags of each side."""
    one = flows(tcp(CAM, CLOUD, "S", t=1), tcp(CLOUD, CAM, "SA", b"abc", t=2), tcp(CAM, CLOUD, "A", b"x" * 10, t=3))
    assert sides(one) == (CAM, CLOUD)
    assert (one.packets_out[0], one.bytes_out[0], one.packets_in[0], one.bytes_in[0]) == (2, 90, 1, 43)
    assert (one.flags_out[0], one.flags_in[0]) == (0x12, 0x12)
    assert (one.first_ns[0], one.last_ns[0], one.protocol[0]) == (ns(1), ns(3), 6)


@pytest.mark.parametrize("end", ["10.9.9.9", "100.64.0.1", "169.254.7.7", "172.31.0.1", "192.168.1.1", "127.0.0.1"])
def test_the_private_end_is_the_device_whoever_began(end):
    """A private address is ours, even where the first packet seen comes from outside."""
    assert sides(flows(udp("1.2.3.4:53", f"{end}:9"))) == (f"{end}:9", "1.2.3.4:53")


@pytest.mark.parametrize("end", ["fd00::1", "fe80::1"])
def test_unique_local_and_link_local_ends_are_devices(end):
    """For IPv6, fc00::/7 and fe80::/10 are private."""
    assert sides(flows(udp("[2001:db8::5]:53", f"[{end}]:9")))[0] == f"{end}:9"


def test_each_private_block_stops_at_its_edge():
    """An address just outside a block is not private: 172.32.0.0 is anybody's, 172.31.255.255 is ours."""
    assert sides(flows(udp("172.32.0.0:1", "172.31.255.255:1")))[0] == "172.31.255.255:1"
    assert len(PRIVATE) == 11


def test_configured_networks_outrank_private_addresses():
    """A public network that the user calls his own is the device side, even towards a private address."""
    table = FlowTable(["198.51.100.0/24"])
    assert sides(flows(udp("10.0.0.1:1", "198.51.100.7:2"), table=table))[0] == "198.51.100.7:2"


def test_configured_ipv6_networks_are_ours():
    """Networks may be IPv6 as well."""
    table = FlowTable(["2001:db8:7::/48"])
    assert sides(flows(udp("[2001:db8:8::1]:1", "[2001:db8:7::1]:2"), table=table))[0] == "2001:db8:7::1:2"


@pytest.mark.parametrize(("first", "second"), [(A, B), (B, A)])
def test_between_equals_the_device_is_who_began(first, second):
    """Where networks do not tell, the sender of the first packet is the device."""
    assert sides(flows(udp(first, second), udp(second, first, t=1)))[0] == first


@pytest.mark.parametrize(("first", "second"), [(A, B), (B, A)])
def test_a_syn_ack_seen_first_comes_from_the_other_end(first, second):
    """A capture that begins with the answer still knows who asked."""
    assert sides(flows(tcp(first, second, "SA"), tcp(second, first, "A", t=1)))[0] == second


@pytest.mark.parametrize("group", [GROUP, "255.255.255.255:67"])
def test_a_group_is_never_the_device(group):
    """Multicast and broadcast are remotes, even within one's own networks."""
    table = FlowTable(["239.0.0.0/8", "255.255.255.255/32"])
    assert sides(flows(udp(A, group), table=table)) == (A, group)


def test_ipv6_multicast_is_never_the_device():
    """ff00::/8 is a group as well."""
    assert sides(flows(udp("[2001:db8::1]:5353", MDNS6)))[0] == "2001:db8::1:5353"


def test_the_devices_mac_is_on_its_side_of_the_link():
    """The MAC of a record is the device's, also where the first packet comes from the remote."""
    here, there = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
    assert mac_text(int(flows(udp(CAM, CLOUD)).device_mac[0])) == here
    assert mac_text(int(flows(udp(CLOUD, CAM)).device_mac[0])) == there


def test_a_vlan_seen_on_one_direction_only_does_not_split_the_flow():
    """Mirrored trunks often tag one direction: the record has both, and the tag."""
    one = flows(tcp(CAM, CLOUD, "S"), tcp(CLOUD, CAM, "SA", vlan=110))
    assert (len(one), one.vlan[0], one.packets_in[0]) == (1, 110, 1)


@pytest.mark.parametrize("make", [udp, tcp])
def test_other_ports_protocols_and_versions_are_other_flows(make):
    """The key is both addresses, both ports, the protocol and the IP version."""
    one = flows(make(CAM, CLOUD), make("10.0.0.5:4001", CLOUD), make(CAM, "52.1.2.3:444"), make(CAM, OTHER))
    assert len(one) == 4
    mapped = make("[::ffff:10.0.0.5]:4000", "[::ffff:52.1.2.3]:443")
    assert len(flows(make(CAM, CLOUD), mapped)) == 2
    assert len(flows(tcp(CAM, CLOUD), udp(CAM, CLOUD))) == 2


def test_protocols_without_ports_are_flows_of_their_addresses():
    """ICMP, GRE and any other protocol make one flow a pair of addresses, with ports 0."""
    icmp = [framed(ip("10.0.0.5", "52.1.2.3", 1, bytes([kind, 0, 0, 0, 0, 1, 0, kind]))) for kind in (8, 0)]
    one = flows(*icmp, framed(ip("52.1.2.3", "10.0.0.5", 47, bytes(20))))
    assert sorted(zip(one.protocol.tolist(), one.packets_out.tolist(), strict=True)) == [(1, 2), (47, 0)]
    assert not one.device_port.any()
    assert not one.remote_port.any()


def test_a_packet_to_oneself_is_one_flow():
    """Source and destination that are equal (a LAND packet) count once."""
    one = flows(udp(CAM, CAM))
    assert int(one.packets_out[0] + one.packets_in[0]) == 1


@pytest.mark.parametrize(("make", "edge_s"), [(udp, 10), (tcp, 40)])
def test_a_flow_goes_idle_just_after_its_time_out(make, edge_s):
    """A silence of exactly the time-out is still the same flow; a nanosecond more and it is a new one."""
    settings = {"idle_s": 10, "tcp_idle_s": 40}
    later = make(CAM, CLOUD)._replace(time_ns=ns(100 + edge_s) + 1)
    assert split(make(CAM, CLOUD, t=100), make(CAM, CLOUD, t=100 + edge_s), **settings) == ["end"]
    assert split(make(CAM, CLOUD, t=100), later, **settings) == ["idle", "end"]


def test_a_running_flow_is_cut_just_after_the_active_time_out():
    """At exactly the active time-out it goes on; a nanosecond later the next record begins."""
    steady = [udp(CAM, CLOUD, t=100 + step) for step in range(0, 31, 5)]
    late = udp(CAM, CLOUD)._replace(time_ns=ns(130) + 1)
    assert split(*steady, active_s=30) == ["end"]
    assert split(*steady, late, active_s=30) == ["active", "end"]


def test_of_two_time_outs_the_first_is_the_reason():
    """A flow that was silent for longer than both ends by the one that came first; active where both came at once."""
    for active_s, idle_s, reason in ((10, 10, "active"), (9, 10, "active"), (11, 10, "idle")):
        wires = udp(CAM, CLOUD, t=0), udp(CAM, CLOUD, t=99)
        assert split(*wires, active_s=active_s, idle_s=idle_s) == [reason, "end"]


def test_time_outs_count_from_packet_times_not_from_batches():
    """Nothing ends because a batch ended: only a later packet shows that time has passed."""
    table = FlowTable(idle_s=10)
    assert len(table.update(packets(udp(CAM, CLOUD, t=1)))) == 0
    assert len(table.update(packets())) == 0
    assert reasons(table.update(packets(udp(CAM, CLOUD, t=99)))) == ["idle"]


def test_at_the_end_of_input_a_flow_that_was_silent_too_long_says_so():
    """A flow that ran out before the last packet ends as idle, one that was heard lately as end."""
    assert sorted(split(udp(CAM, CLOUD, t=1), udp(NVR, CLOUD, t=99), idle_s=10)) == ["end", "idle"]


def test_an_active_cut_keeps_the_device_side():
    """The record that follows has the same device, though the other end sends first in it."""
    wires = [tcp(A, B, "S", t=0), tcp(B, A, "SA", t=1), tcp(B, A, "A", t=301)]
    table = FlowTable(active_s=300)
    first, second = table.update(packets(*wires)), table.flush()
    assert sides(first) == sides(second) == (A, B)
    assert (int(second.packets_out[0]), int(second.packets_in[0])) == (0, 1)


def test_after_an_idle_end_the_device_side_is_found_anew():
    """After a long silence the ports may be used by others: who begins now is the device."""
    table = FlowTable(idle_s=10)
    first, second = table.update(packets(udp(A, B, t=0), udp(B, A, t=20))), table.flush()
    assert (sides(first)[0], sides(second)[0]) == (A, B)


def test_a_fin_from_both_sides_closes_a_connection():
    """One FIN leaves a connection half open; the second closes it."""
    half = [tcp(CAM, CLOUD, "S"), tcp(CLOUD, CAM, "SA"), tcp(CAM, CLOUD, "FA")]
    assert split(*half) == ["end"]
    assert split(*half, tcp(CLOUD, CAM, "FA")) == ["fin"]


def test_a_fin_repeated_by_one_side_closes_nothing():
    """Two FINs from the same end are a retransmission."""
    assert split(tcp(CAM, CLOUD, "FA"), tcp(CAM, CLOUD, "FA", t=20)) == ["end"]


@pytest.mark.parametrize("pair", [(CAM, CLOUD), (CLOUD, CAM)])
def test_a_reset_from_either_side_closes_a_connection(pair):
    """RST ends a connection at once, and outranks FIN as the reason."""
    fins = [tcp(CAM, CLOUD, "FA"), tcp(CLOUD, CAM, "FA")]
    assert split(tcp(CAM, CLOUD, "S"), tcp(*pair, "R")) == ["rst"]
    assert split(*fins, tcp(*pair, "R")) == ["rst"]


def test_late_acknowledgements_belong_to_the_closed_connection():
    """A closed connection lingers for five seconds of silence; its last packets make no new flow."""
    closed = [tcp(CAM, CLOUD, "FA"), tcp(CLOUD, CAM, "FA")]
    late = tcp(CAM, CLOUD, "A", t=LINGER_S)
    assert split(*closed, late) == ["fin"]
    assert split(*closed, late._replace(time_ns=LINGER_NS + 1)) == ["fin", "end"]
    assert split(*closed, tcp(CLOUD, CAM, "A", t=2), tcp(CAM, CLOUD, "A", t=2 + LINGER_S)) == ["fin"]


def test_a_new_syn_on_the_ports_of_a_closed_connection_begins_a_new_flow():
    """Ports are used again: the SYN belongs to the new flow, however soon it comes."""
    table = FlowTable()
    wires = [tcp(CAM, CLOUD, "S"), tcp(CLOUD, CAM, "R"), tcp(CAM, CLOUD, "S", t=0.1), tcp(CLOUD, CAM, "SA", t=0.2)]
    first, second = table.update(packets(*wires)), table.flush()
    assert (reasons(first), reasons(second)) == (["rst"], ["end"])
    assert (int(first.packets_out[0]), int(second.packets_out[0]), int(second.packets_in[0])) == (1, 1, 1)


def test_a_syn_on_an_open_connection_is_a_retransmission():
    """Without a close before it, a SYN begins nothing new."""
    assert split(tcp(CAM, CLOUD, "S"), tcp(CAM, CLOUD, "S", t=3)) == ["end"]


def test_many_connections_on_the_same_ports_in_one_batch_are_many_records():
    """Each open and close is a record of its own, in the order of the closes."""
    wires = [wire for n in range(5) for wire in (tcp(CAM, CLOUD, "S", t=n), tcp(CLOUD, CAM, "R", bytes(n), t=n + 0.5))]
    table = FlowTable()
    first, second = table.update(packets(*wires)), table.flush()
    assert first.bytes_in.tolist() + second.bytes_in.tolist() == [40, 41, 42, 43, 44]


def test_time_that_runs_backwards_ends_nothing():
    """A packet older than the newest one counts at the newest's time, and still widens the record."""
    one = flows(udp(CAM, CLOUD, t=100), udp(CAM, CLOUD, t=10), udp(CAM, CLOUD, t=105), table=FlowTable(idle_s=20))
    assert (len(one), one.first_ns[0], one.last_ns[0]) == (1, ns(10), ns(105))


@pytest.mark.parametrize("edge", [2**63 - 1, 2**62, 2**62 + 1, 0, -1, -(2**63)])
def test_times_at_the_edge_of_the_calendar_are_only_times(edge):
    """A hostile capture may claim any time: two packets at once are one flow that lasts no time."""
    wires = [udp(CAM, CLOUD)._replace(time_ns=edge), udp(CLOUD, CAM)._replace(time_ns=edge)]
    one = flows(*wires)
    assert (len(one), one.first_ns[0], one.last_ns[0], reasons(one)) == (1, edge, edge, ["end"])


@pytest.mark.parametrize("setting", ["active_s", "idle_s", "tcp_idle_s"])
def test_an_endless_time_out_never_ends_a_flow(setting):
    """Any number of seconds the settings allow works, even 300 centuries."""
    table = FlowTable(**{"active_s": 10**11, "idle_s": 10**11, "tcp_idle_s": 10**11, setting: 999_999_999_999})
    assert reasons(table.update(packets(tcp(CAM, CLOUD, t=1), tcp(CAM, CLOUD, t=2_000_000_000))), table.flush()) == [
        "end"
    ]


def test_an_empty_table_has_nothing_to_give():
    """No packets, no flows, before and after the end."""
    table = FlowTable()
    assert (len(table.update(packets())), len(table.flush()), len(table)) == (0, 0, 0)


class TestSweeps:
    """A sweep every four packets."""

    @pytest.fixture(autouse=True)
    def _often(self, monkeypatch):
        monkeypatch.setattr(flows_module, "SWEEP_PACKETS", 4)

    def test_a_sweep_ends_what_was_silent_too_long(self):
        """Flows of which no packet comes any more leave the table while others go on."""
        table = FlowTable(idle_s=10)
        gone = table.update(packets(udp(CAM, CLOUD, t=1), *[udp(NVR, CLOUD, t=t) for t in (2, 12, 12)]))
        assert (reasons(gone), sides(gone)[0], len(table)) == (["idle"], CAM, 1)

    def test_a_sweep_cuts_a_running_flow_and_keeps_its_side(self):
        """A running flow is written at a sweep; its next record begins with its next packet, same side."""
        table = FlowTable(active_s=10, idle_s=60)
        wires = [udp(A, B, t=0), *[udp(B, A, t=t) for t in (4, 9, 11)]]
        first, second = table.update(packets(*wires[:3], udp(NVR, CLOUD, t=11))), table.update(packets(*wires[3:]))
        rest = table.flush()
        assert (reasons(first), len(second)) == (["active"], 0)
        assert [address_text(*row) for row in rest.device.tolist()] == ["198.51.100.1", "10.0.0.6"]
        assert rest.packets_in.tolist() == [1, 0]

    def test_a_flow_cut_by_a_sweep_runs_from_its_next_packet(self):
        """The active time-out of the next record starts with that record, also within one batch."""
        table = FlowTable(active_s=10, idle_s=60)
        wires = [udp(CAM, CLOUD, t=t) for t in (0, 5, 10)] + [udp(NVR, CLOUD, t=11), udp(CAM, CLOUD, t=20)]
        ended = table.update(packets(*wires, udp(CAM, CLOUD, t=30), udp(CAM, CLOUD, t=31)))
        assert ended.packets_out.tolist() == [3, 2]
        assert ended.last_ns.tolist() == [ns(10), ns(30)]

    def test_a_closed_connection_leaves_at_a_sweep_after_it_lingered(self):
        """Within the linger a sweep leaves it; after it, it goes, with its own reason."""
        table = FlowTable()
        close = [tcp(CAM, CLOUD, "FA", t=0), tcp(CLOUD, CAM, "FA", t=0)]
        kept = table.update(packets(*close, udp(A, B, t=1), udp(A, B, t=LINGER_S)))
        gone = table.update(packets(*[udp(A, B, t=LINGER_S + 1)] * 4))
        assert (len(kept), reasons(gone)) == (0, ["fin"])

    def test_a_full_table_evicts_the_flows_silent_longest(self):
        """Beyond the limit the flows heard from least lately go, counted, and nothing of them is lost."""
        table = FlowTable(limit=2)
        wires = [udp(f"10.0.0.{n}:1", CLOUD, t=t) for n, t in ((1, 3), (2, 1), (3, 2), (1, 4))]
        gone = table.update(packets(*wires))
        assert (reasons(gone), table.evicted, len(table)) == (["evicted"], 1, 2)
        assert sides(gone)[0] == "10.0.0.2:1"

    def test_among_flows_silent_equally_long_the_one_that_began_first_is_evicted(self):
        """Who is evicted does not depend on the seed."""
        wires = [udp(f"10.0.0.{n}:1", CLOUD, t=1) for n in (4, 2, 3, 1)]
        for seed in range(5):
            gone = FlowTable(limit=3, seed=seed).update(packets(*wires))
            assert sides(gone)[0] == "10.0.0.4:1"

    def test_a_flood_of_flows_keeps_the_table_bounded(self):
        """However many flows come, at most ``limit`` and one sweep's worth are open, and each is written once."""
        table, written = FlowTable(limit=5), 0
        for n in range(0, 200, 3):
            batch = [udp(f"10.0.{n + k}.1:1", CLOUD, t=n) for k in range(3)]
            written += len(table.update(packets(*batch)))
            assert len(table) <= 5 + 4
        assert written + len(table.flush()) == 201
        assert table.evicted == written

    def test_an_evicted_flow_that_goes_on_is_counted_in_a_further_record(self):
        """Eviction splits a flow; its packets are all there."""
        table = FlowTable(limit=1)
        wires = [udp(f"10.0.0.{n % 3}:1", CLOUD, bytes(n), t=n) for n in range(20)]
        ended = [table.update(packets(*wires)), table.flush()]
        assert sum(int(part.packets_out.sum()) for part in ended) == 20
        assert sum(int(part.bytes_out.sum()) for part in ended) == sum(28 + n for n in range(20))


def test_the_table_grows_as_flows_come():
    """More flows than the first table holds are all kept, each on its own."""
    wires = [Wire(ether(udp(f"10.{n >> 8 & 255}.{n & 255}.1:7", CLOUD).data[14:]), ns(1)) for n in range(9000)]
    table = FlowTable()
    assert len(table.update(packets(*wires))) == 0
    assert len(table) == 9000
    rest = table.flush()
    assert rest.packets_out.tolist() == [1] * 9000
    assert len({tuple(row) for row in rest.device.tolist()}) == 9000


@given(st.permutations(range(8)))
def test_packets_out_of_order_within_a_moment_change_no_record(order):
    """A mirror that joins two directions mixes their packets: the records are those of the right order."""
    here, there, asked = "10.0.0.1:1000", "3.5.140.7:443", "3.5.140.7:53"
    talk = [
        tcp(here, there, "S", t=0), tcp(there, here, "SA", t=0.001), tcp(here, there, "A", b"ask", t=0.002),
        tcp(there, here, "PA", b"answer", t=0.003), tcp(here, there, "A", t=0.004),
        udp(here, asked, t=0.0005), udp(asked, here, b"name", t=0.0015), udp(here, there, t=0.005),
    ]  # fmt: skip
    assert _records(flows(*(talk[n] for n in order))) == _records(flows(*talk))


def _records(found: Flows) -> list[tuple]:
    columns = ("first_ns", "last_ns", "device_port", "remote_port", "protocol", "packets_out", "bytes_out",
               "packets_in", "bytes_in", "flags_out", "flags_in", "end_reason")  # fmt: skip
    return sorted(zip(*(getattr(found, name).tolist() for name in columns), strict=True))
