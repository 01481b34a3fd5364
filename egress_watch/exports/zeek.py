"""Zeek's conn.log, as tab-separated values and as JSON: for RITA, and for whatever else lives on Zeek's logs.

In: records of flows. Out: lines. Never: a count Zeek would understand otherwise; what we do not know is unset.

Our bytes are counted from the IP header, as ``orig_ip_bytes`` are; payload bytes (``orig_bytes``) are not known.
Source: Book of Zeek, log formats and conn.log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from egress_watch.exports.format import Format, json_line, lined
from egress_watch.exports.identity import number_of
from egress_watch.exports.mapping import Field, heard_by, pairs
from egress_watch.exports.record import FLOW, Record
from egress_watch.exports.times import epoch_s

UNSET, EMPTY = "-", "(empty)"
UID_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
SERVICES = {"tls": "ssl", "http": "http"}
_KNOWN = {"tcp", "udp", "icmp"}


def _uid(event: str, _: Record) -> str:
    """Return a connection's id in Zeek's shape: C and 17 of 62 characters."""
    number, text = number_of(event, 101), "C"
    for _digit in range(17):
        number, at = divmod(number, 62)
        text += UID_CHARACTERS[at]
    return text


def _proto(protocol: str, _: Record) -> str:
    protocol = "icmp" if protocol == "ipv6-icmp" else protocol
    return protocol if protocol in _KNOWN else "unknown_transport"


FIELDS = (
    Field("first_ns", "ts:time"),
    Field("event_id", "uid:string", _uid),
    Field("device_ip", "id.orig_h:addr"),
    Field("device_port", "id.orig_p:port"),
    Field("remote_ip", "id.resp_h:addr"),
    Field("remote_port", "id.resp_p:port"),
    Field("protocol", "proto:enum", _proto),
    Field("name_source", "service:string", lambda source, _: SERVICES.get(source)),
    Field("duration_ns", "duration:interval"),
    Field("kind", "orig_bytes:count", lambda _, __: None),
    Field("kind", "resp_bytes:count", lambda _, __: None),
    Field("kind", "conn_state:string", lambda _, __: None),
    Field("kind", "local_orig:bool", lambda _, __: True),
    Field("location_status", "local_resp:bool", lambda status, _: status == "local"),
    Field("packets_out", "orig_pkts:count"),
    Field("bytes_out", "orig_ip_bytes:count"),
    Field("packets_in", "resp_pkts:count"),
    Field("bytes_in", "resp_ip_bytes:count"),
    Field("vlan", "vlan:int"),
    Field("device_mac", "orig_l2_addr:string"),
    Field("community_id", "community_id:string"),
    Field("name", "server_name:string", heard_by("tls")),
    Field("name", "resp_name:string"),
    Field("country", "resp_cc:string"),
    Field("asn", "resp_asn:count"),
    Field("as_name", "resp_as_name:string"),
    Field("operator", "resp_operator:string"),
    Field("region", "resp_region:string"),
    Field("owner", "resp_owner:string"),
    Field("owner_seat", "resp_owner_seat:string"),
    Field("laws", "resp_laws:set[string]"),
    Field("ties", "resp_ties:vector[string]"),
    Field("location_status", "resp_location_status:string"),
    Field("countries", "resp_countries:vector[string]"),
    Field("evidence", "resp_evidence:string"),
    Field("note", "resp_note:string"),
    Field("zone", "zone:string"),
    Field("zone_as_of", "zone_as_of:string"),
    Field("verdict", "verdict:string"),
    Field("why", "verdict_why:string"),
    Field("data", "verdict_data:vector[string]"),
    Field("end_reason", "end_reason:string"),
    Field("id", "flow_row:count"),
    Field("event_id", "event_id:string"),
    Field("sensor", "peer:string"),
)
"""Zeek's own fields first, as far as a flow record can know them; ours behind, with Zeek's types."""
NAMES = tuple(field.theirs.partition(":")[0] for field in FIELDS)
TYPES = tuple(field.theirs.partition(":")[2] for field in FIELDS)


def encode(records: Iterable[Record], _: str) -> Iterator[str]:
    """Yield the header, one line a flow, and the end."""
    yield "#separator \\x09"
    heads = ("set_separator\t,", f"empty_field\t{EMPTY}", f"unset_field\t{UNSET}", "path\tconn")
    yield from (f"#{head}" for head in heads)
    yield "\t".join(("#fields", *NAMES))
    yield "\t".join(("#types", *TYPES))
    for record in records:
        known = dict(pairs(record, FIELDS))
        yield "\t".join(_cell(known.get(field.theirs), form) for field, form in zip(FIELDS, TYPES, strict=True))


def line(record: Record) -> str:
    """Return one flow as Zeek's JSON writes it: flat, unset fields left out, times as numbers."""
    known = ((theirs.partition(":"), value) for theirs, value in pairs(record, FIELDS))
    return json_line({name: _number(value, form) for (name, _, form), value in known})


def _number(value: Any, form: str) -> Any:
    return float(epoch_s(value)) if form in {"time", "interval"} else value


def _cell(value: Any, form: str) -> str:
    if value is None:
        return UNSET
    if form in {"time", "interval"}:
        return epoch_s(value)
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, list):
        return ",".join(_text(item).replace(",", "\\x2c") for item in value)
    return _text(str(value))


def _text(text: str) -> str:
    """Return a text that no reader takes for an escape, or for an unset or empty field; a record has no tab."""
    if text in {UNSET, EMPTY}:
        return f"\\x{ord(text[0]):02x}{text[1:]}"
    return text.replace("\\", "\\x5c")


ZEEK = Format("zeek", "Zeek conn.log, tab-separated", encode, None, (FLOW,))
ZEEK_JSON = lined("zeek-json", "Zeek conn.log, JSON", line, (FLOW,))
