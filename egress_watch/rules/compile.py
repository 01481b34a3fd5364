"""From a rule's text to its SQL predicate: our lint first, then pySigma.

In: text, and the sets it may name. Out: a `Rule`, or findings. Never: SQL from a rule that the lint did not pass.

Works with pySigma 1.5 (SQLite backend 2.0) and 2.0 (backend 2.1). Importing pySigma takes 0.2 s, so it waits for the
first rule.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from egress_watch.errors import RuleError
from egress_watch.rules.document import Finding, Node, at, python, read
from egress_watch.rules.fields import BY_NAME
from egress_watch.rules.lint import findings
from egress_watch.rules.networks import within

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NO_SETS: Mapping[str, Sequence[str]] = MappingProxyType({})
LIMIT_FINDINGS = 100
"""Findings `check` returns of one rule; whoever mends a hundred can ask again."""
LIMIT_PREDICATE = 1_000_000
"""Characters of SQL for one rule: SQLite's documented default for a statement (SQLITE_MAX_SQL_LENGTH)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule ready to run."""

    id: str
    """UUID in lower case."""
    title: str
    level: str
    """informational, low, medium, high or critical."""
    description: str
    predicate: str
    """An SQL expression over the columns of `fields.FIELDS`, to stand behind WHERE in parentheses."""
    digest: str
    """SHA-256 of the text in UTF-8, hexadecimal."""
    origin: str
    """Where the text came from, as the caller named it."""


def parse(text: str, origin: str, sets: Mapping[str, Sequence[str]] = NO_SETS) -> Rule:
    """Return the rule in ``text``.

    ``sets`` gives the members of placeholders: ``country|expand: '%eea%'`` needs a set ``eea``. Raises RuleError at
    the first finding.
    """
    document = read(text, origin)
    for finding in findings(document, sets):
        raise finding.error(origin)
    predicate = _convert(document, origin, sets)
    words = python(document)
    return Rule(
        id=words["id"].lower(),
        title=words["title"],
        level=words["level"],
        description=words.get("description", "").strip(),
        predicate=predicate,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        origin=origin,
    )


def check(text: str, origin: str, sets: Mapping[str, Sequence[str]] = NO_SETS) -> list[RuleError]:
    """Return what is wrong with ``text`` in the order of its lines; empty where `parse` would succeed."""
    try:
        document = read(text, origin)
        some = islice(findings(document, sets), LIMIT_FINDINGS)
        found = sorted(set(some), key=lambda finding: (finding.line, finding.column, finding.what))
        if not found:
            _convert(document, origin, sets)
    except RuleError as error:
        return [error]
    return [finding.error(origin) for finding in found]


def _convert(document: Node, origin: str, sets: Mapping[str, Sequence[str]]) -> str:
    """Return the predicate of a linted rule; raises RuleError where pySigma refuses it."""
    from sigma.exceptions import SigmaError
    from sigma.rule import SigmaRule

    detection = document.get("detection") or document
    rule = {**python(document), "detection": _expanded(python(detection), sets)}
    for finding in _trials(detection, sets):
        raise finding.error(origin)
    condition = detection.get("condition") or detection
    try:
        queries = _backend().convert_rule(SigmaRule.from_dict(rule))
    except (SigmaError, RecursionError, NotImplementedError, TypeError, ValueError) as error:
        raise at(condition, _said(error), "compare with a shipped rule").error(origin) from None
    if len(queries) != 1 or len(queries[0]) > LIMIT_PREDICATE:
        raise at(condition, "the rule becomes too much SQL", "split it").error(origin)
    return str(queries[0])


def _trials(detection: Node, sets: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Yield pySigma's own complaints about single items, at the item's line: it knows no lines itself."""
    from sigma.exceptions import SigmaError
    from sigma.rule import SigmaDetectionItem

    maps = [part for key, value in detection.pairs if key.text != "condition" for part in value.values()]
    for key, value in (pair for part in maps for pair in part.pairs):
        try:
            SigmaDetectionItem.from_mapping(*_item(key.text, python(value), sets))
        except (SigmaError, TypeError, ValueError) as error:
            yield at(key, _said(error), "see the table of modifiers in docs/rules.md")


def _said(error: Exception) -> str:
    """Return pySigma's message on one line."""
    return f"Sigma: {' '.join(str(error).split())[:300]}"


def _expanded(detection: Mapping[str, Any], sets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the searches with the members of sets in place of their names."""

    def search(value: Any) -> Any:
        if isinstance(value, list):
            return [search(part) for part in value]
        return dict(_item(key, wanted, sets) for key, wanted in value.items())

    return {name: value if name == "condition" else search(value) for name, value in detection.items()}


def _item(key: str, value: Any, sets: Mapping[str, Sequence[str]]) -> tuple[str, Any]:
    """Return one item, its sets unfolded: ``country|expand: '%benelux%'`` is ``country: [BE, NL, LU]``."""
    name, *modifiers = key.split("|")
    if "expand" not in modifiers:
        return key, _number(value) if name in BY_NAME and BY_NAME[name].kind == "flag" else value
    names = value if isinstance(value, list) else [value]
    members = [_literal(member) for name in names for member in sets[name.strip("%")]]
    return "|".join([name, *(modifier for modifier in modifiers if modifier != "expand")]), members


def _number(value: Any) -> Any:
    """Return a flag as the store holds it: pySigma would also compare it with the text "true"."""
    if isinstance(value, list):
        return [_number(one) for one in value]
    return int(value) if isinstance(value, bool) else value


def _literal(member: str) -> str:
    """Return a set's member with Sigma's wildcards taken as letters."""
    return re.sub(r"([*?\\])", r"\\\1", member)


def _backend() -> Any:
    """Return pySigma's SQLite backend, cut down to the predicate.

    Sigma compares text without case and SQLite's ``=`` does not, so the backend is told to collate; its default table
    relies on columns declared NOCASE, which a view's computed columns are not. IPv6 networks are ours (`networks`).
    """
    from sigma.backends.sqlite.sqlite import sqliteBackend

    class Predicate(sqliteBackend):
        def finalize_query_default(self, _rule: Any, query: Any, _index: int, _state: Any) -> Any:
            return query

        def convert_condition_field_eq_val_cidr(self, cond: Any, state: Any) -> Any:
            if cond.value.network.version == 6:
                return within(cond.field, cond.value.network)
            return super().convert_condition_field_eq_val_cidr(cond, state)

    return Predicate(collate_nocase=True)  # type: ignore[no-untyped-call]  # the backend ships no types
