"""What a filter can ask: the fields, what each means, and how SQLite finds it.

In: nothing. Out: a table of fields. Never: a field that finds something else on another screen.

Every question about a flow becomes one about its numbers (device, remote, name, place ...): the tables of texts are
searched once, and flows, or the sums beside them, are compared by integers.
"""

from __future__ import annotations

from typing import NamedTuple

from egress_watch.model import END_REASONS, PROTOCOLS, VERDICTS

PART, CHOICE, ADDRESS, NUMBER, SIZE, MOMENT = "part", "choice", "address", "number", "size", "moment"
LEVELS = ("critical", "high", "medium", "low", "informational")
STATUSES = ("declared", "agreed", "single", "disputed", "anycast", "edge", "local", "override", "unknown")


class Field(NamedTuple):
    """One word before a colon."""

    name: str
    kind: str
    about: str
    """In words, for completion and help."""
    column: str = ""
    """The column of flows and sums that it asks; "" where only alerts have it."""
    flows: str = ""
    """The condition on that column; ``{v}`` is tested as the kind says, see `terms`."""
    alerts: str = ""
    """The condition on the view ``alerts``, "" where alerts do not have it."""
    choices: tuple[str, ...] = ()


def _place(*columns: str) -> str:
    tests = " OR ".join(f"{{{column}}}" for column in columns)
    return f"place IN (SELECT id FROM place WHERE {tests})"


_LISTED = """(recording, device, vlan) IN (SELECT listing.recording, listing.device, listing.vlan
  FROM listing JOIN asset ON asset.id = listing.asset WHERE {{{}}})"""
_DEVICE = """device IN (SELECT id FROM device WHERE {ip} OR {mac}
  UNION SELECT listing.device FROM listing JOIN asset ON asset.id = listing.asset WHERE {device_name}
  UNION SELECT id FROM device WHERE mac IN (SELECT mac FROM fact WHERE kind = 'host_name' AND mac <> '' AND {value}))"""
_ALERT_DEVICE = "{device_ip} OR {device_mac} OR " + _DEVICE.replace("device IN", "device_row IN")

FIELDS = (
    Field("verdict", CHOICE, "IN, OWN, OUT or UNKNOWN", "verdict", "{verdict}", "{verdict}", VERDICTS),
    Field("country", CHOICE, "where it is, as an ISO code; also one of several in dispute", "place",
          "place IN (SELECT id FROM place WHERE {country}"
          " OR EXISTS (SELECT 1 FROM json_each(countries) WHERE {value}))",
          "{country}"),
    Field("owner", PART, "whose service it is, or the network where no owner is listed", "place",
          "place IN (SELECT id FROM place WHERE {owner} OR owner IS NULL AND ({as_name}))", "{owner} OR {network}"),
    Field("seat", CHOICE, "country the owner is run from", "place", _place("owner_seat")),
    Field("provider", PART, "who runs the network", "place", _place("provider", "as_name")),
    Field("asn", NUMBER, "number of the network", "place", _place("asn")),
    Field("law", PART, "a law that reaches owner or network", "place", _place("laws")),
    Field("status", CHOICE, "how the location is known", "place", _place("location_status"), "", STATUSES),
    Field("zone", CHOICE, "zone it was judged under", "place", _place("zone")),
    Field("device", ADDRESS, "address, MAC or name of the device", "device", _DEVICE, _ALERT_DEVICE),
    Field("segment", PART, "segment of your inventory", "vlan", _LISTED.format("segment")),
    Field("site", PART, "site of your inventory", "vlan", _LISTED.format("site")),
    Field("role", PART, "role of the device in your inventory", "vlan", _LISTED.format("role")),
    Field("vlan", NUMBER, "outermost VLAN, 0 where untagged", "vlan", "{vlan}"),
    Field("remote", ADDRESS, "address of the other side", "remote", "remote IN (SELECT id FROM remote WHERE {ip})",
          "{remote_ip}"),
    Field("name", PART, "name of the other side", "name", "name IN (SELECT id FROM name WHERE {name})"),
    Field("port", NUMBER, "port of the other side", "port", "{port}"),
    Field("protocol", CHOICE, "tcp, udp, icmp ... or a number", "protocol", "{protocol}", "",
          tuple(PROTOCOLS.values())),
    Field("bytes", SIZE, "bytes out: bytes>1M; of a row of sums its sum", "bytes", "{bytes_out}", "{bytes_out}"),
    Field("in", SIZE, "bytes in", "bytes", "{bytes_in}", "{bytes_in}"),
    Field("end", CHOICE, "why the flow ended", "flow", "{end_reason}", "", END_REASONS),
    Field("id", NUMBER, "number of the flow or the alert", "flow", "{id}", "{id}"),
    Field("recording", NUMBER, "number of the recording", "recording", "{recording}", "{recording}"),
    Field("since", MOMENT, "ended at or after: 2026-11-02, 2026-11-02T08:30, or a span back, 15m 2h 7d", "time"),
    Field("until", MOMENT, "ended before, in the same forms", "time"),
    Field("rule", PART, "title or id of the rule", "", "", "{title} OR {rule}"),
    Field("level", CHOICE, "gravity of the alert", "", "", "{level}", LEVELS),
    Field("state", CHOICE, "whether the alert goes on", "", "", "{state}", ("open", "closed")),
    Field("acked", CHOICE, "whether somebody has seen the alert", "", "",
          "{CASE WHEN acked_by IS NULL THEN 'no' ELSE 'yes' END}", ("yes", "no")),
)  # fmt: skip
BY_NAME = {field.name: field for field in FIELDS}
TEXT = Field(
    "text", PART, "any name, owner, network or address", "pair",
    "(remote IN (SELECT id FROM remote WHERE {ip}) OR name IN (SELECT id FROM name WHERE {name})"
    " OR place IN (SELECT id FROM place WHERE {owner} OR {provider} OR {as_name})"
    " OR " + _DEVICE.replace("{value}", "{fact.value}") + ")",
    "{title} OR {owner} OR {network} OR {remote_ip} OR {device_ip} OR {why}",
)  # fmt: skip
"""What a word without a field, or one between slashes, is looked for in."""
NEEDS = {"pair": ("device", "remote", "name", "place"), "vlan": ("device", "vlan"), "device": ("device",)}
"""Columns of the sums that a field's column stands for, where they are not the column itself."""
CODES = {"protocol": {name: number for number, name in PROTOCOLS.items()},
         "end": {name: number for number, name in enumerate(END_REASONS)}}  # fmt: skip
"""Choices that flows keep as numbers."""
VALUES = {
    "country": "SELECT country FROM place", "owner": "SELECT coalesce(owner, as_name) FROM place",
    "seat": "SELECT owner_seat FROM place", "provider": "SELECT coalesce(provider, as_name) FROM place",
    "zone": "SELECT zone FROM place", "asn": "SELECT asn FROM place",
    "law": "SELECT value FROM place, json_each(place.laws)", "segment": "SELECT segment FROM asset",
    "site": "SELECT site FROM asset", "role": "SELECT role FROM asset", "remote": "SELECT ip FROM remote",
    "device": "SELECT ip FROM device UNION SELECT device_name FROM asset UNION SELECT mac FROM device",
    "name": "SELECT name FROM name", "rule": "SELECT title FROM rule WHERE digest <> ''",
    "port": "SELECT DISTINCT port FROM sum_pair WHERE width_s = 0",
    "recording": "SELECT id FROM recording",
}  # fmt: skip
"""Where completion finds the values of a field."""
