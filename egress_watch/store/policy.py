"""Who talked to what, summed up for a policy: one row a device, destination, service and day.

In: a database and a period of packet time. Out: `Sighting` rows. Never: a flow that nobody answered, or one that stays
local: neither shows a need.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlite_utils import Database

from egress_watch.errors import UsageError
from egress_watch.store.file import open_for_reading, trouble

DAY_NS = 86_400_000_000_000
EPHEMERAL = 32_768
"""Where Linux begins to choose ports for a client (net.ipv4.ip_local_port_range); IANA's own range lies above."""
MOST_ADDRESSES = 16
"""Addresses behind one MAC above which it is taken for a router's: IPv6 gives a device of its own several."""

_ROUTERS = """
SELECT mac FROM device WHERE mac <> '' GROUP BY mac HAVING sum(ip NOT LIKE '%:%') > 1 OR count(*) > ?
"""
_SEEN = f"""
SELECT coalesce(segment, ''), coalesce(device_mac, ''), device_ip, coalesce(name, ''), remote_ip, protocol,
  CASE WHEN protocol NOT IN ('tcp', 'udp', 'sctp', 'dccp', 'udplite') THEN 0
    WHEN remote_port >= {EPHEMERAL} AND device_port < {EPHEMERAL} THEN -device_port ELSE remote_port END AS port,
  coalesce(provider, ''), coalesce(owner, ''), coalesce(evidence, ''), coalesce(country, ''), verdict,
  first_ns / {DAY_NS} AS day, count(*), sum(bytes_out), min(first_ns), max(last_ns)
FROM flows WHERE location_status <> 'local' AND packets_in > 0 AND packets_out > 0 AND first_ns BETWEEN ? AND ?
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 ORDER BY 1, 2, 3, 4, 5, 6, 7, 13
"""  # noqa: S608 - constants
_PERIOD = "SELECT min(first_ns), max(last_ns), count(*), sum(packets_in = 0) FROM flows WHERE first_ns BETWEEN ? AND ?"


class Sighting(NamedTuple):
    """What one device had to do with one destination and service on one day; "" is nothing known."""

    segment: str
    device: str
    """Its MAC, or its address where the MAC is a router's or unknown."""
    name: str
    remote_ip: str
    protocol: str
    port: int
    """The remote's; below 0 the device's own, where it is the one that serves; 0 where the protocol has none."""
    provider: str
    owner: str
    evidence: str
    country: str
    verdict: str
    day: int
    """Days since 1970-01-01 UTC."""
    flows: int
    bytes_out: int
    first_ns: int
    last_ns: int


class Period(NamedTuple):
    """What was looked at."""

    first_ns: int
    last_ns: int
    flows: int
    unanswered: int


def period(path: str, since_ns: int, until_ns: int) -> Period:
    """Return what the database holds of a time; raises UsageError where that is nothing, StoreError."""
    with trouble(path):
        db = open_for_reading(path)
        try:
            found = db.conn.execute(_PERIOD, (since_ns, until_ns)).fetchone()
        finally:
            db.close()
    if not found[2]:
        raise UsageError("no flows in that time", where=path, remedy="give another --since or --until, or none")
    return Period(*found)


def sightings(path: str, since_ns: int, until_ns: int) -> Iterator[Sighting]:
    """Yield who talked to what, for flows that began in a time and were answered; raises UsageError, StoreError."""
    with trouble(path):
        db = open_for_reading(path)
        try:
            yield from _sightings(db, since_ns, until_ns)
        finally:
            db.close()


def _sightings(db: Database, since_ns: int, until_ns: int) -> Iterator[Sighting]:
    routers = {row[0] for row in db.conn.execute(_ROUTERS, (MOST_ADDRESSES,))}
    for segment, mac, ip, *rest in db.conn.execute(_SEEN, (since_ns, until_ns)):
        yield Sighting(segment, mac if mac and mac not in routers else ip, *rest)
