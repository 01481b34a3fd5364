"""The strict reading of a rule's frame: which keys, of which shape, with which values.

In: a document's nodes. Out: every finding, each with its line and column. Never: a silent guess at what was meant.

The keys are Sigma's (sigma-specification, "Sigma Rules Specification" 2.1) and ``egress_watch``, which is free for
notes beside its ``examples``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from egress_watch.rules.correlation import findings as correlation_findings
from egress_watch.rules.document import Finding, Node, at, shown, walk
from egress_watch.rules.examples import findings as example_findings
from egress_watch.rules.fields import BY_NAME, nearest
from egress_watch.rules.filters import findings as filter_findings
from egress_watch.rules.search import findings as search_findings
from egress_watch.rules.search import unknown_field
from egress_watch.rules.values import text_trap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

LEVELS = ("informational", "low", "medium", "high", "critical")
STATUSES = ("stable", "test", "experimental", "deprecated", "unsupported")
REQUIRED = {
    "detection": ("title", "id", "level", "logsource", "detection"),
    "correlation": ("title", "id", "level", "correlation"),
    "filter": ("title", "logsource", "filter"),
}
"""Keys that a document of each kind must have."""
LOGSOURCE = {"product": "egress_watch", "category": "flow"}
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
TAG = re.compile(r"[a-z0-9_-]+\.[a-z0-9._-]+")


def findings(document: Node, sets: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Yield everything wrong with a rule, frame first, then its searches."""
    if document.kind != "map":
        yield at(document, "a rule is a map of keys, such as `title: ...`", "start from a shipped rule")
        return
    yield from _duplicates(document)
    kinds = [key for key, _ in document.pairs if key.text in REQUIRED]
    for key in kinds[1:]:
        what = f"a document cannot be `{kinds[0].text}` and `{key.text}` at once"
        yield at(key, what, "put `---` between two documents")
    if len(kinds) > 1:
        return
    yield from _frame(document, kinds[0].text if kinds else "detection")
    for key, node in document.pairs:
        if key.text in SHAPES:
            yield from SHAPES[key.text](node)
        if key.text in BODIES:
            yield from BODIES[key.text](node, sets)


BODIES: dict[str, Callable[[Node, Mapping[str, Sequence[str]]], Iterator[Finding]]] = {
    "detection": search_findings,
    "correlation": lambda body, _: correlation_findings(body),
    "filter": filter_findings,
    "egress_watch": lambda body, _: example_findings(body),
}


def _duplicates(document: Node) -> Iterator[Finding]:
    """Yield each key written twice: YAML tools keep the last one without a word."""
    for node in walk(document):
        seen: dict[str, int] = {}
        for key, _ in node.pairs:
            if key.kind in ("map", "list"):
                yield at(key, "a key must be one word", "write `key: value`")
            elif key.text in seen:
                yield at(key, f"{shown(key.text)} is already set on line {seen[key.text]}", "keep one of them")
            seen.setdefault(key.text, key.line)


def _frame(document: Node, kind: str) -> Iterator[Finding]:
    """Yield each key that Sigma does not know, and each that a document of this kind must have and this one has not."""
    for key, _ in document.pairs:
        if key.text == "action":
            yield at(key, "`action` collections are not supported", "write each rule as a document behind `---`")
        elif key.text not in SHAPES:
            meant = nearest(key.text, SHAPES)
            remedy = f"did you mean `{meant}`?" if meant else "put your own notes under `egress_watch`"
            yield at(key, f"unknown key {shown(key.text)}", remedy)
    for name in REQUIRED[kind]:
        if document.get(name) is None:
            yield at(document, f"`{name}` is missing", REMEDIES.get(name, f"add `{name}:`"))


REMEDIES = {
    "id": "add `id:` with a fresh UUID (python3 -m uuid, or uuidgen)",
    "level": f"add `level:` with one of {', '.join(LEVELS)}",
    "logsource": "add `logsource:` with `product: egress_watch` and `category: flow`",
}


def _words(node: Node) -> Iterator[Finding]:
    """Check free text."""
    if node.kind in ("map", "list"):
        yield at(node, "this must be text", "write it behind the key")
    elif trap := text_trap(node):
        yield trap
    elif not node.text.replace("\n", "").isprintable():
        yield at(node, "this text has invisible characters", "write it with visible ones")


def _title(node: Node) -> Iterator[Finding]:
    """Check a title: Sigma allows 256 characters."""
    yield from _words(node)
    if node.text.count("\n") or len(node.text) > 256:
        yield at(node, "a title is one line of at most 256 characters", "move the rest to `description`")


def _list(node: Node) -> Iterator[Finding]:
    """Check a list of texts."""
    if node.kind != "list":
        yield at(node, "this must be a list", "write each entry on its own line behind `- `")
    elif not node.items:
        yield at(node, "this list is empty", "fill it, or leave the key out")
    for item in node.items:
        yield from _words(item)


def _map(node: Node) -> Iterator[Finding]:
    """Check that there are keys below."""
    if node.kind != "map" or not node.pairs:
        yield at(node, "this must be a map of keys", "indent its keys on the lines below")


def _shaped(pattern: re.Pattern[str], example: str) -> Callable[[Node], Iterator[Finding]]:
    """Return the check that a text has a shape."""

    def check(node: Node) -> Iterator[Finding]:
        if node.kind in ("map", "list") or not pattern.fullmatch(node.text):
            yield at(node, f"{shown(node.text)} is not of the right shape", f"write it like {example}")

    return check


def _one_of(values: Sequence[str]) -> Callable[[Node], Iterator[Finding]]:
    """Return the check that a text is one of a few."""

    def check(node: Node) -> Iterator[Finding]:
        if node.kind in ("map", "list") or node.text not in values:
            meant = nearest(node.text, values)
            remedy = f"did you mean `{meant}`?" if meant else f"write one of {', '.join(values)}"
            yield at(node, f"{shown(node.text)} is none of {', '.join(values)}", remedy)

    return check


def _tags(node: Node) -> Iterator[Finding]:
    """Check tags: Sigma wants ``namespace.name``."""
    yield from _list(node)
    for item in node.items:
        yield from _shaped(TAG, "attack.exfiltration")(item)


def _fields(node: Node) -> Iterator[Finding]:
    """Check the list of fields worth showing."""
    yield from _list(node)
    for item in node.items:
        if item.text not in BY_NAME:
            yield unknown_field(item, item.text)


def _related(node: Node) -> Iterator[Finding]:
    """Check the list of related rules; what is in it is pySigma's to judge."""
    if node.kind != "list" or any(item.kind != "map" for item in node.items):
        yield at(node, "this must be a list of maps", "write `- id: ...` and `type: ...`")


def _logsource(node: Node) -> Iterator[Finding]:
    """Check that the rule is about flows: any other log source would silently never match."""
    yield from _map(node)
    for key, value in node.pairs:
        if key.text not in LOGSOURCE:
            yield at(key, f"unknown key {shown(key.text)} in logsource", "keep `product` and `category` only")
        elif value.text != LOGSOURCE[key.text]:
            yield at(value, f"{shown(value.text)} is no log source here", f"write `{key.text}: {LOGSOURCE[key.text]}`")
    for name, wanted in LOGSOURCE.items():
        if node.get(name) is None:
            yield at(node, f"`{name}` is missing in logsource", f"add `{name}: {wanted}`")


SHAPES: dict[str, Callable[[Node], Iterator[Finding]]] = {
    "title": _title,
    "id": _shaped(UUID, "5f3c7a52-1f0e-4f57-9d0c-3f6c2f0f7a11"),
    "name": _words,
    "related": _related,
    "taxonomy": _words,
    "status": _one_of(STATUSES),
    "description": _words,
    "license": _words,
    "author": _words,
    "references": _list,
    "date": _shaped(DATE, "2026-11-23"),
    "modified": _shaped(DATE, "2026-11-23"),
    "logsource": _logsource,
    "detection": _map,
    "correlation": _map,
    "filter": _map,
    "fields": _fields,
    "falsepositives": _list,
    "level": _one_of(LEVELS),
    "tags": _tags,
    "scope": _list,
    "egress_watch": _map,
}
