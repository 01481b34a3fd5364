"""Rows become text, and no string from the wire becomes anything else."""

from __future__ import annotations

import csv as reader
import io
import json
from unicodedata import category

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from running import city_db

from egress_watch.exports import ALERT_COLUMNS, ALERT_TABLE, FLOW_COLUMNS, FLOW_TABLE, ROW_FORMATS, csv, ndjson, table
from egress_watch.exports.plain import UNSAFE, printable
from egress_watch.exports.table import when
from egress_watch.store import Reader

HOSTILE = ["\x1b[31mred\x1b]0;title\x07", "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "a\r\nb", "\u202egnp.exe", "\ud800", "＝1", "[red]x[/red]", '"', "a,b", "\x00", "\u2028", "é✓"]  # fmt: skip  # noqa: E501
texts = st.text(st.characters()) | st.sampled_from(HOSTILE)


def row(value):
    """Return a row with a text, a list and a number."""
    return {"text": value, "list": [value, "x"], "number": 7, "none": None}


COLUMNS = ("text", "list", "number", "none")


@given(texts)
@example("\x9b31m")
def test_printable_leaves_nothing_that_moves_a_cursor(text):
    """Controls, direction marks, surrogates and separators are written out; the rest is left as it is."""
    shown = printable(text)
    assert not {category(char) for char in shown} & UNSAFE
    assert printable(shown) == shown
    if not {category(char) for char in text} & UNSAFE:
        assert shown == text


@given(st.lists(texts, min_size=1, max_size=4))
def test_every_format_gives_whole_lines_that_utf8_can_hold(values):
    """No encoder lets a line break, an escape or a surrogate through."""
    for encode in ROW_FORMATS.values():
        for line in encode([row(value) for value in values], COLUMNS):
            line.encode("utf-8")
            assert not set(line) & set("\n\r\x1b\x00\x07\u2028\x85\x9b")


@given(st.lists(texts, max_size=4))
def test_ndjson_gives_back_what_went_in(values):
    """One line a row; JSON reads it back unchanged."""
    lines = list(ndjson.encode([row(value) for value in values], COLUMNS))
    assert [json.loads(line) for line in lines] == [row(value) for value in values]
    assert all(line.isascii() for line in lines)


@given(st.lists(texts, max_size=4))
def test_csv_gives_back_cells_that_no_spreadsheet_runs(values):
    """A CSV reader finds the printable text of each cell, behind an apostrophe where it would be a formula."""
    lines = list(csv.encode([row(value) for value in values], COLUMNS))
    cells = list(reader.reader(io.StringIO("\n".join(lines))))
    assert cells[0] == list(COLUMNS)
    for value, (text, joined, number, none) in zip(values, cells[1:], strict=True):
        assert not text.startswith(csv.FORMULA)
        assert text.removeprefix("'") == printable(value).removeprefix("'")
        assert not joined.startswith(csv.FORMULA)
        assert (number, none) == ("7", "")


def test_csv_numbers_stay_numbers():
    """A number is no formula, even below zero."""
    assert list(csv.encode([{"n": -5}], ("n",))) == ["n", "-5"]


def test_a_table_is_aligned_and_its_last_column_whole():
    """Numbers stand to the right, long cells are cut with a mark, the last one never."""
    lines = list(
        table.encode([{"n": 5, "t": "x" * 99, "why": "y" * 99}, {"n": 12345, "t": "z", "why": ""}], ("n", "t", "why"))
    )
    assert lines[0].startswith("    n  t")
    assert lines[1] == f"    5  {'x' * 59}…  {'y' * 99}"
    assert lines[2] == "12345  z"


def test_a_table_without_rows_is_its_header():
    """Nothing found is still readable."""
    assert list(table.encode([], ("a", "b"))) == ["a  b"]


@pytest.mark.parametrize(
    ("verdict", "shown"), [("IN", "✓ IN"), ("OWN", "~ OWN"), ("OUT", "✗ OUT"), ("UNKNOWN", "? UNKNOWN")]
)
def test_a_verdict_has_its_sign_beside_its_word(verdict, shown):
    """Sign and word stand together."""
    assert list(table.encode([{"verdict": verdict}], ("verdict",)))[1] == shown


@pytest.mark.parametrize(
    ("time_ns", "shown"),
    [
        (0, "1970-01-01 00:00:00.000Z"),
        (1_793_606_421_190_776_664, "2026-11-02 08:00:21.190Z"),
        (-1_000_000, "1969-12-31 23:59:59.999Z"),
        (2**63 - 1, "2262-04-11 23:47:16.854Z"),
        (-(2**63), "1677-09-21 00:12:43.145Z"),
        (10**30, "1000000000000000000000.000s"),
    ],
)
def test_any_time_can_be_shown(time_ns, shown):
    """A time is shown to the millisecond in UTC; what no calendar holds stays a number of seconds."""
    assert when(time_ns) == shown


@pytest.mark.parametrize("name", list(ROW_FORMATS))
def test_every_format_takes_every_column_of_the_store(tmp_path, name):
    """The columns offered are there, in flows and in alerts, and each format can write them."""
    encode = ROW_FORMATS[name]
    with Reader(str(city_db(tmp_path))) as db:
        flows, alerts = list(db.flows({})), db.alerts({})
    for found, columns in ((flows, FLOW_COLUMNS), (flows, FLOW_TABLE), (alerts, ALERT_COLUMNS), (alerts, ALERT_TABLE)):
        lines = list(encode(found, columns))
        assert len(lines) == len(found) + (name != "ndjson")
    data = next(iter(csv.encode(alerts[:1], ("data",))), "") and list(csv.encode(alerts[:1], ("data",)))[1]
    assert "name=dbip-country-lite" in data
