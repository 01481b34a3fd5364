"""What the packets themselves say about who is behind an address.

In: packets, then the flows made of them. Out: the flows with their names. Never: a name from later than the flow.

To add a protocol: a module as `reader` describes it, and its name in `MESSAGES`, `STREAMS` or `DIALOGUES`.

Everything is decided by packet times, so it does not matter how packets were cut into batches, given two things: a
batch is heard before its flows are named, and nothing had to be forgotten (`Names.forgotten` is 0).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import replace
from typing import cast

import numpy as np

from egress_watch.fast import PlainNames
from egress_watch.model import Flows, Packets, Wish
from egress_watch.names import dns, dns_tcp, dtls, http, llmnr, mdns, plain, quic, tls
from egress_watch.names.asked import ADDRESS, Records, records
from egress_watch.names.bearers import Sieve, Stretch, bearers, stretch_of
from egress_watch.names.book import HEARD, NAME, RANK, START, UNTIL, Book, Run, find
from egress_watch.names.reader import (
    Bearer,
    Dialogue,
    DialogueReader,
    Heard,
    MessageReader,
    Reader,
    Reading,
    Refusal,
    Said,
    StreamReader,
)  # fmt: skip
from egress_watch.names.streams import Streams
from egress_watch.texts import Texts, sparse

MESSAGES: list[MessageReader] = [dns, mdns, llmnr]
STREAMS: list[StreamReader] = [dns_tcp, tls, http]
DIALOGUES: list[DialogueReader] = [quic, dtls]
PLAINEST: tuple[MessageReader, ...] = (tls, http, dns)
"""Whose plainest packets the accelerator reads."""

SECOND_NS = 1_000_000_000
LEAST_TTL_S = 300
"""Programs keep an address for longer than a short TTL says."""
MOST_TTL_S = 86_400
OTHER_NAMES = 3
"""Names kept of an address beside the best one."""

MOST_LATER = 4096
"""Readings that may wait to be learned."""

OUTER = "ech"
TRUST = (OUTER, tls.SOURCE, quic.SOURCE, dtls.SOURCE, http.SOURCE, dns.SOURCE, mdns.SOURCE, llmnr.SOURCE)
"""The sources, the surest first. The outer name goes before the plain one of the same hello: it says more."""

_SOURCES = (*TRUST, "")
_RANK = {source: rank for rank, source in enumerate(TRUST)}
_LOCAL_RANKS = (_RANK[mdns.SOURCE], _RANK[llmnr.SOURCE])
_ASKER_BYTES = 16
_NOTHING: Run = (0, 0, "", len(TRUST), 0)


class Names:
    """All names heard so far; each of its books keeps at most ``limit`` names, and ``waiting`` messages may be cut."""

    def __init__(self, limit: int = 200_000, waiting: int = 1_000) -> None:
        self._heard: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._sieve = Sieve([*MESSAGES, *STREAMS, *DIALOGUES], PLAINEST)
        self._plainest = {self._sieve.bit(reader): reader for reader in PLAINEST}
        ranked = {bit: (reader.SOURCE, _RANK[reader.SOURCE]) for bit, reader in self._plainest.items()}
        self._texts = {bit: (plain.TEXTS[source], rank) for bit, (source, rank) in ranked.items()}
        self._later: list[Heard] = []
        self._streams = Streams(waiting)
        self._dialogues: dict[Reader, Dialogue] = {reader: reader.open(waiting) for reader in DIALOGUES}
        self._row = 0
        # The first book also holds what flow records that were cut hand on to the next record.
        self._connections, self._asked, self._known, self._local = (Book(limit) for _ in range(4))

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
        return sum(book.forgotten for book in self._books())

    def counters(self) -> dict[str, int]:
        """Return what was heard by source, refused by reason, forgotten, and what waits for more, for a report."""
        return {
            **{f"heard: {source}": number for source, number in sorted(self.heard.items())},
            **{f"refused: {reason}": number for reason, number in sorted(self.refused.items())},
            "forgotten": self.forgotten, "waiting": len(self._streams), "kept": sum(map(len, self._books())),
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
        rows, some = records(flows, self._connections.lines, self._known.lines, self._local.lines)
        runs, others = self._named(some)
        ranks, heard_ns = np.full(len(flows), len(TRUST)), np.zeros(len(flows), np.int64)
        ranks[rows], heard_ns[rows] = [run[RANK] for run in runs], [run[HEARD] for run in runs]
        return replace(
            flows, name=sparse([run[NAME] for run in runs], rows, len(flows)), name_source=Texts(ranks, _SOURCES),
            name_ns=heard_ns, other_names=sparse(list(others.values()), rows[list(others)], len(flows)),
        )  # fmt: skip

    def _books(self) -> tuple[Book, ...]:
        return self._connections, self._asked, self._known, self._local

    def _read(self, reader: Reader, bearer: Bearer) -> Reading:
        dialogue = self._dialogues.get(reader)
        return dialogue.read(bearer) if dialogue else cast("MessageReader", reader).read(bearer.payload)

    def _follow(self, stretch: Stretch, heard: list[Heard]) -> None:
        """Learn what a batch said, along with streams that wait or begin; what was found before it goes first."""
        plainest, (later, self._later) = self._sieve.take(), (self._later, [])
        first = bisect_left(plainest.row, stretch.row)
        self._learn_in_turn(later, plainest, first)
        borne = bearers(stretch, [row - stretch.row for row in plainest.row[first:]])
        heard += plain.heard(plainest, self._plainest, borne, first)
        for one in self._streams.follow(stretch, sorted(heard, key=_row)):
            self._learn(one)

    def _learn_in_turn(self, heard: list[Heard], plainest: PlainNames, count: int) -> None:
        """Learn what single packets said, and the first names of the plainest, in the order of the packets."""
        done = 0
        for one in heard:
            until = bisect_left(plainest.row, _row(one), done, count) if done < count else done
            if done < until:
                self._take(plainest, range(done, until))
            self._learn(one)
            done = until
        if done < count:
            self._take(plainest, range(done, count))

    def _take(self, plainest: PlainNames, rows: range) -> None:
        """Note some of the names that the accelerator found: many at once, as `_learn` does one by one."""
        servers: list[tuple[bytes, Run]] = []
        answers: list[tuple[bytes, Run]] = []
        some = slice(rows.start, rows.stop)
        at = plainest.ends[rows.start - 1] if rows.start else 0
        columns = plainest.reader, plainest.name, plainest.time_ns, plainest.connection, plainest.ends
        for reader, raw, start_ns, connection, end in zip(*(column[some] for column in columns), strict=True):
            start, at = at, end
            text, rank = self._texts[reader]
            try:
                name = text(raw)
            except Refusal as refusal:
                _count(self._refused, f"{_SOURCES[rank]}: {refusal}")
                continue
            if start == end and name:
                servers.append((connection, (start_ns, start_ns, name, rank, start_ns)))
            for number in range(start, end):
                until_ns = _until_ns(start_ns, plainest.ttl_s[number])
                answers.append((plainest.asked[number], (start_ns, until_ns, name, rank, start_ns)))
        self._note_all(servers, answers)

    def _note_all(self, servers: list[tuple[bytes, Run]], answers: list[tuple[bytes, Run]]) -> None:
        """Note names of connections, and names of addresses under (who asked, address)."""
        for rank, number in Counter([run[RANK] for _, run in servers + answers]).items():
            _count(self._heard, _SOURCES[rank], number)
        self._connections.note_all(servers)
        self._asked.note_all(answers)  # an answer goes to the one who asked
        self._known.note_all([(pair[_ASKER_BYTES:], run) for pair, run in answers])

    def _learn(self, heard: Heard) -> None:
        """Note the names found in a packet, and count them."""
        said, reason = heard.reading
        if reason:
            _count(self._refused, f"{heard.reader.SOURCE}: {reason}")
        for one in said:
            source = OUTER if one.outer else heard.reader.SOURCE
            _count(self._heard, source)
            self._note(_RANK[source], heard.bearer, one)

    def _note(self, rank: int, bearer: Bearer, said: Said) -> None:
        """Note a name under its connection, or under the address it names and who asked."""
        start_ns = bearer.time_ns
        if said.address is None:
            self._connections.note(bearer.connection, (start_ns, start_ns, said.name, rank, start_ns))
            return
        run = (start_ns, _until_ns(start_ns, said.ttl_s), said.name, rank, start_ns)
        if rank in _LOCAL_RANKS:
            self._local.note(said.address, run)
            return
        self._asked.note(bearer.connection[ADDRESS] + said.address, run)  # an answer goes to the one who asked
        self._known.note(said.address, run)

    def _named(self, some: Records) -> tuple[list[Run], dict[int, str]]:
        """Return the best name of each record, and the others of those that have some.

        A name is handed on where another record will follow.
        """
        runs: list[Run] = []
        others: dict[int, str] = {}
        goes_on = any(some.continued)
        for connection, line, known, local, only, first_ns, last_ns, since_ns, continued in zip(*some, strict=True):
            if goes_on and not line:  # a record before this one may have left a name
                line = self._connections.lines.get(connection)  # noqa: PLW2901
            run = find(line, since_ns, last_ns) if line else None
            if run is None and known:
                told = self._asked.lines.get(connection[: ADDRESS.stop])
                run = (find(told, first_ns, first_ns) if told else None) or find(known, first_ns, first_ns)
            if run is None and local:
                run = find(local, first_ns, first_ns)
            if run and continued:
                self._connections.note(connection, (last_ns, last_ns, run[NAME], run[RANK], run[HEARD]))
            if run and known and only != run[NAME]:
                others[len(runs)] = _others(known, run[NAME], first_ns)
            runs.append(run or _NOTHING)
        return runs, others


def _row(heard: Heard) -> int:
    return heard.bearer.row


def _until_ns(start_ns: int, ttl_s: int) -> int:
    return start_ns + min(max(ttl_s, LEAST_TTL_S), MOST_TTL_S) * SECOND_NS


def _others(line: list[Run], name: str, when_ns: int) -> str:
    """Return the newest names that held at a time beside the best one, with a space between them."""
    held = [run[NAME] for run in reversed(line) if run[START] <= when_ns <= run[UNTIL] and run[NAME] != name]
    return " ".join(list(dict.fromkeys(held))[:OTHER_NAMES]) if held else ""


def _count(counts: dict[str, int], key: str, number: int = 1) -> None:
    counts[key] = counts.get(key, 0) + number
