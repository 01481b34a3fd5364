"""A reviewed policy as Sigma: for each segment or device a rule for drift, and filters with what is allowed.

In: a `Review` without open points. Out: the text of one rule file a subject. Never: a need that was not allowed.

The rule speaks of every flow of its subject that does not stay local; the filter documents behind it take away what
the review allowed. So what is in force can be read, and `rules check`, `test` and `backtest` hold for it like for any
other rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid5

from egress_watch.rules.policy import Word
from egress_watch.rules.policy_file import ALLOW, Answer, Review

OURS = UUID("0f6cbb1f-7a5e-4b0e-9f43-59a5c0b9d0f2")
"""The name space of the rules' ids: a subject keeps its id through all reviews, and so do mutes of its alerts."""
NEEDS_A_FILTER = 100
MARK = "reviewed_policy"
"""The key under ``egress_watch`` by which a file is known as written here."""
HEAD = "# Written by `egress-watch policy promote`; edit the review, not this.\n"
SOURCE = {"product": "egress_watch", "category": "flow"}


def rule_files(review: Review, also: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield name and text of each rule file; ``also`` are rules that leave what is allowed alone too, by name or id."""
    import yaml

    subjects = dict.fromkeys(answer.subject for answer in review.answers)
    for subject in subjects:
        answers = [answer for answer in review.answers if answer.subject == subject]
        allowed = [answer for answer in answers if answer.review == ALLOW]
        documents = [_drift(subject, review, answers), *_filters(subject, review, allowed, also)]
        text = yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=120)
        yield f"policy-{slug(subject)}.yml", HEAD + text


def slug(subject: Word) -> str:
    """Return a subject as part of a file's name, no two alike."""
    plain = re.sub("[^a-z0-9]+", "-", subject[1].lower()).strip("-")[:40] or "x"
    mark = "" if plain == subject[1] else f"-{blake2b(subject[1].encode(), digest_size=3).hexdigest()}"
    return f"{subject[0]}-{plain}{mark}"


def number(subject: Word) -> str:
    """Return the id of a subject's rule."""
    return str(uuid5(OURS, " ".join(subject)))


def _drift(subject: Word, review: Review, answers: Sequence[Answer]) -> dict[str, Any]:
    """Return the rule that alerts on what the review does not allow."""
    kind, which = subject
    allowed = [answer for answer in answers if answer.review == ALLOW]
    stranger = {**_example(subject), "remote_ip": "198.51.100.77", "verdict": "UNKNOWN", "bytes_out": 1000}
    known = {**_example(subject), **_flow(allowed[0])} if allowed else {**stranger, "location_status": "local"}
    return {
        "title": f"Outside the policy of {kind} {which}"[:256],
        "id": number(subject),
        "name": f"policy-{slug(subject)}",
        "status": "stable",
        "description": (
            f"A destination that the reviewed policy of {kind} {which} does not allow. {len(allowed)} of "
            f"{len(answers)} needs were allowed by {review.by}, from what was seen between "
            f"{review.observed.get('from', '?')} and {review.observed.get('until', '?')}."
        ),
        "author": review.by,
        "date": review.on,
        "logsource": dict(SOURCE),
        "detection": {
            "subject": _subject(subject),
            "filter_local": {"location_status": "local"},
            "condition": "subject and not filter_local",
        },
        "falsepositives": [
            "A service that moved, or a task that did not run while the policy was observed",
            "A flow whose name was not heard, since it began before the recording or hid it",
        ],
        "level": review.level,
        "egress_watch": {
            MARK: {"allowed": len(allowed), "refused": len(answers) - len(allowed)},
            "examples": {"match": [stranger], "no_match": [known]},
        },
    }


def _filters(subject: Word, review: Review, allowed: Sequence[Answer], also: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield what is allowed, so many needs a document."""
    for at in range(0, len(allowed), NEEDS_A_FILTER):
        some = allowed[at : at + NEEDS_A_FILTER]
        searches = {f"need_{answer.number}": _search(answer) for answer in some}
        yield {
            "title": f"What {subject[0]} {subject[1]} may talk to"[:256],
            "description": "; ".join(f"need {one.number}: {one.reason}" for one in some if one.reason)
            or f"reviewed by {review.by}",
            "logsource": dict(SOURCE),
            "filter": {"rules": [number(subject), *also], **searches, "condition": "not 1 of need_*"},
        }


def _subject(subject: Word) -> dict[str, Any]:
    kind, which = subject
    if kind == "segment":
        return {"segment": _literal(which)}
    return {"device_mac" if _is_mac(which) else "device_ip": which}


def _search(answer: Answer) -> Any:
    """Return one need as a search: a map, or a list of them where its services are of several kinds."""
    fixed = _subject(answer.subject) | dict(_field(*word) for word in answer.destination)
    maps = [{**fixed, **service} for service in _services(answer.services)]
    return maps[0] if len(maps) == 1 else maps


def _field(kind: str, what: str) -> tuple[str, Any]:
    if kind == "name":
        return ("name|endswith", what[1:]) if what.startswith("*.") else ("name", what)
    if kind == "network":
        network = ip_network(what)
        alone = network.prefixlen == network.max_prefixlen
        return ("remote_ip", str(network.network_address)) if alone else ("remote_ip|cidr", str(network))
    return kind, int(what) if kind == "asn" else _literal(what)


def _services(told: Sequence[str]) -> list[dict[str, Any]]:
    """Return the services as parts of a search, ports of one side of a protocol together."""
    ports: dict[tuple[str, str], list[int]] = {}
    for one in told:
        protocol, _, port = one.removeprefix("own ").partition("/")
        side = "device_port" if one.startswith("own ") else "remote_port" if port else ""
        ports.setdefault((protocol, side), []).extend([int(port)] if port else [])
    found: list[dict[str, Any]] = []
    for (protocol, side), some in ports.items():
        found.append({"protocol": protocol, **({side: sorted(some)} if some else {})})
    return found or [{}]


def _example(subject: Word) -> dict[str, Any]:
    kind, which = subject
    return {"segment": which} if kind == "segment" else {"device_mac" if _is_mac(which) else "device_ip": which}


def _flow(answer: Answer) -> dict[str, Any]:
    """Return a flow that a need allows."""
    flow: dict[str, Any] = {}
    for kind, what in answer.destination:
        if kind == "network":
            flow["remote_ip"] = str(ip_network(what).network_address)
        else:
            flow[kind] = int(what) if kind == "asn" else what.replace("*", "any", 1) if kind == "name" else what
    for key, value in _services(answer.services)[0].items():
        flow[key] = value[0] if isinstance(value, list) else value
    return flow


def _is_mac(text: str) -> bool:
    return bool(re.fullmatch("[0-9a-f]{2}(:[0-9a-f]{2}){5}", text))


def _literal(text: str) -> str:
    """Return a text with Sigma's wildcards taken as letters."""
    return re.sub(r"([*?\\])", r"\\\1", text)
