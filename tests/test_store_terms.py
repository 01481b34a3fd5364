"""The filter language: every term becomes a condition, what cannot be understood is told with its column."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import city_db

from egress_watch.store.fields import FIELDS
from egress_watch.store.screens import Screens
from egress_watch.store.terms import FilterError, parse, quoted


@pytest.fixture(scope="module")
def screens(tmp_path_factory: pytest.TempPathFactory) -> Screens:
    """Return a database of the city."""
    return Screens(str(city_db(tmp_path_factory.mktemp("terms"))))


def asked(screens: Screens, line: str) -> set[int]:
    """Return the ids of the flows that a filter finds."""
    return {row["id"] for row in screens.matching_flows(screens.filtered(line), {})}


TRUTH = {
    "country:CN": "country = 'CN' OR EXISTS (SELECT 1 FROM json_each(countries) WHERE value = 'CN')",
    "country:cn,sg": """country IN ('CN', 'SG')
      OR EXISTS (SELECT 1 FROM json_each(countries) WHERE value IN ('CN', 'SG'))""",
    "owner:hikvision": "owner = 'Hikvision'",
    "verdict:out": "verdict = 'OUT'",
    "!verdict:in": "verdict <> 'IN'",
    "device:10.20.110.*": "device_ip LIKE '10.20.110.%'",
    "device:10.20.110.11": "device_ip = '10.20.110.11'",
    "device:44:19:b6:0b:6e:11": "device_mac = '44:19:b6:0b:6e:11'",
    "bytes>1k": "bytes_out > 1000",
    "bytes>=1.5k in<2k": "bytes_out >= 1500 AND bytes_in < 2000",
    "!port:443": "remote_port <> 443",
    "port:443,53": "remote_port IN (443, 53)",
    "port>1024": "remote_port > 1024",
    "protocol:udp": "protocol = 'udp'",
    "protocol:17": "protocol = 'udp'",
    "end:fin": "end_reason = 'fin'",
    "seat:CN !country:CN": "owner_seat = 'CN' AND country IS NOT 'CN'",
    "status:disputed": "location_status = 'disputed'",
    "law:cloud": "laws LIKE '%CLOUD Act%'",
    "name:*.example": "name LIKE '%.example'",
    "remote:43.156.77.18": "remote_ip = '43.156.77.18'",
    "/hik-connect/": "name LIKE '%hik-connect%'",
    "baidu": "name LIKE '%baidu%' OR owner = 'Baidu'",
    "since:30m": "last_ns >= (SELECT max(last_ns) FROM recording) - 1800000000000",
    "until:2026-11-02T08:30": "last_ns < 1793608200000000000",
    'provider:"amazon"': "provider = 'Amazon' OR as_name LIKE '%amazon%'",
    "vlan:0": "vlan IS NULL",
    "": "1",
}


@pytest.mark.parametrize("line", TRUTH)
def test_a_filter_finds_what_sql_by_hand_finds(screens: Screens, line: str) -> None:
    """Each term finds exactly the flows that its plain meaning in SQL finds."""
    db = sqlite3.connect(screens.path)
    wanted = {row[0] for row in db.execute(f"SELECT id FROM flows WHERE {TRUTH[line]}")}
    assert wanted
    assert asked(screens, line) == wanted


@pytest.mark.parametrize(
    ("line", "column", "words"),
    [
        ("cuntry:CN", 1, "no field"),
        ("verdict:out cuntry:CN", 13, "no field"),
        ("verdict:maybe", 9, "no verdict"),
        ("port:https", 6, "no number"),
        ("bytes>much", 7, "no size"),
        ("since:yesterday", 7, "no time"),
        ("owner>3", 1, "no >"),
        ('owner:"un', 7, "quote"),
        ("/un", 1, "without an end"),
        ("country:", 1, "without a value"),
        ("!", 1, "without a term"),
        ("country:CN,", 12, "comma"),
        ("!since:2h", 1, "turned round"),
    ],
)
def test_what_cannot_be_understood_is_told_with_its_column(line: str, column: int, words: str) -> None:
    """The error names the column, counted from 1, and a remedy."""
    with pytest.raises(FilterError) as caught:
        parse(line)
    assert caught.value.where == f"filter, column {column}"
    assert words in caught.value.what
    assert caught.value.remedy


@given(st.text())
def test_any_text_is_a_filter_or_an_error(line: str) -> None:
    """Nothing a person types ends in anything but a filter or an error with its column within the line."""
    at = -1
    with suppress(FilterError):
        at = len(parse(line).text)
    if at < 0:
        with pytest.raises(FilterError) as caught:
            parse(line)
        at = caught.value.at
    assert 0 <= at <= len(line)


@given(st.text(min_size=1).filter(lambda text: '"' not in text and "*" not in text and text.strip()))
def test_a_quoted_value_is_one_value_and_never_sql(value: str) -> None:
    """What is drilled into comes back as one value bound apart from the SQL, whatever it holds."""
    found = parse(f"owner:{quoted(value)}")
    assert [one for clause in found.clauses for one in clause.values.values()] == [value.lower()]
    assert value not in "".join(clause.flows for clause in found.clauses) or len(value) < 12


def test_every_field_can_be_asked(screens: Screens) -> None:
    """Each field is valid SQL on flows, sums or alerts, wherever it is said to be known, and can be completed."""
    from egress_watch.store.scope import Scope

    values = {"number": "1", "size": "1k", "moment": "2h", "address": "10.0.0.1", "part": "x"}
    for field in FIELDS:
        line = f"{field.name}:{field.choices[0] if field.choices else values.get(field.kind, 'x')}"
        scope = Scope(screens.filtered(line))
        if field.flows:
            screens.flow_rows(scope, 5)
        if field.flows and field.column != "flow":
            screens.sums("destinations", scope, 5)
        if field.alerts:
            screens.alert_rows(scope, 5)
        screens.complete(field.name, "")
    assert screens.complete("", "cou") == ["country"]
    assert "Hikvision" in screens.complete("owner", "hik")
