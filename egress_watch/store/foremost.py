"""The devices that send most and the alerts of the gravest destinations: what a report shows of thousands of each.

In: a connection, and a condition on recordings. Out: the first of them, and how many there are. Never: a row for each
device or alert of the database, where a page of them is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlite_utils import Database

_DEVICES = """
WITH first AS MATERIALIZED (
  SELECT device, sum(bytes_out) AS total, count(*) OVER () AS among FROM hour WHERE {of} GROUP BY device
  ORDER BY total DESC, (SELECT ip FROM device WHERE device.id = hour.device) LIMIT :most),
sums AS (
  SELECT device, verdict, sum(flows) AS flows, sum(bytes_out) AS bytes_out, sum(bytes_in) AS bytes_in
  FROM hour CROSS JOIN place ON place.id = hour.place
  WHERE {of} AND device IN (SELECT device FROM first) GROUP BY device, verdict)
SELECT ip, mac, verdict, flows, bytes_out, bytes_in, among
FROM first JOIN sums ON sums.device = first.device JOIN device ON device.id = first.device
ORDER BY total DESC, ip, verdict
"""


def devices(db: Database, of: str, most: int) -> tuple[list[dict[str, Any]], int]:
    """Return the ``most`` devices that send most (-1: all), each with its bytes out by verdict, and how many there are.

    ``of`` is a condition on ``recording`` in our own words.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    among = 0
    for row in db.query(_DEVICES.format(of=of), {"most": most}):
        among = row["among"]
        blank = {"ip": row["ip"], "mac": row["mac"], "flows": 0, "bytes_out": 0, "bytes_in": 0, "verdicts": {}}
        device = found.setdefault((row["ip"], row["mac"]), blank)
        for name in ("flows", "bytes_out", "bytes_in"):
            device[name] += row[name]
        device["verdicts"][row["verdict"]] = row["bytes_out"]
    return list(found.values()), among


def destination(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what alerts are told together by: a device, whom it talks to, and where that is."""
    return row["device_ip"], row["owner"] or row["remote_ip"], row["country"]


def destinations(rows: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    """Return the numbers of alerts by destination, in the order given."""
    found: dict[tuple[str, ...], list[Any]] = {}
    for row in rows:
        found.setdefault(destination(row), []).append(row["id"])
    return list(found.values())
