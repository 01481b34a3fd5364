"""ArcSight Common Event Format, CEF:0: one line an event, a header between bars and an extension of key=value.

In: records. Out: lines. Never: a bar, backslash, double quote or bare equals sign from the wire, at which real
parsers break.

Source: Common Event Format, document version 27. IPv6 addresses have keys of their own there, and a text has a limit.
"""

from __future__ import annotations

from typing import Any

from egress_watch.exports.format import lined
from egress_watch.exports.mapping import Field, Turn, is_v4, pairs
from egress_watch.exports.plain import joined
from egress_watch.exports.record import EXPORTED, FLOW, Record
from egress_watch.exports.times import epoch_ms

PRODUCT = "egress-watch"
ALSO = ("version", "rule", "title", "level", "severity", "zone_as_of")
"""Keys that stand in the header, or within the field of another key."""
LIMITS = {
    "name": 512, "version": 31, "externalId": 40, "msg": 1023, "dhost": 1023, "dvchost": 100, "app": 31, "proto": 31,
    "cat": 1023, "act": 63, "deviceExternalId": 255, "flexString1": 1023, "flexString2": 1023, "reason": 1023,
    "destinationServiceName": 1023,
}  # fmt: skip
LIMIT = 4000
"""Characters that a field may have, where LIMITS names no other."""
LABELS = {
    "c6a2": "Source IPv6 Address", "c6a3": "Destination IPv6 Address", "cs1": "DstCountry", "cs2": "Operator",
    "cs3": "EpisodeId", "cs4": "OwnerSeat", "cs5": "Laws", "cs6": "Verdict", "cn1": "DstASN", "cn2": "Vlan",
    "cn3": "FlowRow", "flexString1": "Zone", "flexString2": "DataFiles",
    "flexNumber1": "Frames", "flexNumber2": "FramesLost", "deviceCustomDate1": "NewestPacket",
    "deviceCustomDate2": "Since", "cfp1": "Waiting", "cfp2": "DataAgeDays", "cfp3": "IntervalSeconds",
    "cfp4": "IPPackets",
}  # fmt: skip
"""What the fields that have no meaning of their own hold."""


def _ms(time_ns: int, _: Record) -> int:
    return epoch_ms(time_ns)


def _upper(text: str, _: Record) -> str:
    return text.upper()


def _family(*, v4: bool) -> Turn:
    return lambda address, _: address if is_v4(address) == v4 else None


def _app(source: str, record: Record) -> str | None:
    return source if source in {"tls", "http"} or record["remote_port"] == 53 else None


def _zone(zone: str, record: Record) -> str:
    return f"{zone} as of {record['zone_as_of']}" if record["zone_as_of"] else zone


FIELDS = (
    Field("event_id", "externalId"),
    Field("action", "act"),
    Field("kind", "cat", lambda kind, _: f"egress/{kind}"),
    Field("kind", "deviceDirection", lambda _, __: 1, EXPORTED),
    Field("time_ns", "rt", _ms),
    Field("first_ns", "start", _ms),
    Field("last_ns", "end", _ms),
    Field("hits", "cnt"),
    Field("sensor", "dvchost"),
    Field("sensor", "deviceExternalId"),
    Field("device_ip", "src", _family(v4=True)),
    Field("device_ip", "c6a2", _family(v4=False)),
    Field("device_port", "spt"),
    Field("device_mac", "smac", _upper),
    Field("remote_ip", "dst", _family(v4=True)),
    Field("remote_ip", "c6a3", _family(v4=False)),
    Field("remote_port", "dpt"),
    Field("name", "dhost"),
    Field("protocol", "proto", _upper),
    Field("name_source", "app", _app),
    Field("bytes_out", "out"),
    Field("bytes_in", "in"),
    Field("country", "cs1"),
    Field("operator", "cs2"),
    Field("owner", "destinationServiceName"),
    Field("episode_id", "cs3"),
    Field("owner_seat", "cs4"),
    Field("laws", "cs5"),
    Field("verdict", "cs6"),
    Field("asn", "cn1"),
    Field("vlan", "cn2"),
    Field("last_flow", "cn3"),
    Field("id", "cn3", None, (FLOW,)),
    Field("zone", "flexString1", _zone),
    Field("data", "flexString2"),
    Field("end_reason", "reason"),
    Field("state", "outcome"),
    Field("frames", "flexNumber1"),
    Field("lost", "flexNumber2"),
    Field("newest_ns", "deviceCustomDate1", _ms),
    Field("since_ns", "deviceCustomDate2", _ms),
    Field("waiting", "cfp1"),
    Field("data_age_days", "cfp2"),
    Field("interval_s", "cfp3"),
    Field("ip_packets", "cfp4"),
    Field("why", "msg"),
)


def line(record: Record) -> str:
    """Return one event; each key at most once, with its label where its meaning is ours."""
    extension = " ".join(f"{_label(key)}{key}={_value(key, value)}" for key, value in pairs(record, FIELDS))
    return f"{_header(record)}|{extension}"


def _header(record: Record) -> str:
    kind = record["kind"]
    name = record.get("title") or kind.capitalize()
    event_class = record.get("rule") or kind
    heads = (PRODUCT, PRODUCT, _cut("version", record["version"] or ""), _cut("", event_class), _cut("name", name))
    return "|".join(("CEF:0", *heads, str(record["severity"])))


def _label(key: str) -> str:
    return f"{key}Label={LABELS[key]} " if key in LABELS else ""


def _value(key: str, value: Any) -> str:
    text = joined(value) if isinstance(value, list) else str(value)
    return _cut(key, text).replace("=", "\\=")


def _cut(key: str, text: str) -> str:
    """Return the text without bars, backslashes and double quotes, within the limit of its key."""
    safe, limit = text.replace("|", "/").replace("\\", "/").replace('"', "'").strip(" "), LIMITS.get(key, LIMIT)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


CEF = lined("cef", "ArcSight Common Event Format, CEF:0", line)
