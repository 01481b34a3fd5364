"""The strict reading of a rule's ``detection``: searches, their items, and the condition over them.

In: the node under ``detection`` and the sets a rule may name. Out: findings. Never: a search that silently matches
nothing (a typo, an empty list) or everything (an empty text).
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from egress_watch.rules.document import Finding, Node, at, shown
from egress_watch.rules.fields import BY_NAME, Field, nearest
from egress_watch.rules.values import MODIFIERS, terms, value_findings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SEARCH_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
TOKEN = re.compile(r"[^\s()]+")
KEYWORDS = ("and", "or", "not", "1", "any", "all", "of", "them")
LIMIT_CONDITION = 1_000
LIMIT_TERMS = 2_000
"""Comparisons one rule may make of each flow."""
LIMIT_PARENTHESES = 8
"""pySigma's parser recurses, and takes longer with each level."""


def findings(detection: Node, sets: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Yield everything wrong below ``detection``."""
    searches = [(key, value) for key, value in detection.pairs if key.text != "condition"]
    for key, value in searches:
        yield from _search(key, value, sets)
    count = sum(_terms(value, sets) for _, value in searches)
    if count > LIMIT_TERMS:
        what = f"this rule makes {count:,} comparisons of each flow; {LIMIT_TERMS:,} is the limit"
        yield at(detection, what, "split it, or ask by owner, provider or asn instead of long lists")
    condition = detection.get("condition")
    if condition is None:
        yield at(detection, "`condition` is missing", "add for example `condition: selection`")
    elif condition.kind in ("map", "list"):
        yield at(condition, "the condition is one line of text", "join the conditions with `or`")
    else:
        yield from _condition(condition, [key for key, _ in searches])


def unknown_field(node: Node, name: str) -> Finding:
    """Return the finding for a field that flows do not have."""
    meant = nearest(name, BY_NAME)
    remedy = f"did you mean `{meant}`?" if meant else "see the table of fields in docs/rules.md"
    return at(node, f"unknown field {shown(name)}", remedy)


def _search(key: Node, value: Node, sets: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Check one named search: a map (all must hold) or a list of maps (one must)."""
    if not SEARCH_NAME.fullmatch(key.text) or key.text in KEYWORDS:
        yield at(key, f"{shown(key.text)} cannot name a search", "use letters, digits, _ and -")
    if key.text == "timeframe":
        yield at(key, "`timeframe` is not supported by this version", "leave it out: alerts already sum over time")
        return
    for part in value.values():
        if part.kind != "map":
            yield at(part, "a value without a field cannot be searched", "write `field: value`, such as `country: US`")
        elif not part.pairs:
            yield at(part, "this search is empty", "give it a field")
        yield from _twice(part)
        for name, wanted in part.pairs:
            yield from _item(name, wanted, sets)
    if value.kind == "list" and not value.items:
        yield at(value, "this search is an empty list", "give it a field")


def _twice(part: Node) -> Iterator[Finding]:
    """Yield each item that becomes the same as another once its set is unfolded: only one of them could stand."""
    plain = [key.text.replace("|expand", "") for key, _ in part.pairs]
    for (key, _), text in zip(part.pairs, plain, strict=True):
        if "|expand" in key.text and plain.count(text) > 1:
            yield at(key, f"{shown(key.text)} and {shown(text)} cannot stand in one search", "give it its own search")


def _terms(search: Node, sets: Mapping[str, Sequence[str]]) -> int:
    """Return how many comparisons a search becomes."""
    items = [pair for part in search.values() for pair in part.pairs]
    return sum(terms(key.text.split("|")[1:], node, sets) for key, value in items for node in value.values())


def _item(key: Node, value: Node, sets: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Check one ``field|modifier: value`` of a search."""
    name, *modifiers = key.text.split("|")
    field = BY_NAME.get(name)
    if field is None:
        yield unknown_field(key, name)
        return
    wrong = list(_modifiers(field, modifiers, key))
    yield from wrong
    if value.kind == "list" and not value.items:
        yield at(value, "an empty list would silently ask for NULL", "fill it, or write `null`")
    for node in () if wrong else value.values():
        if node.kind in ("map", "list"):
            yield at(node, f"`{name}` takes a value or a list of values", "take one level of nesting away")
        else:
            yield from value_findings(field, modifiers, node, sets)


def _modifiers(field: Field, modifiers: Sequence[str], key: Node) -> Iterator[Finding]:
    """Check that each modifier makes sense for the field."""
    allowed = MODIFIERS[field.kind]
    for modifier in modifiers:
        if modifier not in allowed:
            meant = nearest(modifier, allowed)
            remedy = f"did you mean `{meant}`?" if meant else f"`{field.name}` takes {', '.join(allowed)}"
            yield at(key, f"modifier {shown(modifier)} does not fit `{field.name}` ({field.kind})", remedy)
    if len(set(modifiers)) < len(modifiers):
        yield at(key, "a modifier is written twice", "keep one of them")
    if "fieldref" in modifiers and set(modifiers) - {"fieldref", "neq"}:
        yield at(key, "`fieldref` goes with `neq` only", "leave the other modifiers out")


def _condition(node: Node, names: Sequence[Node]) -> Iterator[Finding]:
    """Check that a condition asks for every search, and for no other."""
    if len(node.text) > LIMIT_CONDITION or _depth(node.text) > LIMIT_PARENTHESES:
        what = f"a condition has at most {LIMIT_CONDITION} characters and {LIMIT_PARENTHESES} levels of parentheses"
        yield at(node, what, "group searches by name and write `1 of name_*`")
        return
    if "|" in node.text:
        yield at(node, "aggregation with | is not supported", "leave it out: alerts already sum hits and bytes")
        return
    used: set[str] = set()
    for match in TOKEN.finditer(node.text):
        found = _named(match[0], names)
        used |= found
        if not found and match[0] not in KEYWORDS:
            yield _unknown_search(node, match, names)
    for key in names:
        if key.text not in used:
            yield at(key, f"the condition does not use `{shown(key.text)[1:-1]}`", "use it, or delete it")


def _named(token: str, names: Sequence[Node]) -> set[str]:
    """Return the searches a word of a condition stands for; ``them`` leaves out those that begin with _."""
    if token == "them":  # noqa: S105  # a word of the condition, no password
        return {key.text for key in names if not key.text.startswith("_")}
    return {key.text for key in names if fnmatchcase(key.text, token)}


def _unknown_search(node: Node, match: re.Match[str], names: Sequence[Node]) -> Finding:
    """Return the finding for a word in a condition that names no search."""
    meant = nearest(match[0], [key.text for key in names] + list(KEYWORDS))
    remedy = f"did you mean `{meant}`?" if meant else "name a search, or use and, or, not, 1 of, all of"
    # Only in a plain scalar on one line does the offset in the text equal the offset on the line.
    column = node.column + (match.start() if node.plain else 0)
    return Finding(f"the condition names {shown(match[0])}, which is no search", node.line, column, remedy)


def _depth(condition: str) -> int:
    """Return how deep the parentheses of a condition go."""
    depth = deepest = 0
    for letter in condition:
        depth += (letter == "(") - (letter == ")")
        deepest = max(deepest, depth)
    return deepest
