"""Rows become text: one file a format.

In: rows of the views ``flows`` and ``alerts``. Out: lines, or pieces of bytes.
Never: a file or a terminal; sinks write.

A command that lists rows writes them with a `ROW_FORMATS`, column by column. What leaves for another program becomes a
`record` first, the same for all, and one of `formats.FORMATS` writes it. docs/formats.md has the tables.

To add a format: see `formats`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from egress_watch.exports import csv, ndjson, table

Encoder = Callable[[Iterable[Mapping[str, Any]], Sequence[str]], Iterator[str]]

ROW_FORMATS: dict[str, Encoder] = {"table": table.encode, "ndjson": ndjson.encode, "csv": csv.encode}

FLOW_COLUMNS = (
    "id", "first_ns", "last_ns", "protocol", "device_ip", "device_port", "device_mac", "remote_ip", "remote_port",
    "vlan", "packets_out", "bytes_out", "packets_in", "bytes_in", "end_reason", "name", "name_source", "name_ns",
    "other_names", "country",
    "location_status", "asn", "as_name", "provider", "region", "owner", "owner_seat", "laws", "ties", "zone",
    "verdict", "why", "countries", "evidence", "note", "dataset", "data", "device_name", "site", "segment",
    "segment_class", "role", "supplier", "listed", "recording",
)  # fmt: skip
ALERT_COLUMNS = (
    "id", "level", "title", "rule", "device_ip", "device_mac", "remote_ip", "owner", "network", "country", "verdict",
    "first_ns", "last_ns", "hits", "bytes_out", "bytes_in", "first_flow", "last_flow", "why", "data", "recording",
    "kind", "devices", "state", "closed_ns", "acked_by", "acked_ns", "mute", "device_name", "site", "segment",
    "segment_class", "evidence_flows",
)  # fmt: skip
FLOW_TABLE = (
    "last_ns", "device_ip", "protocol", "remote_ip", "remote_port", "name", "bytes_out", "bytes_in", "country",
    "provider", "owner", "verdict",
)  # fmt: skip
ALERT_TABLE = ("level", "device_ip", "segment", "hits", "bytes_out", "title", "why")
"""What a table on a terminal shows; the other formats carry every column."""
