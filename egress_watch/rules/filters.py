"""The strict reading of a filter document: an exception of a site to rules that it names.

In: the node under ``filter``. Out: findings. Never: a filter for nobody.

The keys are those of the "Sigma Filters Specification" 2.1: ``rules`` beside searches and a condition, as in a rule. A
rule that is filtered holds where it held before and the condition of the filter holds too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from egress_watch.rules.correlation import names
from egress_watch.rules.document import Finding, Node, at
from egress_watch.rules.search import findings as search_findings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ANY = "any"


def findings(body: Node, sets: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Yield everything wrong below ``filter``."""
    if body.kind != "map":
        yield at(body, "this must be a map of keys", "indent its keys on the lines below")
        return
    rules = body.get("rules")
    if rules is None:
        yield at(body, "`rules` is missing", f"list the rules it is for, or write `rules: {ANY}`")
    else:
        yield from names(rules)
    yield from search_findings(
        Node("map", body.line, body.column, pairs=tuple(pair for pair in body.pairs if pair[0].text != "rules")), sets
    )


def any_rule(body: Node) -> bool:
    """Return whether a filter is for all rules."""
    rules = body.get("rules")
    return rules is not None and rules.kind != "list" and rules.text.lower() == ANY
