from __future__ import annotations

import ssl
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress_watch.names import tls
from egress_watch.names.reader import Said

HOST_NAME = 0


def real_hello(name: str | None) -> bytes:
    """Return the ClientHello the standard library sends to a server of this name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    sent = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return sent.read()


def sized(data: bytes, size_bytes: int) -> bytes:
    """Return data behind its length."""
    return len(data).to_bytes(size_bytes, "big") + data


def server_name(name: bytes, kind: int = HOST_NAME) -> bytes:
    """Return a server_name extension."""
    return b"\0\0" + sized(sized(bytes([kind]) + sized(name, 2), 2), 2)


def handshake(extensions: bytes | None) -> bytes:
    """Return a ClientHello message without its record; None for one that ends before the extensions."""
    body = b"\x03\x03" + b"r" * 32 + sized(b"s" * 32, 1) + sized(b"\x13\x01", 2) + sized(b"\0", 1)
    return b"\x01" + sized(body + (b"" if extensions is None else sized(extensions, 2)), 3)


def in_records(message: bytes, size: int = 16_384) -> bytes:
    """Return a message in records of at most this size."""
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + sized(part, 2) for part in parts)


def hello(name: bytes) -> bytes:
    """Return a ClientHello in one record: another extension, then the server name."""
    return in_records(handshake(b"\x00\x17\x00\x00" + server_name(name)))


def test_a_real_hello_names_its_server():
    """The name the standard library asks for is the one that is read."""
    assert tls.read(real_hello("Cloud.Vendor.example")) == ([Said("cloud.vendor.example")], "")


def test_a_real_hello_may_have_no_name():
    """A hello without the extension is nothing bad and names nothing."""
    assert tls.read(real_hello(None)) == ([], "")


def test_a_hello_may_end_without_extensions():
    """The hello of an old client ends behind its compression methods."""
    assert tls.read(in_records(handshake(None))) == ([], "")


def test_the_trailing_dot_is_left_out():
    """A name is kept without its trailing dot."""
    assert tls.read(hello(b"a.example.")) == ([Said("a.example")], "")


@pytest.mark.parametrize(
    "name", [b"192.0.2.1", b"2001:db8::1", b"[2001:db8::1]", b"2130706433", b"0x7f.1", b"10.1", b""]
)
def test_an_address_is_no_name(name):
    """An address in any of its spellings is left out, and not counted as a fault."""
    assert tls.read(hello(name)) == ([], "")


@pytest.mark.parametrize(
    "name",
    [
        b"a b",
        b"a\x1b[31m.example",
        b"a\0.example",
        b"a\r\nX: y.example",
        b"a\xff\xfe.example",
        "a\u202emoc.example".encode(),
        "ä.example".encode(),
        b"<b>.example",
        b"a..b",
        b".a",
        b"a:b",
        b"b" * 64,
    ],
)
def test_what_is_no_host_name_is_refused(name):
    """Control characters, marks, bytes outside ASCII, and empty or long labels never become a name."""
    assert tls.read(hello(name)) == ([], "not a host name")


def test_a_long_name_is_refused():
    """A host name has at most 253 characters."""
    assert tls.read(hello(b"a." * 126 + b"b")) == ([Said("a." * 126 + "b")], "")
    assert tls.read(hello(b"a." * 126 + b"bb")) == ([], "name too long")


def test_an_international_name_stays_as_it_is_sent():
    """An A-label (RFC 5890) is shown as it is: its letters may look like others."""
    assert tls.read(hello(b"xn--bcher-kva.example")) == ([Said("xn--bcher-kva.example")], "")


def test_another_type_of_name_is_passed_over():
    """Only a name of type host_name is read."""
    assert tls.read(in_records(handshake(server_name(b"a.example", kind=9)))) == ([], "")


def test_a_name_over_its_list_is_refused():
    """A name that says it is longer than its list is malformed."""
    payload = hello(b"a.example").replace(b"\x00\x09a.example", b"\x00\x0aa.example")
    assert tls.read(payload) == ([], "malformed server name")


def test_lengths_that_do_not_fit_are_refused():
    """A hello that is all there, but whose parts reach behind its end, is malformed."""
    message = bytearray(handshake(server_name(b"a.example")))
    message[4 + 34] = 255  # the length of the session id
    assert tls.read(in_records(bytes(message))) == ([], "malformed hello")


@settings(deadline=None)
@given(st.integers(4, 300))
def test_a_hello_may_be_spread_over_records(size):
    """A client may cut its hello into records as it likes; within one segment the name is found."""
    assert tls.read(in_records(handshake(server_name(b"a.example")), size)) == ([Said("a.example")], "")


def test_a_hello_cut_anywhere_says_so_and_gives_what_there_is():
    """Cut anywhere a hello is called cut; behind the end of the name the name is read all the same."""
    whole = real_hello("cloud.vendor.example")
    there = whole.index(b"cloud.vendor.example") + len(b"cloud.vendor.example")
    for size in range(2, len(whole)):
        assert tls.read(whole[:size]) == ([] if size < there else [Said("cloud.vendor.example")], "cut")


@pytest.mark.parametrize("before", [True, False])
def test_encrypted_client_hello_is_said(before):
    """A hello with the extension of ECH has an outer name, wherever the extension stands."""
    encrypted = b"\xfe\x0d" + sized(bytes(200), 2)
    parts = [encrypted, server_name(b"public.example")]
    message = in_records(handshake(b"".join(parts if before else reversed(parts))))
    assert tls.read(message) == ([Said("public.example", outer=True)], "")


def test_the_number_of_ech_within_another_extension_says_nothing():
    """Two bytes by chance are no extension."""
    ticket = b"\x00\x23" + sized(b"\xfe\x0d\x00\x00", 2)
    assert tls.read(in_records(handshake(ticket + server_name(b"a.example")))) == ([Said("a.example")], "")


@given(st.permutations(range(6)))
def test_the_order_of_extensions_does_not_matter(order):
    """Browsers shuffle their extensions and add some of unknown type (GREASE, RFC 8701)."""
    parts = [
        server_name(b"a.example"), b"\x0a\x0a\x00\x00", b"\xfa\xfa\x00\x01\x00", b"\x00\x17\x00\x00",
        b"\x00\x33" + sized(bytes(1300), 2), b"\x00\x2b" + sized(b"\x02\x03\x04", 2),
    ]  # fmt: skip
    assert tls.read(in_records(handshake(b"".join(parts[at] for at in order)))) == ([Said("a.example")], "")


def test_a_hello_that_claims_16_mb_is_refused():
    """A length beyond what any hello has is not waited for."""
    claims = b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(1000)
    assert tls.read(claims) == ([], "hello too long")


def test_a_hello_in_too_many_records_is_refused():
    """A hello of many tiny records is an attack on who reads it."""
    assert tls.read(in_records(handshake(server_name(b"a.example")), 1)) == ([], "too many records")


@given(st.integers(2, 400))
def test_what_a_cut_hello_still_needs(size):
    """A cut hello says how many bytes make another attempt worth while: more than there are, not more than it has."""
    whole = in_records(handshake(server_name(b"a.example") + b"\x00\x15" + sized(bytes(300), 2)), 100)
    done, needed = tls.rest(whole[: min(size, len(whole) - 1)])
    assert done == 0
    assert min(size, len(whole) - 1) < needed <= len(whole)


def test_a_hello_cut_before_a_later_name_is_cut():
    """Cut between extensions, before any name was seen, a hello is cut, not nameless."""
    whole = hello(b"a.example")
    assert tls.read(whole[: whole.index(b"\x00\x17\x00\x00") + 4]) == ([], "cut")


def harmless(payload: bytes) -> bool:
    """Tell whether what is read is a name in canonical form or none."""
    said, _ = tls.read(payload)
    return all(set(one.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.") for one in said)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(payload):
    """Whatever bytes come, there is a host name or none."""
    assert harmless(payload)
    assert harmless(b"\x16\x03\x01" + struct.pack("!H", len(payload)) + b"\x01" + payload)
    assert harmless(in_records(handshake(payload)))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6))
def test_any_damage_is_read_without_an_error(damage):
    """A good hello with some bytes changed gives a host name or none."""
    hurt = bytearray(hello(b"a.example"))
    for spot, byte in damage:
        hurt[spot % len(hurt)] = byte
    assert harmless(bytes(hurt))
