"""What is new about a flow: the first time a device is in touch with a country, an owner, a provider.

In: judged flows and the rows of their devices. Out: a bit set a flow, and rows of the table contact.
Never: an unbounded memory, or the clock: first means first by packet time, so a replay finds what live watching found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from sqlite_utils import Database

from egress_watch.model import Ints, Judged, Place

FIRST_COUNTRY, FIRST_OWNER, FIRST_PROVIDER = 1, 2, 4
"""Bits of `flow.facts`; their positions are the codes of `contact.kind`."""
CONTACT_BYTES = 200
"""A device is in touch once it sends this much in one flow: less is a probe, or the refusal of one."""
LIMIT = 500_000

Key = tuple[int, int, str]
_KNOWN = "SELECT first_ns, recording FROM contact WHERE device = ? AND kind = ? AND value = ?"
_BEGIN = """
INSERT INTO contact(device, kind, value, first_ns, recording) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET first_ns = min(first_ns, excluded.first_ns), recording = excluded.recording
"""
_SEEN = "UPDATE device SET first_ns = min(coalesce(first_ns, ?1), ?1) WHERE id = ?2"


class Contacts:
    """Knows who is in touch with what; up to ``limit`` things are remembered, the others are asked of the table.

    Within a recording flows count in the order of their end. Of another recording, only what lies before a flow makes
    its contact an old one: captures may be read in any order.
    """

    def __init__(self, db: Database, recording: int, limit: int = LIMIT) -> None:
        self._db, self._recording, self._limit = db, recording, limit
        self._known: set[Key] = set()
        self._pairs: set[int] = set()
        self._seen: dict[int, int] = {}

    def facts(self, judged: Judged, devices: Ints) -> list[int]:
        """Return the bits of each flow, of ``devices`` (n,) rows, and note what is new; called in a transaction."""
        facts = np.zeros(len(devices), np.int64)
        self._devices(judged.flows.first_ns, devices)
        for flow, pair in self._new_pairs(judged, devices):
            place = judged.places[int(judged.judgement[flow])]
            facts[flow] = self._contact(int(devices[flow]), place, int(judged.flows.first_ns[flow]))
            self._pairs.add(pair)
        bits: list[int] = facts.tolist()
        return bits

    def forget(self) -> None:
        """Drop what is remembered: the transaction that made it was rolled back, or too much has gathered."""
        self._known.clear()
        self._pairs.clear()
        self._seen.clear()

    def trim(self) -> None:
        """Keep the memory within its limit; called between batches."""
        if max(len(self._known), len(self._pairs), len(self._seen)) > self._limit:
            self.forget()

    def _devices(self, first_ns: Ints, devices: Ints) -> None:
        """Note when a device was first seen, where that is earlier than known."""
        some, which = np.unique(devices, return_inverse=True)
        first = np.full(len(some), np.iinfo(np.int64).max)
        np.minimum.at(first, which, first_ns)
        earlier = [
            (ns, device)
            for device, ns in zip(some.tolist(), first.tolist(), strict=True)
            if ns < self._seen.get(device, ns + 1)
        ]
        self._db.conn.executemany(_SEEN, earlier)
        self._seen |= {device: ns for ns, device in earlier}

    def _new_pairs(self, judged: Judged, devices: Ints) -> Iterator[tuple[int, int]]:
        """Yield the first flow of each device with each answer that was not met before, in the flows' order."""
        flows = np.flatnonzero(judged.flows.bytes_out >= CONTACT_BYTES)
        pairs, first = np.unique(devices[flows] << 32 | judged.judgement[flows], return_index=True)
        found = sorted(zip(flows[first].tolist(), pairs.tolist(), strict=True))
        return ((flow, pair) for flow, pair in found if pair not in self._pairs)

    def _contact(self, device: int, place: Place, first_ns: int) -> int:
        bits = 0
        for kind, value in enumerate(_values(place)):
            if value and self._is_new((device, kind, value), first_ns):
                bits |= 1 << kind
        return bits

    def _is_new(self, key: Key, first_ns: int) -> bool:
        if key in self._known:
            return False
        self._known.add(key)
        row = self._db.conn.execute(_KNOWN, key).fetchone()
        if row and (row[0] <= first_ns or row[1] == self._recording):
            return False
        self._db.conn.execute(_BEGIN, (*key, first_ns, self._recording))
        return True


def _values(place: Place) -> Sequence[str]:
    """Return country, owner and provider of a place; nothing where it is our own."""
    return ("", "", "") if place.location_status == "local" else (place.country, place.owner, place.provider)
