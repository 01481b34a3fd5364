"""Rows as the store gives them, with any text in them, and strict readers of formats that have no reader in Python."""

from __future__ import annotations

import re
from struct import unpack_from

from hypothesis import strategies as st

from egress_watch.exports.record import ALERT, FLOW, Origin, heartbeat, record
from egress_watch.exports.severity import SEVERITIES
from egress_watch.model import END_REASONS

HOSTILE = [
    "\x1b[31mred\x1b]0;title\x07", "=cmd()", "+1", "@SUM(A1)", "\t=1", "a\r\nCEF:0|x|y|z|1|n|10|src=1.1.1.1",
    "\u202egnp.exe", "\ud800", "a\\", "a\\|b", "|", "=", "a=b c=d", " dst=6.6.6.6 ", "\\", "\\=", "\\n", '"', '","',
    "a,b", "\x00", "\u2028",
    "é✓", "-", "(empty)", "\\x09", "]", "}", "$(id)", "%0a", "'", "<script>", "{{x}}", "x09", "\u200f", "x" * 65_536,
    "\x1b" * 65_536, "😀" * 5000,
]  # fmt: skip
ECS_FIELDS = {
    "@timestamp": "date", "message": "match_only_text", "ecs.version": "keyword", "event.id": "keyword",
    "event.module": "keyword", "event.dataset": "keyword", "event.kind": "keyword", "event.category": "keyword[]",
    "event.type": "keyword[]", "event.action": "keyword", "event.start": "date", "event.end": "date",
    "event.duration": "long", "event.severity": "long", "event.risk_score": "float", "event.reason": "keyword",
    "rule.id": "keyword", "rule.uuid": "keyword", "rule.name": "keyword", "rule.ruleset": "keyword",
    "observer.name": "keyword", "observer.type": "keyword", "observer.vendor": "keyword",
    "observer.product": "keyword", "observer.version": "keyword", "source.ip": "ip", "source.address": "keyword",
    "source.port": "long", "source.mac": "mac", "source.bytes": "long", "source.packets": "long",
    "destination.ip": "ip", "destination.address": "keyword", "destination.port": "long",
    "destination.domain": "keyword", "destination.bytes": "long", "destination.packets": "long",
    "destination.geo.country_iso_code": "keyword", "destination.as.number": "long",
    "destination.as.organization.name": "keyword", "network.transport": "keyword", "network.iana_number": "keyword",
    "network.type": "keyword", "network.direction": "keyword", "network.community_id": "keyword",
    "network.bytes": "long", "network.packets": "long", "network.vlan.id": "keyword",
    "tls.client.server_name": "keyword", "url.domain": "keyword", "related.ip": "ip[]", "related.hosts": "keyword[]",
}  # fmt: skip
"""Fields of the ECS reference that we write, with their types; ``[]`` where the reference asks for an array."""
texts = st.text(st.characters(), max_size=40) | st.sampled_from(HOSTILE)
whole = st.integers(0, 2**63 - 1)
times = st.integers(-(2**63), 2**63 - 1)
ports = st.integers(0, 65_535)
protocols = st.sampled_from(["tcp", "udp", "icmp", "ipv6-icmp", "sctp", "253"])
maybe = st.none() | texts
places = {
    "country": st.none() | st.sampled_from(["CN", "IE"]), "countries": st.lists(texts, max_size=3),
    "location_status": st.sampled_from(["declared", "local", "anycast"]), "asn": st.none() | st.integers(1, 2**32 - 1),
    "as_name": maybe, "provider": maybe, "region": maybe, "owner": maybe, "owner_seat": maybe,
    "laws": st.lists(texts, max_size=3), "ties": st.lists(texts, max_size=3), "zone": texts,
    "verdict": st.sampled_from(["IN", "OWN", "OUT", "UNKNOWN"]), "why": texts, "evidence": maybe, "note": maybe,
    "data": st.lists(st.fixed_dictionaries({"name": texts, "built": texts}), max_size=2),
}  # fmt: skip
ends = st.sampled_from([4, 6]).flatmap(lambda v: st.tuples(*[st.ip_addresses(v=v).map(str)] * 2))
"""Both ends of a flow are of one IP version."""


def _rows(columns: dict) -> st.SearchStrategy[dict]:
    return st.builds(
        lambda row, both: {**row, "device_ip": both[0], "remote_ip": both[1]}, st.fixed_dictionaries(columns), ends
    )


flow_rows = _rows({
    "id": whole, "recording": st.integers(1, 9), "first_ns": times, "last_ns": times, "protocol": protocols,
    "device_port": ports, "device_mac": st.none() | st.just("44:19:b6:0b:6e:11"),
    "remote_port": ports, "vlan": st.none() | st.integers(1, 4094),
    "packets_out": st.integers(0, 2**40), "bytes_out": st.integers(0, 2**50), "packets_in": st.integers(0, 2**40),
    "bytes_in": st.integers(0, 2**50), "end_reason": st.sampled_from(END_REASONS), "name": maybe,
    "name_source": st.sampled_from(["tls", "http", "dns", None]), **places,
})  # fmt: skip
alert_rows = _rows({
    "id": whole, "recording": st.integers(1, 9), "level": st.sampled_from([*SEVERITIES]),
    "title": texts.filter(bool), "rule": texts.filter(bool), "device_mac": st.none() | st.just("44:19:b6:0b:6e:11"),
    "owner": maybe, "network": maybe, "country": places["country"], "verdict": places["verdict"],
    "first_ns": times, "last_ns": times, "hits": st.integers(1, 2**40), "bytes_out": st.integers(0, 2**50),
    "bytes_in": st.integers(0, 2**50), "first_flow": whole, "last_flow": whole, "why": texts, "data": places["data"],
})  # fmt: skip
origins = st.builds(Origin, texts, st.just("0.1.0"), st.sampled_from(["", "2026-11-23"]))
flow_records = st.builds(lambda row, origin: record(FLOW, row, origin), flow_rows, origins)
alert_records = st.builds(
    lambda row, flow, origin, action: record(ALERT, row, origin, flow=flow, action=action),
    alert_rows, st.none() | flow_rows, origins, st.sampled_from(["create", "update", "close"]),
)  # fmt: skip
heartbeat_rows = st.fixed_dictionaries({
    "recording": whole, "state": texts.filter(bool), "killed": st.booleans(), "interval_s": st.integers(1, 86_400),
    "since_ns": st.none() | times, "newest_ns": st.none() | times, "frames": whole, "ip_packets": whole, "lost": whole,
    "waiting": whole, "data_age_days": st.integers(0, 10_000),
})  # fmt: skip
heartbeat_records = st.builds(heartbeat, heartbeat_rows, texts, times, origins)
records = flow_records | alert_records | heartbeat_records
of_one_kind = st.lists(flow_records, max_size=3) | st.lists(alert_records, max_size=3)


def as_cef(value, limit):
    """Return what CEF is to show of a value: without bars, backslashes and double quotes, within its limit."""
    text = "; ".join(value) if isinstance(value, list) else str(value)
    safe = text.replace("|", "/").replace("\\", "/").replace('"', "'").strip(" ")
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def as_leef(value):
    """Return what LEEF is to show of a value: without backslashes and double quotes."""
    text = "; ".join(value) if isinstance(value, list) else str(value)
    return text.replace("\\", "/").replace('"', "'").strip(" ")


_KEY = re.compile(r"(?:^| )([A-Za-z0-9]+)=")


def read_cef(line: str) -> tuple[list[str], dict[str, str]]:
    r"""Return the seven header fields and the extension of a CEF:0 line; asserts what the specification forbids.

    Stricter than the specification: no bar or double quote at all within a field, and no backslash but before an
    equals sign, since readers differ there.
    """
    assert not set(line) & set('\r\n\0"')
    *header, extension = line.split("|")
    assert len(header) == 7
    assert header[0] == "CEF:0"
    assert not any("\\" in field for field in header)
    assert all(extension[found.end()] == "=" for found in re.finditer(r"\\", extension))
    marks = list(_KEY.finditer(extension))
    assert marks[0].start() == 0
    ends = [*(mark.start() for mark in marks[1:]), len(extension)]
    found = [(mark[1], extension[mark.end() : end]) for mark, end in zip(marks, ends, strict=True)]
    for key, value in found:
        assert "=" not in value.replace("\\=", ""), key
    assert len({key for key, _ in found}) == len(found)
    return header[1:], {key: value.replace("\\=", "=") for key, value in found}


def read_leef(line: str) -> tuple[list[str], dict[str, str]]:
    """Return the five header fields and the attributes of a LEEF 2.0 line whose delimiter is ``x09``."""
    assert not set(line) & set("\r\n\0")
    version, vendor, product, release, event, delimiter, attributes = line.split("|", 6)
    assert (version, delimiter) == ("LEEF:2.0", "x09")
    found = [attribute.partition("=") for attribute in attributes.split("\t")]
    assert all(sign == "=" and re.fullmatch("[A-Za-z0-9]+", key) for key, sign, _ in found)
    assert len({key for key, _, _ in found}) == len(found)
    return [vendor, product, release, event], {key: value for key, _, value in found}


def read_zeek(lines: list[str]) -> list[dict]:
    """Return the rows of a Zeek log as its header describes them: None where unset, escapes undone."""
    assert lines[0] == r"#separator \x09"
    heads = {line.split("\t")[0][1:]: line.split("\t")[1:] for line in lines[1:] if line.startswith("#")}
    names, types = heads["fields"], heads["types"]
    assert len(names) == len(types) == len(set(names))
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return [{name: _zeek_value(cell, form) for name, cell, form in zip(names, row, types, strict=True)} for row in rows]


def _zeek_value(cell: str, form: str):
    if cell == "-":
        return None
    if form.startswith(("set", "vector")):
        return [] if cell == "(empty)" else [_zeek_text(item) for item in cell.split(",")]
    return int(cell) if form in {"count", "port", "int"} else _zeek_text(cell)


def _zeek_text(text: str) -> str:
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), text)


def read_ipfix(data: bytes) -> list[dict[tuple[int, int], bytes]]:
    """Return the records of an IPFIX file: the bytes of each element by its enterprise and number (RFC 7011)."""
    templates, found, at = {}, [], 0
    while at < len(data):
        version, length, _, sequence, _ = unpack_from(">HHIII", data, at)
        assert version == 10
        assert sequence == len(found)
        spot, at = at + 16, at + length
        while spot < at:
            number, size = unpack_from(">HH", data, spot)
            body, spot = data[spot + 4 : spot + size], spot + size
            if number == 2:
                templates |= _ipfix_templates(body)
            else:
                found += _ipfix_records(body, templates[number])
        assert spot == at
    return found


def _ipfix_templates(body: bytes) -> dict[int, list[tuple[int, int, int]]]:
    templates, at = {}, 0
    while at < len(body):
        number, count = unpack_from(">HH", body, at)
        at += 4
        templates[number] = []
        for _ in range(count):
            element, length = unpack_from(">HH", body, at)
            enterprise = unpack_from(">I", body, at + 4)[0] if element & 0x8000 else 0
            at += 8 if element & 0x8000 else 4
            templates[number].append((enterprise, element & 0x7FFF, length))
    return templates


def _ipfix_records(body: bytes, template: list[tuple[int, int, int]]) -> list[dict[tuple[int, int], bytes]]:
    found, at = [], 0
    while at < len(body):
        row = {}
        for enterprise, element, length in template:
            row[enterprise, element] = body[at : at + length]
            at += length
        found.append(row)
    assert at == len(body)
    return found
