"""The part of a long list that is loaded: a few pages, newest row first, moving over the database.

In: pages as they are read. Out: a new `Window`. Never: more than WINDOW_PAGES pages, whatever is scrolled through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

PAGE_ROWS = 200
WINDOW_PAGES = 3
_MOST = PAGE_ROWS * WINDOW_PAGES


class Window(NamedTuple):
    """Rows in the order of the screen, and whether there is more on either side."""

    rows: tuple[Mapping[str, Any], ...] = ()
    newest: bool = True
    """Nothing newer lies above the first row, as far as the last look tells."""
    oldest: bool = False
    """Nothing older lies below the last row."""


def first(page: Sequence[Mapping[str, Any]]) -> Window:
    """Return the window that begins with the newest page."""
    return Window(tuple(page), newest=True, oldest=len(page) < PAGE_ROWS)


def older(window: Window, page: Sequence[Mapping[str, Any]]) -> Window:
    """Return the window with an older page below; rows above are let go when there are too many."""
    rows = (*window.rows, *page)
    return Window(rows[-_MOST:], newest=window.newest and len(rows) <= _MOST, oldest=len(page) < PAGE_ROWS)


def newer(window: Window, page: Sequence[Mapping[str, Any]]) -> Window:
    """Return the window with a newer page above; rows below are let go when there are too many."""
    rows = (*page, *window.rows)
    return Window(rows[:_MOST], newest=len(page) < PAGE_ROWS, oldest=window.oldest and len(rows) <= _MOST)
