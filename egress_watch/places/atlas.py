"""The atlas: judges addresses by whole columns and remembers the answers.

In: flows with names, or addresses. Out: `Judged`, or an evidence sheet. Never: the same question asked of a file twice.

All addresses of a batch are asked of each data file together; what differs between addresses is only which record each
file has for them, and there are few different sets of records. So location and operator are worked out once a set.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from egress_watch.fast import distinct, known, table
from egress_watch.model import Flows, Ints, Judged, Place, Verdict, Words
from egress_watch.places.carried import MECHANISMS, carried
from egress_watch.places.knowledge import Knowledge
from egress_watch.places.owners import NOBODY, Group
from egress_watch.places.sheet import Sheet, sheet
from egress_watch.places.spots import NO_WORD, Clues, Spot, answer, spot
from egress_watch.texts import Texts, texts_of

WORDS = 4
"""Of a question: an address, and the numbers of the name it is spoken of by and of the zone to judge under."""


class Atlas:
    """Judges flows. Answers are kept once and numbered; ``limit`` bounds the addresses remembered in between."""

    def __init__(self, knowledge: Knowledge, limit: int = 500_000) -> None:
        self._know = knowledge
        self._limit = limit
        self._rows = known(WORDS)
        self._texts: dict[str, int] = {"": 0}
        """Numbers of names and zones; the zone "" is the first."""
        self._owners: dict[str, Group] = {}
        self._spots: dict[tuple[int, ...], Spot] = {}
        self._answers: dict[tuple[tuple[int, ...], str, str], int] = {}
        self._numbers: dict[tuple[Place, Verdict, str], int] = {}
        self._zones = {zone.id: zone for zone in knowledge.zones} | {"": knowledge.zone}
        self.places: list[Place] = []
        self.verdicts: list[Verdict] = []
        self.zones: list[str] = []

    def judge(self, flows: Flows, zones: Sequence[str] = ()) -> Judged:
        """Return the flows with their answers; ``zones`` (n,) names the zone of each, "" for the first of the atlas."""
        names = flows.name or ("",) * len(flows)
        return Judged(flows, self.answers(flows.remote, names, zones), self.places, self.verdicts, self.zones)

    def answers(self, addresses: Words, names: Sequence[str], zones: Sequence[str] = ()) -> Ints:
        """Return for addresses of shape (n, 2), each spoken of by a name or "", which row of ``places`` answers.

        ``zones`` names the zone for each; "" and one the atlas does not know stand for its first.
        """
        self._trim()
        under = texts_of(zones)
        known = Texts(under.codes, [zone if zone in self._zones else "" for zone in under.texts])
        zone = self._coded(known) if len(under) else np.zeros(len(names), np.int64)
        words = table((addresses[:, 0], addresses[:, 1], self._coded(texts_of(names)), zone), len(names))
        numbers = self._rows.numbers(words)
        if len(new := np.flatnonzero(numbers < 0)):
            first, which = distinct(words[new])
            fresh = words[new[first]]
            learned = self._learn(fresh)
            self._rows.learn(fresh, learned)
            numbers[new] = learned[which]
        return numbers

    def sheet(self, address: tuple[int, int], name: str = "") -> Sheet:
        """Return the evidence sheet of one address, as spoken of by ``name``."""
        return sheet(self._know, address, name)

    def _coded(self, column: Texts) -> Ints:
        """Return the numbers of texts."""
        known = self._texts
        numbers = [known.setdefault(text, len(known)) for text in column.texts]
        return np.array(numbers, np.int64)[column.codes]

    def _learn(self, words: Words) -> Ints:
        """Return the answers to questions that were not asked before: one for each set of records, owner and zone."""
        spoken, which = distinct(words[:, 2:3])
        texts = list(self._texts)
        groups = [self._owner(texts[name]) if name else NOBODY for name in words[spoken, 2].tolist()]
        ids: dict[str, int] = {}
        owners = np.array([ids.setdefault(group.id, len(ids)) for group in groups], np.int64)
        columns = self._records(words[:, :2])
        first, of = distinct(table((*columns, owners[which], words[:, 3]), len(words)))
        records = zip(*(column[first].tolist() for column in columns), strict=True)
        asked = zip(records, which[first].tolist(), words[first, 3].tolist(), strict=True)
        return np.array([self._number(record, groups[name], texts[zone]) for record, name, zone in asked], np.int64)[of]

    def _records(self, addresses: Words) -> list[Ints]:
        """Return for each address what every source has for it, as record numbers in the order of `Clues`."""
        know = self._know
        first, which = distinct(addresses)
        inner, mechanisms = carried(addresses[first])
        tables = [table.numbers(inner) for table in (know.overrides, know.special)]
        files = [source.numbers(inner) for source in (know.clouds, know.networks, *know.countries)]
        return [column[which] for column in (mechanisms, *tables, *files)]

    def _clues(self, record: tuple[int, ...]) -> Clues:
        """Return the clues that a set of record numbers stands for."""
        know = self._know
        mechanism, override, special, cloud, network, *countries = record
        return Clues(
            MECHANISMS[mechanism], know.overrides.rows[override - 1][1] if override else NO_WORD,
            know.special.rows[special - 1][1] if special else None, know.clouds.records[cloud],
            know.networks.records[network],
            tuple(source.records[number] for source, number in zip(know.countries, countries, strict=True)),
        )  # fmt: skip

    def _number(self, record: tuple[int, ...], owner: Group, zone: str) -> int:
        """Return the number of an answer, which is found once."""
        number = self._answers.get((record, owner.id, zone))
        return self._answer(record, owner, zone) if number is None else number

    def _answer(self, record: tuple[int, ...], owner: Group, zone: str) -> int:
        if record not in self._spots:
            self._spots[record] = spot(self._clues(record), self._know)
        found = answer(self._spots[record], owner, self._zones[zone])
        number = self._numbers.setdefault((*found, zone), len(self.places))
        if number == len(self.places):
            self.places.append(found[0])
            self.verdicts.append(found[1])
            self.zones.append(zone)
        self._answers[record, owner.id, zone] = number
        return number

    def _owner(self, name: str) -> Group:
        return self._owners.get(name) or self._owners.setdefault(name, self._know.owners.by_name(name))

    def _trim(self) -> None:
        """Keep what is remembered within the limit; called between batches."""
        for memory in (self._owners, self._spots, self._answers):
            if len(memory) > self._limit:
                memory.clear()
        if max(len(self._rows), len(self._texts)) > self._limit:
            self._rows.forget()
            self._texts = {"": 0}
