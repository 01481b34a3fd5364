"""The part of a long list that is loaded: a few pages, newest row first, moving over the database.

In: pages as they are read. Out: a new `Window`. Never: more than WINDOW_PAGES pages, whatever is scrolled through.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

PAGE_ROWS = 200
WINDOW_PAGES = 3
_MOST = PAGE_ROWS * WINDOW_PAGES


class Page(NamedTuple):
    """Rows as they were read."""

    rows: tuple[Mapping[str, Any], ...]
    ended: bool
    """Nothing more lies in the direction that was read."""
    reached: int = 0
    """Of flows: the id that the search came to."""


class Window(NamedTuple):
    """Rows in the order of the screen, and whether there is more on either side."""

    rows: tuple[Mapping[str, Any], ...] = ()
    newest: bool = True
    """Nothing newer lies above the first row, as far as the last look tells."""
    oldest: bool = False
    """Nothing older lies below the last row."""


def first(page: Page) -> Window:
    """Return the window that begins with the newest page."""
    return Window(page.rows, newest=True, oldest=page.ended)


def again(window: Window, page: Page, *, rising: bool) -> Window:
    """Return the window with what is new of flows on top, where the page stopped short: what lies behind it stays."""
    last = page.reached
    rows = (*page.rows, *(row for row in window.rows if (row["id"] > last if rising else row["id"] < last)))
    return Window(rows[:PAGE_ROWS], newest=True, oldest=window.oldest and len(rows) <= PAGE_ROWS)


def older(window: Window, page: Page) -> Window:
    """Return the window with an older page below; rows above are let go when there are too many."""
    rows = (*window.rows, *page.rows)
    return Window(rows[-_MOST:], newest=window.newest and len(rows) <= _MOST, oldest=page.ended)


def newer(window: Window, page: Page) -> Window:
    """Return the window with a newer page above; rows below are let go when there are too many."""
    rows = (*page.rows, *window.rows)
    return Window(rows[:_MOST], newest=page.ended, oldest=window.oldest and len(rows) <= _MOST)
