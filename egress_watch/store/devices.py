"""Devices in the store: facts heard of them, what the inventory says of them, and both read again.

In: `Fact` rows, and listings of devices. Out: rows by device. Never: a fact twice; hearing it again moves its times.

Each write is a transaction of its own, before the rules look at the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from json import dumps
from typing import Any

from sqlite_utils import Database

from egress_watch.model import Fact, address_text, mac_text

ASSET_COLUMNS = (
    "device_name", "site", "segment", "segment_class", "role", "supplier", "zone", "contact", "notes", "listed",
    "supplier_group",
)  # fmt: skip
_FACT = """
INSERT INTO fact VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
  first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns)
"""
_ASSET = f"""INSERT OR IGNORE INTO asset(digest, {", ".join(ASSET_COLUMNS)})
VALUES (?{", ?" * len(ASSET_COLUMNS)})"""  # noqa: S608 - constants

SIGHTINGS = """
SELECT device.ip, device.mac, flow.vlan, min(flow.first_ns) AS first_ns,
  max(flow.first_ns + flow.duration_ns) AS last_ns, count(*) AS flows,
  sum(flow.bytes_out) AS bytes_out, sum(flow.bytes_in) AS bytes_in
FROM flow JOIN device ON device.id = flow.device WHERE {of} GROUP BY device.id, flow.vlan ORDER BY device.id, flow.vlan
"""
FACTS = """
SELECT mac, ip, vlan, source, kind, value, min(first_ns) AS first_ns, max(last_ns) AS last_ns FROM fact
WHERE {of} GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
"""
LISTINGS = """
SELECT device.ip, device.mac, listing.vlan, asset.device_name, asset.site, asset.segment, asset.segment_class,
  asset.role, asset.supplier, asset.zone, asset.contact, asset.notes, asset.listed
FROM listing JOIN device ON device.id = listing.device JOIN asset ON asset.id = listing.asset
WHERE {of} ORDER BY listing.recording
"""


def write_facts(db: Database, recording: int, facts: Iterable[Fact], refused: int) -> None:
    """Store what was heard, and how much was refused so far; called within a transaction."""
    db.conn.executemany(_FACT, [_fact_row(recording, fact) for fact in facts])
    db.conn.execute("UPDATE recording SET refused_facts = ? WHERE id = ?", (refused, recording))


def asset_rows(db: Database, assets: Sequence[Sequence[object]]) -> list[int]:
    """Store what the inventory can say and return its rows; ``assets`` are values of ASSET_COLUMNS.

    Called within a transaction.
    """
    digests = [blake2b(dumps(list(asset)).encode(), digest_size=12).hexdigest() for asset in assets]
    rows = (
        (digest, *(None if value == "" else value for value in asset))
        for digest, asset in zip(digests, assets, strict=True)
    )
    db.conn.executemany(_ASSET, rows)
    return [db.conn.execute("SELECT id FROM asset WHERE digest = ?", (digest,)).fetchone()[0] for digest in digests]


def _fact_row(recording: int, fact: Fact) -> tuple[object, ...]:
    ip = address_text(*fact.address) if any(fact.address) else ""
    said = (fact.source, fact.kind, fact.value, fact.first_ns, fact.last_ns)
    return recording, mac_text(fact.mac), ip, fact.vlan, *said


def listed_by(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, int], Mapping[str, Any]]:
    """Return the newest listing by address, MAC and VLAN."""
    return {(row["ip"], row["mac"], row["vlan"]): row for row in rows}
