"""An aligned table for people and for `less -S`.

In: rows, all of them. Out: lines, header first. Never: a control character from the wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from egress_watch.exports.plain import joined, printable

WIDEST = 60
NANOSECOND = 1_000_000_000


def encode(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    """Yield the header and one line a row; numbers stand to the right, the last column is never cut."""
    kept = list(rows)
    cells = [[_cell(column, row[column]) for column in columns] for row in kept]
    right = [all(isinstance(row[column], int | None) for row in kept) and bool(kept) for column in columns]
    widths = [min(WIDEST, max(map(len, column))) for column in zip(columns, *cells, strict=True)]
    for line in ([*columns], *cells):
        yield "  ".join(_aligned(line, widths, right)).rstrip()


def _aligned(line: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> Iterator[str]:
    last = len(line) - 1
    for at, (text, width, to_right) in enumerate(zip(line, widths, right, strict=True)):
        shown = text if len(text) <= width or at == last else text[: width - 1] + "…"
        yield shown.rjust(width) if to_right else shown.ljust(width)


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column.endswith("_ns"):
        return when(value)
    text = printable(joined(value) if isinstance(value, list) else str(value))
    return f"{_glyphs().get(text, ' ')} {text}" if column == "verdict" else text


@cache
def _glyphs() -> dict[str, str]:
    """Return the sign of each verdict; the model, and NumPy with it, is loaded only when there is a verdict to show."""
    from egress_watch.model import GLYPHS

    return GLYPHS


def when(time_ns: int) -> str:
    """Return a time as ``2026-11-02 08:00:00.123Z``, UTC; what no calendar holds stays a number of seconds."""
    try:
        moment = datetime.fromtimestamp(time_ns // NANOSECOND, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{time_ns / NANOSECOND:.3f}s"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ns % NANOSECOND // 1_000_000:03d}Z"
