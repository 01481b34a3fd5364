"""Names of addresses from DNS answers over UDP.

In: responses from port 53. Out: (queried name, address, TTL) for each A and AAAA record. Never: an exception.

RFC 1035, section 4 (format), RFC 3596 (AAAA), RFC 9619 (one question), RFC 2181, section 8 (TTL). mDNS and LLMNR are
other protocols on other ports and are not read here.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from egress_watch.names.reader import UDP, Mask, Reading, Refusal, Said, word
from egress_watch.names.text import domain

if TYPE_CHECKING:
    from egress_watch.model import Packets, Words

SOURCE = "dns"
PORT = 53
HEADER_BYTES = 12
MOST_ANSWERS = 256
MOST_JUMPS = 32
MOST_LABELS = 127

_KIND = word(b"\x00\x00\xf8\x00\xff\xff\x00\x00")
_RESPONSE = word(b"\x00\x00\x80\x00\x00\x01\x00\x00")
_ANSWERS = word(b"\x00\x00\x00\x00\x00\x00\xff\xff")

_COUNTS = struct.Struct("!4xHH4x")
_RECORD = struct.Struct("!HHIH")
_IPV6 = struct.Struct("!QQ")
_A, _CNAME, _AAAA, _IN = 1, 5, 28, 1
_MAPPED = 0xFFFF << 32


class _Answer(NamedTuple):
    """What of a message matters, filled as it is read, so that a cut message keeps what came before the cut."""

    asked: list[str]
    aliases: dict[str, str]
    addresses: list[tuple[str, int, int, int]]
    """(owner, high word, low word, TTL in seconds)"""


def wanted(packets: Packets, head: Words) -> Mask:
    """Return (n,) standard responses to one question with at least one answer (RFC 1035, section 4.1.1)."""
    port = (packets.src_port == PORT) & (packets.protocol == UDP)
    whole = packets.payload_bytes >= HEADER_BYTES
    answers: Mask = ((head & _KIND) == _RESPONSE) & ((head & _ANSWERS) != 0)
    answers &= port & whole
    return answers


def read(payload: bytes) -> Reading:
    """Return the addresses the message gives for the name it was asked for, over any chain of CNAME records."""
    answer = _Answer([], {}, [])
    try:
        reason = _read(payload, answer)
    except (IndexError, struct.error):
        reason = "cut"
    except Refusal as refusal:
        reason = str(refusal)
    return _said(answer), reason


def _read(message: bytes, answer: _Answer) -> str:
    """Fill ``answer``; returns why it is not whole, "" where it is."""
    questions, answers = _COUNTS.unpack_from(message)
    if questions != 1:
        return "not one question"
    known: dict[int, str] = {}
    asked, at = _name_at(message, HEADER_BYTES, known)
    answer.asked.append(asked)
    at += 4
    for _ in range(min(answers, MOST_ANSWERS)):
        at = _record_at(message, at, known, answer)
    return "too many answers" if answers > MOST_ANSWERS else ""


def _record_at(message: bytes, at: int, known: dict[int, str], answer: _Answer) -> int:
    """Read one resource record (RFC 1035, section 4.1.3) into ``answer`` and return the offset behind it."""
    owner, at = _name_at(message, at, known)
    kind, group, ttl_s, length = _RECORD.unpack_from(message, at)
    at += _RECORD.size
    end: int = at + length
    if end > len(message):
        raise Refusal("cut")
    if group == _IN and kind == _A and length == 4:
        answer.addresses.append((owner, 0, _MAPPED | int.from_bytes(message[at:end], "big"), ttl_s))
    elif group == _IN and kind == _AAAA and length == 16:
        answer.addresses.append((owner, *_IPV6.unpack_from(message, at), ttl_s))
    elif group == _IN and kind == _CNAME:
        answer.aliases[owner] = _name_at(message, at, known)[0]
    return end


def _said(answer: _Answer) -> list[Said]:
    """Return rows for the addresses of the name asked for; records of names it does not lead to are left out."""
    if not answer.addresses or not answer.asked[0]:
        return []
    asked = answer.asked[0]
    chain, name = {asked}, asked
    while name := answer.aliases.pop(name, ""):
        chain.add(name)
    # RFC 2181, section 8: a TTL with its highest bit set means zero.
    return [
        Said(asked, (high, low), ttl_s if ttl_s < 1 << 31 else 0)
        for owner, high, low, ttl_s in answer.addresses
        if owner in chain
    ]


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
