"""Sigma rules over judged flows: strict reading, one SQL predicate a rule, alerts as episodes.

In: the text of a rule; rows of a committed batch. Out: `Rule`, findings with line and column, `Alert` rows.
Never: a file, a database or the clock; the caller brings the text and runs the SQL.
"""

from __future__ import annotations

from egress_watch.rules.compile import check, checked, parse, parts
from egress_watch.rules.episodes import Batch, Hits, RuleSet, evaluate, told
from egress_watch.rules.fields import FIELDS, Field, schema
from egress_watch.rules.links import Correlation, Filter, Part, Rule, linked

__all__ = [
    "FIELDS", "Batch", "Correlation", "Field", "Filter", "Hits", "Part", "Rule", "RuleSet", "check", "checked",
    "evaluate", "linked", "parse", "parts", "schema", "told",
]  # fmt: skip
