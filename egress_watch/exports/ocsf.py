"""Open Cybersecurity Schema Framework 1.8: Detection Finding (2004), Network Activity (4001), Application Lifecycle.

In: records. Out: lines of JSON. Never: an attribute that the class does not have, which strict receivers refuse.

What OCSF has no attribute for is an enrichment of the destination's address. A heartbeat is Application Lifecycle
(6002) of activity Other: no finding, since finding classes are what receivers count as alerts. Source: the OCSF schema,
version 1.8.0.
"""

from __future__ import annotations

from typing import Any

from egress_watch.exports.format import json_line, lined
from egress_watch.exports.mapping import Field, is_v4, shapes, tree
from egress_watch.exports.record import ACTIONS, ALERT, FLOW, HEARTBEAT, Record
from egress_watch.exports.severity import severity
from egress_watch.exports.times import epoch_ms

OCSF_VERSION = "1.8.0"
EVIDENCE = "evidences[]."
STATUSES = {"create": (1, "New"), "update": (2, "In Progress"), "close": (4, "Resolved")}
LEVELS = ("Unknown", "Informational", "Low", "Medium", "High", "Critical")
_ALL = {
    "metadata.version": OCSF_VERSION, "metadata.product.name": "egress-watch",
    "metadata.product.vendor_name": "egress-watch",
}  # fmt: skip
_BOTH = {
    **_ALL, "enrichments[].name": "dst_endpoint.ip",
    "enrichments[].type": "sovereignty", "enrichments[].provider": "egress-watch",
}  # fmt: skip
FIXED: dict[str, dict[str, Any]] = {
    ALERT: {
        "class_uid": 2004, "class_name": "Detection Finding", "category_uid": 2, "category_name": "Findings",
        "is_alert": True, "finding_info.analytic.type_id": 1, "finding_info.analytic.type": "Rule",
        "metadata.log_name": "egress_watch.alert", **_BOTH,
    },
    FLOW: {
        "class_uid": 4001, "class_name": "Network Activity", "category_uid": 4, "category_name": "Network Activity",
        "activity_id": 6, "activity_name": "Traffic", "type_uid": 400106, "metadata.log_name": "egress_watch.flow",
        **_BOTH,
    },
    HEARTBEAT: {
        "class_uid": 6002, "class_name": "Application Lifecycle", "category_uid": 6,
        "category_name": "Application Activity", "activity_id": 99, "activity_name": "Heartbeat", "type_uid": 600299,
        "app.name": "egress-watch", "app.vendor_name": "egress-watch", "status_id": 99,
        "metadata.log_name": "egress_watch.heartbeat", **_ALL,
    },
}  # fmt: skip


def _ms(time_ns: int, _: Record) -> int:
    return epoch_ms(time_ns)


def _text(value: Any, _: Record) -> str:
    return str(value)


def _endpoints(prefix: str, kind: str) -> list[Field]:
    """Return both ends and the connection: of a flow itself, of an alert as its evidence."""
    outbound = "connection_info.direction_id"
    fields = (
        Field("device_ip", "src_endpoint.ip"),
        Field("device_port", "src_endpoint.port"),
        Field("device_mac", "src_endpoint.mac"),
        Field("vlan", "src_endpoint.vlan_uid", _text),
        Field("remote_ip", "dst_endpoint.ip"),
        Field("remote_port", "dst_endpoint.port"),
        Field("name", "dst_endpoint.hostname"),
        Field("country", "dst_endpoint.location.country"),
        Field("asn", "dst_endpoint.autonomous_system.number"),
        Field("as_name", "dst_endpoint.autonomous_system.name"),
        Field("operator", "dst_endpoint.isp_org"),
        Field("kind", outbound, lambda _, __: 2),
        Field("protocol", "connection_info.protocol_name"),
        Field("protocol_number", "connection_info.protocol_num"),
        Field("remote_ip", "connection_info.protocol_ver_id", lambda remote, _: 4 if is_v4(remote) else 6),
        Field("location_status", "connection_info.boundary_id", lambda status, _: 2 if status == "local" else 3),
        Field("community_id", "connection_info.community_uid"),
    )
    return [field._replace(theirs=prefix + field.theirs, kinds=(kind,)) for field in fields]


def _observables(remote: str, record: Record) -> list[dict[str, Any]]:
    """Return what an analyst searches for; the type ids are those of OCSF's observable object."""
    found = (
        ("src_endpoint.ip", "IP Address", 2, record["device_ip"]), ("dst_endpoint.ip", "IP Address", 2, remote),
        ("dst_endpoint.hostname", "Hostname", 1, record["name"]),
    )  # fmt: skip
    prefix = EVIDENCE.replace("[]", "[0]") if record["kind"] == ALERT else ""
    return [
        {"name": prefix + name, "type": called, "type_id": number, "value": value}
        for name, called, number, value in found
        if value
    ]


FIELDS = (
    Field("time_ns", "time", _ms),
    Field("first_ns", "start_time", _ms),
    Field("last_ns", "end_time", _ms),
    Field("duration_ns", "duration", _ms),
    Field("event_id", "metadata.uid"),
    Field("version", "metadata.product.version"),
    Field("sensor", "metadata.reporter.name"),
    Field("level", "severity_id", lambda level, _: severity(level).ocsf),
    Field("level", "severity", lambda level, _: LEVELS[severity(level).ocsf]),
    Field("level", "risk_level_id", lambda level, _: severity(level).ocsf_risk, (ALERT,)),
    Field("action", "activity_id", lambda action, _: ACTIONS.index(action) + 1),
    Field("action", "type_uid", lambda action, _: 200401 + ACTIONS.index(action)),
    Field("action", "status_id", lambda action, _: STATUSES[action][0]),
    Field("action", "status", lambda action, _: STATUSES[action][1]),
    Field("why", "message"),
    Field("why", "finding_info.desc", None, (ALERT,)),
    Field("episode_id", "finding_info.uid"),
    Field("title", "finding_info.title"),
    Field("title", "finding_info.analytic.name"),
    Field("rule", "finding_info.analytic.uid"),
    Field("first_ns", "finding_info.first_seen_time", _ms, (ALERT,)),
    Field("last_ns", "finding_info.last_seen_time", _ms, (ALERT,)),
    Field("hits", "finding_info.related_events_count"),
    Field("hits", "count"),
    Field("data", "finding_info.data_sources", None, (ALERT,)),
    *_endpoints(EVIDENCE, ALERT),
    Field("bytes_out", "evidences[].data.bytes_out", None, (ALERT,)),
    Field("bytes_in", "evidences[].data.bytes_in", None, (ALERT,)),
    Field("first_flow", "evidences[].data.first_flow"),
    Field("last_flow", "evidences[].data.last_flow"),
    *_endpoints("", FLOW),
    Field("bytes_out", "traffic.bytes_out", None, (FLOW,)),
    Field("bytes_in", "traffic.bytes_in", None, (FLOW,)),
    Field("bytes", "traffic.bytes", None, (FLOW,)),
    Field("packets_out", "traffic.packets_out"),
    Field("packets_in", "traffic.packets_in"),
    Field("packets", "traffic.packets"),
    Field("remote_ip", "observables", _observables),
    Field("remote_ip", "enrichments[].value"),
    Field("verdict", "enrichments[].data.verdict"),
    Field("zone", "enrichments[].data.zone"),
    Field("zone_as_of", "enrichments[].data.zone_as_of"),
    Field("owner", "enrichments[].data.owner"),
    Field("owner_seat", "enrichments[].data.owner_seat"),
    Field("operator", "enrichments[].data.operator"),
    Field("region", "enrichments[].data.region"),
    Field("laws", "enrichments[].data.laws"),
    Field("ties", "enrichments[].data.ties"),
    Field("location_status", "enrichments[].data.location_status"),
    Field("countries", "enrichments[].data.countries"),
    Field("evidence", "enrichments[].data.evidence"),
    Field("note", "enrichments[].data.note"),
    Field("name_source", "enrichments[].data.name_source"),
    Field("name_ns", "enrichments[].data.name_heard", _ms),
    Field("other_names", "enrichments[].data.other_names"),
    Field("device_name", "enrichments[].data.device_name"),
    Field("site", "enrichments[].data.site"),
    Field("segment", "enrichments[].data.segment"),
    Field("segment_class", "enrichments[].data.segment_class"),
    Field("data", "enrichments[].data.data"),
    Field("end_reason", "unmapped.end_reason"),
    Field("recording", "unmapped.recording"),
    Field("id", "unmapped.row"),
    Field("version", "app.version", None, (HEARTBEAT,)),
    Field("state", "status"),
    Field("since_ns", "start_time", _ms),
    Field("interval_s", "unmapped.interval_s"),
    Field("newest_ns", "unmapped.newest_packet", _ms),
    Field("frames", "unmapped.frames"),
    Field("ip_packets", "unmapped.ip_packets"),
    Field("lost", "unmapped.lost"),
    Field("waiting", "unmapped.waiting"),
    Field("data_age_days", "unmapped.data_age_days"),
)
_SHAPES = shapes(FIELDS, FIXED)


def line(record: Record) -> str:
    """Return one event."""
    return json_line(tree(record, _SHAPES))


OCSF = lined("ocsf", "OCSF 1.8: Detection Finding and Network Activity, JSON", line)
