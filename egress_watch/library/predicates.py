"""The shipped rules, compiled when they were shipped: a replay with them loads neither pySigma nor YAML.

In: a rule's text. Out: what `rules.parts` makes of it, or None. Never: an answer for a text that differs by one byte,
or a file that anybody but the program's own installer wrote.

``data/predicates.json`` is made by ``EGRESS_WATCH_PREDICATES=write pytest tests/test_library_predicates.py``; the same
test holds it to the rules.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

from egress_watch.library.folders import DATA, parsed
from egress_watch.model import Count
from egress_watch.rules import Correlation, Filter, Part, Rule
from egress_watch.rules.correlation import Reference

FILE = DATA / "predicates.json"
_OF_A_RULE = ("id", "title", "level", "description", "predicate", "name")


def shipped_parts(text: str, origin: str) -> list[Part] | None:
    """Return the documents of a shipped rule's text, without their examples; None for any other. Raises DataError."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    found = _known().get(digest)
    return None if found is None else [_part(words, digest, origin) for words in found]


def written(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Return the documents of one text as they stand in the file."""
    return [_words(part) for part in parts]


@cache
def _known() -> Mapping[str, Sequence[dict[str, Any]]]:
    known: Mapping[str, Sequence[dict[str, Any]]] = parsed(FILE, json.loads)["parts"]
    return known


def _words(part: Part) -> dict[str, Any]:
    if isinstance(part, Filter):
        return {"filter": part.predicate, "over": part.over, "every": part.every}
    if isinstance(part, Correlation):
        return {"correlation": _words(part.rule), "over": part.over, "generate": part.generate}
    return {name: value for name, value in asdict(part).items() if name in _OF_A_RULE} | {"count": part.count}


def _part(words: Mapping[str, Any], digest: str, origin: str) -> Part:
    over = tuple(Reference(*one) for one in words.get("over", ()))
    if "filter" in words:
        return Filter(origin, words["filter"], over, words["every"])
    if "correlation" in words:
        return Correlation(_rule(words["correlation"], digest, origin), over, words["generate"])
    return _rule(words, digest, origin)


def _rule(words: Mapping[str, Any], digest: str, origin: str) -> Rule:
    count = words["count"]
    counted = Count(count[0], count[1], tuple(count[2]), *count[3:]) if count else None
    return Rule(**{name: words[name] for name in _OF_A_RULE}, digest=digest, origin=origin, count=counted)
