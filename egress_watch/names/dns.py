"""Names of addresses from DNS answers over UDP.

In: responses from port 53. Out: (queried name, address, TTL) for each A and AAAA record and each hint of a service.
Never: an exception.

RFC 1035, section 4 (format), RFC 3596 (AAAA), RFC 9460 (SVCB and HTTPS), RFC 9619 (one question), RFC 2181, section 8
(TTL), RFC 6891 (EDNS: a record among the additional ones, which changes nothing here).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from egress_watch.names.reader import CUT, UDP, Candidates, Mask, Reading, Refusal, Said, word
from egress_watch.names.svcb import HTTPS, MAPPED, PRIORITY_BYTES, SVCB, hints, service
from egress_watch.names.text import domain, plain

SOURCE = "dns"
PROTOCOL = UDP
PORTS = (53,)
BEGINNINGS = ()
HEADER_BYTES = 12
MOST_RECORDS = 256
MOST_QUESTIONS = 16
MOST_JUMPS = 32
MOST_LABELS = 127

_KIND = word(b"\x00\x00\xf8\x00\xff\xff\x00\x00")
_RESPONSE = word(b"\x00\x00\x80\x00\x00\x01\x00\x00")
_ANSWERS = word(b"\x00\x00\x00\x00\x00\x00\xff\xff")

_COUNTS = struct.Struct("!4xHHHH")
_RECORD = struct.Struct("!HHIH")
_A, _CNAME, _AAAA, _IN = 1, 5, 28, 1
_CLASS = 0x7FFF
"""Multicast DNS uses the highest bit of the class for something else (RFC 6762, section 10.2)."""


class Answer:
    """What of a message matters, filled as it is read, so that a cut message keeps what came before the cut."""

    __slots__ = ("addresses", "aliases", "asked", "services")

    def __init__(self) -> None:
        self.asked = ""
        self.aliases: list[tuple[str, str]] = []
        self.addresses: list[tuple[str, bytes, int]] = []
        """(owner, address, TTL in seconds)"""
        self.services = False
        """Whether there was a SVCB or HTTPS record, whose targets have their addresses among the additional records."""


def wanted(candidates: Candidates) -> Mask:
    """Return (n,) standard responses to one question with at least one answer (RFC 1035, section 4.1.1)."""
    answers: Mask = ((candidates.head & _KIND) == _RESPONSE) & ((candidates.head & _ANSWERS) != 0)
    answers &= candidates.payload_bytes >= HEADER_BYTES
    return answers


def read(payload: bytes) -> Reading:
    """Return the addresses the message gives for the name it was asked for, over any chain of aliases."""
    answer = Answer()
    reason = parse(payload, answer)
    return _said(answer), reason


def parse(message: bytes, answer: Answer, *, everything: bool = False) -> str:
    """Fill ``answer`` and return why it is not whole, "" where it is.

    Only the answers are read; with ``everything``, or where a service is told, the additional records as well.
    """
    try:
        return _parse(message, answer, everything=everything)
    except (IndexError, struct.error):
        return CUT
    except Refusal as refusal:
        return str(refusal)


def _parse(message: bytes, answer: Answer, *, everything: bool) -> str:
    questions, answers, authorities, additional = _COUNTS.unpack_from(message)
    if questions != 1 and not (everything and questions <= MOST_QUESTIONS):
        return "not one question"
    known: dict[int, str] = {}
    at = HEADER_BYTES
    for _ in range(questions):
        answer.asked, at = _question_at(message, at, known)
    for _ in range(min(answers, MOST_RECORDS)):
        at = _record_at(message, at, known, answer)
    count = answers
    if everything or answer.services:
        count += authorities + additional
        for _ in range(answers, min(count, MOST_RECORDS)):
            at = _record_at(message, at, known, answer)
    return "too many records" if count > MOST_RECORDS else ""


def _question_at(message: bytes, at: int, known: dict[int, str]) -> tuple[str, int]:
    """Return the name in the question at an offset and the offset behind its type and class."""
    end = message.find(b"\0", at)
    try:
        known[at] = name = plain(message[at:end]) if end >= 0 else ""
    except Refusal:
        end = -1
    if end < 0:  # compressed, odd, or cut: the long way finds out
        name, end = _name_at(message, at, known)
        return name, end + 4
    return name, end + 5


def _record_at(message: bytes, at: int, known: dict[int, str], answer: Answer) -> int:
    """Read one resource record (RFC 1035, section 4.1.3) into ``answer`` and return the offset behind it."""
    owner, at = _name_at(message, at, known)
    kind, group, ttl_s, length = _RECORD.unpack_from(message, at)
    at += _RECORD.size
    end: int = at + length
    if end > len(message):
        raise IndexError
    if group & _CLASS != _IN:
        return end
    if kind == _A and length == 4:
        answer.addresses.append((owner, MAPPED + message[at:end], ttl_s))
    elif kind == _AAAA and length == 16:
        answer.addresses.append((owner, message[at:end], ttl_s))
    elif kind == _CNAME:
        answer.aliases.append((owner, _name_at(message, at, known)[0]))
    elif kind in {SVCB, HTTPS} and length > PRIORITY_BYTES:
        _service_at(message, at, end, Owned(owner, ttl_s), known, answer)
    return end


class Owned(NamedTuple):
    """Whose a record is, and for how long."""

    owner: str
    ttl_s: int


def _service_at(message: bytes, at: int, end: int, whose: Owned, known: dict[int, str], answer: Answer) -> None:
    """Read a SVCB or HTTPS record (RFC 9460, section 2.2); a target of "." is the owner itself (section 2.5)."""
    answer.services = True
    target, at = _name_at(message, at + PRIORITY_BYTES, known)
    if target:
        answer.aliases.append((whose.owner, target))
    answer.addresses += [(target or whose.owner, address, whose.ttl_s) for address in hints(message[at:end])]


def _said(answer: Answer) -> list[Said]:
    """Return rows for the addresses of the name asked for; records of names it does not lead to are left out."""
    if not answer.addresses or not answer.asked:
        return []
    chain = _chain(answer) if answer.aliases else (answer.asked,)
    name = service(answer.asked) if answer.services else answer.asked
    # RFC 2181, section 8: a TTL with its highest bit set means zero.
    return [
        Said(name, address, ttl_s if ttl_s < 1 << 31 else 0)
        for owner, address, ttl_s in answer.addresses
        if owner in chain
    ]


def _chain(answer: Answer) -> set[str]:
    """Return the name asked for and all names it leads to."""
    targets: dict[str, list[str]] = {}
    for owner, target in answer.aliases:
        targets.setdefault(owner, []).append(target)
    chain, following = {answer.asked}, [answer.asked]
    while following:
        new = [target for target in targets.pop(following.pop(), ()) if target not in chain]
        chain.update(new)
        following += new
    return chain


def _name_at(message: bytes, at: int, known: dict[int, str]) -> tuple[str, int]:
    """Return the name at an offset and the offset behind it; ``known`` holds the names that were read before.

    Most owners are one pointer to the question, so the look-up saves most of the work.
    """
    start = at
    if message[at] >= 0xC0:
        start = (message[at] & 0x3F) << 8 | message[at + 1]
        if start in known:
            return known[start], at + 2
    labels, end = _labels_at(message, at)
    known[start] = name = domain(labels)
    return name, end


def _labels_at(message: bytes, at: int) -> tuple[list[bytes], int]:
    """Return the labels of a name and the offset behind it.

    A pointer leads to a prior place (RFC 1035, section 4.1.4), here strictly before all that was read of this name: so
    there is no loop. Raises Refusal for what breaks that, IndexError where the message ends first.
    """
    labels: list[bytes] = []
    start, end, jumps = at, 0, 0
    while size := message[at]:
        if size < 0x40:
            labels.append(message[at + 1 : at + 1 + size])
            at += 1 + size
        elif size < 0xC0:
            raise Refusal("unknown label type")
        else:
            end = end or at + 2
            at = (size & 0x3F) << 8 | message[at + 1]
            jumps += 1
            if at >= start or jumps > MOST_JUMPS:
                raise Refusal("bad pointer")
            start = at
        if len(labels) > MOST_LABELS:
            raise Refusal("name too long")
    return labels, end or at + 1
