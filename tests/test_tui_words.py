"""The pure parts of the terminal UI: words, lines, windows, and text made harmless."""

from __future__ import annotations

from datetime import date
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from egress_watch.cli.data import STALE_DAYS
from egress_watch.model import EMPTY, GLYPHS, VERDICTS
from egress_watch_tui import window
from egress_watch_tui.lines import Column, heading, line, place
from egress_watch_tui.pane import View
from egress_watch_tui.plain import UNSAFE, harmless
from egress_watch_tui.screens import alerts, flows, overview
from egress_watch_tui.screens.overview import bar, verdicts
from egress_watch_tui.state import state
from egress_watch_tui.words import OLD_DAYS, age, size, stale, verdict, when

COLUMNS = (
    Column("one", lambda row: row["one"], 5, grow=1),
    Column("two", lambda row: row["two"], 4, grow=3, right=True),
    Column("wide", lambda row: Text(row["one"][:3]), 8, from_width=60),
)


@given(st.text())
def test_harmless_text_has_nothing_that_moves_the_cursor(text: str) -> None:
    """No control, format, surrogate, private or unassigned character is left, and harmless text stays as it is."""
    shown = harmless(text)
    assert UNSAFE.isdisjoint(category(char) for char in shown)
    assert harmless(shown) == shown


@given(st.text(), st.text(), st.integers(25, 300))
def test_a_line_is_exactly_as_wide_as_it_should_be(one: str, two: str, width: int) -> None:
    """Whatever the cells hold, also wide characters, the line fills its width, and so does the heading."""
    placed = place(COLUMNS, width)
    row = {"one": harmless(one), "two": two}
    assert line(placed, row, marked=True).cell_len == width
    assert heading(placed).cell_len == width


@pytest.mark.parametrize(
    ("columns", "least"),
    [
        (alerts.COLUMNS, 76),
        (flows.COLUMNS, 76),
        (overview.COUNTRIES, 34),
        (overview.OWNERS, 42),
        (overview.DEVICES, 76),
    ],
)
def test_the_columns_of_every_list_fit_any_width(columns: tuple[Column, ...], least: int) -> None:
    """From what 80 cells leave for a list upwards, no column is pushed over the edge."""
    for width in range(least, 300):
        assert heading(place(columns, width)).cell_len <= width


@given(st.integers(0, 10**18))
def test_a_size_is_short(count: int) -> None:
    """A size fits eight cells up to a thousand terabytes."""
    assert len(size(count)) <= 8 or count >= 10**15


def test_a_size_is_rounded_into_the_next_unit() -> None:
    """There is no 1000.0 kB."""
    assert [size(n) for n in (0, 999, 1000, 999_949, 999_950)] == ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB"]


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_time_has_words(time_ns: int) -> None:
    """A time that no calendar holds is still shown."""
    assert when(time_ns)


def test_a_verdict_has_glyph_and_word() -> None:
    """Both are there without any colour, also for a word that is none of ours."""
    assert [verdict(name).plain for name in VERDICTS] == [f"{GLYPHS[name]} {name}" for name in VERDICTS]
    assert verdict("\x1b").plain == r"? \x1b"


def test_the_age_is_that_of_the_oldest_file() -> None:
    """Old data is called old, and a file without a date does not make the others look younger."""
    today = date(2026, 11, 23)
    assert age([{"built": "2026-11-01"}, {"built": "2026-10-24"}, {"built": "?"}], today) == "30 d old"
    assert "replace" in age([{"built": "2026-01-01"}], today)
    assert "replace" not in age([{"built": "2026-08-25"}], today)
    assert stale([{"built": "2026-08-25"}, {"built": ""}], today) == ""
    assert stale([{"built": "2026-08-24"}, {"built": "2026-11-01"}], today) == "! data 91 d old"
    assert OLD_DAYS == STALE_DAYS
    assert age([], today) == "of unknown age"
    assert stale([{"kind": "override", "built": "2026-01-01"}], today) == "", "the user's own word does not age"


@given(st.floats(0, 1), st.integers(1, 80))
def test_a_little_is_not_nothing(share: float, width: int) -> None:
    """A bar is as wide as it should be, and shows at least one cell for anything above nothing."""
    drawn = bar(share, width, "").plain
    assert len(drawn) == width
    assert ("━" in drawn) == (share > 0)


def test_the_empty_snapshot_is_a_picture_too() -> None:
    """EMPTY gives all four verdicts at zero and says that nothing is recorded yet."""
    words = "\n".join(text.plain for text in (*state(View(date(2026, 11, 23)), 80), *verdicts(EMPTY, 80)))
    assert "nothing yet" in words
    assert all(f"{GLYPHS[name]} {name}" in words for name in VERDICTS)


@given(st.integers(0, 1500), st.lists(st.sampled_from(["older", "newer"]), max_size=20))
def test_a_window_is_a_stretch_of_the_table(total: int, moves: list[str]) -> None:
    """However it is moved, the window holds neighbouring rows in order, and never too many."""
    table = [{"id": number} for number in range(total, 0, -1)]
    held = window.first(table[: window.PAGE_ROWS])
    for move in moves:
        if not held.rows:
            break
        if move == "older":
            below = [row for row in table if row["id"] < held.rows[-1]["id"]][: window.PAGE_ROWS]
            held = window.older(held, below)
        else:
            above = [row for row in table if row["id"] > held.rows[0]["id"]][-window.PAGE_ROWS :]
            held = window.newer(held, above)
        ids = [row["id"] for row in held.rows]
        assert ids == list(range(ids[0], ids[0] - len(ids), -1))
        assert len(ids) <= window.PAGE_ROWS * window.WINDOW_PAGES
        assert not held.oldest or ids[-1] == 1
        assert not held.newest or ids[0] == total
