"""The kinds of sums that screens show: by device, destination, owner, country, segment; and the order of alerts.

In: nothing. Out: SQL. Never: a value within SQL, or a sort key that may be NULL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from egress_watch.store.reader import LEVELS
from egress_watch.store.sums import SPLIT, SPLIT_SUMS

TOTALS = "sum(flows) AS flows, sum(bytes_out) AS bytes_out, sum(bytes_in) AS bytes_in, max(last_ns) AS last_ns"
_ASSET = """LEFT JOIN asset ON asset.id = (SELECT asset FROM recording CROSS JOIN listing
  ON listing.recording = recording.id AND listing.device = s.device ORDER BY recording.id DESC LIMIT 1)"""
"""What the newest listing of a device says."""
_SAID = """place.country, place.countries, place.location_status, place.asn, place.as_name, place.provider,
  place.region, place.owner, place.owner_seat, place.laws, place.ties, place.evidence, place.note, place.zone,
  place.verdict, place.why, dataset.dates AS data"""

ALL = "SELECT * FROM {sums}"


class Kind(NamedTuple):
    """Sums by something: which columns they need, how they are grouped, and what is told of each."""

    columns: tuple[str, ...]
    grouped: str
    """The sums with their ``id``, of ``{source}``."""
    told: str
    """All that is shown, of ``{sums}``: each row of those that it names, or some of them."""
    orders: Mapping[str, str]
    """SQL of a sort key by its name; every one is a number or a text, never NULL."""
    late: tuple[str, ...] = ()
    """Orders whose key is known only of what is told: the rows of a page cannot be picked before."""


KINDS = {
    "devices": Kind(
        ("device", *SPLIT),
        f"SELECT device AS id, device, {TOTALS}, {SPLIT_SUMS} FROM {{source}} GROUP BY device",
        f"""SELECT s.*, device.ip AS device_ip, nullif(device.mac, '') AS device_mac, asset.device_name, asset.segment,
          asset.site
        FROM {{sums}} AS s JOIN device ON device.id = s.device {_ASSET}""",
        {"out": "bytes_out", "in": "bytes_in", "flows": "flows", "last seen": "last_ns", "verdict": "worst",
         "name": "device_ip"}, ("name",),
    ),
    "destinations": Kind(
        ("remote", "name", "place"),
        f"""SELECT remote || ':' || spoken || ':' || place AS id, * FROM (
          SELECT remote, name AS spoken, place, {TOTALS}, max(last_flow) AS last_flow
          FROM {{source}} GROUP BY 1, 2, 3)""",
        f"""SELECT s.*, remote.ip AS remote_ip, name.name, {_SAID}
        FROM {{sums}} AS s JOIN remote ON remote.id = s.remote LEFT JOIN name ON name.id = s.spoken
          JOIN place ON place.id = s.place JOIN dataset ON dataset.id = place.dataset""",
        {"out": "bytes_out", "in": "bytes_in", "flows": "flows", "last seen": "last_ns", "verdict": "verdict",
         "name": "coalesce(name, remote_ip)"}, ("verdict", "name"),
    ),
    "owners": Kind(
        ("place", *SPLIT),
        f"""SELECT coalesce(owner, network) AS id, * FROM (
          SELECT CASE location_status WHEN 'local' THEN 'your own' ELSE place.owner END AS owner, place.owner_seat,
            CASE WHEN place.owner IS NULL THEN coalesce(place.as_name, place.provider, 'unknown') END AS network,
            max(place.id) AS place, max(place.laws) AS laws, max(place.ties) AS ties,
            group_concat(DISTINCT place.country) AS countries_of, sum(flows) AS flows, sum(bytes_out) AS bytes_out,
            sum(bytes_in) AS bytes_in, max(last_ns) AS last_ns, {SPLIT_SUMS}
          FROM {{source}} AS s JOIN place ON place.id = s.place GROUP BY 1, 2, 3)""", ALL,
        {"out": "bytes_out", "in": "bytes_in", "flows": "flows", "last seen": "last_ns", "verdict": "worst",
         "name": "id"},
    ),
    "verdicts": Kind(
        ("verdict",), f"SELECT verdict AS id, * FROM (SELECT verdict, {TOTALS} FROM {{source}} GROUP BY 1)", ALL,
        {"out": "bytes_out"},
    ),
    "countries": Kind(
        ("place",),
        f"""SELECT coalesce(country, countries) || location_status || verdict AS id, * FROM (
          SELECT place.country, place.countries, place.location_status, place.verdict, {TOTALS}
          FROM {{source}} AS s JOIN place ON place.id = s.place GROUP BY 1, 2, 3, 4)""", ALL,
        {"out": "bytes_out"},
    ),
    "segments": Kind(
        ("device", "vlan", "recording", *SPLIT),
        f"""SELECT coalesce(segment, '') AS id, * FROM (SELECT asset.segment, count(DISTINCT s.device) AS devices,
          sum(s.flows) AS flows, sum(s.bytes_out) AS bytes_out, {SPLIT_SUMS}
        FROM (SELECT recording, device, vlan, sum(flows) AS flows, sum(bytes_out) AS bytes_out, {SPLIT_SUMS}
          FROM {{source}} GROUP BY 1, 2, 3) AS s
          LEFT JOIN listing ON listing.recording = s.recording AND listing.device = s.device
          AND listing.vlan = s.vlan LEFT JOIN asset ON asset.id = listing.asset GROUP BY 1)""", ALL,
        {"out": "bytes_out", "verdict": "-worst"},
    ),
}  # fmt: skip
ALERT_ORDERS = {
    "gravity": "(9 - CASE level "
    + " ".join(f"WHEN '{name}' THEN {n}" for n, name in enumerate(LEVELS))
    + " ELSE 8 END) * (1 << 50) + min(bytes_out, (1 << 50) - 1)",
    "last seen": "last_ns",
    "out": "bytes_out",
    "flows": "hits",
    "name": "device_ip",
}
FLOW_ORDERS = {"ended": "last_ns", "out": "bytes_out", "in": "bytes_in"}
"""Beside the order of their ids, in which flows are kept and can be paged without end."""
ALERTS = "SELECT alerts.*, (SELECT device FROM alert WHERE alert.id = alerts.id) AS device_row FROM alerts"
ALERTS_TOLD = f"SELECT * FROM {{sums}} AS s JOIN ({ALERTS}) AS shown ON shown.id = _tie"
