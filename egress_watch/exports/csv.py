"""CSV (RFC 4180) that a spreadsheet cannot be tricked with.

In: rows. Out: lines, header first. Never: a cell from the wire that a spreadsheet takes for a formula.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from egress_watch.exports.plain import joined, printable

FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
"""First characters that spreadsheets act on, in full width too (OWASP, CSV Injection)."""


class _Line:
    """Catches what the csv writer writes."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text = text


def encode(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    """Yield the header and one line a row, without line breaks."""
    line = _Line()
    writer = csv.writer(line, lineterminator="")
    writer.writerow(columns)
    yield line.text
    for row in rows:
        writer.writerow([_cell(row[column]) for column in columns])
        yield line.text


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        value = joined(value)
    if not isinstance(value, str):
        return value
    text = printable(value)
    return "'" + text if text.startswith(FORMULA) else text
