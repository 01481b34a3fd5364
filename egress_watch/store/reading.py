"""What a rule's predicate reads: which columns of the view ``flows``, and which comparisons it makes of each.

In: an SQL predicate. Out: by column the comparisons that are all it asks of it. Never: a guess; what is not understood
to the last word is said to be so.

A comparison is a column beside an operator and a literal, standing alone between AND, OR, NOT, commas and parentheses.
The predicate is then a function of what its comparisons say, so flows of which they say the same are alike to the rule.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

TOKEN = re.compile(
    r"\s*(?:('(?:[^']|'')*')|(`[^`]*`|[A-Za-z_]\w*)|([0-9]+(?:\.[0-9]+)?(?![\w.]))|(<=|>=|<>|!=|==|[<>=(),-]))"
)
KEYWORDS = frozenset(("AND", "OR", "NOT", "IS", "NULL", "LIKE", "ESCAPE", "COLLATE", "NOCASE", "REGEXP", "GLOB"))
FUNCTIONS = frozenset(("COALESCE",))
BEFORE = frozenset(("", "(", "AND", "OR", "NOT", ","))
BEHIND = frozenset(("", ")", "AND", "OR", ","))
ORDER = ("=", "==", "<>", "!=", "<", "<=", ">", ">=")
MATCHES = ("LIKE", "REGEXP", "GLOB")
VALUE = ""
"""Stands among the comparisons of a column where the value itself is read."""

Reads = Mapping[str, frozenset[str]]
"""The comparisons by column, in SQL."""


def reads(predicate: str, columns: Collection[str]) -> Reads | None:
    """Return what a predicate asks of each of the ``columns``, or None where it is not understood."""
    words = _words(predicate)
    if words is None:
        return None
    found: dict[str, set[str]] = {}
    for at, word in enumerate(words):
        name = word.strip("`").lower()
        if not (word[0] == "`" or word[0].isalpha() or word[0] == "_"):
            continue
        if name in columns:
            found.setdefault(name, set()).add(_comparison(words, at))
        elif word.upper() not in (FUNCTIONS if words[at + 1 : at + 2] == ["("] else KEYWORDS) and not _opens(words, at):
            return None
    return {name: frozenset(some) for name, some in found.items()}


def cuts(comparisons: Collection[str]) -> tuple[int, ...] | None:
    """Return the numbers that a column is compared with, rising, or None where it is compared with anything else."""
    found = set()
    for comparison in comparisons:
        words = _words(comparison) or [VALUE]
        if words[1:2] == ["IS"]:
            continue
        number = "".join(words[2:])
        if len(words) < 3 or words[1] not in ORDER or not re.fullmatch("-?[0-9]{1,18}", number):
            return None
        found.add(int(number))
    return tuple(sorted(found))


def _words(text: str) -> list[str] | None:
    """Return the words of an SQL text, None where some of it is not known here."""
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = TOKEN.match(text, at)
        if match is None:
            return None
        found.append(match[match.lastindex or 0])
        at = match.end()
    return found


def _opens(words: Sequence[str], at: int) -> bool:
    """Return whether a word such as AND only stands before parentheses."""
    return words[at].upper() in ("AND", "OR", "NOT") and words[at + 1 : at + 2] == ["("]


def _comparison(words: Sequence[str], at: int) -> str:
    """Return the comparison that a column begins, `VALUE` where it is none."""
    before = words[at - 1].upper() if at else ""
    end = at + _length([word.upper() if word[0] != "'" else word for word in words[at + 1 : at + 8]])
    behind = words[end + 1].upper() if end + 1 < len(words) else ""
    return " ".join(words[at : end + 1]) if end > at and before in BEFORE and behind in BEHIND else VALUE


def _length(words: Sequence[str]) -> int:
    """Return how many words behind a column belong to its comparison, 0 where it makes none."""
    if words[:1] == ["IS"]:
        return 2 if words[1:2] == ["NULL"] else 3 if words[1:3] == ["NOT", "NULL"] else 0
    negated = words[:1] == ["NOT"]
    operator, *rest = words[negated:] or [""]
    if operator in MATCHES and rest[:1] and rest[0][0] == "'":
        return 2 + negated + 2 * (rest[1:2] == ["ESCAPE"] and rest[2:3] != [] and rest[2][0] == "'")
    if negated or operator not in ORDER:
        return 0
    sign = rest[:1] == ["-"]
    literal = rest[sign:][:1]
    if not literal or not (literal[0][0].isdigit() or (literal[0][0] == "'" and not sign)):
        return 0
    return 2 + sign + 2 * (rest[1 + sign : 3 + sign] == ["COLLATE", "NOCASE"])
