"""Elastic Common Schema 9.4: one JSON object a line, ready for Elasticsearch, OpenSearch and whatever reads ECS.

In: records. Out: lines of JSON. Never: a field of ECS with another type or meaning than ECS gives it.

What ECS has no field for stands under ``egress_watch``. Source: the ECS field reference, version 9.4.
"""

from __future__ import annotations

from typing import Any

from egress_watch.exports.format import json_line, lined
from egress_watch.exports.mapping import Field, heard_by, is_v4, shapes, tree
from egress_watch.exports.record import ALERT, FLOW, HEARTBEAT, Record
from egress_watch.exports.severity import severity
from egress_watch.exports.times import iso

ECS_VERSION = "9.4.0"
_ALL = {
    "ecs.version": ECS_VERSION, "event.module": "egress_watch",
    "observer.vendor": "egress-watch", "observer.product": "egress-watch", "observer.type": "sensor",
}  # fmt: skip
_BOTH = {**_ALL, "network.direction": "outbound"}
FIXED: dict[str, dict[str, Any]] = {
    ALERT: {
        **_BOTH, "event.kind": "alert", "event.category": ["network", "intrusion_detection"],
        "event.type": ["connection", "info"], "event.dataset": "egress_watch.alert", "rule.ruleset": "egress-watch",
    },
    FLOW: {
        **_BOTH, "event.kind": "event", "event.category": ["network"], "event.type": ["connection"],
        "event.dataset": "egress_watch.flow",
    },
    HEARTBEAT: {**_ALL, "event.kind": "state", "event.type": ["info"], "event.dataset": "egress_watch.heartbeat"},
}  # fmt: skip


def _when(time_ns: int, _: Record) -> str:
    return iso(time_ns)


def _mac(mac: str, _: Record) -> str:
    """Return a MAC as ECS wants it: upper case, with hyphens (RFC 7042)."""
    return mac.upper().replace(":", "-")


def _text(value: Any, _: Record) -> str:
    return str(value)


def _both_ips(remote: str, record: Record) -> list[str]:
    return [address for address in (record["device_ip"], remote) if address]


FIELDS = (
    Field("time_ns", "@timestamp", _when),
    Field("event_id", "event.id"),
    Field("first_ns", "event.start", _when),
    Field("last_ns", "event.end", _when),
    Field("duration_ns", "event.duration"),
    Field("action", "event.action"),
    Field("level", "event.severity", lambda level, _: severity(level).ecs),
    Field("level", "event.risk_score", lambda level, _: float(severity(level).ecs), (ALERT,)),
    Field("why", "event.reason"),
    Field("why", "message"),
    Field("title", "rule.name"),
    Field("rule", "rule.id"),
    Field("rule", "rule.uuid"),
    Field("sensor", "observer.name"),
    Field("version", "observer.version"),
    Field("device_ip", "source.ip"),
    Field("device_ip", "source.address"),
    Field("device_port", "source.port"),
    Field("device_mac", "source.mac", _mac),
    Field("bytes_out", "source.bytes"),
    Field("packets_out", "source.packets"),
    Field("remote_ip", "destination.ip"),
    Field("remote_ip", "destination.address", lambda remote, record: record["name"] or remote),
    Field("remote_port", "destination.port"),
    Field("name", "destination.domain"),
    Field("bytes_in", "destination.bytes"),
    Field("packets_in", "destination.packets"),
    Field("country", "destination.geo.country_iso_code"),
    Field("asn", "destination.as.number"),
    Field("as_name", "destination.as.organization.name"),
    Field("name", "tls.client.server_name", heard_by("tls")),
    Field("name", "url.domain", heard_by("http")),
    Field("protocol", "network.transport"),
    Field("protocol_number", "network.iana_number", _text),
    Field("remote_ip", "network.type", lambda remote, _: "ipv4" if is_v4(remote) else "ipv6"),
    Field("community_id", "network.community_id"),
    Field("bytes", "network.bytes"),
    Field("packets", "network.packets"),
    Field("vlan", "network.vlan.id", _text),
    Field("remote_ip", "related.ip", _both_ips),
    Field("name", "related.hosts", lambda name, record: [name, *(record["other_names"] or ())]),
    Field("level", "egress_watch.level"),
    Field("episode_id", "egress_watch.episode_id"),
    Field("hits", "egress_watch.hits"),
    Field("verdict", "egress_watch.verdict"),
    Field("zone", "egress_watch.zone"),
    Field("zone_as_of", "egress_watch.zone_as_of"),
    Field("owner", "egress_watch.owner"),
    Field("owner_seat", "egress_watch.owner_seat"),
    Field("operator", "egress_watch.operator"),
    Field("region", "egress_watch.region"),
    Field("laws", "egress_watch.laws"),
    Field("ties", "egress_watch.ties"),
    Field("location_status", "egress_watch.location_status"),
    Field("countries", "egress_watch.countries"),
    Field("evidence", "egress_watch.evidence"),
    Field("note", "egress_watch.note"),
    Field("name_source", "egress_watch.name_source"),
    Field("name_ns", "egress_watch.name_heard", _when),
    Field("other_names", "egress_watch.other_names"),
    Field("device_name", "egress_watch.device_name"),
    Field("site", "egress_watch.site"),
    Field("segment", "egress_watch.segment"),
    Field("segment_class", "egress_watch.segment_class"),
    Field("end_reason", "egress_watch.end_reason"),
    Field("data", "egress_watch.data"),
    Field("recording", "egress_watch.recording"),
    Field("id", "egress_watch.row"),
    Field("first_flow", "egress_watch.first_flow"),
    Field("last_flow", "egress_watch.last_flow"),
    Field("state", "egress_watch.state"),
    Field("interval_s", "egress_watch.interval_s"),
    Field("since_ns", "egress_watch.since", _when),
    Field("newest_ns", "egress_watch.newest_packet", _when),
    Field("frames", "egress_watch.frames"),
    Field("ip_packets", "egress_watch.ip_packets"),
    Field("lost", "egress_watch.lost"),
    Field("waiting", "egress_watch.waiting"),
    Field("data_age_days", "egress_watch.data_age_days"),
)
_SHAPES = shapes(FIELDS, FIXED)


def line(record: Record) -> str:
    """Return one event."""
    return json_line(tree(record, _SHAPES))


ECS = lined("ecs", "Elastic Common Schema 9.4, JSON", line)
