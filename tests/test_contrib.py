"""What contrib/ has for a SIEM fits what the program writes: fields, queries, expressions, references."""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import re
import sqlite3
import sys
from functools import cache
from xml.etree import ElementTree as ET

import duckdb_kql
import promql_parser
import pytest
from exporting import ECS_FIELDS, read_cef
from running import ROOT, city_db, run

from egress_watch.exports import cef
from egress_watch.exports import times as moments
from egress_watch.exports.ecs import FIELDS, FIXED
from egress_watch.exports.record import KINDS
from egress_watch.exports.severity import SEVERITIES

CONTRIB = ROOT / "contrib"
GOLDEN = ROOT / "tests" / "golden"
ECS = {field.theirs for field in FIELDS} | {path for fixed in FIXED.values() for path in fixed}
DASHBOARDS = ("sqlite", "prometheus")


def golden(name):
    """Return the events of a golden file, one a line."""
    return (GOLDEN / name).read_text("utf-8").splitlines()


@cache
def builder():
    """Return the script that builds the JSON files."""
    spec = importlib.util.spec_from_file_location("build_contrib", CONTRIB / "build_contrib.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(CONTRIB))  # the script puts it there for its neighbours
    return module


def targets(board):
    """Return the queries of a Grafana dashboard."""
    tree = json.loads((CONTRIB / "grafana" / f"{board}.json").read_text("utf-8"))
    return [target for panel in tree["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("name", ["elastic/index-template.json", "elastic/dashboard.ndjson", "grafana/sqlite.json",
                                  "grafana/prometheus.json"])  # fmt: skip
def test_a_built_file_is_what_the_script_builds(name):
    """A field or panel that changed is in the file too; EGRESS_WATCH_CONTRIB=write writes it."""
    if os.environ.get("EGRESS_WATCH_CONTRIB") == "write":
        (CONTRIB / name).write_text(builder().files()[name], encoding="utf-8")
    assert (CONTRIB / name).read_text("utf-8") == builder().files()[name]


def leaves(tree, path=""):
    """Yield the fields of mappings with their types."""
    for name, value in tree.items():
        if "properties" in value:
            yield from leaves(value["properties"], f"{path}{name}.")
        else:
            yield path + name, value["type"]


def test_the_template_maps_every_field_as_its_reference_does():
    """Each field that is written is mapped; those of ECS have the types that its reference gives them."""
    template = json.loads((CONTRIB / "elastic" / "index-template.json").read_text("utf-8"))
    mapped = dict(leaves(template["template"]["mappings"]["properties"]))
    assert mapped.keys() == ECS
    wanted = {name: form.removesuffix("[]").replace("mac", "keyword") for name, form in ECS_FIELDS.items()}
    assert {name: mapped[name] for name in wanted} == wanted


def test_every_golden_event_goes_into_the_mapping():
    """No value of a real event has another shape than its type takes."""
    mapped = dict(leaves(builder().template()["template"]["mappings"]["properties"]))
    fits = {"long": int, "float": float}

    def walk(tree, path=""):
        for name, value in tree.items():
            if isinstance(value, dict):
                walk(value, f"{path}{name}.")
            else:
                for one in value if isinstance(value, list) else [value]:
                    assert type(one) is fits.get(mapped[path + name], str), path + name

    for kind in KINDS:
        for line in golden(f"{kind}.ecs"):
            walk(json.loads(line))


def test_the_kibana_dashboard_refers_to_what_is_there():
    """Ids are unique, each reference leads to an object before it, each panel to its reference, each field to a map."""
    objects = [json.loads(line) for line in (CONTRIB / "elastic" / "dashboard.ndjson").read_text("utf-8").splitlines()]
    seen = set()
    for one in objects:
        assert all((ref["type"], ref["id"]) in seen for ref in one["references"])
        assert (one["type"], one["id"]) not in seen
        seen.add((one["type"], one["id"]))
    *_, board = objects
    panels = json.loads(board["attributes"]["panelsJSON"])
    wanted = {f"{panel['panelIndex']}:{panel['panelRefName']}" for panel in panels}
    assert {ref["name"] for ref in board["references"]} == wanted
    for lens in (one["attributes"]["state"] for one in objects if one["type"] == "lens"):
        (layer,) = lens["datasourceStates"]["formBased"]["layers"].values()
        used = {column["sourceField"] for column in layer["columns"].values()} - {"___records___"}
        assert used | {*re.findall(r"([\w.]+) :", lens["query"]["query"])} <= ECS
        assert set(layer["columnOrder"]) == set(layer["columns"])


def confs():
    """Return Splunk's files, each with its stanzas."""
    found = {}
    for path in (CONTRIB / "splunk").glob("*.conf"):
        found[path.stem] = configparser.RawConfigParser(delimiters="=", comment_prefixes="#", strict=True)
        found[path.stem].optionxform = str
        found[path.stem].read_string(path.read_text("utf-8"))
    return found


def pcre(expression):
    """Return a PCRE as Python spells it."""
    return re.compile(expression.replace("(?<", "(?P<").replace("(?P<=", "(?<=").replace("(?P<!", "(?<!"))


def test_splunk_takes_time_and_host_from_every_event():
    """The time stands behind TIME_PREFIX, the sensor in the transform's group, in ECS; the time in CEF too."""
    found = confs()
    props, host = found["props"], pcre(found["transforms"]["egress_watch_host"]["REGEX"])
    for form, shape in (("ecs", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"), ("cef", r"\d{13} ")):
        prefix = props[f"egress_watch:{form}"]["TIME_PREFIX"]
        for line in golden(f"alert.{form}") + golden(f"flow.{form}"):
            assert len(re.findall(prefix + shape, line)) == 1
    assert {host.search(line)[1] for line in golden("alert.ecs") + golden("flow.ecs")} == {"city"}
    assert found["props"]["egress_watch:ecs"]["TRANSFORMS-egress_watch"] in found["transforms"].sections()


def test_splunk_reads_from_cef_what_was_written():
    """Each EXTRACT gives the record's own value, or none where it has none."""
    stanza = confs()["props"]["egress_watch:cef"]
    ours = {"verdict": "verdict", "owner": "owner", "owner_seat": "owner_seat", "dest_country": "country",
            "id": "event_id", "episode_id": "episode_id"}  # fmt: skip
    extracts = {key.partition("-")[2]: pcre(value) for key, value in stanza.items() if key.startswith("EXTRACT")}
    assert extracts.keys() == ours.keys()
    for kind in ("alert", "flow"):
        for line, kept in zip(golden(f"{kind}.cef"), golden(f"{kind}.records"), strict=True):
            for name, expression in extracts.items():
                met = expression.search(line)
                assert (met and met[name]) == json.loads(kept).get(ours[name])


def test_splunk_searches_name_fields_that_are_written():
    """Aliases and searches name fields of the ECS mapping, and the macro they begin with is there."""
    found = confs()
    aliases = found["props"]["egress_watch:ecs"]["FIELDALIAS-egress_watch"]
    assert {*re.findall(r"([\w.]+) AS ", aliases)} <= ECS
    for name in found["savedsearches"].sections():
        search = found["savedsearches"][name]["search"]
        assert search.startswith("`egress_watch`")
        fields = {*re.findall(r"\b(?:egress_watch|event|source|destination|observer|rule)\.[\w.]+\b", search)}
        assert fields
        assert fields <= ECS, fields - ECS
        assert search.count("(") == search.count(")")
    assert "egress_watch" in found["macros"].sections()


def wazuh(name):
    """Return the elements of a Wazuh file, which may have several roots."""
    text = (CONTRIB / "wazuh" / name).read_text("utf-8")
    return ET.fromstring(f"<all>{text}</all>")


def test_wazuh_decoders_read_what_was_written():
    """Over every golden CEF event, behind a syslog header, the decoder finds the record's own values."""
    parent, *children = wazuh("egress_watch_decoders.xml").findall("decoder")
    prematch = re.compile(parent.find("prematch").text)
    assert {child.find("parent").text for child in children} == {parent.get("name")}
    ours = {"rule_id": "rule", "rule_title": "title", "cef_severity": "severity", "kind": "kind", "srcip": "device_ip",
            "dstip": "remote_ip", "dstport": "remote_port", "action": "action", "country": "country", "owner": "owner",
            "verdict": "verdict"}  # fmt: skip
    for line, text in zip(golden("alert.cef"), golden("alert.records"), strict=True):
        kept, event = json.loads(text), f"<13>1 2026-11-02T08:00:00Z city egress-watch - - - {line}"
        assert prematch.search(event)
        read = {}
        for child in children:
            met = re.search(child.find("regex").text, event)
            read |= dict(zip(child.find("order").text.split(", "), met.groups() if met else (), strict=False))
        wanted = {name: kept[key] for name, key in ours.items()}
        assert read == {name: str(value) for name, value in wanted.items() if value is not None}


def test_wazuh_rules_stand_on_rules_and_fields_that_are_there():
    """Ids are ours and unique, each parent is above, levels of JSON and CEF agree, fields are those of the mapping."""
    rules = wazuh("egress_watch_rules.xml").findall("group/rule")
    decoded = {name for order in wazuh("egress_watch_decoders.xml").iter("order") for name in order.text.split(", ")}
    above, levels = set(), {"level": {}, "cef_severity": {}}
    for rule in rules:
        assert int(rule.get("id")) >= 100_000  # Wazuh keeps the lower ones for itself
        assert rule.get("id") not in above
        assert all(parent.text in above for parent in rule.findall("if_sid"))
        above.add(rule.get("id"))
        for field in rule.findall("field"):
            assert field.get("name") in ECS | decoded
            key = field.get("name").rpartition(".")[2]
            levels.setdefault(key, {})[field.text.strip("^$")] = rule.get("level")
        assert {*re.findall(r"\$\(([\w.]+)\)", rule.find("description").text)} <= ECS | decoded
    by_number = {str(scales.number): levels["level"].get(name) for name, scales in SEVERITIES.items()}
    assert {number: level for number, level in by_number.items() if level} == levels["cef_severity"]


SENTINEL = {
    "externalId": "ExtID", "cat": "DeviceEventCategory", "start": "StartTime", "end": "EndTime", "act": "DeviceAction",
    "cnt": "EventCount", "dvchost": "DeviceName", "src": "SourceIP", "c6a2": "DeviceCustomIPv6Address2",
    "spt": "SourcePort", "smac": "SourceMACAddress", "out": "SentBytes", "dst": "DestinationIP",
    "c6a3": "DeviceCustomIPv6Address3", "dpt": "DestinationPort", "dhost": "DestinationHostName",
    "in": "ReceivedBytes", "proto": "Protocol", "cs1": "DeviceCustomString1", "cs2": "DeviceCustomString2",
    "cs3": "DeviceCustomString3", "cs4": "DeviceCustomString4", "cs5": "DeviceCustomString5",
    "cs6": "DeviceCustomString6", "cn1": "FieldDeviceCustomNumber1", "cn2": "FieldDeviceCustomNumber2",
    "flexString1": "FlexString1", "msg": "Message", "destinationServiceName": "DestinationServiceName",
}  # fmt: skip
"""Columns of CommonSecurityLog by the CEF keys that fill them (Microsoft, CEF and CommonSecurityLog field mapping)."""
HEADER = {"DeviceVendor", "DeviceProduct", "DeviceEventClassID", "Activity", "LogSeverity", "TimeGenerated"}
TYPED = {
    "TIMESTAMP": {"StartTime", "EndTime", "TimeGenerated"}, "INTEGER": {"EventCount", "SourcePort", "DestinationPort"},
    "BIGINT": {"SentBytes", "ReceivedBytes", "FieldDeviceCustomNumber1", "FieldDeviceCustomNumber2"},
}  # fmt: skip
"""Columns that are no text."""
SHOWN = {"EventOriginalUid": "event_id", "EventKind": "kind", "EventAction": "action", "EventCount": "hits",
         "EventSeverityNumber": "severity", "EpisodeId": "episode_id", "RuleName": "title", "RuleId": "rule",
         "Sensor": "sensor", "SrcIpAddr": "device_ip", "SrcPortNumber": "device_port", "SrcBytes": "bytes_out",
         "DstIpAddr": "remote_ip", "DstPortNumber": "remote_port", "DstHostname": "name", "DstBytes": "bytes_in",
         "DstGeoCountry": "country", "Operator": "operator", "Owner": "owner", "OwnerSeat": "owner_seat",
         "Laws": "laws", "Verdict": "verdict", "DstAsn": "asn", "Vlan": "vlan"}  # fmt: skip
"""What the function of Sentinel is to show of ours."""


def test_sentinel_reads_columns_that_our_cef_fills():
    """Each column comes from a key that is written, and each of our own strings goes under what its label says."""
    text = (CONTRIB / "sentinel" / "EgressWatch.kql").read_text("utf-8")
    written = {field.theirs for field in cef.FIELDS}
    assert SENTINEL.keys() <= written
    columns = {value for key, value in SENTINEL.items()}
    shown = dict(re.findall(r"^    (\w+) = (.+?),?$", text, re.MULTILINE))
    used = {name for value in shown.values() for name in re.findall(r"\b[A-Z]\w+\b", re.sub('".*?"', "", value))}
    assert used <= columns | HEADER, used - columns - HEADER
    labels = {"DstGeoCountry": "DstCountry", "Operator": "Operator", "EpisodeId": "EpisodeId", "OwnerSeat": "OwnerSeat",
              "Laws": "Laws", "Verdict": "Verdict", "DstAsn": "DstASN", "Vlan": "Vlan", "Zone": "Zone"}  # fmt: skip
    back = {column: key for key, column in SENTINEL.items()}
    for name, label in labels.items():
        (column,) = {*re.findall(r"\b[A-Z]\w+\b", re.sub('".*?"', "", shown[name]))}
        assert cef.LABELS[back[column]] == label
    projected = re.split(r",\s+", text.partition("| project")[2].strip())
    assert set(projected) - {"TimeGenerated", "EventCount"} == shown.keys()


def security_log(con, kind):
    """Put the golden CEF events of a kind into CommonSecurityLog, each twice, as a delivery that was repeated."""
    for line in golden(f"{kind}.cef"):
        head, extension = read_cef(line)
        row = dict(zip(("DeviceVendor", "DeviceProduct", "", "DeviceEventClassID", "Activity", "LogSeverity"), head,
                       strict=True))  # fmt: skip
        row |= {column: extension[key] for key, column in SENTINEL.items() if key in extension}
        row |= {name: moments.iso(int(row[name]) * 10**6)[:-1] for name in ("StartTime", "EndTime") if name in row}
        del row[""]
        for day in ("2026-11-29", "2026-11-30"):
            names, marks = ", ".join((*row, "TimeGenerated")), ", ".join("?" * (len(row) + 1))
            con.execute(f"INSERT INTO CommonSecurityLog({names}) VALUES ({marks})", [*row.values(), day])


def test_sentinels_function_gives_back_what_was_sent():
    """An engine of KQL runs it: one row an event, doubles dropped, every value the record's own."""
    con = duckdb_kql.connect()
    forms = {name: form for form, names in TYPED.items() for name in names}
    columns = ", ".join(f"{name} {forms.get(name, 'VARCHAR')}" for name in {*SENTINEL.values(), *HEADER})
    con.execute(f"CREATE TABLE CommonSecurityLog({columns})")
    kept = {}
    for kind in KINDS:
        security_log(con, kind)
        kept |= {row["event_id"]: row for row in map(json.loads, golden(f"{kind}.records"))}
    found = duckdb_kql.query(con, (CONTRIB / "sentinel" / "EgressWatch.kql").read_text("utf-8"))
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    con.close()
    assert {row["EventOriginalUid"] for row in rows} == kept.keys()
    assert len(rows) == len(kept)
    for row in rows:
        one = kept[row["EventOriginalUid"]]
        row["Laws"] = json.loads(row["Laws"])
        for name, ours in SHOWN.items():
            assert (row[name] or None) == (one.get(ours) or None), name


def test_grafana_asks_the_database_what_it_can_answer(tmp_path):
    """Every query over the demo's database runs, gives rows where there are some, and no other than it names."""
    day_ms = (1_793_600_000_000, 1_793_700_000_000)
    with sqlite3.connect(f"file:{city_db(tmp_path)}?mode=ro", uri=True) as db:
        for target in targets("sqlite"):
            query = target["queryText"].replace("$__from", str(day_ms[0])).replace("$__to", str(day_ms[1]))
            assert "$" not in query
            ran = db.execute(query)
            found = ran.fetchall()
            assert found, query
            names = [column[0] for column in ran.description]
            assert len(set(names)) == len(names)
            assert target["queryType"] == "table" or names[0] == "time"
    db.close()


def test_grafana_sums_what_the_database_holds(tmp_path):
    """The course of bytes adds up to the bytes of all flows: nothing is counted twice."""
    query = targets("sqlite")[0]["queryText"].replace("$__from", "0").replace("$__to", "9000000000000")
    with sqlite3.connect(f"file:{city_db(tmp_path)}?mode=ro", uri=True) as db:
        shown = sum(row[2] for row in db.execute(query))
        assert shown == db.execute("SELECT sum(bytes_out) FROM flows").fetchone()[0]
    db.close()


def test_the_metrics_asked_for_are_those_listed():
    """Names and labels of every query stand in the table of contrib/README.md."""
    text = (CONTRIB / "README.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| `(egress_watch_\w+)(?:\{(\w+)\})?` \| (?:counter|gauge) \|", text, re.MULTILINE))
    for target in targets("prometheus"):
        (name,) = re.findall(r"egress_watch_\w+", target["expr"])
        grouped = re.findall(r"by \((\w+)\)", target["expr"])
        assert name in listed
        assert set(grouped) <= {listed[name]}


def test_the_metrics_listed_are_those_that_are_given(tmp_path, capsys):
    """Each name and kind of the table is among what the program gives of the demo's database."""
    text = (CONTRIB / "README.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| `(egress_watch_\w+)(?:\{\w+\})?` \| (counter|gauge) \|", text, re.MULTILINE))
    code, said, _ = run(capsys, "metrics", city_db(tmp_path))
    assert code == 0
    assert listed.items() <= dict(re.findall(r"^# TYPE (\w+) (\w+)$", said, re.MULTILINE)).items()


def test_the_metrics_queries_are_promql():
    """A parser of Prometheus' own grammar takes each of them."""
    for target in targets("prometheus"):
        promql_parser.parse(target["expr"].replace("$__rate_interval", "5m"))


@pytest.mark.parametrize("board", DASHBOARDS)
def test_a_grafana_dashboard_has_room_for_each_panel(board):
    """Panels have numbers of their own and lie on the grid of 24 columns without covering each other."""
    tree = json.loads((CONTRIB / "grafana" / f"{board}.json").read_text("utf-8"))
    grids = [panel["gridPos"] for panel in tree["panels"]]
    cells = [(x, y) for g in grids for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert [panel["id"] for panel in tree["panels"]] == [*range(1, len(grids) + 1)]


def test_the_readme_names_every_file():
    """What is there is in the table, or in a folder that is."""
    text = (CONTRIB / "README.md").read_text("utf-8")
    for path in CONTRIB.rglob("*.*"):
        name = path.relative_to(CONTRIB)
        if path.is_file() and path.suffix != ".pyc" and name.parts[0] != "README.md":
            assert str(name) in text or f"`{name.parts[0]}/`" in text or path.suffix == ".py", name
