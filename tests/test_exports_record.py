"""The neutral record: the same event has one id, and no text in it can act on whoever reads it."""

from __future__ import annotations

import json
from itertools import pairwise
from unicodedata import category
from uuid import UUID

import pytest
from exporting import alert_rows, flow_rows, origins, records, texts, times
from hypothesis import given
from hypothesis import strategies as st
from running import city_db

from egress_watch.exports import times as moments
from egress_watch.exports.identity import community_id, event_id
from egress_watch.exports.plain import UNSAFE, printable
from egress_watch.exports.record import ALERT, COLUMNS, FLOW, KEYS, LONGEST_TEXT, Origin, record
from egress_watch.exports.severity import SEVERITIES, severity
from egress_watch.store import Reader

ORIGIN = Origin("city", "0.1.0", "2026-11-23")
identities = st.lists(texts | st.integers() | st.none(), max_size=6)


@given(times, identities)
def test_an_event_id_is_a_uuid_of_version_7_at_its_own_time(time_ns, identity):
    """RFC 9562, section 5.7: 48 bits of milliseconds, version 7, variant 2; the same event has the same id."""
    found = UUID(event_id(time_ns, identity))
    assert (found.version, found.variant) == (7, "specified in RFC 4122")
    assert found.int >> 80 == min(max(time_ns // 1_000_000, 0), 2**48 - 1)
    assert event_id(time_ns, identity) == str(found)


@given(identities, identities)
def test_other_events_have_other_ids(one, other):
    """What differs in its identity differs in its id."""
    assert (event_id(0, one) == event_id(0, other)) == (one == other)


@given(alert_rows, origins, st.data())
def test_an_alert_sent_twice_has_one_id_and_a_new_state_a_new_one(row, origin, data):
    """Made again it is the same event of the same episode; with more hits, or closed, it is a new event of it."""
    first = record(ALERT, row, origin)
    assert record(ALERT, dict(row), origin) == first
    later = data.draw(st.sampled_from([({**row, "hits": row["hits"] + 1}, "create"), (row, "update"), (row, "close")]))
    second = record(ALERT, later[0], origin, action=later[1])
    assert second["event_id"] != first["event_id"]
    assert second["episode_id"] == first["episode_id"]


@given(flow_rows)
def test_two_sensors_never_share_an_id(row):
    """The same row of another sensor is another event."""
    one, other = (record(FLOW, row, ORIGIN._replace(sensor=name))["event_id"] for name in ("a", "b"))
    assert one != other


def test_the_ids_of_a_database_are_all_different(tmp_path):
    """Each flow and each alert of the city has an id of its own."""
    with Reader(str(city_db(tmp_path))) as db:
        found = [record(FLOW, row, ORIGIN) for row in db.flows({})]
        found += [record(ALERT, row, ORIGIN) for row in db.episodes({})]
    assert len({kept["event_id"] for kept in found}) == len(found) > 300


@given(records)
def test_no_text_in_a_record_can_act(kept):
    """Controls, direction marks and surrogates are written out, long texts are cut, and JSON gives it back whole."""
    for value in kept.values():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                assert 0 < len(text) <= LONGEST_TEXT
                assert not {category(char) for char in text} & UNSAFE
    assert json.loads(json.dumps(kept)) == kept


@given(records)
def test_a_record_has_the_keys_of_its_kind_in_the_form_they_promise(kept):
    """Every key is there; a text is text, a number and a time are whole, a list holds text."""
    forms = {"text": str, "number": int, "time": int, "list": list}
    assert tuple(kept) == COLUMNS[kept["kind"]]
    for key in KEYS:
        if kept["kind"] in key.kinds and kept[key.name] is not None:
            assert isinstance(kept[key.name], forms[key.form]), key.name


def test_a_text_beyond_the_limit_is_cut_with_a_mark():
    """What is left out can be seen to be left out."""
    texts = {"why": "x" * (LONGEST_TEXT + 1), "name": "y" * LONGEST_TEXT}
    kept = record(FLOW, {"id": 1, "recording": 1, "first_ns": 0, "last_ns": 0, **texts}, ORIGIN)
    assert kept["why"] == "x" * (LONGEST_TEXT - 1) + "…"
    assert kept["name"] == "y" * LONGEST_TEXT


def test_the_city_arrives_whole(tmp_path):
    """A record has what its row has, under the same names; an alert has its newest flow's ports, names and laws too."""
    with Reader(str(city_db(tmp_path))) as db:
        flows = {row["id"]: row for row in db.flows({})}
        alerts = db.alerts({})
    for row in flows.values():
        kept = record(FLOW, row, ORIGIN)
        assert all(kept[name] == row[name] for name in row if name in COLUMNS[FLOW] and name != "data")
        assert kept["data"] == [f"{file['name']} {file['built']}" for file in row["data"]]
    for row in alerts:
        flow = flows[row["last_flow"]]
        kept = record(ALERT, row, ORIGIN, flow=flow)
        shared = set(COLUMNS[ALERT]) & row.keys() - {"data", "kind"}
        assert all(kept[name] == row[name] for name in shared)  # the record's kind is that of records
        for name in ("remote_ip", "remote_port", "name", "laws", "owner_seat", "asn"):
            assert kept[name] == flow[name]
        assert kept["operator"] == (flow["provider"] or flow["as_name"])


def test_no_number_outgrows_64_bits():
    """A duration or a sum at the bounds of what the store holds stays what databases and Parquet can hold."""
    most = {"first_ns": -(2**63), "last_ns": 2**63 - 1, "bytes_out": 2**63 - 1, "bytes_in": 2**63 - 1}
    kept = record(FLOW, {"id": 1, "recording": 1, **most}, ORIGIN)
    assert kept["duration_ns"] == kept["bytes"] == 2**63 - 1


def test_an_alert_whose_flow_is_gone_is_still_an_alert():
    """Where retention took the flow, its columns are None and its lists empty or None."""
    row = {"id": 1, "recording": 1, "first_ns": 5, "last_ns": 9, "level": "high", "title": "t", "rule": "r", "hits": 2}
    kept = record(ALERT, row, ORIGIN)
    assert (kept["severity"], kept["name"], kept["laws"], kept["duration_ns"]) == (8, None, None, 4)


@pytest.mark.parametrize(
    ("one", "other", "protocol", "expected"),
    [
        (("128.232.110.120", 34855), ("66.35.250.204", 80), 6, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (("192.168.1.52", 54585), ("8.8.8.8", 53), 17, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
    ],
)
def test_the_community_id_is_the_one_of_its_specification(one, other, protocol, expected):
    """The specification's own examples, from either side."""
    assert community_id(protocol, one, other) == community_id(protocol, other, one) == expected


def test_a_protocol_without_ports_has_no_community_id():
    """ICMP would need its type, which a flow record does not keep."""
    assert community_id(1, ("1.1.1.1", 0), ("2.2.2.2", 0)) is None


@given(times)
def test_moments_keep_what_their_form_can_hold(time_ns):
    """ISO and NTP keep nanoseconds, Suricata's and Zeek's form microseconds."""
    iso, micro = moments.iso(time_ns), moments.iso_micro(time_ns)
    assert iso.endswith("Z")
    assert int(iso[-10:-1]) == time_ns % 1_000_000_000
    assert micro == f"{iso[:-4]}+0000"
    seconds = moments.epoch_s(time_ns)
    assert int(seconds.replace(".", "")) == time_ns // 1000
    ntp = moments.ntp(time_ns)
    assert ntp >> 32 == (time_ns // 1_000_000_000 + 2_208_988_800) % 2**32
    assert (ntp & 0xFFFFFFFF) * 1_000_000_000 >> 32 == time_ns % 1_000_000_000


def test_the_steps_of_severity_rise_on_every_scale():
    """From level to level no scale falls; ours, OCSF's, Elastic's and LEEF's rise, Suricata's and syslog's fall."""
    rows = list(SEVERITIES.values())
    for lower, higher in pairwise(rows):
        for scale in ("number", "ocsf", "ocsf_risk", "ecs"):
            assert getattr(lower, scale) < getattr(higher, scale)
        assert lower.eve >= higher.eve
        assert lower.syslog > higher.syslog
    assert severity("no such level") == SEVERITIES["informational"]


@given(texts)
def test_printable_text_is_what_a_record_keeps(text):
    """Up to its limit, a text in a record is the text as a terminal may show it."""
    kept = record(FLOW, {"id": 1, "recording": 1, "first_ns": 0, "last_ns": 0, "name": text}, ORIGIN)["name"]
    shown = printable(text[: LONGEST_TEXT + 1])
    assert (kept or "") == (shown if len(shown) <= LONGEST_TEXT else shown[: LONGEST_TEXT - 1] + "…")
