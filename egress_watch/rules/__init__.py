"""Sigma rules over judged flows: strict reading, one SQL predicate a rule, alerts as episodes.

In: the text of a rule; rows of a committed batch. Out: `Rule`, findings with line and column, `Alert` rows.
Never: a file, a database or the clock; the caller brings the text and runs the SQL.
"""

from __future__ import annotations

from egress_watch.rules.compile import Rule, check, parse
from egress_watch.rules.episodes import Batch, RuleSet, evaluate
from egress_watch.rules.fields import FIELDS, Field, schema

__all__ = ["FIELDS", "Batch", "Field", "Rule", "RuleSet", "check", "evaluate", "parse", "schema"]
