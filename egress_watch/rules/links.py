"""Rules, correlations and filters, joined by their names into rules that are ready to run.

In: compiled documents of all files. Out: `Rule` rows, and each name that leads nowhere. Never: a filter that silently
excepts nothing, or a correlation over a rule that is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from egress_watch.errors import RuleError
from egress_watch.model import Count
from egress_watch.rules.fields import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from egress_watch.rules.correlation import Reference
    from egress_watch.rules.examples import Example

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
    name: str = ""
    """How correlations and filters may call it, beside its id."""
    count: Count | None = None
    """What a correlation rule counts of the flows that the predicate holds for; None: each one is a hit."""
    examples: tuple[Example, ...] = ()


class Correlation(NamedTuple):
    """A rule that counts, before it knows what."""

    rule: Rule
    over: tuple[Reference, ...]
    """The rules whose flows it counts."""
    generate: bool
    """Whether those raise alerts of their own as well."""


class Filter(NamedTuple):
    """An exception: the flows that are left to the rules it names."""

    origin: str
    predicate: str
    over: tuple[Reference, ...]
    every: bool
    """It is for all rules."""


Part = Rule | Correlation | Filter


def linked(parts: Iterable[Part]) -> tuple[list[Rule], list[RuleError]]:
    """Return the rules, in their order, and what is wrong; what is wrong with one never stops the others.

    A rule that a correlation counts raises no alerts of its own, unless the correlation says ``generate: true``.
    """
    parts = list(parts)
    links = _Links(parts)
    rules = [rule for part in parts if (rule := links.ready(part))]
    return [rule for rule in rules if rule.id not in links.silent or rule.count], links.broken


class _Links:
    """Who is meant by which name."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.broken: list[RuleError] = []
        self.silent: set[str] = set()
        self._known = dict(_names(parts))
        self._filters: dict[str, list[str]] = {}
        self._of_all = [part.predicate for part in parts if isinstance(part, Filter) and part.every]
        loud: set[str] = set()
        for part in parts:
            if isinstance(part, Filter):
                self._except(part)
            elif isinstance(part, Correlation):
                ids = {rule.id for rule in self._over(part)}
                self.silent |= ids
                loud |= ids if part.generate else set()
        self.silent -= loud

    def ready(self, part: Part) -> Rule | None:
        """Return a part as a rule that can run, None for a filter, or where it cannot."""
        if isinstance(part, Filter):
            return None
        if isinstance(part, Rule):
            return self._sieved(part, part.predicate)
        rules = self._over(part, self.broken)
        whole = len(rules) == len(part.over)
        return self._sieved(part.rule, " OR ".join(f"({rule.predicate})" for rule in rules)) if whole else None

    def _sieved(self, rule: Rule, predicate: str) -> Rule | None:
        """Return a rule with its exceptions; a correlation has those of the rules it counts, and its own."""
        sieves = [*self._of_all, *self._filters.get(rule.id, [])]
        whole = " AND ".join(f"({part})" for part in (predicate, *sieves)) if sieves else predicate
        if len(whole) > LIMIT_PREDICATE:
            what = "the rule and its filters become too much SQL"
            self.broken.append(RuleError(what, where=rule.origin, remedy="split it"))
            return None
        return replace(rule, predicate=whole)

    def _over(self, part: Correlation, broken: list[RuleError] | None = None) -> list[Rule]:
        """Return the rules that a correlation counts, with their exceptions; ``broken`` hears of the others."""
        found: list[Rule] = []
        for reference in part.over:
            target = self._known.get(reference.name.lower())
            if isinstance(target, Rule) and target.count is None and (rule := self._sieved(target, target.predicate)):
                found.append(rule)
            elif broken is not None:
                known = [name for name, rule in self._known.items() if rule.count is None]
                broken.append(_nobody(reference, part.rule.origin, known))
        return found

    def _except(self, sieve: Filter) -> None:
        for reference in sieve.over:
            if target := self._known.get(reference.name.lower()):
                self._filters.setdefault(target.id, []).append(sieve.predicate)
            else:
                self.broken.append(_nobody(reference, sieve.origin, list(self._known)))


def _names(parts: Sequence[Part]) -> Iterator[tuple[str, Rule]]:
    """Yield each rule under its id and its name; of two with one name the first is meant."""
    for part in reversed(parts):
        rule = part.rule if isinstance(part, Correlation) else part
        if isinstance(rule, Rule):
            yield from ((name, rule) for name in (rule.id, rule.name.lower()) if name)


def _nobody(reference: Reference, origin: str, known: Sequence[str]) -> RuleError:
    """Return the error for a name that no sound rule has."""
    meant = nearest(reference.name, known)
    remedy = f"did you mean `{meant}`?" if meant else "write the name or the id of a sound rule in this folder"
    what = f"no sound rule is named {reference.name[:60]!a}"
    return RuleError(what, where=origin, line=reference.line, column=reference.column, remedy=remedy)
