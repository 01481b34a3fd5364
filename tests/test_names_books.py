"""The books in rows say what the books in Python's objects say, whatever is noted and asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress_watch import fast
from egress_watch.fast.books import BookInRows
from egress_watch.model import END_REASONS, Flows
from egress_watch.names import Names
from egress_watch.names.asked import CONNECTION_NS
from egress_watch.names.book import RUNS_PER_KEY, Book, Run
from egress_watch.names.books import InObjects
from egress_watch.names.compiled import Compiled
from egress_watch.names.reader import Bearer, Said
from egress_watch.names.trust import LOCAL_RANKS, SOURCES, UNKNOWN

FAST = fast.accelerator()
built = pytest.mark.skipif(FAST is None, reason="the accelerator is not built or turned off")

Contents = list[tuple[bytes, list[Run]]]


def of_rows(book: BookInRows, texts: list[str]) -> Contents:
    """Return the lines of a book in rows, the one that would be forgotten first going first."""
    found: Contents = []
    at = int(book.lines["after"][0])
    while at:
        line, runs = book.lines[at], []
        one = int(line["newest"])
        while one:
            start, until, heard, name, rank, one, _ = book.runs[one].item()
            runs.append((start, until, texts[name], rank, heard))
        assert len(runs) == line["runs"]
        found.append((line["key"].tobytes()[: book.rows.key_bytes], runs[::-1]))
        at = int(line["after"])
    assert book.rows.kept == sum(len(runs) for _, runs in found)
    return found


def kept(books: InObjects | Compiled) -> list[Contents]:
    """Return what is in each of the four books."""
    if isinstance(books, Compiled):
        books.settle()
        return [of_rows(book, books.numbered.texts) for book in books.books]
    return [list(book.lines.items()) for book in books.books]


def contents(names: Names) -> list[Contents]:
    """Return everything that was learned, with the order in which it would be forgotten."""
    names.catch_up()
    assert isinstance(names._books, InObjects | Compiled)
    return kept(names._books)


def told(books: InObjects | Compiled, flows: Flows) -> list[Any]:
    """Return what books say of flows, and the texts in their order: the store numbers them by it."""
    named = books.name(flows)
    return [named.name.texts, list(named.name), named.rank.tolist(), named.heard_ns.tolist(), named.others.texts,
            list(named.others)]  # fmt: skip


TIMES = st.integers(0, 2000).map(lambda tick: tick * CONNECTION_NS // 400)
HOSTS = st.integers(1, 4)
PORTS = st.integers(40_000, 40_002)
NAMES = st.sampled_from(["a.example", "b.example", "c.example", "d.example", "e.example", "f.example"])
RANKS = st.integers(0, UNKNOWN - 1)
SAYING = st.tuples(
    st.just("say"), st.tuples(TIMES, RANKS, HOSTS, HOSTS, PORTS, NAMES, st.booleans(), st.integers(0, 900))
)
RECORD = st.tuples(
    TIMES, TIMES, HOSTS, HOSTS, PORTS, st.sampled_from([2, 16]), st.sampled_from(["fin", "active", "idle"])
)
ASKING = st.tuples(st.just("ask"), st.lists(RECORD, max_size=6))


def address(host: int) -> bytes:
    """Return one of a few addresses."""
    return bytes(15) + bytes([host])


def say(books: InObjects | Compiled, said: tuple[Any, ...]) -> None:
    """Note one name."""
    time_ns, rank, client, server, port, name, alone, ttl_s = said
    connection = address(client) + address(server) + port.to_bytes(2, "big") + b"\x01\xbb\x06"
    alone = alone and rank not in LOCAL_RANKS
    one = Said(name) if alone else Said(name, address(server), ttl_s)
    books.note(rank, Bearer(0, time_ns, connection, b"", -1), one)


def records(rows: list[tuple[Any, ...]]) -> Flows:
    """Return flow records as columns."""
    first, length, device, remote, port, flags, end = zip(*rows, strict=True) if rows else [[]] * 7
    zero = np.zeros(len(rows), np.int64)
    hosts = [np.array([(0, host) for host in some], np.uint64).reshape(-1, 2) for some in (device, remote)]
    return Flows(
        first_ns=np.array(first, np.int64), last_ns=np.array(first, np.int64) + np.array(length, np.int64),
        device=hosts[0], remote=hosts[1], device_port=np.array(port, np.uint16),
        remote_port=np.full(len(rows), 443, np.uint16), protocol=np.full(len(rows), 6, np.uint8),
        device_mac=zero.astype(np.uint64), vlan=zero.astype(np.uint16), packets_out=zero, bytes_out=zero,
        packets_in=zero, bytes_in=zero, flags_out=np.array(flags, np.uint8), flags_in=zero.astype(np.uint8),
        end_reason=np.array([END_REASONS.index(one) for one in end], np.uint8),
    )  # fmt: skip


@built
@settings(deadline=None, max_examples=400)
@given(
    st.lists(st.one_of(SAYING, SAYING, SAYING, ASKING), max_size=60),
    st.sampled_from([1, 2, 5, 1000]),
    st.integers(0, 9),
)
def test_books_in_rows_say_the_same(events, limit, seed):
    """Names of all sources, out of order too, full books, records that hand names on: the same answers and contents."""
    assert FAST
    both = InObjects(limit), Compiled(FAST, limit, seed, {})
    for kind, what in events:
        if kind == "say":
            for books in both:
                say(books, what)
        else:
            plain, compiled = (told(books, records(what)) for books in both)
            assert compiled == plain
    assert kept(both[1]) == kept(both[0])
    assert (both[1].forgotten, len(both[1])) == (both[0].forgotten, len(both[0]))


@built
def test_one_busy_key_is_bounded_in_rows_too():
    """A key whose name keeps changing, forwards and backwards in time, keeps as many and the same."""
    assert FAST
    both = InObjects(1000), Compiled(FAST, 1000, 0, {})
    for when in [*range(100, 100 + 2 * RUNS_PER_KEY), *range(2 * RUNS_PER_KEY, 0, -1)]:
        for books in both:
            say(books, (when, 5, 1, 2, 40_000, f"n{when % 90}", True, 0))
    assert kept(both[1]) == kept(both[0])
    assert both[1].forgotten == both[0].forgotten > 0


@built
def test_rows_grow_and_are_used_again():
    """Many more names than the first room, then many more than the limit: all are found, or counted as forgotten."""
    assert FAST
    limit = 5000
    both = InObjects(limit), Compiled(FAST, limit, 7, {})
    for when in range(3 * limit):
        said = (when, 5, when % 7, when % 251, 40_000 + when % 997, f"n{when % 3011}", bool(when % 3), 400)
        for books in both:
            say(books, said)
    assert kept(both[1]) == kept(both[0])
    assert both[1].forgotten == both[0].forgotten > 0
    assert len(both[1].books.connections.runs) == 8192


@built
def test_texts_that_no_book_has_are_let_go(monkeypatch):
    """A name that was forgotten frees its number, whoever noted it; those that are kept stay."""
    monkeypatch.setattr("egress_watch.names.numbers.LEAST_SPARE", 10)
    assert FAST
    both = InObjects(5), Compiled(FAST, 5, 0, {})
    both[1].numbered._most = 10
    for when in range(1000):
        for books in both:
            say(books, (when, 5, 1, 2, when, f"n{when}", True, 0))
        both[1].settle()
        assert len(both[1].numbered) <= 21
    assert kept(both[1]) == kept(both[0])
    assert len(both[1].numbered.texts) <= 21


def test_a_book_of_none_keeps_none():
    """A limit of 0 forgets each name at once."""
    book = Book(0)
    book.note(b"1", (1, 1, "a.example", 0, 1))
    assert (len(book), book.forgotten) == (0, 1)
    assert SOURCES[UNKNOWN] == ""
