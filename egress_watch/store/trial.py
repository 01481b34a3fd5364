"""Rules tried out before any flow is stored: that they run at all, and that they find their own examples.

In: predicates, and flows as rows. Out: errors, or whether a rule holds. Never: a file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlite_utils import Database

from egress_watch.errors import RuleError
from egress_watch.model import Count
from egress_watch.store.batch import RULE_LIMIT_S, limited
from egress_watch.store.schema import FACTS, MIGRATIONS
from egress_watch.store.windows import stored


def holds(predicate: str, count: Count | None, flows: Sequence[Mapping[str, Any]], table: str) -> bool:
    """Return whether a rule finds these flows: all of them, or as a group that reaches its limit.

    ``table`` is the CREATE TABLE text of ``flows``. Raises RuleError where the rule cannot run.
    """
    db = Database(sqlite3.connect(":memory:"))
    register_regexp(db.conn)
    for statement in (table, "ALTER TABLE flows ADD COLUMN device INTEGER DEFAULT 0", *FACTS.split(";\n")):
        db.conn.execute(statement)
    for number, flow in enumerate(flows, 1):
        row = {**flow, "id": number}
        slots = ", ".join(f":{name}" for name in row)
        db.conn.execute(f"INSERT INTO flows({', '.join(row)}) VALUES ({slots})", row)  # noqa: S608 - names are fields
    if count:
        return bool(stored(db, predicate, count, (1, len(flows)), lambda: limited(db, RULE_LIMIT_S)))
    with limited(db, RULE_LIMIT_S):
        query = f"SELECT count(*) FROM flows WHERE ({predicate})"  # noqa: S608 - compiled by us
        return bool(db.conn.execute(query).fetchone()[0] == len(flows))


def prepare(rules: Iterable[tuple[str, str]]) -> list[RuleError]:
    """Return what is wrong with rules, given as (predicate, origin), that cannot run on our schema."""
    db = Database(sqlite3.connect(":memory:"))
    for step in MIGRATIONS:
        step(db)
    register_regexp(db.conn)
    found = []
    for predicate, origin in rules:
        try:
            db.conn.execute(f"SELECT 1 FROM flows WHERE ({predicate}) LIMIT 0")  # noqa: S608 - compiled by us
        except sqlite3.Error as error:
            found.append(RuleError(str(error), where=origin, remedy="see docs/rules.md for the fields"))
    return found


def register_regexp(connection: sqlite3.Connection) -> None:
    """Give rules linear-time regular expressions, where google-re2 is there; without it they are refused earlier."""
    with suppress(ImportError):
        import re2  # type: ignore[import-untyped]

        def regexp(pattern: str, value: Any) -> bool:
            return value is not None and re2.search(pattern, str(value)) is not None

        connection.create_function("REGEXP", 2, regexp, deterministic=True)
