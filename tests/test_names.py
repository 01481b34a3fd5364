from __future__ import annotations

import struct
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_names_books import contents
from test_names_dns import at, response
from test_names_http import request
from test_names_tls import hello

from egress_watch.model import END_REASONS, NAME_SOURCES, PAD_BYTES, Flows, Packets, address_words
from egress_watch.names import DIALOGUES, MESSAGES, STREAMS, Names
from egress_watch.names.asked import CONNECTION_NS
from egress_watch.names.bearers import Sieve, stretch_of, windows
from egress_watch.names.book import NAME as NAME_AT
from egress_watch.names.book import RUNS_PER_KEY, Book, Run, find
from egress_watch.names.trust import LEAST_TTL_S, MOST_TTL_S, OUTER, SECOND_NS, TRUST

TCP, UDP = 6, 17
SYN, ACK = 2, 16
CAM, TV, CLOUD, RESOLVER = "10.0.0.5", "10.0.0.6", "192.0.2.1", "10.0.0.1"


class Packet(NamedTuple):
    """A packet in words."""

    time_ns: int
    src: str
    src_port: int
    dst: str
    dst_port: int
    protocol: int
    payload: bytes
    sequence: int = 1


def packets(*rows: Packet) -> Packets:
    """Return packets as columns; in the buffer lie the TCP header of each, if it has one, and its payload."""
    n = len(rows)
    size = np.array([len(row.payload) for row in rows], np.int64)
    headers = [header(row) for row in rows]
    end = np.cumsum(size + np.array([len(one) for one in headers], np.int64))
    zero = {kind: np.zeros(n, kind) for kind in ("uint8", "uint16", "uint32", "uint64")}
    words = [np.array([address_words(text) for text in texts], np.uint64).reshape(n, 2) for texts in _ends(rows)]
    return Packets(
        data=np.frombuffer(
            b"".join(one + row.payload for one, row in zip(headers, rows, strict=True)) + bytes(PAD_BYTES), np.uint8
        ),
        time_ns=np.array([row.time_ns for row in rows], np.int64),
        src_mac=zero["uint64"],
        dst_mac=zero["uint64"],
        vlan=zero["uint16"],
        version=zero["uint8"],
        src=words[0],
        dst=words[1],
        src_port=np.array([row.src_port for row in rows], np.uint16),
        dst_port=np.array([row.dst_port for row in rows], np.uint16),
        protocol=np.array([row.protocol for row in rows], np.uint8),
        tcp_flags=np.array([ACK if row.protocol == TCP else 0 for row in rows], np.uint8),
        size=size + 40,
        fragment=zero["uint8"],
        fragment_id=zero["uint32"],
        payload=end - size,
        payload_bytes=size,
    )


def header(row: Packet) -> bytes:
    """Return the TCP header of a packet with twelve bytes of options, nothing for other protocols."""
    if row.protocol != TCP:
        return b""
    return struct.pack("!HHIIBB6x12x", row.src_port, row.dst_port, row.sequence, 0, 8 << 4, ACK)


def _ends(rows: tuple[Packet, ...]) -> tuple[list[str], list[str]]:
    return [row.src for row in rows], [row.dst for row in rows]


class Flow(NamedTuple):
    """A flow record in words."""

    first_ns: int
    last_ns: int
    device: str = CAM
    device_port: int = 40_000
    remote: str = CLOUD
    remote_port: int = 443
    protocol: int = TCP
    flags: int = SYN | ACK
    end: str = "fin"


def flows(*rows: Flow) -> Flows:
    """Return flow records as columns."""
    n = len(rows)
    zero = np.zeros(n, np.int64)
    words = [
        np.array([address_words(text) for text in texts], np.uint64).reshape(n, 2)
        for texts in ([row.device for row in rows], [row.remote for row in rows])
    ]
    return Flows(
        first_ns=np.array([row.first_ns for row in rows], np.int64),
        last_ns=np.array([row.last_ns for row in rows], np.int64),
        device=words[0],
        remote=words[1],
        device_port=np.array([row.device_port for row in rows], np.uint16),
        remote_port=np.array([row.remote_port for row in rows], np.uint16),
        protocol=np.array([row.protocol for row in rows], np.uint8),
        device_mac=np.zeros(n, np.uint64),
        vlan=np.zeros(n, np.uint16),
        packets_out=zero,
        bytes_out=zero,
        packets_in=zero,
        bytes_in=zero,
        flags_out=np.array([row.flags for row in rows], np.uint8),
        flags_in=np.array([row.flags for row in rows], np.uint8),
        end_reason=np.array([END_REASONS.index(row.end) for row in rows], np.uint8),
    )


def s(seconds: float) -> int:
    """Return seconds as nanoseconds."""
    return int(seconds * SECOND_NS)


def tls(time_s: float, name: str, port: int = 40_000, device: str = CAM) -> Packet:
    """Return a ClientHello to the cloud."""
    return Packet(s(time_s), device, port, CLOUD, 443, TCP, hello(name.encode()))


def web(time_s: float, name: str, port: int = 40_000) -> Packet:
    """Return a request to the cloud."""
    return Packet(s(time_s), CAM, port, CLOUD, 443, TCP, request(f"Host: {name}"))


def answer(time_s: float, name: str, client: str = CAM, address: str = CLOUD, ttl_s: int = 60) -> Packet:
    """Return a DNS answer."""
    return Packet(s(time_s), RESOLVER, 53, client, 5353, UDP, response(name, at(address, ttl_s=ttl_s)))


def named(names: Names, *rows: Flow) -> list[tuple[str, str]]:
    """Return (name, source) of each flow."""
    done = names.name(flows(*rows))
    return list(zip(done.name, done.name_source, strict=True))


def after(*heard: Packet) -> Names:
    """Return the names after one batch."""
    names = Names()
    names.hear(packets(*heard))
    return names


def test_nothing_heard_names_nothing():
    """Without packets, and without flows, there are no names, and as many entries as flows."""
    names = after()
    assert named(names) == []
    assert named(names, Flow(0, 1), Flow(0, 1)) == [("", ""), ("", "")]


def test_tls_goes_before_http_before_dns():
    """The surest source wins, whatever came last."""
    dns = answer(0, "dns.example")
    assert named(after(dns), Flow(s(1), s(9))) == [("dns.example", "dns")]
    assert named(after(dns, web(2, "http.example")), Flow(s(1), s(9))) == [("http.example", "http")]
    everything = after(dns, tls(2, "tls.example"), web(3, "http.example"))
    assert named(everything, Flow(s(1), s(9))) == [("tls.example", "tls")]
    assert everything.heard == {"dns": 1, "tls": 1, "http": 1}


@pytest.mark.parametrize(
    "other",
    [
        {"device_port": 40_001},
        {"remote_port": 444},
        {"device": TV},
        {"remote": "192.0.2.2"},
        {"protocol": UDP},
        {"device": CLOUD, "device_port": 443, "remote": CAM, "remote_port": 40_000},
    ],
)
def test_a_server_name_belongs_to_its_connection(other):
    """Another port, address, protocol or direction is another connection: a caller is not named by what it calls."""
    assert named(after(tls(1, "a.example")), Flow(0, s(9), **other)) == [("", "")]


def test_the_newest_name_up_to_the_last_packet_counts():
    """A flow takes the newest name heard by its last packet, that moment included."""
    names = after(web(1, "a.example"), web(2, "b.example"), web(4, "c.example"))
    rows = [Flow(0, last_ns) for last_ns in (s(1) - 1, s(1), s(2), s(4) - 1, s(4))]
    assert [one[0] for one in named(names, *rows)] == ["", "a.example", "b.example", "b.example", "c.example"]


def test_a_new_connection_does_not_inherit():
    """A flow with a SYN takes no name from before its first packet: the port is used again."""
    names = after(tls(1, "a.example"))
    assert named(names, Flow(s(1), s(2)), Flow(s(1) + 1, s(2))) == [("a.example", "tls"), ("", "")]


def test_a_record_without_its_beginning_looks_back():
    """A flow without a SYN may be named by what was heard up to ten minutes before."""
    names = after(tls(1, "a.example"))
    first_ns = s(1) + CONNECTION_NS
    rows = [Flow(one, one, flags=ACK) for one in (first_ns, first_ns + 1)]
    assert named(names, *rows) == [("a.example", "tls"), ("", "")]


@pytest.mark.parametrize("heard", [tls(1, "a.example"), web(1, "a.example"), answer(0, "a.example")])
@pytest.mark.parametrize("end", ["active", "evicted"])
def test_a_cut_connection_keeps_its_name(heard, end):
    """Record after record of a cut connection keeps the name, hours after it was heard."""
    names = after(heard)
    hour = 3600
    records = [Flow(s(1), s(hour), end=end)]
    records += [Flow(s(n * hour), s((n + 1) * hour - 1), flags=ACK, end=end) for n in range(1, 6)]
    assert {one[0] for one in named(names, *records)} == {"a.example"}
    assert named(after(heard), records[-1]) == [("", "")]


def test_an_ended_connection_hands_nothing_on():
    """After an idle time-out the next flow on the same ports stands for itself."""
    names = after(answer(0, "a.example"))
    one, two = s(LEAST_TTL_S), s(LEAST_TTL_S + 1)
    assert named(names, Flow(one, one, protocol=UDP, end="idle"), Flow(two, two, protocol=UDP)) == [
        ("a.example", "dns"),
        ("", ""),
    ]


def test_an_answer_names_later_flows_only():
    """An answer counts from its own moment on, that moment included."""
    names = after(answer(5, "a.example"))
    rows = [Flow(s(5) - 1, s(9)), Flow(s(5), s(9)), Flow(s(6), s(9))]
    assert [one[0] for one in named(names, *rows)] == ["", "a.example", "a.example"]


def test_the_device_that_asked_goes_first():
    """An answer to the device itself counts before a newer one to another; one to another is better than none."""
    names = after(answer(1, "cam.example"), answer(2, "tv.example", client=TV))
    rows = [Flow(s(3), s(9)), Flow(s(3), s(9), device=TV), Flow(s(3), s(9), device="10.0.0.7")]
    assert [one[0] for one in named(names, *rows)] == ["cam.example", "tv.example", "tv.example"]


@pytest.mark.parametrize(
    ("ttl_s", "kept_s"), [(0, LEAST_TTL_S), (60, LEAST_TTL_S), (1000, 1000), (10**6, MOST_TTL_S), (2**31, LEAST_TTL_S)]
)
def test_an_answer_runs_out(ttl_s, kept_s):
    """A TTL counts within bounds, by packet time."""
    names = after(answer(0, "a.example", ttl_s=ttl_s))
    assert [one[0] for one in named(names, Flow(s(kept_s), s(kept_s)), Flow(s(kept_s) + 1, s(kept_s) + 1))] == [
        "a.example",
        "",
    ]


def test_both_address_versions_are_named():
    """An IPv6 address is named as an IPv4 address is."""
    names = after(answer(0, "six.example", address="2001:db8::1", client="fe80::5"))
    assert named(names, Flow(1, 2, device="fe80::5", remote="2001:db8::1")) == [("six.example", "dns")]


def test_an_answer_over_tcp_counts():
    """An answer over TCP is read as one over UDP."""
    message = response("a.example", at(CLOUD))
    heard = Packet(0, RESOLVER, 53, CAM, 5353, TCP, len(message).to_bytes(2, "big") + message)
    assert named(after(heard), Flow(1, 2)) == [("a.example", "dns")]


@pytest.mark.parametrize(
    "heard",
    [
        answer(0, "a.example")._replace(src_port=5354),
        answer(0, "a.example")._replace(protocol=TCP),
        Packet(0, CAM, 53, RESOLVER, 53, UDP, response("a.example", at(CLOUD), flags=0x0100)),
        Packet(0, RESOLVER, 53, CAM, 5353, UDP, response("a.example", at(CLOUD), flags=0xA800)),
        tls(1, "a.example")._replace(protocol=UDP),
        web(1, "a.example")._replace(protocol=UDP),
        tls(1, "a.example")._replace(payload=b"\x17" + hello(b"a.example")[1:]),
        web(1, "a.example")._replace(payload=b"GET"),
        web(1, "a.example")._replace(payload=b"/" * 9),
    ],
)
def test_other_packets_are_not_read(heard):
    """Other ports, queries, updates, other transports, other records and empty starts are left alone."""
    names = after(heard)
    assert (names.heard, names.refused) == ({}, {})


def test_what_is_refused_is_counted():
    """A packet that cannot be read is counted by reader and reason."""
    bad = tls(1, "a.example")._replace(payload=hello(b"a b"))
    twice = web(1, "a.example")._replace(payload=request("Host: a", "Host: b"))
    cut = answer(1, "a.example")._replace(payload=response("a.example", at(CLOUD))[:-1])
    names = after(bad, bad, twice, cut)
    assert names.refused == {"tls: not a host name": 2, "http: two Host fields": 1, "dns: cut": 1}
    assert names.heard == {}
    assert names.counters()["refused: tls: not a host name"] == 2


def test_the_first_bytes_of_every_payload_are_gathered():
    """Each payload's first bytes come out as they lie there, also at the very end of the buffer."""
    rows = [answer(0, "a.example")._replace(payload=payload) for payload in (b"abcdefghij", b"", b"xyz")]
    batch = packets(*rows)
    whole = b"abcdefghijxyz" + bytes(8)
    first = windows(batch.data, np.dtype(np.uint64))[batch.payload]
    assert first.tobytes() == whole[0:8] + whole[10:18] + whole[10:18]


def test_every_reader_says_its_source_and_wants_no_silence():
    """Each reader has a source known to the store and a rank of trust, and wants no packet without payload."""
    readers = [*MESSAGES, *STREAMS, *DIALOGUES]
    assert set(TRUST) == set(NAME_SOURCES) - {""}
    assert {reader.SOURCE for reader in readers} == set(TRUST) - {OUTER}
    silent = [web(0, "a.example")._replace(payload=b"", src_port=port, protocol=one)
              for one in (TCP, UDP) for port in (53, 5353, 5355)]  # fmt: skip
    assert Sieve(readers).sift(stretch_of(packets(*silent), 0), np.arange(len(silent))) == []


@pytest.mark.parametrize("limit", [1, 5, 50])
def test_memory_is_bounded_and_what_is_forgotten_is_counted(limit):
    """However many addresses are named, a book keeps its limit; the least recently heard go first."""
    names = Names(limit)
    names.hear(packets(*[answer(n, f"n{n}.example", address=f"192.0.2.{n}") for n in range(200)]))
    assert max(len(book) for book in contents(names)) == limit
    assert names.forgotten == 2 * (200 - limit)
    rows = [Flow(s(200), s(201), remote=f"192.0.2.{n}") for n in range(200)]
    assert [bool(name) for name, _ in named(names, *rows)] == [n >= 200 - limit for n in range(200)]


def test_a_full_book_drops_in_the_order_of_packets():
    """What is forgotten follows the order of the packets, whichever reader reads them."""
    message = response("tcp.example", at("192.0.2.7"))
    stream = Packet(0, RESOLVER, 53, CAM, 5353, TCP, len(message).to_bytes(2, "big") + message)
    names = Names(limit=1)
    names.hear(packets(stream, answer(1, "udp.example")))
    assert [name for name, _ in named(names, Flow(s(2), s(2)), Flow(s(2), s(2), remote="192.0.2.7"))] == [
        "udp.example",
        "",
    ]


def test_packets_out_of_order_are_put_in_order():
    """A name that comes late is judged by its own time."""
    names = after(web(3, "c.example"), web(1, "a.example"), web(2, "b.example"))
    rows = [Flow(0, s(n)) for n in (1, 2, 3)]
    assert [name for name, _ in named(names, *rows)] == ["a.example", "b.example", "c.example"]


def run(name: str, start_ns: int, until_ns: int, rank: int = 0) -> Run:
    """Return a run."""
    return start_ns, until_ns, name, rank, start_ns


def found(book: Book, key: bytes, when_ns: int) -> str:
    """Return the name that held at a time, "" without one."""
    one = find(book.lines.get(key, []), when_ns, when_ns)
    return one[NAME_AT] if one else ""


def test_hearing_again_keeps_a_name_in_memory():
    """A key that is heard again is not the next to be forgotten."""
    book = Book(2)
    for key, when in ((b"1", 0), (b"2", 1), (b"1", 2), (b"3", 3)):
        book.note(key, run(f"n{key.decode()}", when, when + 9))
    assert [found(book, key, 4) for key in (b"1", b"2", b"3")] == ["n1", "", "n3"]
    assert (len(book), book.forgotten) == (2, 1)


def test_one_busy_key_is_bounded():
    """A key whose name keeps changing keeps its newest names only."""
    book = Book(1000)
    for when in range(RUNS_PER_KEY + 10):
        book.note(b"1", run(f"n{when}", when, when + 1000))
    assert (len(book), book.forgotten) == (RUNS_PER_KEY, 10)
    assert found(book, b"1", 9) == ""
    assert found(book, b"1", 10) == "n10"


def test_the_better_source_is_found_before_the_newer():
    """Among the names that held, the most trusted counts, and of those the newest."""
    book = Book(9)
    for when, (name, rank) in enumerate([("a", 1), ("b", 1), ("c", 2)]):
        book.note(b"1", run(name, when, 9, rank))
    assert found(book, b"1", 5) == "b"


HEARINGS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc"), st.integers(0, 12)), max_size=20)


@settings(deadline=None)
@given(HEARINGS, st.integers(0, 40))
def test_a_book_tells_what_a_plain_list_tells(hearings, when):
    """Runs lose nothing: the answer is that of going through every hearing, newest first."""
    book = Book(1000)
    hearings.sort(key=lambda one: one[0])
    for start, name, kept in hearings:
        book.note(b"1", run(name, start, start + kept))
    held = [name for start, name, kept in hearings if start <= when <= start + kept]
    assert found(book, b"1", when) == (held[-1] if held else "")


NAME = st.sampled_from(["a.example", "b.example"])
PORT = st.sampled_from([40_000, 40_001])
SECONDS = st.integers(0, 40).map(lambda tick: tick * 50)
DEVICE = st.sampled_from([CAM, TV])
HEARD = st.one_of(
    st.builds(tls, SECONDS, NAME, PORT, DEVICE),
    st.builds(web, SECONDS, NAME, PORT),
    st.builds(answer, SECONDS, NAME, DEVICE, ttl_s=st.sampled_from([0, 400])),
)
RECORD = st.builds(
    lambda first_s, length_s, device, port, flags, end: Flow(
        s(first_s), s(first_s + length_s), device, port, flags=flags, end=end
    ),
    SECONDS,
    SECONDS,
    DEVICE,
    PORT,
    st.sampled_from([SYN, ACK]),
    st.sampled_from(["fin", "active"]),
)


@settings(deadline=None)
@given(st.lists(HEARD, max_size=30), st.lists(RECORD, max_size=8), st.sets(st.integers(0, 30)), st.integers(0, 3))
def test_the_cutting_into_batches_does_not_matter(heard, records, cuts, delay):
    """However packets are cut into batches, and however late flows come out, each flow has the same name."""
    heard.sort(key=lambda packet: packet.time_ns)
    # One port carries one record at a time, so only the first of overlapping records is kept.
    records = apart(sorted(records, key=lambda record: record.first_ns))
    whole = after(*heard)
    expected = dict(zip(records, named(whole, *records), strict=True))
    names, waiting, given_names = Names(), list(records), {}
    bounds = [0, *sorted(cut for cut in cuts if cut < len(heard)), len(heard)]
    for number, (start, end) in enumerate(pairwise(bounds)):
        names.hear(packets(*heard[start:end]))
        now_ns = heard[end].time_ns if end < len(heard) else s(10**6)
        ready = (
            [record for record in waiting if record.last_ns < now_ns] if number >= delay or end == len(heard) else []
        )
        given_names |= dict(zip(ready, named(names, *ready), strict=True))
        waiting = [record for record in waiting if record not in ready]
    assert given_names == expected
    assert names.heard == whole.heard
    assert whole.forgotten == names.forgotten == 0


def apart(records: list[Flow]) -> list[Flow]:
    """Return those records that do not overlap an earlier one of the same connection."""
    kept: list[Flow] = []
    for record in records:
        same = [one for one in kept if (one.device, one.device_port) == (record.device, record.device_port)]
        if all(one.last_ns < record.first_ns for one in same):
            kept.append(record)
    return kept


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=40), st.sampled_from([TCP, UDP]), st.sampled_from([53, 80])), max_size=8))
def test_any_payload_is_heard_without_an_error(rows):
    """Whatever payloads come, hearing goes on."""
    starts = (
        b"",
        b"\x16\x03\x01\x00\x20\x01",
        b"GET / HTTP/1.1\r\nHost: ",
        b"\0\1\x81\x80\0\1\0\1",
        b"\0\x20\0\1\x81\x80\0\1",
    )
    names = after(
        *[Packet(0, CAM, port, CLOUD, 9, kind, start + tail) for tail, kind, port in rows for start in starts]
    )
    done = named(names, *[Flow(0, 1, CAM, port, CLOUD, 9, kind) for _, kind, port in rows])
    assert all(name.isascii() and name.isprintable() and len(name) <= 253 for name, _ in done)
