"""Answers and data sets as rows: each is stored once, told apart by a digest of all it says.

In: places with their verdicts, descriptions of data files. Out: columns and row numbers. Never: a row that changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from sqlite_utils import Database

from egress_watch.model import Place, Verdict
from egress_watch.store.schema import dates

Answer = tuple[Place, Verdict]

SAID = (
    "country", "location_status", "countries", "asn", "as_name", "provider", "region", "owner", "owner_seat", "laws",
    "evidence", "ties", "note", "verdict", "why",
)  # fmt: skip
"""The columns of a place that make up an answer, in the order of `Place` and `Verdict`."""
PLACE_COLUMNS = ("digest", "zone", "dataset", *SAID)


def said(answer: Answer) -> tuple[object, ...]:
    """Return an answer as the values of SAID: a list as JSON, nothing as NULL."""
    place, verdict = answer
    texts = [json.dumps(value, ensure_ascii=False) if isinstance(value, tuple) else value or None for value in place]
    return (*texts, *verdict)


def place_row(zone: str, dataset: int, answer: Answer) -> Sequence[object]:
    """Return the values of PLACE_COLUMNS for an answer under a zone by a data set."""
    row = [zone, dataset, *said(answer)]
    return _digest(json.dumps(row)), *row


def known_dataset(db: Database, data: Sequence[Mapping[str, str]]) -> int:
    """Return the number of the data set made of these files, 0 where the database has none such."""
    found = db.conn.execute("SELECT id FROM dataset WHERE digest = ?", (_digest(_files(data)),)).fetchone()
    return int(found[0]) if found else 0


def dataset(db: Database, data: Sequence[Mapping[str, str]]) -> int:
    """Return the number of the data set made of these files, new where it must; called within a transaction."""
    files = _files(data)
    row = (_digest(files), files, dates(files))
    db.conn.execute("INSERT OR IGNORE INTO dataset(digest, files, dates) VALUES (?, ?, ?)", row)
    return known_dataset(db, data)


def _files(data: Sequence[Mapping[str, str]]) -> str:
    return json.dumps(list(data), sort_keys=True)


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=12).hexdigest()
