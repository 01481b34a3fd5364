"""IBM Log Event Extended Format 2.0: one line an event, a header between bars and key=value between tabs.

In: records. Out: lines. Never: a tab or line break in a value: LEEF has no way to escape one.

Source: IBM, Log Event Extended Format (LEEF), version 2.0. The delimiter is named in the header, as ``x09``.
"""

from __future__ import annotations

from typing import Any

from egress_watch.exports.format import lined
from egress_watch.exports.mapping import Field, pairs
from egress_watch.exports.plain import joined
from egress_watch.exports.record import ALERT, FLOW, Record
from egress_watch.exports.times import epoch_ms, iso

PRODUCT = "egress-watch"
ALSO = ("version", "rule")
"""Keys that stand in the header."""
DELIMITER = "\t"
EVENT_ID_CHARACTERS = 255


def _when(time_ns: int, _: Record) -> str:
    return iso(time_ns)


FIELDS = (
    Field("kind", "cat", lambda kind, _: f"egress/{kind}"),
    Field("time_ns", "devTime", lambda time_ns, _: epoch_ms(time_ns)),
    Field("severity", "sev"),
    Field("device_ip", "src"),
    Field("device_port", "srcPort"),
    Field("device_mac", "srcMAC"),
    Field("remote_ip", "dst"),
    Field("remote_port", "dstPort"),
    Field("protocol", "proto", lambda protocol, _: protocol.upper()),
    Field("bytes_out", "srcBytes"),
    Field("bytes_in", "dstBytes"),
    Field("packets_out", "srcPackets"),
    Field("packets_in", "dstPackets"),
    Field("title", "policy"),
    Field("event_id", "eventId"),
    Field("episode_id", "episodeId"),
    Field("action", "action"),
    Field("hits", "hits"),
    Field("first_ns", "firstSeen", _when),
    Field("last_ns", "lastSeen", _when),
    Field("sensor", "sensor"),
    Field("vlan", "vlan"),
    Field("community_id", "communityId"),
    Field("name", "dstName"),
    Field("name_source", "dstNameSource"),
    Field("name_ns", "dstNameHeard", _when),
    Field("other_names", "dstOtherNames"),
    Field("device_name", "srcName"),
    Field("site", "site"),
    Field("segment", "segment"),
    Field("segment_class", "segmentClass"),
    Field("country", "dstCountry"),
    Field("location_status", "locationStatus"),
    Field("countries", "countries"),
    Field("evidence", "evidence"),
    Field("note", "note"),
    Field("asn", "dstAsn"),
    Field("as_name", "dstAsName"),
    Field("operator", "operator"),
    Field("region", "region"),
    Field("owner", "owner"),
    Field("owner_seat", "ownerSeat"),
    Field("laws", "laws"),
    Field("ties", "ties"),
    Field("verdict", "verdict"),
    Field("zone", "zone"),
    Field("zone_as_of", "zoneAsOf"),
    Field("why", "reason"),
    Field("data", "dataFiles"),
    Field("end_reason", "endReason", None, (FLOW,)),
    Field("recording", "recording"),
    Field("id", "row"),
    Field("first_flow", "firstFlow", None, (ALERT,)),
    Field("last_flow", "lastFlow", None, (ALERT,)),
    Field("state", "state"),
    Field("interval_s", "intervalSeconds"),
    Field("since_ns", "since", _when),
    Field("newest_ns", "newestPacket", _when),
    Field("frames", "frames"),
    Field("ip_packets", "ipPackets"),
    Field("lost", "framesLost"),
    Field("waiting", "waiting"),
    Field("data_age_days", "dataAgeDays"),
)
"""The first fourteen are keys that LEEF predefines; the others are custom keys, which QRadar can map."""


def line(record: Record) -> str:
    """Return one event; the event id of the header is the rule, so that it is the same for all its alerts."""
    event = record.get("rule") or record["kind"]
    heads = (PRODUCT, PRODUCT, record["version"] or "", event[:EVENT_ID_CHARACTERS], "x09")
    header = "|".join(("LEEF:2.0", *(_harmless(head).replace("|", "/") for head in heads)))
    return f"{header}|{DELIMITER.join(f'{key}={_value(value)}' for key, value in pairs(record, FIELDS))}"


def _value(value: Any) -> str:
    """Return a value without spaces at its ends, which readers cut off anyway."""
    return _harmless(joined(value) if isinstance(value, list) else str(value)).strip(" ")


def _harmless(text: str) -> str:
    """Return a text without backslashes and double quotes: LEEF gives them no meaning, yet some readers do."""
    return text.replace("\\", "/").replace('"', "'")


LEEF = lined("leef", "IBM Log Event Extended Format 2.0", line)
