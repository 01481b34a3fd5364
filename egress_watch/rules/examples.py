"""A rule's own examples: flows that it must find, and flows that it must leave alone.

In: the node under ``egress_watch``. Out: findings, or `Example` rows. Never: a field that flows do not have.

An example is one flow, or for a rule that counts a list of flows. What a flow does not name is NULL, save the numbers
in `PLAIN`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from egress_watch.rules.document import Finding, Node, at, python, shown
from egress_watch.rules.fields import BY_NAME, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBERS = (
    "first_ns", "last_ns", "bytes_out", "bytes_in", "packets_out", "packets_in", "device_age_s", "first_country",
    "first_owner", "first_provider",
)  # fmt: skip
PLAIN = {"device_ip": "10.20.1.11", "remote_ip": "192.0.2.1", **dict.fromkeys(_NUMBERS, 0)}
"""What an example says if it does not say otherwise: in the store these are never NULL."""
VERBS = {"match": True, "no_match": False}


class Example(NamedTuple):
    """Flows, and whether the rule must find them."""

    wanted: bool
    flows: tuple[dict[str, Any], ...]
    line: int


def findings(notes: Node) -> Iterator[Finding]:
    """Yield what is wrong with the examples below ``egress_watch``; all else there is free."""
    told = notes.get("examples")
    if told is None:
        return
    if told.kind != "map":
        yield at(told, "examples must be a map", "write `match:` and `no_match:` with a list of flows each")
    for key, listed in told.pairs:
        if key.text not in VERBS:
            yield at(key, f"unknown key {shown(key.text)}", "write `match` or `no_match`")
        elif listed.kind != "list" or not listed.items:
            yield at(listed, "this must be a list of flows", "write `- verdict: OUT` below")
        for example in listed.items:
            for flow in example.values():
                yield from _flow(flow)


def examples_of(document: Node) -> tuple[Example, ...]:
    """Return the examples of a linted document, in their order."""
    notes = document.get("egress_watch")
    told = notes.get("examples") if notes else None
    listed = [(VERBS[key.text], item) for key, node in told.pairs for item in node.items] if told else []
    return tuple(Example(wanted, tuple(map(_row, item.values())), item.line) for wanted, item in listed)


def _row(flow: Node) -> dict[str, Any]:
    words = {name: int(value) if isinstance(value, bool) else value for name, value in python(flow).items()}
    return {**dict.fromkeys(BY_NAME), **PLAIN, **words}


def _flow(flow: Node) -> Iterator[Finding]:
    if flow.kind != "map":
        yield at(flow, "an example is a flow", "write its fields, such as `verdict: OUT`")
    for key, node in flow.pairs:
        field = BY_NAME.get(key.text)
        if field is None:
            meant = nearest(key.text, BY_NAME)
            yield at(key, f"unknown field {shown(key.text)}", f"did you mean `{meant}`?" if meant else "see the fields")
        elif node.kind != "null" and node.kind != {"number": "int", "flag": "bool"}.get(field.kind, "str"):
            wanted = {"number": "a whole number", "flag": "true or false"}.get(field.kind, "text, in quotes if need be")
            yield at(node, f"`{key.text}` is {wanted}, not {shown(node.text)}", "write it as the store would hold it")
