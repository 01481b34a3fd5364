"""Rules over flows of a kind: what is asked once is what would be said of every single flow."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import tempfile
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import AWAY, HOME, flows, tally

from egress_watch.config import Config
from egress_watch.library import rules
from egress_watch.model import Judged, Place, Verdict
from egress_watch.store import Store, kinds
from egress_watch.store.kinds import KNOWN, OF_ROWS, OWN, Codes, Kinds, narrow
from egress_watch.store.reading import VALUE, cuts, reads

NOWHERE = Place("", "unknown", (), 0, "", "", "", "", "", (), "")
LOCAL = Place("NL", "local", (), 7, "LAN", "", "", "O'Hara", "NL", (), "")
PLACES = [HOME, AWAY, NOWHERE, LOCAL]
VERDICTS = [Verdict(verdict, "so") for verdict in ("IN", "OUT", "UNKNOWN", "IN")]
NAMES = ("", "a.example", "B.Example", "it's.example", "x.teamviewer.com")
EACH = ("id", "first_ns", "last_ns", "name_ns", "device")
"""Columns of the view that hardly two flows share: rules that read them are asked of every flow."""

numbers = st.sampled_from([-1, 0, 1, 53, 443, 700, 2**31])
texts = st.sampled_from(["CN", "cn", "OUT", "a.example", "b.example", "it''s.example", "Baidu", "local", "%"])
columns = st.sampled_from(
    ["bytes_out", "packets_in", "remote_port", "vlan", "device_age_s", "first_country", "country", "owner", "name",
     "verdict", "location_status", "device_ip", "remote_ip", "protocol", "end_reason", "name_source", "segment",
     "listed", "adequate", "asn", "recording", "id", "last_ns"]
)  # fmt: skip
comparisons = st.one_of(
    st.builds("{}{}{}".format, columns, st.sampled_from(["=", " <> ", " < ", ">=", "<="]), numbers),
    st.builds("{}='{}' COLLATE NOCASE".format, columns, texts),
    st.builds("`{}` LIKE '%{}' ESCAPE '\\'".format, columns, texts),
    st.builds("{} GLOB '*{}'".format, columns, texts),
    st.builds("{} IS {}NULL".format, columns, st.sampled_from(["", "NOT "])),
    st.builds("{}={}".format, columns, columns),
    st.builds("{} IN ({}, {})".format, columns, numbers, numbers),
    st.builds("{} = {} = 1".format, columns, numbers),
    st.builds("length({}) > 3".format, columns),
)
predicates = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds("({} AND {})".format, inner, inner), st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT {}".format, inner), st.builds("(NOT COALESCE(({}), 0))".format, inner),
    ), max_leaves=6,
)  # fmt: skip
rows = st.tuples(
    st.integers(0, 3), st.integers(0, 4), st.sampled_from([0, 53, 443, 700]), st.sampled_from([0, 1, 53, 5000]),
    st.integers(0, 1), st.integers(0, 2),
)  # fmt: skip


def judged(some: list[tuple[int, int, int, int, int, int]], first_s: int) -> Judged:
    """Return flows with these places, names, ports, bytes, VLANs and devices."""
    place, name, port, size, vlan, device = (np.array(column, np.int64) for column in zip(*some, strict=True))
    named = tuple(NAMES[n] for n in name.tolist())
    plain = flows(len(some), first_s, named)
    changed = dataclasses.replace(
        plain, remote_port=port.astype(np.uint16), bytes_out=size, vlan=vlan.astype(np.uint16),
        packets_in=size % 2, device=flows(3).device[device], device_mac=flows(3).device_mac[device],
    )  # fmt: skip
    return Judged(changed, place, PLACES, VERDICTS)


@given(
    st.lists(predicates, min_size=1, max_size=5), st.lists(rows, min_size=1, max_size=20), st.sets(st.integers(1, 19))
)
@settings(deadline=None, max_examples=150)
def test_what_is_said_of_a_kind_is_said_of_each_of_its_flows(asked, some, cut) -> None:
    """Any predicates, over batches that are remembered: the same rows as when every flow is asked."""
    with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/a.db") as store:
        recording = store.record(
            zone="eea", as_of="2020-02-01", data=[], rules=[], version="0", inputs={}, adequate=("NL",)
        )
        edges = sorted({0, len(some), *(edge for edge in cut if edge < len(some))})
        for number, (start, stop) in enumerate(pairwise(edges)):
            batch = recording.write(judged(some[start:stop], 1_700_000_000 + 10 * number), tally(0))
            found, each = batch.matching(asked), batch.each(asked)
            assert [one.tolist() for one in found] == [one.tolist() for one in each]


def test_the_inventory_may_change_its_word_between_batches(tmp_path) -> None:
    """What is said of a device is asked anew each time."""
    asked = ["segment = 'cams' COLLATE NOCASE", "segment IS NULL", "segment = site"]
    with Store(str(tmp_path / "a.db")) as store:
        recording = store.record(zone="eea", as_of="2020-02-01", data=[], rules=[], version="0", inputs={})
        for segment, wanted in (("", [0, 2, 0]), ("cams", [2, 0, 0]), ("lamps", [0, 0, 0])):
            batch = recording.write(judged([(1, 0, 443, 9, 0, 1)] * 2, 1_700_000_000), tally(0))
            if segment:
                store._db.execute(
                    "INSERT OR REPLACE INTO asset(id, digest, segment, site, listed) VALUES (1, 'd', ?, '', 1)",
                    [segment],
                )
                store._db.execute(
                    "INSERT OR REPLACE INTO listing VALUES (?, ?, 0, 1)", [recording.id, int(batch.devices[0])]
                )
            assert [len(one) for one in batch.matching(asked)] == wanted


def test_every_column_of_the_view_is_known_or_is_asked_of_each_flow(tmp_path) -> None:
    """A new column must be put with the row it follows from; until then its rules are asked flow by flow."""
    with Store(str(tmp_path / "a.db")) as store:
        found = {row[1] for row in store._db.execute("PRAGMA table_info(flows)")}
    assert found == KNOWN | set(EACH)


def test_a_table_has_the_columns_of_the_view_that_follow_from_it(tmp_path) -> None:
    """So that nothing is asked of a flow that its own table can say."""
    with Store(str(tmp_path / "a.db")) as store:
        for row, source in OWN.items():
            found = store._db.conn.execute(source, ("[7]",))
            assert [column[0] for column in found.description] == ["id", *OF_ROWS[row]]
            assert found.fetchall() == [(7, *[None] * len(OF_ROWS[row]))]


@given(st.lists(st.lists(st.sampled_from([0, 1, -1, 7, 2**31, 2**62, -(2**62), 2**63 - 1, -(2**63)]), min_size=4,
                         max_size=4), max_size=12))  # fmt: skip
def test_fewer_columns_tell_the_same_rows_apart(some) -> None:
    """However far the numbers of a column lie apart."""
    columns = [np.array(column, np.int64) for column in zip(*some, strict=True)]
    fewer = [column.tolist() for column in narrow(columns)]
    assert len(set(zip(*fewer, strict=True))) == len(set(map(tuple, some)))
    both = zip(zip(*fewer, strict=True), map(tuple, some), strict=True)
    assert len(set(both)) == len(set(map(tuple, some)))


def test_comparisons_told_together_tell_the_same_rows_apart() -> None:
    """However many they are, and whether a text is like some, like none or not there at all."""
    equal = [f"name = 'a{n}' COLLATE NOCASE" for n in range(70)]
    each = [*equal, *(f"name LIKE '%{n}'" for n in range(40)), "`name` = 'it''s' COLLATE NOCASE", "name IS NULL"]
    said = [*(f"{letter}{n}" for letter in "aAb" for n in range(75)), "", "it's", "IT'S", None]
    answers = list(kinds._answers(each))
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        both = [(db.execute(f"SELECT {', '.join(each)} FROM (SELECT ? AS name)", (one,)).fetchone(),
                 db.execute(f"SELECT {', '.join(answers)} FROM (SELECT ? AS name)", (one,)).fetchone())
                for one in said]  # fmt: skip
    assert len(set(both)) == len({plain for plain, _ in both}) == len({packed for _, packed in both}) > 70


def test_the_shipped_rules_are_understood() -> None:
    """None of them falls back to a question for every flow, and none asks for the bare value of a count."""
    for rule in rules(Config())[0]:
        asked = reads(rule.predicate, KNOWN)
        assert asked is not None, rule.title
        assert not any(VALUE in some for some in asked.values()), rule.title


@pytest.mark.parametrize(
    "predicate",
    ["random() > 3", "device_port IN (1, 2)", 'name = "x"', "name = 'x' || 'y'", "flows.name = 'x'", "(SELECT 1)",
     "length(name) = 3", "name = ?", "id > 3", "bytes_out BETWEEN 1 AND remote_port"],
)  # fmt: skip
def test_what_is_not_understood_is_not_guessed(predicate: str) -> None:
    """The whole predicate is then asked of every flow."""
    assert reads(predicate, KNOWN) is None


def test_numbers_are_compared_only_with_whole_numbers() -> None:
    """Anything else reads the value itself."""
    assert cuts(["bytes_out >= 200", "bytes_out < - 5", "bytes_out IS NULL"]) == (-5, 200)
    for other in ("bytes_out = '200'", "bytes_out > 4.5", "bytes_out LIKE '1%'", f"bytes_out > {10**19}", VALUE):
        assert cuts([other]) is None


def test_memory_of_rows_and_kinds_is_bounded(monkeypatch) -> None:
    """Rows beyond the limit are asked anew, kinds beyond it drop the others, and the answers stay right."""
    monkeypatch.setattr(kinds, "LIMIT_ROWS", 3)
    monkeypatch.setattr(kinds, "LIMIT_KINDS", 2)
    asked: list[list[int]] = []

    def ask(expressions, ids, _source):
        asked.append(ids.tolist())
        return [(int(one) % 2,) * len(expressions) for one in ids.tolist()]

    ids = np.arange(6)
    codes = Codes(["x"])
    for _ in range(2):
        assert [codes.told[code][0] for code in codes.of(ids, ids, ask).tolist()] == [0, 1, 0, 1, 0, 1]
    assert asked == [[0, 1, 2, 3, 4, 5], [3, 4, 5]]
    some = Kinds(["bytes_out = 1"], [{"bytes_out": frozenset([VALUE])}])
    for _ in range(3):
        assert some.matching({"bytes_out": ids}, ids, ask)[0].tolist() == [1, 3, 5]
