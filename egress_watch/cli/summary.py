"""The report as one JSON object, for machines.

In: a `Snapshot` and what came of the run. Out: plain values. Never: a key that comes and goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from egress_watch.model import DUPLICATE, VERDICTS, Snapshot

COUNTERS = (
    "frames", "packets", "packet_bytes", "lost", "flows", "evicted", "late_fragments", "refused_facts", "unstored",
    "unstored_packets",
)  # fmt: skip
SUMS = ("flows", "bytes_out", "bytes_in")


def summary(snapshot: Snapshot, outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return the totals of these recordings; docs/schema.md describes the keys."""
    verdicts = {row["verdict"]: {name: row[name] for name in SUMS} for row in snapshot.verdicts}
    blank = dict.fromkeys(SUMS, 0)
    skipped = {row["reason"]: row["frames"] for row in snapshot.skipped}
    packets = sum(row["packets"] for row in snapshot.recordings)
    return {
        **{name: sum(row[name] for row in snapshot.recordings) for name in COUNTERS},
        "skipped": skipped,
        "duplicate_share": skipped.get(DUPLICATE, 0) / max(1, packets + skipped.get(DUPLICATE, 0)),
        "damage": list(snapshot.damage),
        "heard": {row["counter"]: row["count"] for row in snapshot.heard},
        "evidence": list(snapshot.evidence),
        "bytes_out": sum(row["bytes_out"] for row in snapshot.verdicts),
        "bytes_in": sum(row["bytes_in"] for row in snapshot.verdicts),
        "verdicts": {verdict: verdicts.get(verdict, blank) for verdict in VERDICTS},
        "alerts": snapshot.alert_count,
        "muted": snapshot.muted,
        **{name: snapshot.recordings[0][name] if snapshot.recordings else "" for name in ("zone", "zone_as_of")},
        "data": {row["name"]: {key: row[key] for key in ("built", "licence", "sha256")} for row in snapshot.data},
        "recordings": [row["id"] for row in snapshot.recordings],
        **outcome,
    }
