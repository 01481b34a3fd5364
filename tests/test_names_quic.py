from __future__ import annotations

import sys
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_names import CAM, CLOUD, UDP, Flow, Packet, after, named, s
from test_names_tls import handshake, server_name, sized

from egress_watch.names import quic
from egress_watch.names.initial import VERSIONS, client_keys, library
from egress_watch.names.reader import Bearer, Said

V1, V2 = 1, 0x6B3343CF
ID = bytes.fromhex("8394c8f03e515708")
HELLO = handshake(server_name(b"cloud.example") + b"\x00\x39" + sized(bytes(60), 2))
BIG = handshake(b"\x00\x33" + sized(bytes(1700), 2) + server_name(b"cloud.example"))
CONNECTION = bytes(range(37))


def number(value: int) -> bytes:
    """Return a variable-length integer of two or four bytes (RFC 9000, section 16)."""
    return (0x4000 | value).to_bytes(2, "big") if value < 0x4000 else (0x80000000 | value).to_bytes(4, "big")


def crypto(offset: int, data: bytes) -> bytes:
    """Return a CRYPTO frame."""
    return b"\x06" + number(offset) + number(len(data)) + data


def initial(
    frames: bytes, version: int = V1, to_id: bytes = ID, keys_of: bytes = ID, at: int = 2, pad: int = 1162
) -> bytes:
    """Return a protected Initial packet with the packet number ``at``, as a client sends it."""
    keys, plain = client_keys(VERSIONS[version], keys_of), frames.ljust(pad, b"\0")
    first = 0xC0 | VERSIONS[version].initial << 4 | 3
    rest = number(4 + len(plain) + 16)
    header = bytes([first]) + version.to_bytes(4, "big") + sized(to_id, 1) + sized(b"me", 1) + b"\0" + rest
    pn = at.to_bytes(4, "big")
    sealed = keys._payload.encrypt((keys._iv ^ at).to_bytes(12, "big"), plain, header + pn)
    mask = keys._header.update(sealed[:16])
    pn = bytes(one ^ other for one, other in zip(pn, mask[1:], strict=False))
    return bytes([first ^ mask[0] & 15]) + header[1:] + pn + sealed


def reads(*datagrams: bytes, limit: int = 9) -> list[tuple[list[Said], str]]:
    """Return what one memory reads in datagrams of one connection, a second apart."""
    memory = quic.open(limit)
    return [memory.read(Bearer(row, s(row), CONNECTION, one, -1)) for row, one in enumerate(datagrams)]


@pytest.mark.parametrize(
    ("version", "key", "iv", "mask"),
    [
        (V1, "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "437b9aec36"),
        (V2, "8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f", ""),
    ],
)
def test_the_keys_are_those_of_the_specification(version, key, iv, mask):
    """RFC 9001, appendix A.1 and A.2, and RFC 9369, appendix A.1, give keys, and a mask for one sample."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    keys = client_keys(VERSIONS[version], ID)
    assert keys._iv == int(iv, 16)
    assert keys._payload.encrypt(bytes(12), b"x", b"y") == AESGCM(bytes.fromhex(key)).encrypt(bytes(12), b"x", b"y")
    sample = bytes.fromhex("d1b1c98dd7689fb8ec11d242b123dc9b")
    assert keys._header.update(sample).hex().startswith(mask)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_names_its_server(version):
    """Version 1, version 2 and the drafts: an Initial packet with a hello gives the name."""
    assert reads(initial(crypto(0, HELLO), version)) == [([Said("cloud.example")], "")]


@given(st.permutations(range(5)), st.booleans())
@settings(deadline=None)
def test_a_hello_may_be_cut_and_shuffled(order, together):
    """A hello over several frames, packets and datagrams, in any order, gives its name when it is complete."""
    cuts = [BIG[at : at + 380] for at in range(0, len(BIG), 380)]
    frames = [crypto(380 * at, cuts[at]) for at in order if at < len(cuts)]
    assert len(frames) == 5
    if together:
        frames = [b"\x01\0\0" + frames[0] + b"\0" + frames[1], frames[2] + frames[3] + b"\x01", frames[4]]
    datagrams = [initial(one, at=at, pad=0 if len(one) > 1162 else 1162) for at, one in zip(count(), frames)]
    done = reads(*datagrams)
    assert done == [([], "")] * (len(frames) - 1) + [([Said("cloud.example")], "")]


def test_packets_in_one_datagram_are_all_read():
    """Initial packets may share a datagram, with others behind them (RFC 9000, section 12.2)."""
    half = len(HELLO) // 2
    one, two = initial(crypto(0, HELLO[:half]), pad=400), initial(crypto(half, HELLO[half:]), at=3, pad=600)
    zero_rtt = b"\xd3\0\0\0\1" + sized(ID, 1) + sized(b"me", 1) + number(50) + bytes(50)
    assert reads(one + two) == [([Said("cloud.example")], "")]
    assert reads(zero_rtt + one + two) == [([Said("cloud.example")], "")]
    assert reads(one + b"\x40" + bytes(600)) == [([], "")]


def test_acknowledgements_are_passed_over():
    """An ACK frame before the CRYPTO frame is stepped over, with and without ECN counts."""
    for ack in (b"\x02\x05\x00\x01\x00\x00\x00", b"\x03\x05\x00\x00\x00\x01\x02\x03"):
        assert reads(initial(ack + crypto(0, HELLO))) == [([Said("cloud.example")], "")]


def test_a_retry_gives_new_keys():
    """After a Retry the client's packets are protected by the id that the server chose."""
    other = b"chosen by server"
    first, second = initial(crypto(0, HELLO[:50])), initial(crypto(0, HELLO), to_id=other, keys_of=other)
    assert reads(first, second) == [([], ""), ([Said("cloud.example")], "")]


def test_the_id_changes_within_a_connection():
    """Behind the server's answer the client writes another id, and keeps the keys."""
    half = len(BIG) // 2
    later = initial(crypto(half, BIG[half:]), to_id=b"server", at=3)
    assert reads(initial(crypto(0, BIG[:half])), later) == [([], ""), ([Said("cloud.example")], "")]


def test_a_hello_is_read_once():
    """What is sent again, or after the hello, gives nothing new."""
    datagram = initial(crypto(0, HELLO))
    assert reads(datagram, datagram, initial(b"\x01", to_id=b"server", at=3)) == [
        ([Said("cloud.example")], ""), ([], ""), ([], ""),
    ]  # fmt: skip


def test_the_servers_side_is_left_alone():
    """Packets that come back are not tried; those of a server alone are, and counted."""
    memory = quic.open(9)
    there = bytes(range(16)) + bytes(range(20, 36)) + b"\0\1\0\2\x11"
    back = bytes(range(20, 36)) + bytes(range(16)) + b"\0\2\0\1\x11"
    foreign = initial(crypto(0, HELLO), to_id=b"me", keys_of=b"other")
    assert memory.read(Bearer(0, 0, back, foreign, -1)) == ([], "cannot be decrypted")
    assert memory.read(Bearer(1, 0, there, initial(crypto(0, HELLO)), -1))[0] == [Said("cloud.example")]
    assert memory.read(Bearer(2, 0, back, foreign, -1)) == ([], "")


def test_tries_are_bounded(monkeypatch):
    """However many packets come that cannot be read, few of them cost a decryption."""
    tried = []
    real = client_keys
    monkeypatch.setattr(quic, "client_keys", lambda *what: tried.append(what) or real(*what))
    bad = [initial(b"", to_id=bytes([at]) * 8, keys_of=b"other") for at in range(20)] * 2
    memory = quic.open(9)
    for one in bad:
        assert memory.read(Bearer(0, 0, CONNECTION, one, -1)) == ([], "cannot be decrypted")
    assert len(tried) == quic.MOST_TRIES


def test_connections_are_bounded():
    """At most so many connections are remembered; the one heard of first goes."""
    memory = quic.open(2)
    for at in range(5):
        memory.read(Bearer(at, at, bytes([at]) * 37, initial(crypto(0, HELLO[:9])), -1))
    assert [key[0] for key in memory._connections] == [3, 4]


def test_without_the_library_it_is_said(monkeypatch):
    """Where the library of cryptography is missing, no name is read and the packets are counted."""
    datagram = initial(crypto(0, HELLO))
    library.cache_clear()
    for module in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, module, None)
    assert reads(datagram) == [([], "no cryptography library")]


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        (crypto(0, b"\x01\xff\xff\xff" + HELLO[4:]), "hello too long"),
        (crypto(70_000, b"x"), "message too long"),
        (crypto(0, handshake(server_name(b"a b"))), "not a host name"),
    ],
)
def test_hostile_hellos_are_refused(frames, why):
    """A hello of 16 MB, a far offset and a name that is none are refused and counted."""
    assert reads(initial(frames)) == [([], why)]


def test_a_flow_is_named_by_its_hello():
    """A QUIC flow has the name of its hello, and its source says so; a small datagram is not looked at."""
    heard = Packet(s(1), CAM, 40_000, CLOUD, 443, UDP, initial(crypto(0, HELLO)))
    assert named(after(heard), Flow(s(1), s(9), protocol=UDP)) == [("cloud.example", "quic")]
    small = heard._replace(payload=initial(crypto(0, HELLO), pad=300))
    assert after(small).counters()["kept"] == 0


@given(st.binary(max_size=80), st.lists(st.tuples(st.integers(0, 1250), st.integers(0, 255)), max_size=4))
@settings(deadline=None)
def test_any_bytes_are_read_without_an_error(data, damage):
    """Whatever bytes come, within the packet or around it, reading goes on."""
    hurt = bytearray(initial(crypto(0, HELLO)))
    for spot, byte in damage:
        hurt[spot % len(hurt)] = byte
    head = b"\xc3\0\0\0\1"
    for one in (data, head + data, head + sized(ID, 1) + data, initial(data), initial(crypto(0, data)), bytes(hurt)):
        for said, _ in reads(one, data + one):
            assert all(row.name == "cloud.example" for row in said)
