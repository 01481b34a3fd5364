"""What is new about a flow: the first time a device is in touch with a country, an owner, a provider.

In: judged flows and the rows of their devices. Out: a bit set a flow, and rows of the table contact.
Never: an unbounded memory, or the clock: first means first by packet time, so a replay finds what live watching found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
from sqlite_utils import Database

from egress_watch.fast import distinct, table
from egress_watch.model import Ints, Judged, Place

FIRST_COUNTRY, FIRST_OWNER, FIRST_PROVIDER = 1, 2, 4
"""Bits of `flow.facts`; their positions are the codes of `contact.kind`."""
CONTACT_BYTES = 200
"""A device is in touch once it sends this much in one flow: less is a probe, or the refusal of one."""
LIMIT = 500_000

Key = tuple[int, int, str]
_KNOWN = """SELECT device, kind, value, first_ns, recording FROM contact
WHERE device IN (SELECT value FROM json_each(?))"""
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
        self._met: set[Key] = set()
        """What was told of, or was known long before."""
        self._past: dict[Key, int] = {}
        """Since when others know of a contact, of devices in `_read`."""
        self._read: set[int] = set()
        self._pairs: set[int] = set()
        self._seen: dict[int, int] = {}

    def facts(self, judged: Judged, devices: Ints) -> Ints:
        """Return the bits of each flow, of ``devices`` (n,) rows, and note what is new; called in a transaction."""
        facts = np.zeros(len(devices), np.int64)
        self._devices(judged.flows.first_ns, devices)
        found = list(self._new_pairs(judged, devices))
        self._pairs.update(pair for _, pair in found)
        self._look_up({pair >> 32 for _, pair in found})
        values = [_values(place) for place in judged.places] if found else []
        fresh: list[tuple[int, int, str, int, int]] = []
        for flow, pair in found:
            device, place = pair >> 32, pair & 0xFFFFFFFF
            for kind, value in enumerate(values[place]):
                if value and self._is_new(key := (device, kind, value), first_ns := int(judged.flows.first_ns[flow])):
                    facts[flow] |= 1 << kind
                    fresh.append((*key, first_ns, self._recording))
        self._db.conn.executemany(_BEGIN, fresh)
        return facts

    def forget(self) -> None:
        """Drop what is remembered: the transaction that made it was rolled back, or too much has gathered."""
        for memory in (self._met, self._past, self._read, self._pairs, self._seen):
            memory.clear()

    def trim(self) -> None:
        """Keep the memory within its limit; called between batches."""
        if max(map(len, (self._met, self._past, self._pairs, self._seen))) > self._limit:
            self.forget()

    def _devices(self, first_ns: Ints, devices: Ints) -> None:
        """Note when a device was first seen, where that is earlier than known."""
        met, which = distinct(table((devices,), len(devices)))
        first = np.full(len(met), np.iinfo(np.int64).max)
        np.minimum.at(first, which, first_ns)
        some = zip(devices[met].tolist(), first.tolist(), strict=True)
        earlier = [(ns, device) for device, ns in some if ns < self._seen.get(device, ns + 1)]
        self._db.conn.executemany(_SEEN, earlier)
        self._seen |= {device: ns for ns, device in earlier}

    def _new_pairs(self, judged: Judged, devices: Ints) -> Iterator[tuple[int, int]]:
        """Yield the first flow of each device with each answer that was not met before, in the flows' order."""
        flows = np.flatnonzero(judged.flows.bytes_out >= CONTACT_BYTES)
        pairs = devices[flows] << 32 | judged.judgement[flows]
        first = distinct(table((pairs,), len(pairs))).first
        found = zip(flows[first].tolist(), pairs[first].tolist(), strict=True)
        return ((flow, pair) for flow, pair in found if pair not in self._pairs)

    def _look_up(self, devices: set[int]) -> None:
        """Read what is known of devices that were not met before."""
        if new := devices - self._read:
            self._read |= new
            for device, kind, value, first_ns, recording in self._db.conn.execute(_KNOWN, (json.dumps(sorted(new)),)):
                if recording == self._recording:
                    self._met.add((device, kind, value))
                else:
                    self._past[device, kind, value] = first_ns

    def _is_new(self, key: Key, first_ns: int) -> bool:
        if key in self._met:
            return False
        self._met.add(key)
        return self._past.get(key, first_ns + 1) > first_ns


def _values(place: Place) -> Sequence[str]:
    """Return country, owner and provider of a place; nothing where it is our own."""
    return ("", "", "") if place.location_status == "local" else (place.country, place.owner, place.provider)
