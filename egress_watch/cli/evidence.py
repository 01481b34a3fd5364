"""An evidence sheet in words.

In: a `Sheet`. Out: lines. Never: a string of the wire or of a data file that a terminal would obey.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from egress_watch.exports.plain import printable
from egress_watch.exports.table import encode


def sheet_lines(sheet: Any, short: str) -> Iterator[str]:
    """Yield the lines of a sheet, an empty one last; ``short`` names the zone and its day."""
    from egress_watch.model import GLYPHS

    place, answer = sheet.place, sheet.verdict
    called = f" as {printable(sheet.name)}" if sheet.name else ""
    yield f"{sheet.address}{called}"
    yield f"  {GLYPHS[answer.verdict]} {answer.verdict} under {short}: {printable(answer.why)}"
    for title, lines in (("laws", place.laws), ("ties", place.ties)):
        yield from (f"  {title}: {printable(line)}" for line in lines)
    rows = [row._asdict() for row in sheet.evidence]
    yield from (f"  {line}" for line in encode(rows, ("source", "built", "prefix", "said", "weight")))
    if sheet.changes:
        yield "  what would change the answer:"
        yield from (f"    {printable(change)}" for change in sheet.changes)
    yield ""
