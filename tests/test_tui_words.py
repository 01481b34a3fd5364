"""The pure parts of the terminal UI: words, lines, windows, and text made harmless."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from ipaddress import IPv4Address, IPv6Address
from unicodedata import category

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.style import Style
from rich.text import Text

from egress_watch.cli.data import STALE_DAYS
from egress_watch.model import EMPTY, GLYPHS, VERDICTS
from egress_watch.store.terms import parse
from egress_watch_tui import drill, window
from egress_watch_tui.ask import RANGES
from egress_watch_tui.drawing import map_lines, spark
from egress_watch_tui.drill import shown
from egress_watch_tui.lines import Column, heading, line, place
from egress_watch_tui.paged import Paged
from egress_watch_tui.pane import View
from egress_watch_tui.plain import UNSAFE, harmless
from egress_watch_tui.screens import SCREENS, overview
from egress_watch_tui.screens.overview import verdicts
from egress_watch_tui.state import pulse, state
from egress_watch_tui.taste import PALETTES, choose, masked_row
from egress_watch_tui.themes import THEMES
from egress_watch_tui.words import OLD_DAYS, age, count, device, remote, size, stale, verdict, when

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
        *((screen.COLUMNS, 78) for screen in SCREENS if issubclass(screen, Paged)),
        *((columns, 37) for columns in overview.LISTS.values()),
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
    assert stale([{"built": "2026-08-25"}, {"built": ""}], today) == "data 90 d old"
    assert stale([{"built": "2026-08-24"}, {"built": "2026-11-01"}], today) == "! data 91 d old"
    assert OLD_DAYS == STALE_DAYS
    assert age([], today) == "of unknown age"
    assert stale([{"kind": "override", "built": "2026-01-01"}], today) == "", "the user's own word does not age"


@given(st.lists(st.tuples(st.integers(0, 500), st.sampled_from(VERDICTS), st.integers(0, 10**15))), st.integers(1, 120))
def test_a_little_over_time_is_not_nothing(sums: list[tuple[int, str, int]], width: int) -> None:
    """A line over time is as wide as it should be, and shows a mark exactly where something was sent."""
    series = [{"slot": slot, "verdict": name, "bytes_out": count} for slot, name, count in sums]
    for name in VERDICTS:
        drawn = spark(series, name, width).plain
        assert len(drawn) == width
        sent = any(count for _, one, count in sums if one == name)
        assert bool(drawn.strip()) == sent


@given(st.integers(1, 160), st.integers(1, 60))
def test_the_map_fits_and_shows_every_country(width: int, height: int) -> None:
    """Every line is as wide as asked for; a country that is sent to is seen by the glyph of its gravest verdict."""
    rows = [
        {"country": "SG", "countries": ["SG"], "verdict": "OUT", "bytes_out": 5},
        {"country": "IE", "countries": ["IE"], "verdict": "IN", "bytes_out": 500},
        {"country": "IE", "countries": ["IE"], "verdict": "OWN", "bytes_out": 5},
    ]
    lines = map_lines(rows, width, height)
    assert {line.cell_len for line in lines} == {width}
    assert len(lines) <= height
    if width >= 72 and height >= 16:
        drawn = "".join(line.plain for line in lines)
        assert (drawn.count("✗"), drawn.count("✓")) == (1, 0)
        assert "~" in drawn


def test_every_verdict_can_be_read_in_every_theme() -> None:
    """A verdict's colour stands out from the ground by 4.5 to 1 or more (WCAG 2.1, 1.4.3)."""
    for theme in THEMES:
        for style in PALETTES[theme.name].values():
            parsed = Style.parse(style)
            if parsed.color:
                ground = parsed.bgcolor.name if parsed.bgcolor else theme.surface
                assert _contrast(parsed.color.name, str(ground)) >= 4.5, (theme.name, style)
    assert not any(Style.parse(style).color for style in PALETTES["no-colour"].values())
    assert {theme.name for theme in THEMES} == PALETTES.keys()


def _contrast(one: str, other: str) -> float:
    def light(name: str) -> float:
        parts = [int(name[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@given(st.ip_addresses(), st.text(alphabet=' ,;()/"', max_size=5))
def test_a_hidden_address_is_nowhere(address: IPv4Address | IPv6Address, beside: str) -> None:
    """In whatever text it stands, an address is masked, the same one always by the same mask, and only while asked."""
    text = f"{beside}{address}{beside} 44:19:b6:0b:6e:11 08:00:27"
    try:
        choose(private=True)
        shown = harmless(text)
        assert str(address) not in shown.replace("addr-", "")
        assert "44:19:b6:0b:6e:11" not in shown
        assert "08:00:27" in shown
        assert harmless(text) == shown
    finally:
        choose(private=False)
    assert harmless(text) == text


def test_hidden_addresses_are_in_no_filter() -> None:
    """Neither whole nor in part; and without hiding a filter is shown as it was typed."""
    line = '!device:10.20.1.* remote:2001:db8::1,dead:beef::2 10.20.1.7 /10.20.1.8/ owner:"A B" since:2h bytes>1M'
    assert shown(line) == line
    choose(private=True)
    try:
        hidden = shown(line)
        assert not any(part in hidden for part in ("10.20", "2001", "beef", "dead"))
        assert hidden.endswith('owner:"A B" since:2h bytes>1M')
        assert "10.20" not in shown('device:10.20.1.1 "')
    finally:
        choose(private=False)


def test_hidden_names_are_nowhere() -> None:
    """Names that point to a device or its people are masked too: the inventory's, and those of hosts of one's own."""
    row = {"device_ip": "10.0.0.1", "remote_ip": "10.0.0.2", "device_name": "Anna's lamp", "contact": "Anna",
           "name": "annas-phone.local", "other_names": ["anna.local"], "verdict": "IN", "site": "Town hall",
           "why": "10.0.0.1 to annas-phone.local: stays local: your own network"}  # fmt: skip
    abroad = {**row, "remote_ip": "52.1.2.3", "name": "www.example.com", "why": "10.0.0.1 to www.example.com (X): out"}
    assert masked_row(row) == row
    try:
        choose(private=True)
        assert "anna" not in str(masked_row(row)).lower()
        assert masked_row(row)["site"] == "Town hall"
        assert (device(row), remote(row)) == ("10.0.0.1", "10.0.0.2")  # addresses are masked as they are drawn
        assert masked_row(abroad)["name"] == remote(abroad) == "www.example.com"
        assert masked_row(abroad)["why"] == abroad["why"]
        assert drill.narrowed("", "Destinations", {**row, "location_status": "local"}, "Flows") == "remote:10.0.0.2"
    finally:
        choose(private=False)


def test_a_range_steps_back_and_follows_again() -> None:
    """One step back ends where the range began; stepping on from there follows the newest packet again."""
    hour, newest = RANGES[1], 10**18
    since, until = hour.times(newest)
    assert (since, until) == (newest + 1 - 3_600 * 10**9, None)
    before = hour.stepped(-1, newest)
    assert before.times(newest)[1] == since
    assert not before.follows()
    assert before.stepped(1, newest) == hour
    assert RANGES[-1].stepped(-1, newest) == RANGES[-1]


@pytest.mark.parametrize(
    ("kind", "row", "to", "before", "after"),
    [
        ("Devices", {"id": 1, "device_ip": "10.0.0.1"}, "Destinations", "country:CN", "country:CN device:10.0.0.1"),
        ("Devices", {"id": 1, "device_ip": "10.0.0.1"}, "Flows", "device:10.*", "device:10.0.0.1"),
        ("Devices", {"id": 1, "device_ip": "10.0.0.1"}, "Alerts", "port:443 level:high", "level:high device:10.0.0.1"),
        ("Owners", {"id": 'Big "Co", Ltd'}, "Destinations", "", 'owner:"Big *Co*, Ltd"'),
        ("Owners", {"id": "your own"}, "Flows", "", "status:local"),
        ("Alerts", {"kind": "episode", "device_ip": "10.0.0.1", "owner": "Hikvision", "network": None}, "Flows",
         "level:high", "device:10.0.0.1 owner:Hikvision"),
        ("Alerts", {"kind": "storm", "device_ip": "10.0.0.1", "owner": None, "network": "AS X"}, "Flows", "",
         'owner:"AS X"'),
        ("Flows", {"device_ip": "10.0.0.1", "name": "a.b", "remote_ip": "1.2.3.4", "owner": "X"}, "Devices", "end:fin",
         "device:10.0.0.1"),
        ("Flows", {"device_ip": "10.0.0.1", "name": None, "remote_ip": "1.2.3.4", "owner": "X"}, "Destinations", "",
         "remote:1.2.3.4"),
        ("Overview", {"country": None, "countries": ["DE", "US"], "location_status": "disputed", "verdict": "UNKNOWN"},
         "Destinations", "", "country:DE,US verdict:UNKNOWN"),
        ("Overview", {"segment": "street lights", "devices": 3}, "Devices", "", 'segment:"street lights"'),
    ],
)  # fmt: skip
def test_a_drill_asks_the_next_screen_what_it_knows(
    kind: str, row: dict[str, object], to: str, before: str, after: str
) -> None:
    """What is drilled into becomes a term in place of one alike; terms the other screen cannot be asked are left."""
    assert drill.narrowed(before, kind, row, to) == after
    parse(after)


def test_the_empty_snapshot_is_a_picture_too() -> None:
    """EMPTY gives all four verdicts at zero and says that nothing is recorded yet."""
    words = "\n".join(text.plain for text in (*state(View(), 80), *verdicts(View(), 80)))
    assert "nothing yet" in words
    assert all(f"{GLYPHS[name]} {name}" in words for name in VERDICTS)


def test_rules_that_do_not_run_are_in_view() -> None:
    """How many on top of every screen, and the first with its reason on the overview."""
    aside = ({"title": "b.yml:2:5", "broken": "unknown field"},)
    counts = dict.fromkeys(("frames", "packets", "lost", "flows", "first_ns", "last_ns"), 1)
    recording = {"state": "finished", "zone": "eea", "zone_as_of": "2026-11-02", **counts}
    view = View(snapshot=replace(EMPTY, recordings=(recording,), set_aside=aside))
    assert "! rules set aside: 1" in pulse(view)
    words = "\n".join(text.plain for text in state(view, 120))
    assert "rules     ! 1 set aside: b.yml:2:5: unknown field" in words


@given(st.integers(0, 10**12 - 1), st.integers(8, 9))
@example(999_950_000_000, 8)
def test_a_count_fits_and_is_not_far_off(number: int, most: int) -> None:
    """It is exact while there is room, then within a twentieth."""
    text = count(number, most)
    digits, _, unit = text.partition(" ")
    assert len(text) <= most
    assert abs(float(digits.replace(",", "")) * {"": 1, "M": 1e6, "G": 1e9, "T": 1e12}[unit] - number) <= number / 20
    assert unit or digits == f"{number:,}"


def test_before_the_first_look_nothing_is_said_to_be_absent() -> None:
    """While a large database is being read the head says so."""
    assert pulse(View()) == "reading ..."
    assert pulse(View(looks=1)) == "nothing recorded"


@given(st.integers(0, 1500), st.lists(st.sampled_from(["older", "newer"]), max_size=20))
def test_a_window_is_a_stretch_of_the_table(total: int, moves: list[str]) -> None:
    """However it is moved, the window holds neighbouring rows in order, and never too many."""
    table = [{"id": number} for number in range(total, 0, -1)]
    held = window.first(_page(table[: window.PAGE_ROWS]))
    for move in moves:
        if not held.rows:
            break
        if move == "older":
            below = [row for row in table if row["id"] < held.rows[-1]["id"]][: window.PAGE_ROWS]
            held = window.older(held, _page(below))
        else:
            above = [row for row in table if row["id"] > held.rows[0]["id"]][-window.PAGE_ROWS :]
            held = window.newer(held, _page(above))
        ids = [row["id"] for row in held.rows]
        assert ids == list(range(ids[0], ids[0] - len(ids), -1))
        assert len(ids) <= window.PAGE_ROWS * window.WINDOW_PAGES
        assert not held.oldest or ids[-1] == 1
        assert not held.newest or ids[0] == total


def _page(rows: list[dict[str, int]]) -> window.Page:
    return window.Page(tuple(rows), ended=len(rows) < window.PAGE_ROWS)
