"""Receivers on a bad day: they hang, close, read slowly, show the wrong certificate. It is told, and nothing counts."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
from certificates import Authority
from receiving import deliver, message, relp_session
from rsyslogs import HOST, SELF, Rsyslog

from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError
from egress_watch.sinks.kinds import opened
from egress_watch.sinks.sink import SinkDown

BATCH = [message(number, b"x" * 1000) for number in range(300)]
STREAMS = ("syslog+tcp", "relp")
SECURE = ("syslog+tls", "relp+tls")


@contextmanager
def server(serve, context=None, buffer_bytes=0):
    """Run ``serve(connection)`` for each connection on a port of its own; yield the port."""
    with socket.create_server((HOST, 0)) as listening:
        if buffer_bytes:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        thread = threading.Thread(target=_accept, args=(listening, serve, context), daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(listening, serve, context):
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        try:
            with connection, context.wrap_socket(connection, server_side=True) if context else connection as wrapped:
                serve(wrapped)
        except OSError:
            continue  # the client left: that is its right


def settings(scheme, port, **more):
    """Return how a server here is reached."""
    return SinkSettings("siem", f"{scheme}://{HOST}:{port}", **{"timeout_s": 0.3, **more})


def what_is_told(told, batch=BATCH):
    """Return what a sink says that is down, having done nothing."""
    sink = opened(told)
    try:
        with pytest.raises(SinkDown) as caught:
            sink.deliver(batch)
    finally:
        sink.close()
    assert caught.value.receipt.done == 0
    return caught.value.what


@pytest.mark.parametrize("scheme", [*STREAMS, *SECURE])
def test_a_receiver_that_hangs_is_down(scheme, tmp_path):
    """It accepts and never reads a byte, nor speaks TLS: after the time-out it counts as down."""
    over, more = threading.Event(), {}
    if scheme in SECURE:
        more["ca_file"] = Authority(tmp_path).ca_file
    with server(lambda _: over.wait(30)) as port:
        try:
            assert "no answer in time" in what_is_told(settings(scheme, port, **more))
        finally:
            over.set()


@pytest.mark.parametrize(
    ("scheme", "taken"), [("relp", 0), ("relp", 50), *(("syslog+tcp", taken) for taken in (0, 1, 700, 100_000))]
)
def test_a_receiver_that_closes_in_the_middle_has_nothing(scheme, taken):
    """Whether it read nothing, a part of a message or many of them, none of the batch counts."""

    def serve(connection):
        left = taken
        while left > 0 and (data := connection.recv(min(left, 65_536))):
            left -= len(data)

    with server(serve) as port:
        assert what_is_told(settings(scheme, port, timeout_s=5.0))


def test_an_end_that_comes_first_is_no_acknowledgement():
    """A receiver that closes its side before ours is through has said nothing about what it read."""
    over = threading.Event()

    def serve(connection):
        connection.shutdown(socket.SHUT_WR)
        over.wait(30)

    with server(serve) as port:
        sink = opened(settings("syslog+tcp", port, timeout_s=5.0))
        try:
            with pytest.raises(SinkDown, match="closed before it had everything"):
                sink.deliver(BATCH)
        finally:
            over.set()
            sink.close()


def test_a_receiver_that_reads_slowly_is_not_down():
    """As long as it takes something within each time-out, all of it arrives, once."""
    received = bytearray()

    def serve(connection):
        while data := connection.recv(2000):
            received.extend(data)
            threading.Event().wait(0.002)

    with server(serve, buffer_bytes=4096) as port:
        sink = opened(settings("syslog+tcp", port, timeout_s=1.0))
        assert sink.deliver(BATCH).done == len(BATCH)
        sink.close()
    assert received.count(b"x" * 1000) == len(BATCH)


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4, b"1 rsp 6 500 no\n", b"0 serverclose 0\n"])
def test_a_receiver_that_speaks_something_else_is_down(said):
    """What is no RELP, or refuses the session, is told in words."""

    def serve(connection):
        connection.sendall(said)
        connection.recv(65_536)

    with server(serve) as port:
        assert f"{HOST} port {port}" in what_is_told(settings("relp", port, timeout_s=5.0))


@pytest.mark.parametrize("scheme", SECURE)
@pytest.mark.parametrize("wrong", ["expired", "name", "authority", "plain", "ours"])
def test_a_wrong_certificate_is_not_spoken_to(scheme, wrong, tmp_path):
    """Expired, of another name, of an unknown authority, none at all, or ours is not wanted: nothing is sent."""
    days, name = (-0.5 if wrong == "expired" else 1), ("other.test" if wrong == "name" else SELF)
    run = Rsyslog(tmp_path, scheme.removesuffix("+tls") if scheme == "relp+tls" and wrong == "plain" else
                  "syslog+tcp" if wrong == "plain" else scheme, days=days, name=name)  # fmt: skip
    try:
        told = replace(run.settings, to=f"{scheme}://{HOST}:{run.port}", timeout_s=2.0, server_name=SELF)
        folder = tmp_path / "other"
        folder.mkdir()
        other = Authority(folder)
        if wrong in {"authority", "plain"}:
            told = replace(told, ca_file=other.ca_file, cert_file="", key_file="")
        if wrong == "ours":
            cert, key = other.signed("nobody.test")
            told = replace(told, cert_file=cert, key_file=key)
        what = what_is_told(told)
    finally:
        run.kill()
    words = {"expired": "expired", "name": "not valid for", "authority": "certificate is not accepted"}
    assert words.get(wrong, "") in what
    assert run.bodies() == []


def test_tls_below_1_2_is_not_spoken(tmp_path):
    """The receiver may offer 1.1 as long as it likes."""
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.signed(SELF))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with server(lambda connection: connection.recv(10), context) as port:
        told = settings("syslog+tls", port, ca_file=authority.ca_file, server_name=SELF, timeout_s=5.0)
        assert "no TLS" in what_is_told(told)


def test_a_datagram_that_is_too_long_is_set_aside_and_the_others_go():
    """It is refused with its length, whether the setting or the machine has no room for it, and never cut."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind((HOST, 0))
        port = listening.getsockname()[1]
        for longest in (2000, 10**6):
            sink = opened(settings("syslog+udp", port, datagram_bytes=longest))
            batch = [message(1, b"a"), message(2, b"x" * 70_000), message(3, b"b")]
            receipt = sink.deliver(batch)
            sink.close()
            assert receipt.done == 3
            assert list(receipt.refused) == [1]
            assert "70,0" in receipt.refused[1]
            assert [listening.recv(100_000)[-1:] for _ in range(2)] == [b"a", b"b"]


@pytest.mark.parametrize(("until", "done", "refused"), [(2, 2, {}), (9, 1, {0: "answered 500"})])
def test_a_relp_answer_of_500_is_of_the_moment_until_it_comes_three_times(until, done, refused):
    """A message is sent again before it is set aside; the others go, and none waits behind it for good."""
    bad = []

    def takes(head):
        bad.extend([head] * (b"bad" in head))
        return not (b"bad" in head and len(bad) <= until)

    with server(lambda connection: relp_session(connection, takes)) as port:
        sink = opened(settings("relp", port, timeout_s=5.0))
        batch = [message(1, b"good"), message(2, b"bad"), message(3, b"good")]
        for rest, before in ((batch, 1), (batch[1:], 0)):
            with pytest.raises(SinkDown, match="answered 500") as down:
                sink.deliver(rest)
            assert (down.value.receipt.done, dict(down.value.receipt.refused)) == (before, {})
        receipt = sink.deliver(batch[1:])
        assert sink.deliver(batch[2:]).done == 1
        sink.close()
    assert (receipt.done, dict(receipt.refused)) == (done, refused)
    assert len(bad) == 3


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"to": "ftp://siem"}, "no way to a receiver"), ({"to": "relp://"}, "no host and port"),
        ({"to": "relp://siem:99999"}, "out of range"), ({"to": "relp://me:hunter2@siem"}, "name or a password"),
        ({"to": "relp://siem/path"}, "no host and port"), ({"name": "a b"}, "no name for a sink"),
        ({"records": ("all",)}, "records"), ({"least": "grave"}, "no level"), ({"facility": 24}, "facility"),
        ({"keep": 3}, "keep is no setting of relp"), ({"ca_file": "/etc/ca.pem"}, "ca_file is no setting of relp"),
        ({"to": "relp+tls://siem", "ca_file": "/nowhere/ca.pem"}, "ca_file"),
        ({"to": "relp+tls://siem", "key_file": "/nowhere/key.pem"}, "key_file without cert_file"),
        ({"to": "file:/"}, "no regular file"), ({"to": "file:/dev/null"}, "no regular file"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_stop_the_start(more, words):
    """Each mistake is told with the sink and a remedy, before anything is sent; a password is not repeated."""
    with pytest.raises(ConfigError) as caught:
        opened(replace(SinkSettings("siem", "relp://siem.example"), **more))
    assert words in str(caught.value)
    assert caught.value.remedy
    assert "hunter2" not in str(caught.value)


def test_a_session_that_was_closed_between_batches_is_begun_anew():
    """A receiver restarted while nothing was sent is no failure."""
    sessions = []

    def serve(connection):
        sessions.append(1)
        stream = connection.makefile("rb")
        for _ in range(2):
            head = stream.readline()
            number = head.split(b" ")[0]
            if b" open " in head:
                stream.readline(), stream.readline()
            connection.sendall(number + b" rsp 6 200 OK\n")

    with server(serve) as port:
        sink = opened(settings("relp", port, timeout_s=5.0))
        assert deliver(sink, [message(1, b"a")]) == 0
        threading.Event().wait(0.1)
        assert sink.deliver([message(2, b"b")]).done == 1
        sink.close()
    assert len(sessions) == 2
