"""Whatever a text holds, each format gives it back to a strict reader of its own, and nothing else with it."""

from __future__ import annotations

import csv as reader
import io
import json
from ipaddress import ip_address

import pyarrow.parquet as parquet_reader
import pytest
from exporting import as_cef, as_leef, flow_records, of_one_kind, read_cef, read_ipfix, read_leef, read_zeek, records
from hypothesis import given, settings
from hypothesis import strategies as st

from egress_watch.errors import UsageError
from egress_watch.exports import cef, ecs, eve, leef, ocsf, zeek
from egress_watch.exports.csv import FORMULA
from egress_watch.exports.formats import FORMATS
from egress_watch.exports.ipfix import MESSAGE_RECORDS, REVERSE, TEMPLATES
from egress_watch.exports.mapping import Field
from egress_watch.exports.record import ALERT, COLUMNS, EXPORTED, FLOW, KEYS, KINDS, Origin, record
from egress_watch.exports.times import ntp

BY_NAME = {known.name: known for known in FORMATS}
LINED = [known.name for known in FORMATS if known.line]
MAPPED = {"ecs": ecs, "ocsf": ocsf, "cef": cef, "leef": leef, "eve": eve, "zeek": zeek}
IPFIX_NUMBERS = {
    "bytes_out": (0, 1), "packets_out": (0, 2), "bytes_in": (REVERSE, 1), "packets_in": (REVERSE, 2), "id": (0, 148),
    "asn": (0, 17), "vlan": (0, 58), "protocol_number": (0, 4), "device_port": (0, 7), "remote_port": (0, 11),
}  # fmt: skip
"""Enterprise and number of elements in the registry, by what they hold of ours."""


def lines(name, kept):
    """Return the lines of one record."""
    return list(BY_NAME[name].encode([kept], kept["kind"]))


def down(tree, path):
    """Return what stands in a tree at a path of our mapping, None where nothing does."""
    for step in path.split("."):
        name = step.removesuffix("[]")
        tree = tree.get(name) if isinstance(tree, dict) else None
        tree = tree[0] if step.endswith("[]") and tree else tree
    return tree


@given(records)
def test_a_line_is_a_line(kept):
    """One record is one line of UTF-8 without any character that could end or reorder it."""
    for name in LINED:
        if kept["kind"] in BY_NAME[name].kinds:
            (line,) = lines(name, kept)
            line.encode()
            assert not set(line) & set("\n\r\x00\x07\x1b\x85\u2028\u2029\u202e")
            assert BY_NAME[name].line(kept) == line


@given(records)
def test_json_formats_hold_every_text_unchanged(kept):
    """A JSON reader finds each field where the mapping says, with our value where it is taken as it is."""
    for name in ("ecs", "ocsf", "eve"):
        (line,) = lines(name, kept)
        assert line.isascii()
        tree = json.loads(line)
        for field in MAPPED[name].FIELDS:
            value = kept.get(field.ours)
            if kept["kind"] in field.kinds and field.turn is None and value not in (None, []):
                assert down(tree, field.theirs) == value, field


@given(records)
def test_ndjson_is_the_record(kept):
    """What an outbox keeps is what comes out."""
    assert json.loads(lines("ndjson", kept)[0]) == kept


@given(records)
def test_eve_carries_the_rest_as_suricata_lets_it(kept):
    """An alert's metadata are lists of text by key, a flow's flowvars are objects of one key; nothing is left out."""
    tree = json.loads(lines("eve", kept)[0])
    if kept["kind"] == ALERT:
        found = tree["alert"]["metadata"]
    else:
        found = {}
        for one in tree.get("metadata", {"flowvars": []})["flowvars"]:
            ((key, text),) = one.items()
            found.setdefault(key, []).append(text)
    for field in eve.METADATA:
        value = kept.get(field.ours)
        if kept["kind"] in field.kinds and value not in (None, []) and not field.ours.endswith("_ns"):
            assert found[field.theirs] == (value if isinstance(value, list) else [str(value)])


@given(records)
def test_cef_is_read_back_by_a_strict_reader(kept):
    """Header and extension hold our values, bars and backslashes shown as slashes; no text adds a key."""
    header, extension = read_cef(lines("cef", kept)[0])
    assert header[:3] == ["egress-watch", "egress-watch", "0.1.0"]
    assert header[5] == str(kept["severity"])
    if kept["kind"] == ALERT:
        assert header[4] == as_cef(kept["title"] or "Alert", 512)
    allowed = {field.theirs for field in cef.FIELDS} | {f"{key}Label" for key in cef.LABELS}
    assert extension.keys() <= allowed
    for key, label in cef.LABELS.items():
        assert extension.get(f"{key}Label", label) == label
        assert (key in extension) == (f"{key}Label" in extension)
    for field in cef.FIELDS:
        value = kept.get(field.ours)
        if kept["kind"] in field.kinds and field.turn is None and value not in (None, []):
            assert extension[field.theirs] == as_cef(value, cef.LIMITS.get(field.theirs, cef.LIMIT)), field
    for theirs in ({"src", "c6a2"}, {"dst", "c6a3"}) if kept["kind"] in EXPORTED else ():
        (key,) = theirs & extension.keys()
        assert ip_address(extension[key]).version == (4 if len(key) == 3 else 6)


@given(records)
def test_leef_is_read_back_by_a_strict_reader(kept):
    """Every attribute holds our value, and no text adds one."""
    header, attributes = read_leef(lines("leef", kept)[0])
    assert header[:3] == ["egress-watch", "egress-watch", "0.1.0"]
    assert len(header[3]) <= 255
    assert attributes.keys() <= {field.theirs for field in leef.FIELDS}
    for field in leef.FIELDS:
        value = kept.get(field.ours)
        if kept["kind"] in field.kinds and field.turn is None and value not in (None, []):
            assert attributes[field.theirs] == as_leef(value), field


@given(st.lists(flow_records, max_size=3))
def test_zeek_is_read_back_by_its_header(kept):
    """The header names and types every column; texts, lists and unset fields come back as they were."""
    rows = read_zeek(list(BY_NAME["zeek"].encode(kept, FLOW)))
    assert len(rows) == len(kept)
    for row, one in zip(rows, kept, strict=True):
        for field, name in zip(zeek.FIELDS, zeek.NAMES, strict=True):
            if field.turn is None and not field.theirs.endswith((":time", ":interval")):
                assert row[name] == (one[field.ours] if one[field.ours] != [] else None), field


@given(flow_records)
def test_zeek_json_is_flat_and_leaves_out_what_is_unset(kept):
    """As Zeek's JSON writer does: names with dots, no null; the same values as the other flavour."""
    tree = json.loads(lines("zeek-json", kept)[0])
    assert not [name for name, value in tree.items() if value is None or isinstance(value, dict)]
    assert tree["id.orig_h"] == kept["device_ip"]
    assert tree.get("resp_owner") == kept["owner"]
    assert tree["orig_ip_bytes"] == kept["bytes_out"]


@given(of_one_kind)
def test_csv_gives_back_cells_that_no_spreadsheet_runs(kept):
    """A CSV reader finds every column; a cell that would be a formula stands behind an apostrophe."""
    kind = kept[0]["kind"] if kept else FLOW
    rows = list(reader.DictReader(io.StringIO("\n".join(BY_NAME["csv"].encode(kept, kind)))))
    for row, one in zip(rows, kept, strict=True):
        assert tuple(row) == COLUMNS[kind]
        for name, cell in row.items():
            value = one[name]
            text = "" if value is None else "; ".join(value) if isinstance(value, list) else str(value)
            if isinstance(value, int):
                assert cell == text
            else:
                assert not cell.startswith(FORMULA)
                assert cell == (f"'{text}" if text.startswith(FORMULA) else text)


@settings(max_examples=30)
@given(of_one_kind)
def test_parquet_gives_back_the_records(kept):
    """The same keys, values and nanoseconds are read by pyarrow, with types that say what is a time."""
    kind = kept[0]["kind"] if kept else FLOW
    table = parquet_reader.read_table(io.BytesIO(b"".join(BY_NAME["parquet"].encode(kept, kind))))
    times = {key.name for key in KEYS if key.form == "time" and kind in key.kinds}
    for name in times:
        assert str(table.schema.field(name).type) == "timestamp[ns, tz=UTC]"
        table = table.set_column(table.column_names.index(name), name, table[name].cast("int64"))
    assert table.to_pylist() == kept
    assert tuple(table.column_names) == COLUMNS[kind]


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch):
    """The error names the line to type; nothing is written."""
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pip install 'egress-watch\[parquet\]'"):
        next(BY_NAME["parquet"].encode([], FLOW))


@given(st.lists(flow_records, max_size=5))
def test_ipfix_is_read_back_by_a_reader_of_its_own(kept):
    """Templates describe the data sets, both directions are there, and every number comes back; 0 where unknown."""
    rows = read_ipfix(b"".join(BY_NAME["ipfix"].encode(kept, FLOW)))
    ordered = [one for v6 in (False, True) for one in kept if (":" in one["remote_ip"]) == v6]
    for row, one in zip(rows, ordered, strict=True):
        v6 = ":" in one["remote_ip"]
        ends = (27, 28) if v6 else (8, 12)
        assert [str(ip_address(row[0, end])) for end in ends] == [one["device_ip"], one["remote_ip"]]
        for ours, element in IPFIX_NUMBERS.items():
            assert int.from_bytes(row[element]) == (one[ours] or 0), ours
        assert int.from_bytes(row[0, 156]) == ntp(one["first_ns"])


def test_ipfix_messages_stay_within_their_length():
    """A message is at most 65,535 bytes, however many flows there are; the sequence goes on counting."""
    row = {"id": 1, "recording": 1, "first_ns": 0, "last_ns": 0, "device_ip": "fd00::1", "remote_ip": "2001:db8::1"}
    kept = [record(FLOW, row, Origin("s", "1"))] * (2 * MESSAGE_RECORDS + 1)
    messages = list(BY_NAME["ipfix"].encode(kept, FLOW))
    assert len(messages) == 3
    assert all(int.from_bytes(message[2:4]) == len(message) <= 65_535 for message in messages)
    assert len(read_ipfix(b"".join(messages))) == len(kept)
    assert {sum(element.length for element in elements) for elements in TEMPLATES.values()} == {83, 107}


@pytest.mark.parametrize("name", MAPPED)
def test_a_mapping_names_keys_that_records_have(name):
    """A field of a mapping comes from a key of the record, and no two write the same field of one kind."""
    known = {key.name for key in KEYS}
    for kind in KINDS:
        fields = [field for field in MAPPED[name].FIELDS if kind in field.kinds and field.ours in COLUMNS[kind]]
        assert {field.ours for field in MAPPED[name].FIELDS} <= known
        assert len({field.theirs for field in fields}) == len(fields)
    assert all(isinstance(field, Field) for field in MAPPED[name].FIELDS)


def test_what_a_verdict_rests_on_is_in_every_format_for_people():
    """Operator, owner, seat, laws, verdict, reason and data dates reach each SIEM format and the lake."""
    wanted = {"operator", "owner", "owner_seat", "laws", "verdict", "why", "data", "zone", "event_id", "sensor"}
    for name, module in MAPPED.items():
        there = {field.ours for field in (*module.FIELDS, *getattr(module, "METADATA", ()))}
        assert wanted <= there, name
