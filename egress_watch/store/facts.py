"""What is new about a flow: the first time a device is in touch with a country, an owner, a provider.

In: judged flows and the rows of their devices. Out: a bit set a flow, and rows of the table contact.
Never: an unbounded memory, or the clock: first means first by packet time, so a replay finds what live watching found.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from egress_watch.fast import Known, distinct, known, table
from egress_watch.model import Ints, Judged, Place

FIRST_COUNTRY, FIRST_OWNER, FIRST_PROVIDER = 1, 2, 4
"""Bits of `flow.facts`; their positions are the codes of `contact.kind`."""
CONTACT_BYTES = 200
"""A device is in touch once it sends this much in one flow: less is a probe, or the refusal of one."""
LIMIT = 500_000
NEVER_NS = 1 << 63

DEVICE_SHIFT, KIND_SHIFT = 34, 32
KINDS, KIND, TEXT = 3, 3, (1 << KIND_SHIFT) - 1
"""A contact is a number: a row of the table device, one of three kinds, and the number of a text, 0 for none; `KIND`
and `TEXT` are the bits of the latter two."""
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
        self._met = known(1)
        """What was told of, or was known long before."""
        self._past: dict[int, int] = {}
        """Since when others know of a contact, of devices in `_read`."""
        self._read: set[int] = set()
        self._pairs = known(1)
        """Devices, and answers of which their contacts are noted."""
        self._seen: dict[int, int] = {}
        self._texts: dict[str, int] = {"": 0}

    def facts(self, judged: Judged, devices: Ints) -> Ints:
        """Return the bits of each flow, of ``devices`` (n,) rows, and note what is new; called in a transaction."""
        facts = np.zeros(len(devices), np.int64)
        self._devices(judged.flows.first_ns, devices)
        flows, contacts = self._touched(judged, devices)
        first_ns = judged.flows.first_ns[flows]
        new = self._are_new(contacts, first_ns)
        flows, contacts, first_ns = flows[new], contacts[new], first_ns[new]
        np.bitwise_or.at(facts, flows, 1 << (contacts >> KIND_SHIFT & KIND))
        self._begin(contacts, first_ns)
        return facts

    def forget(self) -> None:
        """Drop what is remembered: the transaction that made it was rolled back, or too much has gathered."""
        self._met.forget()
        self._pairs.forget()
        self._past, self._read, self._seen, self._texts = {}, set(), {}, {"": 0}

    def trim(self) -> None:
        """Keep the memory within its limit; called between batches."""
        if max(len(self._met), len(self._past), len(self._pairs), len(self._seen)) > self._limit:
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

    def _touched(self, judged: Judged, devices: Ints) -> tuple[Ints, Ints]:
        """Return the first flow of each contact of an answer that its device did not get before, and the contact."""
        flows = np.flatnonzero(judged.flows.bytes_out >= CONTACT_BYTES)
        flows = flows[_unmet(self._pairs, devices[flows] << 32 | judged.judgement[flows])]
        self._look_up(set(devices[flows].tolist()))
        values = self._values(judged.places) if len(flows) else np.zeros((0, KINDS), np.int64)
        texts = values[judged.judgement[flows]]
        contacts = devices[flows][:, None] << DEVICE_SHIFT | np.arange(KINDS) << KIND_SHIFT | texts
        told = np.flatnonzero(texts)
        once = told[distinct(table((contacts.ravel()[told],), len(told))).first]
        return flows[once // KINDS], contacts.ravel()[once]

    def _look_up(self, devices: set[int]) -> None:
        """Read what is known of devices that were not met before."""
        if new := devices - self._read:
            met = []
            self._read |= new
            for device, kind, value, first_ns, recording in self._db.conn.execute(_KNOWN, (json.dumps(sorted(new)),)):
                contact = device << DEVICE_SHIFT | kind << KIND_SHIFT | self._number(value)
                if recording == self._recording:
                    met.append(contact)
                else:
                    self._past[contact] = first_ns
            _unmet(self._met, np.array(met, np.int64))

    def _values(self, places: Sequence[Place]) -> Ints:
        """Return the numbers of country, owner and provider of each place (n, 3); none where it is our own."""
        return np.array([[self._number(value) for value in _values(place)] for place in places], np.int64)

    def _number(self, value: str) -> int:
        return self._texts.setdefault(value, len(self._texts))

    def _are_new(self, contacts: Ints, first_ns: Ints) -> NDArray[np.bool_]:
        """Return which contacts were not met before, by the times of their flows, and note them all."""
        new = np.zeros(len(contacts), bool)
        new[_unmet(self._met, contacts)] = True
        for at in np.flatnonzero(new).tolist() if self._past else ():
            new[at] = self._past.get(int(contacts[at]), NEVER_NS) > first_ns[at]
        return new

    def _begin(self, contacts: Ints, first_ns: Ints) -> None:
        """Write contacts down, in the order of their table: neighbours lie on one page."""
        contacts, first_ns = (column[np.argsort(contacts)] for column in (contacts, first_ns))
        devices, kinds = (contacts >> DEVICE_SHIFT).tolist(), (contacts >> KIND_SHIFT & KIND).tolist()
        texts = map(list(self._texts).__getitem__, (contacts & TEXT).tolist())
        # Not as a list: thirty thousand tuples that live at once are work for the garbage collector.
        begun = zip(devices, kinds, texts, first_ns.tolist(), repeat(self._recording), strict=False)
        self._db.conn.executemany(_BEGIN, begun)


def _unmet(met: Known, keys: Ints) -> Ints:
    """Return the first row of each key that was not met before, and note them."""
    words = table((keys,), len(keys))
    new = np.flatnonzero(met.numbers(words) < 0)
    rows: Ints = new[distinct(words[new]).first]
    met.learn(words[rows], np.zeros(len(rows), np.int64))
    return rows


def _values(place: Place) -> Sequence[str]:
    """Return country, owner and provider of a place; nothing where it is our own."""
    return ("", "", "") if place.location_status == "local" else (place.country, place.owner, place.provider)
