"""The strict reading of a correlation document: what is counted, by what, in which time, from where on.

In: the node under ``correlation``. Out: findings, or a `Count`. Never: a kind that the store cannot count.

The keys are those of the "Sigma Correlation Rules Specification" 2.1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from egress_watch.model import Count
from egress_watch.rules.document import Finding, Node, at, shown
from egress_watch.rules.fields import BY_NAME, FIELDS, nearest
from egress_watch.rules.values import NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = ("value_sum", "value_count", "event_count")
KEYS = ("type", "rules", "group-by", "timespan", "condition", "generate")
NEEDED = KEYS[:-1]
TIMESPAN = re.compile(r"([1-9][0-9]{0,6})([smhd])")
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
LEAST_S, MOST_S = 60, 30 * 86_400
LIMIT_GROUP_BY = 8
NO_GROUPS = ("id", "first_ns", "last_ns", "device_age_s", "packets_out", "bytes_out", "packets_in", "bytes_in")
"""Fields that hardly two flows share: a group of each would be no group."""
BELOW = ("lt", "lte", "eq", "neq")


class Reference(NamedTuple):
    """A rule named by another document, and where."""

    name: str
    line: int
    column: int


def findings(body: Node) -> Iterator[Finding]:
    """Yield everything wrong below ``correlation``."""
    if body.kind != "map":
        yield at(body, "this must be a map of keys", "indent its keys on the lines below")
        return
    yield from _keys(body)
    for key, node in body.pairs:
        if key.text in CHECKS:
            yield from CHECKS[key.text](node)
    kind, condition = body.get("type"), body.get("condition")
    if kind and condition and condition.kind == "map" and kind.text in KINDS:
        yield from _field(kind.text, condition)


def references(body: Node) -> tuple[Reference, ...]:
    """Return the rules that a correlation or a filter names."""
    named = body.get("rules")
    return tuple(Reference(node.text, node.line, node.column) for node in named.values()) if named else ()


def generates(body: Node) -> bool:
    """Return whether the counted rules raise alerts of their own as well."""
    node = body.get("generate")
    return node is not None and node.text.lower() == "true"


def count_of(body: Node) -> Count:
    """Return what a linted correlation counts."""
    condition, group = body.get("condition") or body, body.get("group-by") or body
    least = next(int(node.text) + (key.text == "gt") for key, node in condition.pairs if key.text in ("gt", "gte"))
    field, kind = condition.get("field"), (body.get("type") or body).text
    return Count(
        kind, field.text if field else "", tuple(node.text for node in group.values()),
        _seconds((body.get("timespan") or body).text), least,
    )  # fmt: skip


def _seconds(text: str) -> int:
    match = TIMESPAN.fullmatch(text)
    return int(match[1]) * UNITS_S[match[2]] if match else 0


def _keys(body: Node) -> Iterator[Finding]:
    for key, _ in body.pairs:
        if key.text == "aliases":
            yield at(key, "`aliases` have no use here: all rules ask the same fields", "leave them out")
        elif key.text not in KEYS:
            meant = nearest(key.text, KEYS)
            yield at(key, f"unknown key {shown(key.text)}", f"did you mean `{meant}`?" if meant else "leave it out")
    for name in NEEDED:
        if body.get(name) is None:
            yield at(body, f"`{name}` is missing", f"add `{name}:`")


def _type(node: Node) -> Iterator[Finding]:
    if node.text.startswith("temporal"):
        remedy = "count with event_count, or correlate in your SIEM, which sees more than flows"
        yield at(node, f"{shown(node.text)} is not supported: the order of flows is not kept", remedy)
    elif node.text not in KINDS:
        yield at(node, f"{shown(node.text)} is none of {', '.join(KINDS)}", f"write one of {', '.join(KINDS)}")


def names(node: Node) -> Iterator[Finding]:
    """Check a list of rules: whether each is there, only the whole folder can tell."""
    for item in node.values():
        if item.kind != "str" or not item.text.strip():
            yield at(item, "this must be the name or id of a rule", "write the `name` of a rule in this folder")
    if not node.values():
        yield at(node, "this list is empty", "name a rule")


def _group(node: Node) -> Iterator[Finding]:
    for item in node.values():
        if item.text not in BY_NAME or item.text in NO_GROUPS:
            meant = nearest(item.text, [field.name for field in FIELDS if field.name not in NO_GROUPS])
            remedy = f"did you mean `{meant}`?" if meant else "group by device_ip, country, owner ..."
            yield at(item, f"flows cannot be grouped by {shown(item.text)}", remedy)
    if not 1 <= len(node.values()) <= LIMIT_GROUP_BY:
        yield at(node, f"group by one to {LIMIT_GROUP_BY} fields", "write `- device_ip` below")
    elif not {"device_ip", "device_mac"} & {item.text for item in node.values()}:
        yield at(node, "an alert speaks of a device", "add `- device_ip`")


def _timespan(node: Node) -> Iterator[Finding]:
    if not LEAST_S <= _seconds(node.text) <= MOST_S:
        what = f"{shown(node.text)} is no timespan from one minute to thirty days"
        yield at(node, what, "write it like 5m, 1h or 7d")


def _condition(node: Node) -> Iterator[Finding]:
    if node.kind != "map":
        yield at(node, "this must be a map", "write `gte: 10` on the line below")
        return
    for key, value in node.pairs:
        if key.text in BELOW:
            yield at(key, f"`{key.text}` is not supported: every count begins at nothing", "ask for `gt` or `gte`")
        elif key.text not in ("gt", "gte", "field"):
            yield at(key, f"unknown key {shown(key.text)}", "write `gt` or `gte`, and `field`")
        elif key.text != "field" and (value.kind != "int" or not NUMBER.fullmatch(value.text) or int(value.text) < 1):
            yield at(value, f"{shown(value.text)} is no whole number above 0", "write digits only")
    if sum(key.text in ("gt", "gte") for key, _ in node.pairs) != 1 and not set(BELOW) & {
        k.text for k, _ in node.pairs
    }:
        yield at(node, "a condition has one limit", "write `gt:` or `gte:`")


def _field(kind: str, condition: Node) -> Iterator[Finding]:
    """Check the field that is summed or counted."""
    field = condition.get("field")
    if kind == "event_count":
        if field:
            yield at(field, "event_count counts flows and takes no field", "leave `field` out")
    elif field is None:
        yield at(condition, f"{kind} needs a `field`", "add for example `field: bytes_out`")
    elif field.text not in BY_NAME:
        meant = nearest(field.text, BY_NAME)
        yield at(field, f"unknown field {shown(field.text)}", f"did you mean `{meant}`?" if meant else "see the fields")
    elif kind == "value_sum" and not field.text.startswith(("bytes_", "packets_")):
        yield at(field, f"`{field.text}` cannot be summed up", "sum bytes_out, bytes_in, packets_out or packets_in")


def _flag(node: Node) -> Iterator[Finding]:
    if node.text.lower() not in ("true", "false"):
        yield at(node, f"{shown(node.text)} is neither true nor false", "write true or false")


CHECKS = {
    "type": _type,
    "rules": names,
    "group-by": _group,
    "timespan": _timespan,
    "condition": _condition,
    "generate": _flag,
}
