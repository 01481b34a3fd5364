from __future__ import annotations

import logging
import struct
import warnings
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress_watch.model import address_text, address_words
from egress_watch.names import dns, dns_tcp
from egress_watch.names.reader import Said

A, NS, CNAME, AAAA = 1, 2, 5, 28
TO_QUESTION = b"\xc0\x0c"


def labels(name: str) -> bytes:
    """Return a plain name as on the wire."""
    parts = [part.encode() for part in name.split(".")] if name else []
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def record(owner: bytes | str, kind: int, data: bytes, ttl_s: int = 60, group: int = 1) -> bytes:
    """Return a resource record."""
    owner = labels(owner) if isinstance(owner, str) else owner
    return owner + struct.pack("!HHIH", kind, group, ttl_s, len(data)) + data


def at(address: str, owner: bytes | str = TO_QUESTION, ttl_s: int = 60) -> bytes:
    """Return an A or AAAA record."""
    high, low = address_words(address)
    v4 = "." in address
    return record(
        owner, A if v4 else AAAA, struct.pack("!I", low & 0xFFFFFFFF) if v4 else struct.pack("!QQ", high, low), ttl_s
    )


def alias(owner: str, target: str) -> bytes:
    """Return a CNAME record."""
    return record(owner, CNAME, labels(target))


def response(asked: bytes | str, *records: bytes, flags: int = 0x8180, questions: int = 1, answers: int = -1) -> bytes:
    """Return a response to a question of type A."""
    asked = labels(asked) if isinstance(asked, str) else asked
    count = len(records) if answers < 0 else answers
    return struct.pack("!6H", 7, flags, questions, count, 0, 0) + asked + struct.pack("!HH", A, 1) + b"".join(records)


def packed(address: str) -> bytes:
    """Return an address as readers give it."""
    return struct.pack("!QQ", *address_words(address))


def text(address: bytes) -> str:
    """Return an address as a reader gives it in words."""
    return address_text(*struct.unpack("!QQ", address))


def pairs(payload: bytes) -> list[tuple[str, str]]:
    """Return (name, address) of what is read."""
    said, _ = dns.read(payload)
    return [(one.name, text(one.address)) for one in said if one.address]


def reason(payload: bytes) -> str:
    """Return why a message was refused."""
    return dns.read(payload)[1]


def test_addresses_of_both_versions_are_read():
    """A and AAAA records give address, name and TTL."""
    said, why = dns.read(response("a.example", at("192.0.2.1", ttl_s=5), at("2001:db8::1", ttl_s=9)))
    assert why == ""
    assert said == [
        Said("a.example", packed("192.0.2.1"), 5),
        Said("a.example", packed("2001:db8::1"), 9),
    ]


def test_a_chain_of_aliases_leads_to_the_queried_name():
    """The name kept is the one that was asked for, whatever order the records come in."""
    chain = [alias("a.example", "b.example"), alias("b.example", "c.example"), at("192.0.2.1", "c.example")]
    assert pairs(response("a.example", *chain)) == [("a.example", "192.0.2.1")]
    assert pairs(response("a.example", *reversed(chain))) == [("a.example", "192.0.2.1")]


def test_a_ring_of_aliases_ends():
    """Aliases that lead to each other name what they lead to, and reading ends."""
    ring = [alias("a.example", "b.example"), alias("b.example", "a.example"), at("192.0.2.1", "b.example")]
    assert pairs(response("a.example", *ring)) == [("a.example", "192.0.2.1")]


def test_records_of_other_names_are_left_out():
    """An address of a name the question does not lead to is not believed."""
    assert pairs(response("a.example", at("192.0.2.1", "bank.example"))) == []


def test_records_of_other_kinds_and_classes_are_left_out():
    """Only A and AAAA records of class IN with the right length give an address."""
    others = [record(TO_QUESTION, NS, labels("ns.example")), record(TO_QUESTION, A, b"\1\2\3\4", group=3)]
    assert pairs(response("a.example", *others, record(TO_QUESTION, A, b"\1\2\3"))) == []


def test_names_are_lower_case():
    """Names compare without case, so they are kept in one."""
    assert pairs(response("CaM.Example", at("192.0.2.1", "cam.eXAMPLE"))) == [("cam.example", "192.0.2.1")]


def test_odd_bytes_are_escaped():
    r"""Bytes that could be misread are kept as \DDD: control, space, dot in a label, backslash, not ASCII."""
    asked = b"\x09a\x1b .\\\xe4\xff\x7fZ\x02ex\x00"
    assert pairs(response(asked, at("192.0.2.1"))) == [(r"a\027\032\046\092\228\255\127z.ex", "192.0.2.1")]


def test_the_root_is_no_name():
    """An answer for the root names nothing."""
    assert dns.read(response("", at("192.0.2.1"))) == ([], "")


def test_the_highest_bit_of_a_ttl_means_zero():
    """A TTL of 2**31 or more counts as zero."""
    assert dns.read(response("a.example", at("192.0.2.1", ttl_s=1 << 31)))[0][0].ttl_s == 0


@pytest.mark.parametrize(
    ("owner", "why"),
    [
        (b"\xc0\x1b", "bad pointer"),  # to itself
        (b"\xc0\xff", "bad pointer"),  # forward
        (b"\x01a\xc0\x1b", "bad pointer"),  # to its own start
        (b"\x41a\x00", "unknown label type"),
        (b"\x80a\x00", "unknown label type"),
        (b"\x3fa", "cut"),
    ],
)
def test_broken_names_are_refused(owner, why):
    """A pointer must lead strictly backwards, and a label be of a known type and whole."""
    payload = response("aaaaaaaaa", record(owner, A, b"\1\2\3\4"))
    assert payload[0x1B : 0x1B + len(owner)] == owner
    assert reason(payload) == why


def test_a_long_row_of_pointers_is_refused():
    """Pointers that only lead to pointers are followed a bounded number of times."""
    steps = b"".join(struct.pack("!H", 0xC000 | at) for at in (12, *range(34, 130, 2)))
    hidden = record(TO_QUESTION, NS, steps)  # the row of pointers lies in its data, from offset 34 on
    payload = response("aaaa", hidden, record(struct.pack("!H", 0xC000 | 34 + len(steps) - 2), A, b"\1\2\3\4"))
    assert payload[34 : 34 + len(steps)] == steps
    assert reason(payload) == "bad pointer"


@pytest.mark.parametrize(("last", "why"), [(61, ""), (62, "name too long")])
def test_a_name_has_at_most_255_bytes(last, why):
    """A name of 255 bytes on the wire is read, one of 256 is refused."""
    asked = ".".join(["a" * 63] * 3 + ["b" * last])
    assert len(labels(asked)) == 194 + last
    said, said_why = dns.read(response(asked, at("192.0.2.1")))
    assert (said_why, len(said)) == (why, 0 if why else 1)


def test_one_question_is_needed():
    """A message with two questions does not tell which one an answer is for."""
    assert dns.read(response("a.example", at("192.0.2.1"), questions=2)) == ([], "not one question")


def test_answers_are_bounded():
    """What comes behind the 256th answer is left out and counted."""
    said, why = dns.read(response("a.example", *[at(f"10.0.{n >> 8}.{n & 255}") for n in range(300)]))
    assert (len(said), why) == (256, "too many records")


def test_a_cut_message_keeps_what_came_before():
    """Cut anywhere, a message gives the records before the cut, and says it is cut."""
    whole = response("a.example", at("192.0.2.1"), at("192.0.2.2"))
    for size in range(len(whole)):
        said, why = dns.read(whole[:size])
        assert (len(said), why) == (1 if size >= len(whole) - 16 else 0, "cut")


def test_messages_over_tcp_are_read_one_by_one():
    """Over TCP each message follows its length; the last one may be cut."""
    one, two = response("a.example", at("192.0.2.1")), response("b.example", at("192.0.2.2"))
    stream = b"".join(struct.pack("!H", len(message)) + message for message in (one, two))
    said, why = dns_tcp.read(stream)
    assert ([row.name for row in said], why) == (["a.example", "b.example"], "")
    said, why = dns_tcp.read(stream[:-1])
    assert ([row.name for row in said], why) == (["a.example"], "cut")


def canonical(name: str) -> bool:
    """Tell whether a name is in the form names are kept in."""
    return 0 < len(name) <= 253 and name.isascii() and name.isprintable() and name == name.lower() and " " not in name


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(payload):
    """Whatever bytes come, there are rows in canonical form or none."""
    for message in (payload, payload[:2] + b"\x81\x80\x00\x01\x00\x09" + payload[8:]):
        assert all(canonical(one.name) for one in dns.read(message)[0])
        assert all(canonical(one.name) for one in dns_tcp.read(message)[0])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6))
def test_any_damage_is_read_without_an_error(damage):
    """A good message with some bytes changed gives rows in canonical form or none."""
    good = response("a.example", alias("a.example", "b.example"), at("192.0.2.1", "b.example"), at("2001:db8::1"))
    hurt = bytearray(good)
    for spot, byte in damage:
        hurt[spot % len(hurt)] = byte
    assert all(canonical(one.name) for one in dns.read(bytes(hurt))[0])


def scapy_dns():
    """Return scapy's DNS layer, without the noise of its start."""
    logging.getLogger("scapy").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scapy.layers import dns as layer
    return layer


LABEL = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12)
NAME = st.lists(LABEL, min_size=1, max_size=5).map(".".join)


@settings(deadline=None)
@given(NAME, st.lists(NAME, max_size=3, unique=True), st.lists(st.ip_addresses(), max_size=6), st.booleans())
def test_scapy_writes_what_we_read(asked, chain, addresses, short):
    """What another implementation encodes, with or without compression, is read as it was meant."""
    layer = scapy_dns()
    names = [asked, *[name for name in chain if name != asked]]
    rows = [layer.DNSRR(rrname=one, type="CNAME", rdata=two) for one, two in pairwise(names)]
    rows += [layer.DNSRR(rrname=names[-1], type="A" if ip.version == 4 else "AAAA", rdata=str(ip)) for ip in addresses]
    message = layer.DNS(id=1, qr=1, qd=[layer.DNSQR(qname=asked)], an=rows)
    payload = bytes(message.compress() if short else message)
    assert dns.read(payload)[1] == ""
    assert [one.address for one in dns.read(payload)[0]] == [packed(str(ip)) for ip in addresses]
    assert all(one.name == asked for one in dns.read(payload)[0])


@settings(deadline=None)
@given(NAME, st.lists(st.tuples(st.ip_addresses(), st.booleans(), st.integers(0, 2**31 - 1)), min_size=1, max_size=6))
def test_scapy_reads_what_we_read(asked, rows):
    """Another implementation finds the same names, addresses and TTLs in the same bytes."""
    layer = scapy_dns()
    payload = response(asked, *[at(str(ip), TO_QUESTION if short else asked, ttl_s) for ip, short, ttl_s in rows])
    theirs = [(one.rrname, str(one.rdata), one.ttl) for one in layer.DNS(payload).an]
    ours = [(f"{one.name}.".encode(), text(one.address), one.ttl_s) for one in dns.read(payload)[0]]
    assert [(name, address_words(ip), ttl_s) for name, ip, ttl_s in ours] == [
        (name, address_words(ip), ttl_s) for name, ip, ttl_s in theirs
    ]
