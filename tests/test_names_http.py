from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress_watch.names import http
from egress_watch.names.reader import Said


def request(*fields: str, line: str = "GET /firmware HTTP/1.1") -> bytes:
    """Return a request with these header fields."""
    return "".join(f"{one}\r\n" for one in (line, *fields, "")).encode("latin-1")


def name(payload: bytes) -> str:
    """Return the one name that is read without a complaint, "" for none."""
    said, why = http.read(payload)
    assert why == ""
    return said[0].name if said else ""


@pytest.mark.parametrize("method", [method for method in http.METHODS if method != "CONNECT"])
def test_every_method_tells_its_host(method):
    """The Host field names the server, whatever the method."""
    payload = request("Accept: */*", "Host: Cloud.Example", line=f"{method} /a HTTP/1.1")
    assert http.read(payload) == ([Said("cloud.example")], "")


@pytest.mark.parametrize(
    ("field", "host"),
    [
        ("Host: a.example:8080", "a.example"),
        ("hOST:a.example.", "a.example"),
        ("Host: \t a.example \t", "a.example"),
        ("Host: a.example:", "a.example"),
        ("Host: nas", "nas"),
        ("Host:", ""),
        ("Host: 192.0.2.1:80", ""),
        ("Host: [2001:db8::1]:80", ""),
        ("Host: [2001:db8::1]", ""),
        ("Accept: Host: a.example", ""),
        ("X-Host: a.example", ""),
    ],
)
def test_the_host_is_kept_without_its_port(field, host):
    """Port, blanks, trailing dot and case are left out; an address is no name."""
    assert name(request(field)) == host


@pytest.mark.parametrize(
    ("line", "host"),
    [
        ("CONNECT target.example:443 HTTP/1.1", "target.example"),
        ("CONNECT 192.0.2.1:443 HTTP/1.1", ""),
        ("GET http://target.example:80/x HTTP/1.1", "target.example"),
        ("GET HTTP://user:secret@target.example?x HTTP/1.1", "target.example"),
        ("GET /http://other.example HTTP/1.1", "field.example"),
        ("OPTIONS * HTTP/1.1", "field.example"),
    ],
)
def test_the_host_of_a_target_goes_before_the_field(line, host):
    """In the form with an authority the target tells the host, and the Host field is ignored."""
    assert name(request("Host: field.example", line=line)) == host


def test_bare_line_feeds_will_do():
    """Lines may end in a line feed alone, as small devices send them."""
    assert name(b"GET / HTTP/1.0\nHost: a.example\n\n") == "a.example"


def test_a_request_may_have_no_host():
    """An old client sends no Host field."""
    assert name(request(line="GET / HTTP/1.0")) == ""


def test_the_body_is_not_searched():
    """A line in the body that looks like a Host field is none."""
    assert name(request("Host: a.example") + b"\r\nHost: b.example\r\n") == "a.example"
    assert name(request() + b"\r\nHost: b.example\r\n") == ""


@pytest.mark.parametrize(
    "line", ["GET  /a HTTP/1.1", "GET /a  HTTP/1.1 ", "GET HTTP/1.1", "GET\t/a HTTP/1.", "GET /aHTTP/1.1"]
)
def test_blanks_too_many_or_too_few_are_let_pass(line):
    """A request line may be sloppy (RFC 9112, section 3), as that of small devices is."""
    assert name(request("Host: a.example", line=line)) == "a.example"


def test_a_long_header_is_given_up():
    """A header of which no end is in sight is refused, not waited for."""
    assert http.read(request("X: " + "y" * 20_000)) == ([], "long header")
    assert http.read(b"GET " + b"/" * 20_000) == ([], "not a request line")


def test_two_host_fields_are_refused():
    """Servers differ in which of two fields they take."""
    assert http.read(request("Host: a.example", "Host: b.example")) == ([], "two Host fields")


@pytest.mark.parametrize("host", ["a b", "a\x1b[31m", "<i>", "ä.example", "a..b", "a:b:c", "x" * 64, "[zz]", "a@b"])
def test_what_is_no_host_name_is_refused(host):
    """Nothing that could be misread becomes a name."""
    assert http.read(request(f"Host: {host}")) == ([], "not a host name")


@pytest.mark.parametrize("line", ["OPTIONS rtsp://cam/ RTSP/1.0", "GET a b HTTP/1.1", "POST stuff"])
def test_other_protocols_are_refused(line):
    """A first line that is no request line of HTTP/1 is not read on."""
    assert http.read(request("Host: a.example", line=line)) == ([], "not a request line")


def test_a_request_cut_anywhere_gives_its_name_or_says_so():
    """The name is read where its line is whole, else the request is counted as cut."""
    whole = request("Accept: */*", "Host: a.example", "X: y")
    there = whole.index(b"a.example") + len(b"a.example\r\n")
    for size in range(len("GET "), len(whole)):
        assert http.read(whole[:size]) == (([], "cut") if size < there else ([Said("a.example")], ""))


@pytest.mark.parametrize("filling", [" ", "\t a", "a@", ":", "\nhost: ", "\r\r", "1."])
@pytest.mark.parametrize("start", ["GET / HTTP/1.1\r\nHost:", "GET http://", "CONNECT "])
def test_a_long_request_is_read_at_once(start, filling):
    """No filling makes reading take more than a moment: a pattern that tries every way would never end here."""
    assert http.read((start + filling * 20_000).encode())[0] == []


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(payload):
    """Whatever bytes come, there is a host name or none."""
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
    for one in (payload, b"GET " + payload, b"GET / HTTP/1.1\r\nHost: " + payload + b"\r\n\r\n"):
        assert all(set(said.name) <= allowed for said in http.read(one)[0])
