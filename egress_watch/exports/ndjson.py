"""Newline-delimited JSON: one object a row, everything outside ASCII escaped.

In: rows. Out: lines. Never: a line break, a control character or a lone surrogate in a line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any


def encode(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    """Yield one line a row, without its line break."""
    for row in rows:
        yield json.dumps({column: row[column] for column in columns}, separators=(",", ":"))
