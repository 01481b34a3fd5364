"""Rows laid out as lines of an exact width.

In: columns, a width in cells and a row. Out: `Text` of that width. Never: markup, or a line that is too long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from rich.text import Text

from egress_watch.model import GLYPHS, VERDICTS
from egress_watch_tui.feed import Row
from egress_watch_tui.plain import harmless
from egress_watch_tui.words import amount

ROOMY = 100
"""From this many cells on, columns stand two cells apart instead of one."""
MARK = "▌"


class Column(NamedTuple):
    """One column of a list."""

    title: str
    cell: Callable[[Row], str | Text]
    width: int
    """Cells it always has."""
    grow: int = 0
    """Its share of what is left over."""
    right: bool = False
    most: int = 0
    """It grows to no more cells than these; 0 is without limit."""
    from_width: int = 0
    """It is shown where the list has at least so many cells."""
    order: str = ""
    """What the list is ordered by when the title is clicked."""


def sent(number: int, from_width: int = 0) -> Column:
    """Return the column of bytes out under one verdict, by its place in VERDICTS, of a row of sums."""
    name = VERDICTS[number]
    title = f"{GLYPHS[name]} {name}"
    return Column(title, lambda row: amount(row[f"out_{number}"]), 9, right=True, from_width=from_width)


class Placed(NamedTuple):
    """Columns with their widths, and the cells between them."""

    columns: tuple[tuple[Column, int], ...] = ()
    gap: int = 1


def place(columns: Iterable[Column], width: int) -> Placed:
    """Return the columns that fit a list of that width, each with its own width in cells."""
    shown = [column for column in columns if width >= column.from_width]
    gap = 2 if width >= ROOMY else 1
    while (left := width - len(MARK) - sum(column.width + gap for column in shown) + gap) < 0 and len(shown) > 1:
        shown.remove(max(reversed(shown), key=lambda column: column.from_width))
    left = max(0, left)
    shares = sum(column.grow for column in shown)
    placed = []
    for column in shown:
        extra = left * column.grow // shares if column.grow else 0
        extra = min(extra, column.most - column.width) if column.most else extra
        left, shares = left - extra, shares - column.grow
        placed.append((column, column.width + extra))
    return Placed(tuple(placed), gap)


def heading(placed: Placed, order: str = "", rising: bool = False) -> Text:
    """Return the line of titles; an arrow tells what the list is ordered by."""
    cells = (
        _fitted(_title(column, width, order, rising), width, right=column.right) for column, width in placed.columns
    )
    return _joined(" ", cells, placed.gap)


def order_at(placed: Placed, x: int) -> str:
    """Return what a click on a cell of the heading orders by, "" for nothing."""
    at = len(MARK)
    for column, width in placed.columns:
        if at <= x < at + width:
            return column.order
        at += width + placed.gap
    return ""


def _title(column: Column, width: int, order: str, rising: bool) -> str:
    if not order or column.order != order:
        return column.title
    arrow = "▲" if rising else "▼"
    room = width - len(column.title)
    return f"{column.title} {arrow}" if room > 1 else f"{column.title[: width - 1]}{arrow}"


def line(placed: Placed, row: Row, *, marked: bool) -> Text:
    """Return the line of a row, with the mark of the cursor in front."""
    cells = (_fitted(column.cell(row), width, right=column.right) for column, width in placed.columns)
    return _joined(MARK if marked else " ", cells, placed.gap)


def _joined(front: str, cells: Iterable[Text], gap: int) -> Text:
    return Text(front, no_wrap=True, end="") + Text(" " * gap).join(cells)


def _fitted(value: str | Text, width: int, *, right: bool) -> Text:
    """Return the value in exactly ``width`` cells; a string is taken as hostile, a Text as made by `words`."""
    text = value.copy() if isinstance(value, Text) else Text(harmless(value))
    text.truncate(width, overflow="ellipsis")
    spare = width - text.cell_len
    if right:
        text.pad_left(spare)
    else:
        text.pad_right(spare)
    return text
