"""Judged flows as rows of whole numbers: what is a text stands in a table of its own, once.

In: a batch of `Judged`. Out: `Numbers`, and rows of the table flow and of the tables it names. Never: a Python object
for each flow; what several flows have in common is looked up once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from struct import Struct

import numpy as np
from sqlite_utils import Database

from egress_watch.fast import distinct, table
from egress_watch.model import NAME_SOURCES, Flows, Ints, Judged, Words, address_text, mac_text
from egress_watch.store.answers import PLACE_COLUMNS, Answer, place_row
from egress_watch.store.batch import Numbers
from egress_watch.store.bulk import Bulk, Same, worth_an_image
from egress_watch.store.facts import Contacts
from egress_watch.store.habits import Habits
from egress_watch.store.kinds import NO_HABIT
from egress_watch.store.lookups import Kept, Lookup, WordLookup
from egress_watch.texts import texts_of

MILLISECOND_NS = 1_000_000
NO_AGE_MS = -(1 << 62)
"""Stands for the age of a name where none was heard."""
_WORDS_2, _WORDS_3 = Struct("=2Q"), Struct("=3Q")
_SOURCES = {source: number for number, source in enumerate(NAME_SOURCES)}
_COLUMNS = (
    "id", "recording", "device", "first_ns", "duration_ns", "protocol", "device_port", "remote_port", "vlan",
    "packets_out", "bytes_out", "packets_in", "bytes_in", "flags_out", "flags_in", "end_reason", "remote", "name",
    "name_source", "name_ms", "alias", "place", "facts", "habit",
)  # fmt: skip
_NULL_IS = {"name": 0, "name_ms": NO_AGE_MS, "alias": 0, "habit": NO_HABIT}
_MARKS = ", ".join(f"nullif(?, {_NULL_IS[name]})" if name in _NULL_IS else "?" for name in _COLUMNS)


class FlowRows:
    """The rows of one recording's flows."""

    def __init__(self, db: Database, recording: int, judged_by: int, zone: str) -> None:
        self._db, self._dataset, self._zone = db, judged_by, zone
        self._devices = WordLookup(Kept[bytes](db, "device", ("ip", "mac"), _device_row), 3)
        self._remotes = WordLookup(Kept[bytes](db, "remote", ("ip",), _remote_row), 2)
        self._names = Lookup(Kept[str](db, "name", ("name",), lambda name: (name,)))
        self._aliases = Lookup(Kept[str](db, "alias", ("names",), lambda names: (json.dumps(names.split(" ")),)))
        self._places = Lookup(Kept[tuple[str, Answer]](db, "place", PLACE_COLUMNS, self._place_row, unique=1))
        self._contacts, self._habits = Contacts(db, recording), Habits(db, recording)
        self._remembered = (
            self._devices, self._remotes, self._names, self._aliases, self._places, self._contacts, self._habits,
        )  # fmt: skip
        self._rows = Bulk(f"INSERT INTO flow({', '.join(_COLUMNS)})", _MARKS)
        self._same, self._recording = Same(db, "flow", _NULL_IS), recording

    def judged_by(self, dataset: int) -> None:
        """Take the data files that judge from now on."""
        self._dataset = dataset
        self._places.forget()

    def devices(self, words: Words) -> Ints:
        """Return the rows of devices (n, 3), new ones inserted; this and what follows: within a transaction."""
        return self._devices.numbers(words)

    def numbers(self, judged: Judged) -> Numbers:
        """Return the numbers of a batch, with rows of what was never met before inserted."""
        flows, devices = judged.flows, self.devices(device_words(judged.flows))
        sources = texts_of(flows.name_source or ("",) * len(flows))
        return Numbers(
            devices, self._remotes.numbers(flows.remote), _spoken(self._names, flows.name, len(flows)),
            np.array([_SOURCES[source] for source in sources.texts], np.int64)[sources.codes],
            _spoken(self._aliases, flows.other_names, len(flows)), self._answered(judged),
            self._contacts.facts(judged, devices), self._habits.times(judged, devices),
        )  # fmt: skip

    def write(self, ids: Ints, flows: Flows, numbers: Numbers) -> None:
        """Insert the flows."""
        of = {
            **numbers._asdict(), "id": ids, "recording": np.full(len(ids), self._recording),
            "duration_ns": flows.last_ns - flows.first_ns,
            "name_ms": _name_ages_ms(flows), "habit": numbers.habit_times,
        }  # fmt: skip
        columns = {name: of[name] if name in of else getattr(flows, name) for name in _COLUMNS}
        if worth_an_image(self._db, len(ids)):
            self._same.write(columns)
        else:
            self._rows.write(self._db, list(columns.values()))

    def keep(self) -> None:
        """Write down what the devices are used to."""
        self._habits.keep()

    def forget(self) -> None:
        """Drop what is remembered: the transaction that made it was rolled back."""
        for memory in self._remembered:
            memory.forget()

    def trim(self) -> None:
        """Keep the memory within its limits; called between batches."""
        for memory in self._remembered:
            memory.trim()

    def _answered(self, judged: Judged) -> Ints:
        first, which = distinct(table((judged.judgement,), len(judged.judgement)))
        some, zones = np.sort(judged.judgement[first]), judged.zones or [""] * len(judged.places)
        answers = [(zones[row], (judged.places[row], judged.verdicts[row])) for row in some.tolist()]
        numbers = np.array(self._places.numbers(answers), np.int64)
        return numbers[np.searchsorted(some, judged.judgement[first])][which]

    def _place_row(self, key: tuple[str, Answer]) -> Sequence[object]:
        zone, answer = key
        return place_row(zone or self._zone, self._dataset, answer)


def device_words(flows: Flows) -> Words:
    """Return what tells each flow's device: its address and MAC, (n, 3)."""
    return np.concatenate((flows.device, flows.device_mac[:, None]), axis=1)


def _spoken(rows: Lookup[str], column: Sequence[str], count: int) -> Ints:
    """Return the row of each of ``count`` texts, 0 where there is none; no texts at all stand for empty ones."""
    if not column:
        return np.zeros(count, np.int64)
    texts = texts_of(column)
    told = dict(zip(some, rows.numbers(some), strict=True)) if (some := [text for text in texts.texts if text]) else {}
    return np.array([told.get(text, 0) for text in texts.texts], np.int64)[texts.codes]


def _name_ages_ms(flows: Flows) -> Ints:
    """Return how long before a flow's first packet its name was heard, in ms; below 0 where it was heard later."""
    if not len(flows.name_ns):
        return np.full(len(flows), NO_AGE_MS)
    ages: Ints = (flows.first_ns - flows.name_ns) // MILLISECOND_NS * (flows.name_ns != 0)
    return ages


def _remote_row(key: bytes) -> tuple[str]:
    return (address_text(*_WORDS_2.unpack(key)),)


def _device_row(key: bytes) -> tuple[str, str]:
    high, low, mac = _WORDS_3.unpack(key)
    return address_text(high, low), mac_text(mac)
