from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_names import CAM, CLOUD, RESOLVER, TV, UDP, Flow, Packet, after, answer, flows, named, s, web
from test_names_dns import A, alias, at, labels, packed, record, response

from egress_watch.names import dns, llmnr, mdns
from egress_watch.names.books import OTHER_NAMES
from egress_watch.names.reader import Said

HTTPS, SRV, PTR = 65, 33, 12
GROUP = "224.0.0.251"
FLUSH = 0x8001


def announcement(*records: bytes, additional: int = 0) -> bytes:
    """Return a response of multicast DNS, which has no question."""
    return struct.pack("!6H", 0, 0x8400, 0, len(records) - additional, 0, additional) + b"".join(records)


def service(owner: str, target: str, *parameters: tuple[int, bytes], priority: int = 1) -> bytes:
    """Return an HTTPS record (RFC 9460, section 2.2)."""
    data = b"".join(struct.pack("!HH", key, len(value)) + value for key, value in parameters)
    return record(owner, HTTPS, struct.pack("!H", priority) + labels(target) + data)


def shouted(time_s: float, name: str, address: str = CLOUD) -> Packet:
    """Return an announcement of a host of the link."""
    payload = announcement(record(name, A, packed(address)[12:], ttl_s=120, group=FLUSH))
    return Packet(s(time_s), TV, 5353, GROUP, 5353, UDP, payload)


def whispered(time_s: float, name: str) -> Packet:
    """Return an answer of LLMNR."""
    return answer(time_s, name)._replace(src_port=5355, src=TV)


def test_announcements_name_their_owners():
    """Each address of a name below local is read, with the cache-flush bit, from all sections but no other names."""
    payload = announcement(
        record("_http._tcp.local", PTR, labels("cam._http._tcp.local")),
        record("Cam.local", A, bytes([10, 0, 0, 5]), group=FLUSH),
        record("bank.example", A, bytes([10, 0, 0, 5])),
        record("cam.local", 28, packed("fe80::5"), group=FLUSH),
        additional=2,
    )
    want = [Said("cam.local", packed("10.0.0.5"), 60), Said("cam.local", packed("fe80::5"), 60)]
    assert mdns.read(payload) == (want, "")


def test_what_hosts_call_themselves_comes_last():
    """Names of the link count after DNS, whoever came later, and say where they are from."""
    flow = Flow(s(9), s(10))
    everything = [whispered(3, "tv"), shouted(4, "tv.local"), answer(1, "dns.example")]
    assert named(after(*everything), flow) == [("dns.example", "dns")]
    assert named(after(*everything[:2]), flow) == [("tv.local", "mdns")]
    assert named(after(everything[0]), flow) == [("tv", "llmnr")]
    assert named(after(*everything, web(9, "web.example")), flow) == [("web.example", "http")]


def test_queries_and_other_ports_are_left_alone():
    """Only responses from the protocols' own ports are read (RFC 6762, section 6; RFC 4795, section 2.5)."""
    one, other = shouted(1, "tv.local"), whispered(1, "tv")
    query = one._replace(payload=one.payload[:2] + b"\0\0" + one.payload[4:])
    names = after(one._replace(src_port=40_000), other._replace(src_port=5356), query)
    assert names.counters()["kept"] == 0


def test_hints_of_a_service_name_it():
    """The addresses a HTTPS record hints at belong to the name asked for; a target of its own leads there too."""
    both = ((4, packed("192.0.2.1")[12:] + packed("192.0.2.2")[12:]), (1, b"\x02h3"), (6, packed("2001:db8::1")))
    said, why = dns.read(response("a.example", service("a.example", "", *both)))
    assert why == ""
    assert [one.address for one in said] == [packed(one) for one in ("192.0.2.1", "192.0.2.2", "2001:db8::1")]
    assert {one.name for one in said} == {"a.example"}
    far = response("a.example", alias("a.example", "b.example"), service("b.example", "c.example", both[0]))
    assert len(dns.read(far)[0]) == 2
    assert dns.read(response("a.example", service("b.example", "", both[0]))) == ([], "")


def test_the_target_of_a_service_may_stand_behind_the_answers():
    """Addresses of the target among the additional records count where a service is told, and only there."""
    tail = at("192.0.2.9", "c.example")
    assert dns.read(more(response("a.example", service("a.example", "c.example", priority=0)), tail))[0] == [
        Said("a.example", packed("192.0.2.9"), 60)
    ]
    assert dns.read(more(response("a.example", alias("a.example", "c.example")), tail))[0] == []


def more(message: bytes, additional: bytes) -> bytes:
    """Return a message with one additional record."""
    return message[:10] + b"\0\1" + message[12:] + additional


def test_labels_of_port_and_scheme_are_left_out():
    """The name of a service on another port is that of its host (RFC 9460, section 2.3)."""
    asked = "_8443._https.a.example"
    said, _ = dns.read(response(asked, service(asked, "", (4, bytes([192, 0, 2, 1])))))
    assert [one.name for one in said] == ["a.example"]


def test_edns_changes_nothing():
    """An OPT record behind the answers is passed over."""
    message = more(response("a.example", at("192.0.2.1")), record("", 41, bytes(8), group=1232))
    assert dns.read(message) == ([Said("a.example", packed("192.0.2.1"), 60)], "")


def test_a_name_in_the_question_may_be_odd():
    """A compressed, a cut and a zero-filled question are read or refused, never trusted."""
    assert dns.read(response(b"\x03a\0b\x02ex\0", at("192.0.2.1")))[0][0].name == "a\\000b.ex"
    assert dns.read(response(b"\xc0\x0c", at("192.0.2.1"))) == ([], "bad pointer")
    assert dns.read(response(b"\x09abc", at("192.0.2.1")))[0] == []


def test_other_names_of_an_address_are_kept():
    """A flow carries up to three other names that its address had at that time, newest first, none twice."""
    heard = [answer(at_s, f"n{at_s}.example", ttl_s=1000) for at_s in range(6)] + [answer(6, "n4.example", ttl_s=9)]
    names = after(*heard, web(9, "web.example"), answer(20, "late.example"))
    done = names.name(after_flows())
    assert done.name == ("web.example", "n4.example", "")
    assert done.other_names == ("n4.example n5.example n3.example", "n5.example n3.example n2.example", "")
    assert OTHER_NAMES == 3
    assert done.name_ns.tolist() == [s(9), s(6), 0]


def after_flows():
    """Return a flow with a name of its own, one named by DNS, and one of another remote."""
    return flows(Flow(s(8), s(10)), Flow(s(8), s(10), device_port=1), Flow(s(8), s(10), remote="192.0.2.77"))


@pytest.mark.parametrize("reader", [mdns, llmnr])
@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(reader, data):
    """Whatever bytes come, there are names in canonical form or none."""
    told = response("a.example", service("a.example", "") + data)
    for message in (data, b"\0\0\x84\0\0\0\0\x03\0\0\0\x02" + data, told):
        for one in reader.read(message)[0]:
            assert one.name.isascii()
            assert one.name.isprintable()
            assert len(one.name) <= 253
    for packet in (Packet(0, CAM, 5353, RESOLVER, 5353, UDP, data), Packet(0, CAM, 5355, RESOLVER, 5355, UDP, data)):
        after(packet)
