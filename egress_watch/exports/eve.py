"""Suricata's EVE JSON, events ``alert``, ``flow`` and ``stats``: whatever reads Suricata reads this.

In: records. Out: lines of JSON. Never: a key at the top that Suricata's own schema does not know.

Ours goes where Suricata lets a rule say more: an alert's ``metadata`` (a list of texts by key), a flow's
``metadata.flowvars`` (a list of objects of one key), and the counters of a heartbeat. Source: Suricata user guide, EVE
JSON format.
"""

from __future__ import annotations

from typing import Any

from egress_watch.exports.format import json_line, lined
from egress_watch.exports.identity import number_of
from egress_watch.exports.mapping import Field, Turn, heard_by, pairs, shapes, tree
from egress_watch.exports.record import ALERT, EXPORTED, FLOW, HEARTBEAT, Record
from egress_watch.exports.severity import severity
from egress_watch.exports.times import SECOND_NS, iso_micro

FLOW_ID_BITS = 53
"""What a reader of JSON that knows only floating-point numbers keeps exactly."""
FIRST_SID = 1_000_000_000
"""Signature ids from here on, below 2^31, are a digest of the rule's id: nobody else gives such out."""
SID_BITS = 29
REASONS = {"idle": "timeout", "active": "forced", "evicted": "forced", "end": "shutdown"}
FIXED: dict[str, dict[str, Any]] = {
    ALERT: {"event_type": "alert", "alert.action": "allowed", "alert.gid": 1, "alert.rev": 1},
    FLOW: {"event_type": "flow"},
    HEARTBEAT: {"event_type": "stats"},
}


def _when(time_ns: int, _: Record) -> str:
    return iso_micro(time_ns)


def _flow_id(row: int, _: Record) -> int:
    return row & ((1 << FLOW_ID_BITS) - 1)


def _state(packets_in: int, record: Record) -> str:
    if record["end_reason"] in {"fin", "rst"}:
        return "closed"
    return "established" if packets_in else "new"


def _proto(protocol: str, _: Record) -> str:
    return "IPv6-ICMP" if protocol == "ipv6-icmp" else protocol.upper()


FIELDS = (
    Field("time_ns", "timestamp", _when),
    Field("id", "flow_id", _flow_id, (FLOW,)),
    Field("last_flow", "flow_id", _flow_id),
    Field("sensor", "host"),
    Field("vlan", "vlan", lambda vlan, _: [vlan]),
    Field("device_ip", "src_ip"),
    Field("device_port", "src_port"),
    Field("remote_ip", "dest_ip"),
    Field("remote_port", "dest_port"),
    Field("protocol", "proto", _proto),
    Field("community_id", "community_id"),
    Field("name_source", "app_proto", lambda source, _: source if source in {"tls", "http"} else None),
    Field("name", "tls.sni", heard_by("tls")),
    Field("name", "http.hostname", heard_by("http")),
    Field("rule", "alert.signature_id", lambda rule, _: FIRST_SID + number_of(rule, SID_BITS)),
    Field("title", "alert.signature"),
    Field("kind", "alert.category", lambda _, __: "Potential Corporate Privacy Violation", (ALERT,)),
    Field("level", "alert.severity", lambda level, _: severity(level).eve, (ALERT,)),
    Field("first_ns", "flow.start", _when),
    Field("last_ns", "flow.end", _when, (FLOW,)),
    Field("bytes_out", "flow.bytes_toserver"),
    Field("bytes_in", "flow.bytes_toclient"),
    Field("packets_out", "flow.pkts_toserver"),
    Field("packets_in", "flow.pkts_toclient"),
    Field("duration_ns", "flow.age", lambda duration_ns, _: duration_ns // SECOND_NS, (FLOW,)),
    Field("packets_in", "flow.state", _state),
    Field("end_reason", "flow.reason", lambda reason, _: REASONS.get(reason, "timeout")),
    Field("frames", "stats.capture.kernel_packets_delta"),
    Field("lost", "stats.capture.kernel_drops_delta"),
    Field("ip_packets", "stats.decoder.pkts_delta"),
    *(Field(ours, f"stats.egress_watch.{ours}", None, (HEARTBEAT,)) for ours in (
        "event_id", "level", "why", "version", "recording", "state", "interval_s", "waiting", "data_age_days",
    )),
    Field("since_ns", "stats.egress_watch.since", _when),
    Field("newest_ns", "stats.egress_watch.newest_packet", _when),
)  # fmt: skip


def _texts(value: Any, _: Record) -> list[str]:
    return value if isinstance(value, list) else [str(value)]


def _seen(time_ns: int, _: Record) -> list[str]:
    return [iso_micro(time_ns)]


def _more(ours: str, turn: Turn = _texts, kinds: tuple[str, ...] = EXPORTED) -> Field:
    return Field(ours, f"egress_watch_{ours.removesuffix('_ns')}", turn, kinds)


METADATA = (
    _more("event_id"),
    _more("episode_id"),
    _more("action"),
    _more("level"),
    _more("rule"),
    _more("hits"),
    _more("last_ns", _seen, (ALERT,)),
    _more("device_mac"),
    _more("name"),
    _more("name_source"),
    _more("name_ns", _seen),
    _more("other_names"),
    _more("device_name"),
    _more("site"),
    _more("segment"),
    _more("segment_class"),
    _more("country"),
    _more("location_status"),
    _more("countries"),
    _more("evidence"),
    _more("note"),
    _more("asn"),
    _more("as_name"),
    _more("operator"),
    _more("region"),
    _more("owner"),
    _more("owner_seat"),
    _more("laws"),
    _more("ties"),
    _more("verdict"),
    _more("why"),
    _more("zone"),
    _more("zone_as_of"),
    _more("data"),
    _more("end_reason"),
    _more("version"),
    _more("recording"),
    _more("id"),
    _more("first_flow"),
)
"""What stands in an alert's ``alert.metadata`` as lists, and in a flow's ``metadata.flowvars`` one by one."""
_SHAPES = shapes(FIELDS, FIXED)


def line(record: Record) -> str:
    """Return one event."""
    event = tree(record, _SHAPES)
    more = list(pairs(record, METADATA))
    if record["kind"] == ALERT:
        event["alert"]["metadata"] = dict(more)
    elif record["kind"] == FLOW:
        event["metadata"] = {"flowvars": [{key: text} for key, texts in more for text in texts]}
    return json_line(event)


EVE = lined("eve", "Suricata EVE JSON: alert, flow and stats", line)
