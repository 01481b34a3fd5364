"""RELP, the Reliable Event Logging Protocol, as a client speaks it: bytes in, answers out, no socket.

In: messages, and bytes from the receiver. Out: frames to send, and which messages the receiver has. Never: a message
counted that was not answered, or more than `WINDOW` waiting for an answer.

A frame is ``TXNR SP COMMAND SP DATALEN [SP DATA] LF`` (doc/relp.html of librelp).
"""

from __future__ import annotations

import re
from collections import deque

WINDOW = 128
MOST_ANSWER_BYTES = 131_072
LAST_NUMBER = 999_999_999
OFFER = b"relp_version=0\nrelp_software=egress-watch\ncommands=syslog"
_HEAD = re.compile(rb"([0-9]{1,9}) ([a-z]{1,32}) ([0-9]{1,9})([ \n])")
_LONGEST_HEAD = 9 + 1 + 32 + 1 + 9 + 1
_CODE = re.compile(rb"([0-9]{3})(?: |\n|$)")


class RelpError(Exception):
    """The receiver breaks the protocol, refuses the session, or ends it."""


class Answer:
    """What became of one message."""

    __slots__ = ("number", "refused", "there")

    def __init__(self, number: int) -> None:
        self.number = number
        self.there = False
        self.refused = ""


class RelpSession:
    """One session from `open` to its end."""

    def __init__(self) -> None:
        self._number = 0
        self._received = b""
        self._open_number = 0
        self.ready = False
        """Whether the receiver has accepted the session."""
        self._waiting: deque[Answer] = deque()
        self._by_number: dict[int, Answer] = {}

    def open(self) -> bytes:
        """Return the frame that begins the session."""
        frame = self._frame(b"open", OFFER)
        self._open_number = self._number
        return frame

    @property
    def room(self) -> int:
        """How many further messages may be sent now."""
        return WINDOW - len(self._waiting) if self.ready else 0

    @property
    def waiting(self) -> int:
        """How many messages are not yet taken from the front by `done`."""
        return len(self._waiting)

    def syslog(self, message: bytes) -> bytes:
        """Return the frame of a message."""
        frame = self._frame(b"syslog", message)
        answer = Answer(self._number)
        self._waiting.append(answer)
        self._by_number[self._number] = answer
        return frame

    def end(self) -> bytes:
        """Return the frame that ends the session."""
        return self._frame(b"close", b"")

    def receive(self, data: bytes) -> None:
        """Take bytes of the receiver; raises RelpError."""
        self._received += data
        while frame := self._taken():
            self._hear(*frame)

    def done(self) -> list[Answer]:
        """Return the messages that are answered, from the front, each once."""
        found = []
        while self._waiting and self._waiting[0].there:
            found.append(self._waiting.popleft())
        return found

    def _frame(self, command: bytes, data: bytes) -> bytes:
        self._number = self._number % LAST_NUMBER + 1
        head = b"%d %b %d" % (self._number, command, len(data))
        return head + (b" " + data if data else b"") + b"\n"

    def _taken(self) -> tuple[int, bytes, bytes] | None:
        """Return the next whole frame: number, command and data."""
        head = _HEAD.match(self._received)
        if not head:
            if len(self._received) > _LONGEST_HEAD:
                raise RelpError("what it says is no RELP")
            return None
        length = int(head[3])
        if length > MOST_ANSWER_BYTES or (length == 0) != (head[4] == b"\n"):
            raise RelpError("what it says is no RELP")
        end = head.end() + length
        if not length:
            self._received = self._received[end:]
            return int(head[1]), head[2], b""
        if len(self._received) <= end:
            return None
        if self._received[end : end + 1] != b"\n":
            raise RelpError("what it says is no RELP")
        data, self._received = self._received[head.end() : end], self._received[end + 1 :]
        return int(head[1]), head[2], data

    def _hear(self, number: int, command: bytes, data: bytes) -> None:
        if command == b"serverclose":
            raise RelpError("ends the session")
        if command != b"rsp":
            raise RelpError("what it says is no answer")
        code = _CODE.match(data)
        if not code:
            raise RelpError("answers without a code")
        if number == self._open_number and not self.ready:
            self._begin(code[1])
        elif answer := self._by_number.pop(number, None):
            answer.there = True
            answer.refused = "" if code[1] == b"200" else f"answered {code[1].decode()}"

    def _begin(self, code: bytes) -> None:
        if code != b"200":
            raise RelpError(f"refuses the session with {code.decode()}")
        self.ready = True
