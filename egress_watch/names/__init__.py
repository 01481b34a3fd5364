"""What the packets themselves say about who is behind an address.

In: packets, then the flows made of them. Out: the flows with their names. Never: a name from later than the flow.

To add a protocol: a module as `reader` describes it, and its name in `MESSAGES`, `STREAMS` or `DIALOGUES`.

Everything is decided by packet times, so it does not matter how packets were cut into batches, given two things: a
batch is heard before its flows are named, and nothing had to be forgotten (`Names.forgotten` is 0).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import cast

import numpy as np

from egress_watch.fast import PlainNames, accelerator
from egress_watch.model import Flows, Packets, Wish
from egress_watch.names import dns, dns_tcp, dtls, http, llmnr, mdns, plain, quic, tls
from egress_watch.names.bearers import Sieve, Stretch, bearers, stretch_of
from egress_watch.names.books import Books, InObjects
from egress_watch.names.compiled import Compiled
from egress_watch.names.reader import (
    Bearer,
    Dialogue,
    DialogueReader,
    Heard,
    MessageReader,
    Reader,
    Reading,
    StreamReader,
)  # fmt: skip
from egress_watch.names.streams import Streams
from egress_watch.names.trust import OUTER, RANK, SOURCES
from egress_watch.texts import Texts

MESSAGES: list[MessageReader] = [dns, mdns, llmnr]
STREAMS: list[StreamReader] = [dns_tcp, tls, http]
DIALOGUES: list[DialogueReader] = [quic, dtls]
PLAINEST: tuple[MessageReader, ...] = (tls, http, dns)
"""Whose plainest packets the accelerator reads."""
TOLD: tuple[Reader, ...] = (*PLAINEST, quic)
"""Whose packets it knows."""

MOST_LATER = 4096
"""Readings that may wait to be learned."""


class Names:
    """All names heard so far; each of its books keeps at most ``limit`` names, and ``waiting`` messages may be cut."""

    def __init__(self, limit: int = 200_000, waiting: int = 1_000, seed: int = 0) -> None:
        self._heard: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        initials = quic.INITIALS, quic.LEAST_BYTES
        self._sieve = Sieve([*MESSAGES, *STREAMS, *DIALOGUES], TOLD, initials, seed)
        self._plainest = {self._sieve.bit(reader): reader for reader in PLAINEST}
        texts = {bit: (plain.TEXTS[one.SOURCE], RANK[one.SOURCE]) for bit, one in self._plainest.items()}
        fast = accelerator()
        self._compiled = Compiled(fast, limit, seed, texts) if fast else None
        self._books: Books = InObjects(limit) if self._compiled is None else self._compiled
        self._later: list[Heard] = []
        self._streams = Streams(waiting)
        self._dialogues: dict[Reader, Dialogue] = {reader: reader.open(waiting) for reader in DIALOGUES}
        self._row = 0

    def wishes(self) -> list[Wish]:
        """Return which payloads may carry names."""
        return self._sieve.wishes()

    @property
    def heard(self) -> dict[str, int]:
        """Names heard, by source."""
        self.catch_up()
        return self._heard

    @property
    def refused(self) -> dict[str, int]:
        """Packets whose names could not be read or not be read to the end, by ``source: reason``."""
        self.catch_up()
        return self._refused

    @property
    def forgotten(self) -> int:
        """Names dropped because a book was full."""
        self.catch_up()
        return self._books.forgotten

    def counters(self) -> dict[str, int]:
        """Return what was heard by source, refused by reason, forgotten, and what waits for more, for a report."""
        return {
            **{f"heard: {source}": number for source, number in sorted(self.heard.items())},
            **{f"refused: {reason}": number for reason, number in sorted(self.refused.items())},
            "forgotten": self.forgotten, "waiting": len(self._streams), "kept": len(self._books),
        }  # fmt: skip

    def told(self) -> dict[str, int]:
        """Return the counters that say something: none that is 0, and not how much is kept."""
        return {name: count for name, count in self.counters().items() if count and name != "kept"}

    def hear(self, packets: Packets) -> None:
        """Take in the names in a batch of packets; they may not be in the books before `catch_up`."""
        if self._sieve.crowded or len(self._later) > MOST_LATER:
            self.catch_up()
        stretch = stretch_of(packets, self._row)
        self._row += len(packets)
        found = self._sieve.find(packets, stretch)
        borne = zip(found, bearers(stretch, [row for row, _ in found]), strict=True) if found else ()
        heard = [Heard(reader, bearer, self._read(reader, bearer)) for (_, reader), bearer in borne]
        if self._streams.idle(heard):
            self._streams.remember(stretch)
            self._later += heard
            if not self._sieve.waiting:  # without the accelerator nothing is gained by waiting
                self.catch_up()
        else:
            self._follow(stretch, heard)

    def catch_up(self) -> None:
        """Learn what was found and waits: many names at once cost half of those of one batch."""
        later, self._later = self._later, []
        plainest = self._sieve.take()
        self._learn_in_turn(later, plainest, len(plainest.row))

    def name(self, flows: Flows) -> Flows:
        """Return the flows with ``name``, ``name_source``, ``name_ns`` and ``other_names``.

        The name is from the first of these that is there.

        1. ech, tls, quic, dtls, http: the newest name of the flow's own connection up to its last packet. A record
           that shows a SYN takes none from before its first packet, since ports are used again; any other may go back
           CONNECTION_NS.
        2. dns: the newest answer up to the flow's first packet that has not run out, to the flow's own device first,
           to anyone second. A TTL counts as at least LEAST_TTL_S and at most MOST_TTL_S.
        3. mdns, llmnr: likewise, whoever asked.

        A record cut while its connection went on hands its name to the next record.
        """
        self.catch_up()
        found = self._books.name(flows)
        sources = Texts(found.rank, SOURCES)
        return replace(
            flows, name=found.name, name_source=sources, name_ns=found.heard_ns, other_names=found.others
        )  # fmt: skip

    def _read(self, reader: Reader, bearer: Bearer) -> Reading:
        dialogue = self._dialogues.get(reader)
        return dialogue.read(bearer) if dialogue else cast("MessageReader", reader).read(bearer.payload)

    def _follow(self, stretch: Stretch, heard: list[Heard]) -> None:
        """Learn what a batch said, along with streams that wait or begin; what was found before it goes first."""
        plainest, (later, self._later) = self._sieve.take(), (self._later, [])
        first = bisect_left(plainest.row, stretch.row)
        self._learn_in_turn(later, plainest, first)
        borne = bearers(stretch, plainest.row[first:] - stretch.row)
        heard += plain.heard(plainest, self._plainest, borne, first)
        for one in self._streams.follow(stretch, sorted(heard, key=_row)):
            self._learn(one)

    def _learn_in_turn(self, heard: list[Heard], plainest: PlainNames, count: int) -> None:
        """Learn what single packets said, and the first names of the plainest, in the order of the packets."""
        done = 0
        for one in heard:
            until = bisect_left(plainest.row, _row(one), done, count) if done < count else done
            if done < until:
                self._take(plainest, slice(done, until))
            self._learn(one)
            done = until
        if done < count:
            self._take(plainest, slice(done, count))

    def _take(self, plainest: PlainNames, rows: slice) -> None:
        """Note some of the names that the accelerator found: many at once, as `_learn` does one by one."""
        assert self._compiled is not None
        learned = self._compiled.learn(plainest, rows)
        for rank in np.flatnonzero(learned.heard).tolist():
            _count(self._heard, SOURCES[rank], int(learned.heard[rank]))
        for rank, reason in learned.refused:
            _count(self._refused, f"{SOURCES[rank]}: {reason}")

    def _learn(self, heard: Heard) -> None:
        """Note the names found in a packet, and count them."""
        said, reason = heard.reading
        if reason:
            _count(self._refused, f"{heard.reader.SOURCE}: {reason}")
        for one in said:
            source = OUTER if one.outer else heard.reader.SOURCE
            _count(self._heard, source)
            self._books.note(RANK[source], heard.bearer, one)


def _row(heard: Heard) -> int:
    return heard.bearer.row


def _count(counts: dict[str, int], key: str, number: int = 1) -> None:
    counts[key] = counts.get(key, 0) + number
