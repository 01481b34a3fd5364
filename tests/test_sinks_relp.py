"""RELP as a pure session: any cutting of the receiver's bytes is the same, and no bytes break it but in words."""

from __future__ import annotations

import contextlib
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egress_watch.sinks.relp_session import LAST_NUMBER, MOST_ANSWER_BYTES, WINDOW, RelpError, RelpSession

READY = b"1 rsp 92 200 OK\nrelp_version=0\nrelp_software=librelp,1.10.0,http://librelp.adiscon.com\ncommands=syslog\n"
FRAME = re.compile(rb"(\d{1,9}) (\w+) (\d{1,9})(?: (.*))?\n", re.DOTALL)


def ready() -> RelpSession:
    """Return a session that the receiver has accepted."""
    session = RelpSession()
    session.open()
    session.receive(_frame(1, b"rsp", READY.partition(b" 92 ")[2][:-1]))
    assert session.ready
    return session


def _frame(number: int, command: bytes, data: bytes) -> bytes:
    return b"%d %b %d" % (number, command, len(data)) + (b" " + data if data else b"") + b"\n"


def _number(frame: bytes) -> int:
    return int(frame.partition(b" ")[0])


@given(st.lists(st.binary(), max_size=WINDOW), st.data())
def test_answers_count_from_the_front(bodies, data):
    """In whatever order the receiver answers, a message is done once it and all before it are answered."""
    session = ready()
    numbers = [_number(session.syslog(body)) for body in bodies]
    done = []
    answered = set()
    for number in data.draw(st.permutations(numbers)):
        session.receive(_frame(number, b"rsp", b"200 OK"))
        answered.add(number)
        done += session.done()
        front = next((place for place, one in enumerate(numbers) if one not in answered), len(numbers))
        assert [answer.number for answer in done] == numbers[:front]
    assert len(done) == len(bodies)
    assert session.waiting == 0


@given(st.lists(st.integers(0, 200), max_size=6))
def test_any_cutting_of_the_answers_is_the_same(cuts):
    """Bytes may come one by one or all at once."""
    session = RelpSession()
    session.open()
    numbers = [_number(session.syslog(b"x")) for _ in range(3)]
    stream = _frame(1, b"rsp", b"200 OK\nrelp_version=0") + b"".join(_frame(n, b"rsp", b"200 OK") for n in numbers)
    for begin, end in pairwise([0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]):
        session.receive(stream[begin:end])
    assert [answer.number for answer in session.done()] == numbers


@given(st.lists(st.binary(max_size=300)))
def test_no_bytes_break_it_but_in_words(pieces):
    """Whatever a receiver says, it is an answer, or a RelpError; memory stays bounded."""
    session = ready()
    session.syslog(b"x")
    with contextlib.suppress(RelpError):
        for piece in pieces:
            session.receive(piece)
    assert len(session._received) <= MOST_ANSWER_BYTES + 300


@given(st.binary())
def test_a_message_is_one_frame(body):
    """Whatever it holds, line breaks and frames among it, its length tells where it ends."""
    frame = ready().syslog(body)
    head = FRAME.fullmatch(frame)
    assert head
    assert (head[2], int(head[3]), head[4] or b"") == (b"syslog", len(body), body)


def test_a_session_never_has_more_under_way_than_its_window():
    """There is room for so many messages, for none before the receiver is ready."""
    assert RelpSession().room == 0
    session = ready()
    for left in range(WINDOW, 0, -1):
        assert session.room == left
        session.syslog(b"x")
    assert session.room == 0


def test_numbers_begin_again_after_the_last():
    """A transaction number has nine digits at most."""
    session = ready()
    session._number = LAST_NUMBER
    assert _number(session.syslog(b"x")) == 1


def test_a_refused_message_is_told_with_its_code():
    """The receiver may answer 500: it will not have this one."""
    session = ready()
    number = _number(session.syslog(b"x"))
    session.receive(_frame(number, b"rsp", b"500 no"))
    assert [answer.refused for answer in session.done()] == ["answered 500"]


@pytest.mark.parametrize(
    "said",
    [b"0 serverclose 0\n", b"1 rsp 6 500 no\n", b"1 rsp 3 abc\n", b"HTTP/1.1 400 Bad Request\r\n" * 3,
     b"1 syslog 1 x\n", b"1 rsp 999999999 x", b"1 rsp 0 x\n", b"1 rsp 1 xy\n"],
)  # fmt: skip
def test_what_is_no_welcome_is_told(said):
    """A receiver that refuses, ends, or speaks another protocol is down, with words."""
    session = RelpSession()
    session.open()
    with pytest.raises(RelpError, match=r"\w"):
        session.receive(said)
