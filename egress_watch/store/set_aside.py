"""Which rules run in a recording, and which are set aside with the reason.

In: rules, and what is wrong with others. Out: rows of the table rule. Never: a reason of an earlier recording shown as
if it were still so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sqlite_utils import Database

from egress_watch.store.file import storable

Unsound = Iterable[tuple[str, str]]
"""Places (file, line, column) of rules that cannot run at all, and what is wrong there."""
BROKEN_RULES = "SELECT title, broken FROM rule WHERE broken IS NOT NULL ORDER BY title"
_NOTE = "UPDATE rule SET broken = ? WHERE id = ?"
_MENDED = "UPDATE rule SET broken = NULL WHERE broken IS NOT NULL"


def write_rules(db: Database, rules: Iterable[Sequence[str]], unsound: Unsound = ()) -> None:
    """Remember the rules that run, by id, title, level, digest and origin, and the places of those that do not.

    What was wrong before counts no longer: it is mended or gone, or breaks again. Called within a transaction.
    """
    db.conn.execute("DELETE FROM rule WHERE digest = ''")
    db.conn.execute(_MENDED)
    rows = [tuple(map(storable, row)) for row in rules]
    db.conn.executemany("INSERT OR REPLACE INTO rule VALUES (?, ?, ?, ?, ?, NULL)", rows)
    places = [(place, Path(place).name, place, why) for place, why in (map(storable, row) for row in unsound)]
    db.conn.executemany("INSERT OR REPLACE INTO rule VALUES (?, ?, '', '', ?, ?)", places)


def note_broken(db: Database, rules: Mapping[str, str]) -> None:
    """Note why rules could not run to their end; called within a transaction."""
    db.conn.executemany(_NOTE, [(why, rule) for rule, why in rules.items()])
