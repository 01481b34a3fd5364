"""From a rule's text to its SQL predicate: our lint first, then pySigma.

In: text, and the sets it may name. Out: a `Rule`, or findings. Never: SQL from a rule that the lint did not pass.

Works with pySigma 1.5 (SQLite backend 2.0) and 2.0 (backend 2.1). Importing pySigma takes 0.2 s, so it waits for the
first rule.
"""

from __future__ import annotations

import hashlib
import re
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from egress_watch.errors import RuleError
from egress_watch.rules.correlation import count_of, generates, references
from egress_watch.rules.document import Finding, Node, at, python, read
from egress_watch.rules.examples import examples_of
from egress_watch.rules.fields import BY_NAME
from egress_watch.rules.filters import any_rule
from egress_watch.rules.links import LIMIT_PREDICATE, Correlation, Filter, Part, Rule, linked
from egress_watch.rules.lint import findings
from egress_watch.rules.networks import within

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NO_SETS: Mapping[str, Sequence[str]] = MappingProxyType({})
LIMIT_FINDINGS = 100
"""Findings `check` returns of one rule; whoever mends a hundred can ask again."""


def parse(text: str, origin: str, sets: Mapping[str, Sequence[str]] = NO_SETS) -> Rule:
    """Return the one rule in ``text``, a correlation with the rules that it counts; see `parts`.

    ``sets`` gives the members of placeholders: ``country|expand: '%eea%'`` needs a set ``eea``. Raises RuleError at
    the first finding.
    """
    rules, broken = linked(parts(text, origin, sets))
    for error in broken:
        raise error
    if len(rules) != 1:
        raise RuleError(f"{len(rules)} rules where one was wanted", where=origin, line=1, column=1, remedy="split them")
    return rules[0]


def parts(text: str, origin: str, sets: Mapping[str, Sequence[str]] = NO_SETS) -> list[Part]:
    """Return the documents of ``text``, each compiled: rules, correlations and filters, for `links.linked` to join.

    Raises RuleError at the first finding.
    """
    documents = read(text, origin)
    for document in documents:
        for finding in findings(document, sets):
            raise finding.error(origin)
    return _compiled(documents, text, origin, sets)


def check(text: str, origin: str, sets: Mapping[str, Sequence[str]] = NO_SETS) -> list[RuleError]:
    """Return what is wrong with ``text`` in the order of its lines; empty where `parts` would succeed."""
    return checked(text, origin, sets)[1]


def checked(text: str, origin: str, sets: Mapping[str, Sequence[str]] = NO_SETS) -> tuple[list[Part], list[RuleError]]:
    """Return what `parts` and `check` do, for one reading: documents where nothing is wrong, else all that is."""
    try:
        documents = read(text, origin)
        some = islice((found for document in documents for found in findings(document, sets)), LIMIT_FINDINGS)
        found = sorted(set(some), key=lambda finding: (finding.line, finding.column, finding.what))
        return ([], [one.error(origin) for one in found]) if found else (_compiled(documents, text, origin, sets), [])
    except RuleError as error:
        return [], [error]


def _compiled(documents: Sequence[Node], text: str, origin: str, sets: Mapping[str, Sequence[str]]) -> list[Part]:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return [_part(document, origin, digest, sets) for document in documents]


def _part(document: Node, origin: str, digest: str, sets: Mapping[str, Sequence[str]]) -> Part:
    """Return one linted document, compiled."""
    if body := document.get("filter"):
        sieve = Node("map", body.line, body.column, pairs=tuple(p for p in body.pairs if p[0].text != "rules"))
        predicate = _convert(_framed(document), sieve, origin, sets)
        return Filter(origin, predicate, () if any_rule(body) else references(body), any_rule(body))
    words = python(document)
    about = (words["id"].lower(), words["title"], words["level"], words.get("description", "").strip())
    told = examples_of(document)
    if body := document.get("correlation"):
        return Correlation(
            Rule(*about, "", digest, origin, "", count_of(body), told), references(body), generates(body)
        )
    predicate = _convert(words, document.get("detection") or document, origin, sets)
    return Rule(*about, predicate, digest, origin, words.get("name", ""), None, told)


def _framed(document: Node) -> dict[str, Any]:
    """Return what pySigma wants around the searches of a filter."""
    return {"title": "filter", "logsource": python(document.get("logsource") or document)}


def _convert(words: Mapping[str, Any], detection: Node, origin: str, sets: Mapping[str, Sequence[str]]) -> str:
    """Return the predicate of linted searches; raises RuleError where pySigma refuses it."""
    from sigma.exceptions import SigmaError
    from sigma.rule import SigmaRule

    rule = {**words, "detection": _expanded(python(detection), sets)}
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
