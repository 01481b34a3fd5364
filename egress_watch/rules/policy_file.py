"""The file of a policy under review: proposals as TOML that a person edits, and what the person made of them.

In: needs, or the text of a file. Out: TOML, or a `Review` with every mistake in it. Never: a need taken as allowed
that nobody allowed.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from ipaddress import ip_network
from typing import Any

from egress_watch.rules.lint import LEVELS
from egress_watch.rules.policy import HOST_NAME, Need, Word, opens

SUBJECTS = ("segment", "device")
DESTINATIONS = ("name", "network", "owner", "provider", "asn", "country")
"""`name` and `network` are what is proposed; a reviewer may write the wider ones, alone or to narrow another."""
ALLOW, REFUSE = ANSWERS = ("allow", "refuse")
TOLD = ("breadth", "evidence", "verdict")
SERVICE = re.compile(r"(own )?(tcp|udp|sctp|dccp|udplite)/([0-9]{1,5})|[a-z][a-z0-9-]{1,15}|[0-9]{1,3}")
DEVICE = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}|[0-9a-f.:]+")
HEAD = """\
# A policy under review, proposed from what was seen; nothing of it is in force.
# Answer each need with review = "allow" or review = "refuse", narrow or widen it, and say who answers for it below.
# A need may hold name ("*.example.org" is every name below), network, owner, provider, asn, country (all of them must
# hold) and services ("tcp/443", "tcp" for any port, "own tcp/443" for a port of the device; none: any).
# One that opens more than one name or address wants a reason. Then: egress-watch policy promote FILE --to RULES
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """One need as the file has it."""

    number: int
    """Its place in the file, from 1."""
    subject: Word
    destination: tuple[Word, ...]
    services: tuple[str, ...]
    review: str
    reason: str
    told: Mapping[str, Any]
    """Breadth, evidence and verdict as they were proposed; empty where the reviewer added the need."""

    @property
    def words(self) -> str:
        """Return for whom and what, on one line."""
        to = ", ".join(f"{kind} {what}" for kind, what in self.destination)
        return f"need {self.number} ({' '.join(self.subject)}: {to})"

    @property
    def wide(self) -> bool:
        """Return whether it opens more than one name or one address."""
        return not any(opens(word) in ("1 name", "1 address") for word in self.destination)


@dataclass(slots=True)
class Review:
    """What a file says."""

    by: str = ""
    on: str = ""
    level: str = "medium"
    observed: Mapping[str, Any] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    mistakes: list[tuple[str, str]] = field(default_factory=list)
    """What is wrong, and the remedy."""

    def open_points(self) -> Iterator[tuple[str, str]]:
        """Yield what must be answered before anything of it can be in force, with the remedy."""
        if not self.by:
            yield "nobody answers for this review", 'write by = "your name" under [review]'
        if not _is_day(self.on):
            yield "the review has no day", 'write on = "2026-11-24" under [review]'
        for answer in self.answers:
            if not answer.review:
                yield f"{answer.words} is not reviewed", 'write review = "allow" or review = "refuse"'
            elif answer.review == ALLOW and answer.wide and not answer.reason.strip():
                yield f"{answer.words} opens more than one name or address", "write the reason, or narrow it"


def written(found: Sequence[Need], observed: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a file with these proposals."""
    yield from HEAD.splitlines()
    yield from ("", "[observed]", *(f"{key} = {_toml(value)}" for key, value in observed.items()))
    yield from ("", "[review]", 'by = ""', 'on = ""', 'level = "medium"  # of the alerts on drift')
    for need in found:
        yield ""
        yield from _need(need)


def _need(need: Need) -> Iterator[str]:
    yield "[[need]]"
    yield from (f"{key} = {_toml(value)}" for key, value in (need.subject, need.what))
    yield f"services = {_toml(sorted(need.services))}"
    breadth = {
        "opens": opens(need.what), "names": len(need.names), "addresses": len(need.addresses),
        "countries": sorted(need.countries), "owners": sorted(need.owners),
    }  # fmt: skip
    evidence = {
        "flows": need.flows, "bytes_out": need.bytes_out, "devices": len(need.devices), "days": len(need.days),
        "first": moment(need.first_ns), "last": moment(need.last_ns),
    }  # fmt: skip
    yield f"breadth = {_toml(breadth)}"
    yield f"evidence = {_toml(evidence)}"
    yield f"verdict = {_toml(need.verdict)}"
    yield from ('review = ""', 'reason = ""')


def moment(time_ns: int) -> str:
    """Return a time to the second in UTC; one that a calendar has no place for as its number."""
    try:
        return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(time_ns)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    text = value if isinstance(value, str) else None
    if text is None:
        return str(value)
    # JSON's escapes are TOML's but for DEL, and for pairs of surrogates, which are not written here.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def read(text: str) -> Review:
    """Return what a file says, with its mistakes."""
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Review(mistakes=[(f"broken TOML: {error}", "mend the file")])
    head = told.get("review", {})
    review = Review(observed=told.get("observed", {}))
    rows = told.get("need", [])
    shaped = isinstance(head, dict) and isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    if not shaped or told.keys() - {"observed", "review", "need"}:
        review.mistakes.append(("not the shape of a policy", "keep [observed], [review] and [[need]] only"))
        return review
    review.mistakes += _head(head)
    review.by, review.on, review.level = (str(head.get(key, plain)) for key, plain in _PLAIN.items())
    for number, row in enumerate(rows, 1):
        wrong = list(_wrong(row))
        review.mistakes += [(f"need {number}: {what}", remedy) for what, remedy in wrong]
        if not wrong:
            review.answers.append(_answer(number, row))
    return review


_PLAIN = {"by": "", "on": "", "level": "medium"}


def _head(head: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((f"unknown key {key!a} under [review]", f"keep {', '.join(_PLAIN)}") for key in head.keys() - _PLAIN)
    if head.get("level", "medium") not in LEVELS:
        yield "unknown level under [review]", f"one of: {', '.join(LEVELS)}"
    if not _plain(head.get("by", "")):
        yield "`by` is no plain text", "write a name"
    if (on := head.get("on", "")) and not _is_day(str(on)):
        yield f"{str(on)[:40]!a} is no day", "write it as 2026-11-24"


def _answer(number: int, row: Mapping[str, Any]) -> Answer:
    (subject,) = ((key, str(row[key])) for key in SUBJECTS if key in row)
    destination = tuple((key, str(row[key])) for key in DESTINATIONS if key in row)
    told = {key: row[key] for key in TOLD if key in row}
    services = tuple(row.get("services", ()))
    return Answer(number, subject, destination, services, row.get("review", ""), row.get("reason", ""), told)


def _wrong(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with one need."""
    known = {*SUBJECTS, *DESTINATIONS, *TOLD, "services", "review", "reason"}
    yield from ((f"unknown key {key!a}", f"known: {', '.join(sorted(known))}") for key in row.keys() - known)
    if sum(key in row for key in SUBJECTS) != 1:
        yield "it is for nobody, or for two", "give it a segment or a device"
    if not any(key in row for key in DESTINATIONS):
        yield "it leads nowhere", f"give it one of {', '.join(DESTINATIONS)}"
    for key in (*SUBJECTS, *DESTINATIONS):
        if key in row and (remedy := _bad(key, row[key])):
            yield f"{key} = {str(row[key])[:60]!a} cannot be", remedy
    services = row.get("services", [])
    if not isinstance(services, list) or not all(isinstance(one, str) and _is_service(one) for one in services):
        yield "services are not as they should be", 'write a list such as ["tcp/443", "udp/53"], "tcp" for any port'
    if row.get("review", "") not in ("", *ANSWERS):
        yield f"review = {str(row['review'])[:40]!a} is no answer", 'write "allow" or "refuse"'
    if not _plain(row.get("reason", "")):
        yield "the reason is no plain text", "write it in words on one line"


def _bad(key: str, value: Any) -> str:
    """Return the remedy for a value that cannot be, "" for a good one."""
    if key == "asn":
        return "" if type(value) is int and 0 < value < 2**32 else "write the number of the AS"
    if not isinstance(value, str) or not value.strip() or not _plain(value):
        return "write plain text on one line"
    return _SHAPES[key](value) if key in _SHAPES else ""


def _bad_network(value: str) -> str:
    try:
        network = ip_network(value)
    except ValueError:
        return "write an address, or a network such as 192.0.2.0/24"
    # Fewer bits hold whole providers; who means that can say the provider, or its AS.
    return "" if network.prefixlen >= (8 if network.version == 4 else 16) else "a network so wide is no need"


def _bad_name(value: str) -> str:
    return "" if HOST_NAME.fullmatch(value.removeprefix("*.")) else "write a host name, or *.example.org"


def _bad_country(value: str) -> str:
    return "" if re.fullmatch("[A-Z]{2}", value) else "write two upper-case letters (ISO 3166-1)"


def _bad_device(value: str) -> str:
    return "" if DEVICE.fullmatch(value) else "write the device's MAC or address, in lower case"


_SHAPES = {"network": _bad_network, "name": _bad_name, "country": _bad_country, "device": _bad_device}


def _is_service(text: str) -> bool:
    found = SERVICE.fullmatch(text)
    return found is not None and (not found[3] or 0 < int(found[3]) < 2**16)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _plain(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) <= 1_000
