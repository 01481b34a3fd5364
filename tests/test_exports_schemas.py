"""Each format is what its own specification says, by a schema or a list that is not ours."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache

import pytest
from exporting import ECS_FIELDS, alert_records, flow_records, heartbeat_records, records
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from running import city_db

from egress_watch.exports.ecs import FIXED
from egress_watch.exports.formats import FORMATS
from egress_watch.exports.ocsf import OCSF_VERSION
from egress_watch.exports.record import ALERT, FLOW, HEARTBEAT, Origin, record
from egress_watch.store import Reader

BY_NAME = {known.name: known for known in FORMATS}
ECS_ALLOWED = {
    "event.kind": {"alert", "event", "state"}, "event.category": {"network", "intrusion_detection"},
    "event.type": {"connection", "info"}, "network.direction": {"outbound"},
}  # fmt: skip
TYPES = {
    "date": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z").fullmatch,
    "mac": re.compile("[0-9A-F]{2}(-[0-9A-F]{2}){5}").fullmatch,
    "ip": re.compile(r"[0-9.]+|[0-9a-f:.]+").fullmatch,
}  # fmt: skip
EVE_TOP = {
    "timestamp": str, "flow_id": int, "host": str, "vlan": list, "src_ip": str, "src_port": int, "dest_ip": str,
    "dest_port": int, "proto": str, "community_id": str, "app_proto": str, "event_type": str, "tls": dict,
    "http": dict, "alert": dict, "flow": dict, "metadata": dict, "stats": dict,
}  # fmt: skip
EVE_INNER = {
    "alert": {"action", "gid", "signature_id", "rev", "signature", "category", "severity", "metadata"},
    "flow": {
        "pkts_toserver", "pkts_toclient", "bytes_toserver", "bytes_toclient", "start", "end", "age", "state", "reason",
    },
    "tls": {"sni"}, "http": {"hostname"}, "metadata": {"flowvars"}, "stats": {"capture", "decoder", "egress_watch"},
}  # fmt: skip
EVENT_TYPES = {ALERT: "alert", FLOW: "flow", HEARTBEAT: "stats"}
OCSF_CLASSES = {ALERT: "detection_finding", FLOW: "network_activity", HEARTBEAT: "application_lifecycle"}


@cache
def validator(kind):
    """Return the validator of OCSF's own schema for the class of a kind."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(OCSF_VERSION))
    return Draft202012Validator(schema.get_class_schema(OCSF_CLASSES[kind]))


def event(name, kept):
    """Return the one JSON event of a record."""
    return json.loads(BY_NAME[name].line(kept))


@settings(max_examples=40)
@given(alert_records)
def test_every_alert_is_a_detection_finding(kept):
    """OCSF's schema finds nothing wrong with it."""
    assert not [error.message for error in validator(ALERT).iter_errors(event("ocsf", kept))]


@settings(max_examples=40)
@given(flow_records)
def test_every_flow_is_a_network_activity(kept):
    """OCSF's schema finds nothing wrong with it."""
    assert not [error.message for error in validator(FLOW).iter_errors(event("ocsf", kept))]


@settings(max_examples=20)
@given(heartbeat_records)
def test_every_heartbeat_is_of_the_life_of_an_application(kept):
    """OCSF's schema finds nothing wrong with it."""
    assert not [error.message for error in validator(HEARTBEAT).iter_errors(event("ocsf", kept))]


@pytest.mark.parametrize(
    "harm",
    [
        lambda tree: tree.pop("class_uid"), lambda tree: tree.update(verdict="OUT"),
        lambda tree: tree["finding_info"].pop("uid"), lambda tree: tree.update(severity_id="high"),
        lambda tree: tree["evidences"][0]["dst_endpoint"].update(owner_seat="CN"),
    ],
)  # fmt: skip
def test_the_schema_sees_what_is_wrong(tmp_path, harm):
    """A missing, unknown or mistyped attribute is found, so silence above means something."""
    with Reader(str(city_db(tmp_path))) as db:
        row = db.alerts({})[0]
        tree = event("ocsf", record(ALERT, row, Origin("s", "1"), flow=next(db.flows({"id": row["last_flow"]}))))
    assert validator(ALERT).is_valid(tree)
    harm(tree)
    assert not validator(ALERT).is_valid(tree)


def leaves(tree, path=""):
    """Yield the fields of a tree as Elasticsearch names them."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield path + name, value


def fits(value, form):
    """Return whether a value can be indexed as a type of ECS."""
    if form.endswith("[]"):
        return isinstance(value, list) and all(fits(item, form[:-2]) for item in value)
    if form == "long":
        return type(value) is int and -(2**63) <= value < 2**63
    if form == "float":
        return type(value) is float
    return isinstance(value, str) and len(value.encode()) <= 32_766 and bool(TYPES.get(form, bool)(value))


@given(records)
def test_every_field_is_in_ecs_or_under_our_own_name(kept):
    """No field of ECS has another type than its reference gives it, and no field of ours stands among them."""
    for name, value in leaves(event("ecs", kept)):
        if name.startswith("egress_watch."):
            assert isinstance(value, str | int | list)
        else:
            assert fits(value, ECS_FIELDS[name]), (name, value)
        if name in ECS_ALLOWED:
            assert set(value if isinstance(value, list) else [value]) <= ECS_ALLOWED[name]


def test_the_list_of_ecs_fields_has_no_more_than_we_write():
    """A field that is listed is written by the mapping, or fixed."""
    from egress_watch.exports.ecs import FIELDS

    written = {field.theirs for field in FIELDS} | {path for fixed in FIXED.values() for path in fixed}
    assert ECS_FIELDS.keys() <= written
    assert {name for name in written if not name.startswith("egress_watch.")} == ECS_FIELDS.keys()


@given(records)
def test_eve_keeps_suricatas_rules(kept):
    """Known keys with their types, the timestamp's own form, ids a number of 53 bits can hold, metadata as lists."""
    tree = event("eve", kept)
    assert tree["event_type"] == EVENT_TYPES[kept["kind"]]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+[+-]\d+", tree["timestamp"])
    for name, value in tree.items():
        assert type(value) is EVE_TOP[name], name
        assert not isinstance(value, dict) or value.keys() <= EVE_INNER[name]
    assert kept["kind"] == HEARTBEAT or 0 <= tree["flow_id"] < 2**53
    if kept["kind"] == ALERT:
        assert tree["alert"]["severity"] in {1, 2, 3, 4}
        assert not kept["rule"] or 1_000_000_000 <= tree["alert"]["signature_id"] < 2**31
        assert all(isinstance(text, str) for texts in tree["alert"]["metadata"].values() for text in texts)


def test_tshark_reads_the_ipfix_file(tmp_path):
    """Wireshark's reader of IPFIX files finds every flow of the city, with its ends, ports and both counts."""
    with Reader(str(city_db(tmp_path))) as db:
        kept = [record(FLOW, row, Origin("s", "1")) for row in db.flows({})]
    path = tmp_path / "city.ipfix"
    path.write_bytes(b"".join(BY_NAME["ipfix"].encode(kept, FLOW)))
    fields = [f"-ecflow.{name}" for name in ("srcaddr", "srcaddrv6", "dstport", "octets")]
    told = ["tshark", "-r", str(path), "-T", "fields", "-E", "occurrence=a", *fields]
    done = subprocess.run(told, capture_output=True, text=True, check=True)
    shown = [line.split("\t") for line in done.stdout.splitlines()]
    joined = [",".join(cells).split(",") for cells in zip(*shown, strict=True)]
    four = [one for one in kept if ":" not in one["remote_ip"]]
    six = [one for one in kept if ":" in one["remote_ip"]]
    assert [cell for cell in joined[0] if cell] == [one["device_ip"] for one in four]
    assert [cell for cell in joined[1] if cell] == [one["device_ip"] for one in six]
    assert [int(cell) for cell in joined[2] if cell] == [one["remote_port"] for one in four + six]
    octets = [int(cell) for cell in joined[3] if cell]
    assert octets == [count for one in four + six for count in (one["bytes_out"], one["bytes_in"])]
