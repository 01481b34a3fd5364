from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_names import CAM, CLOUD, UDP, Flow, Packet, after, named, s
from test_names_tls import server_name, sized

from egress_watch.names import dtls
from egress_watch.names.reader import Bearer, Said

BODY = (
    b"\xfe\xfd" + b"r" * 32 + sized(b"", 1) + sized(b"cookie", 1) + sized(b"\x13\x01", 2) + sized(b"\0", 1)
    + sized(server_name(b"cam.example") + b"\x00\x33" + sized(bytes(1300), 2), 2)
)  # fmt: skip


def part(offset: int, length: int, body: bytes = BODY, number: int = 0, kind: int = 1) -> bytes:
    """Return a fragment of a handshake message."""
    piece = body[offset : offset + length]
    sizes = (len(body), number, offset, len(piece))
    size, _, offset_bytes, piece_bytes = (one.to_bytes(3, "big") for one in sizes)
    return bytes([kind]) + size + struct.pack("!H", number) + offset_bytes + piece_bytes + piece


def record(content: bytes, version: bytes = b"\xfe\xfd") -> bytes:
    """Return a record of the first epoch."""
    return b"\x16" + version + bytes(8) + sized(content, 2)


def reads(*datagrams: bytes) -> list[tuple[list[Said], str]]:
    """Return what one memory reads in datagrams of one connection."""
    memory = dtls.open(9)
    return [memory.read(Bearer(row, row, bytes(37), one, -1)) for row, one in enumerate(datagrams)]


@pytest.mark.parametrize("version", [b"\xfe\xff", b"\xfe\xfd", b"\x01\x00"])
def test_a_hello_of_any_version_names_its_server(version):
    """DTLS 1.0, 1.2 and 1.3 lay their hello out alike; a flow takes its name."""
    heard = Packet(s(1), CAM, 40_000, CLOUD, 443, UDP, record(part(0, len(BODY)), version))
    assert named(after(heard), Flow(s(1), s(9), protocol=UDP)) == [("cam.example", "dtls")]


@given(st.permutations(range(3)), st.booleans())
@settings(deadline=None)
def test_fragments_are_put_together(order, overlapping):
    """Fragments in any order, overlapping or not, give the name when the last one is there."""
    parts = [record(part(600 * at, 700 if overlapping else 600)) for at in order]
    assert reads(*parts) == [([], "")] * 2 + [([Said("cam.example")], "")]


def test_other_messages_are_passed_over():
    """A datagram may hold other messages and records; only hellos are read."""
    done = reads(record(part(0, 40, bytes(40), kind=11) + part(0, len(BODY))) + b"\x17\xfe\xfd" + bytes(10))
    assert done == [([Said("cam.example")], "")]
    assert reads(record(part(0, 40, bytes(40), kind=2))) == [([], "")]


def test_a_hello_that_claims_16_mb_is_refused():
    """A message longer than any hello is not waited for."""
    assert reads(record(b"\x01\xff\xff\xff\0\0" + bytes(6))) == [([], "hello too long")]


def test_memory_is_bounded():
    """At most so many hellos wait for fragments."""
    memory = dtls.open(2)
    for at in range(5):
        memory.read(Bearer(at, at, bytes([at]) * 37, record(part(0, 100)), -1))
    assert [key[0][0] for key in memory._hellos] == [3, 4]


@given(st.binary(max_size=120), st.lists(st.tuples(st.integers(0, 1400), st.integers(0, 255)), max_size=4))
@settings(deadline=None)
def test_any_bytes_are_read_without_an_error(data, damage):
    """Whatever bytes come, reading goes on, and a name is a host name."""
    hurt = bytearray(record(part(0, len(BODY))))
    for spot, byte in damage:
        hurt[spot % len(hurt)] = byte
    for said, _ in reads(data, record(data), record(b"\x01" + data), bytes(hurt), record(part(3, 50)) + data):
        assert all(set(one.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.") for one in said)
