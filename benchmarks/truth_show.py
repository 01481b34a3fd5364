"""Print what `truth` found, for a person or as JSON.

In: captures compared, by view. Out: tables, or one JSON object. Never: a figure that is not in them.
"""

from __future__ import annotations

import json
from typing import Any

from truth import Compared, groups, reasons, text


def show(views: dict[str, list[Compared]], seconds: float) -> None:
    """Print the tables for a person, both views side by side."""
    tables = {view: groups(compared) for view, compared in views.items()}
    for title in tables["outer"]:
        heads = "".join(f"{view:>16} {'equal':>7} {'share':>9}" for view in views)
        print(f"\n{title:<38} {'captures':>9}{heads}")
        for name in sorted({name for table in tables.values() for name in table[title]}):
            rows = [tables[view][title].get(name, (0, 0, 0)) for view in views]
            print(f"{name:<38} {rows[0][0]:>9,}{''.join(map(_shares, rows))}")
    for view, compared in views.items():
        print(f"\ndifferences by reason, {view}")
        for name, number in reasons(compared).most_common():
            print(f"{number:>7,}  {name}")
    compared = views["outer"]
    other = [row for row in compared if row.frames != row.capture.frames]
    print(f"\nframes: the same number in {len(compared) - len(other):,} of {len(compared):,} captures; not in")
    for row in other:
        print(f"  {row.capture.file}: ours {row.frames:,}, tshark's {row.capture.frames:,}")
    print(f"\n{len(compared):,} captures, twice, in {seconds:.1f} s")


def _shares(row: tuple[int, int, int]) -> str:
    _, total, equal = row
    return f"{total:>16,} {equal:>7,} {f'{equal / total:.2%}' if total else '-':>9}"


def show_json(views: dict[str, list[Compared]], seconds: float) -> None:
    """Print shares, reasons and every difference of both views as one JSON object."""
    print(json.dumps({"seconds": round(seconds, 1)} | {view: _figures(compared) for view, compared in views.items()}))


def _figures(compared: list[Compared]) -> dict[str, Any]:
    columns = ("captures", "conversations", "equal")
    tables = {
        title: {name: dict(zip(columns, counts, strict=True)) for name, counts in table.items()}
        for title, table in groups(compared).items()
    }
    rows = [difference._asdict() | {"key": text(difference.key)} for row in compared for difference in row.differences]
    return {**tables, "reasons": reasons(compared), "differences": rows}
