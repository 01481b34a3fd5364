"""Is a new data file what it should be? Asked of every one before it comes into use.

In: a file, and the one in use. Out: what is known of it, or an UpdateError. Never: a file that was only looked at from
outside: it is opened, asked for answers that are known, and thousands of its records are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import maxminddb
import numpy as np

from egress_watch.errors import DataError, UpdateError
from egress_watch.library.folders import table
from egress_watch.library.mmdb import BROKEN, Database, Records, opened, records
from egress_watch.library.publishers import Publication
from egress_watch.model import Words
from egress_watch.places.knowledge import Found

LEAST_SHARE = 0.5
"""Of the nodes of the file in use."""

FIRST_RECORDS, SPREAD_V4, SPREAD_V6 = 3000, 1 << 14, 1 << 12
CLOCKS_DIFFER = timedelta(days=1)


class Known(NamedTuple):
    """What a sound file is known by."""

    built: str
    """ISO date."""
    nodes: int


class InUse(NamedTuple):
    """The file in use: its ISO date, and its nodes, 0 where it cannot be opened."""

    built: str
    nodes: int


def nodes(path: Path) -> int:
    """Return how many nodes the search tree of a file has, 0 where it cannot be opened."""
    try:
        with maxminddb.open_database(path) as reader:
            return reader.metadata().node_count
    except (OSError, *BROKEN):
        return 0


def checked(path: Path, where: str, want: Publication, old: InUse, today: date, *, older: bool) -> Known:
    """Return what is known of a sound file; raises UpdateError naming ``where`` the file came from."""
    database = _database(path, where)
    built = _built(database, where, today)
    if not database.kind.startswith(want.types):
        types = " or ".join(f"{kind}..." for kind in want.types)
        raise _refused(f"is of type {database.kind!r}, where {want.name} is {types}", where)
    if built < old.built and not older:
        what = f"is of {built}, older than the one in use of {old.built}"
        raise UpdateError(what, where=where, remedy="fetch a newer one, or take it all the same with --older")
    if database.tree.nodes < LEAST_SHARE * old.nodes:
        what = f"has {database.tree.nodes:,} nodes where the one in use has {old.nodes:,}: a part of it is missing"
        raise _refused(what, where)
    _asked(records(path, want.kind, own=False), database, want.kind, where)
    return Known(built, database.tree.nodes)


def type_of(path: Path, where: str) -> str:
    """Return the type in a file's metadata; raises UpdateError."""
    return _database(path, where).kind


def _database(path: Path, where: str) -> Database:
    try:
        return opened(path)
    except DataError as error:
        raise _refused(_look(path), where) from error


def _look(path: Path) -> str:
    """Say what a file is that is no database."""
    with path.open("rb") as file:
        head = file.read(256)
    if head.lstrip()[:1] == b"<":
        return "is a web page, not a database"
    if head and head.isascii():
        return "is a text, not a database"
    return "is no MaxMind database, or one cut short" if head else "is empty"


def _built(database: Database, where: str, today: date) -> str:
    built = database.built()
    if not built:
        raise _refused("does not say when it was built", where)
    latest = datetime.combine(today, datetime.max.time(), UTC) + CLOCKS_DIFFER
    if database.epoch > latest.timestamp():
        raise _refused(f"says it was built on {built}, which is yet to come", where)
    return built


def _asked(answers: Records, database: Database, kind: str, where: str) -> None:
    """Ask for answers that are known, and read records from all over the file."""
    try:
        _canaries(answers, kind, where)
        for _ in islice(database.reader, FIRST_RECORDS):
            pass
        answers.numbers(_spread())
    except DataError as error:
        raise _refused(error.what, where) from error
    except BROKEN as error:
        raise _refused("holds a broken record", where) from error


def _canaries(answers: Records, kind: str, where: str) -> None:
    known = table("canaries")
    rows = known[kind]
    wrong = [address for address, said in rows.items() if _said(answers.find(address), kind) != said]
    if len(rows) - len(wrong) < known["share"] * len(rows):
        what = f"knows {len(rows) - len(wrong)} of {len(rows)} well-known addresses; wrong at {', '.join(wrong[:3])}"
        raise _refused(what, where)


def _said(found: Found, kind: str) -> str | int:
    if kind == "cloud":
        return f"{found.provider} {found.region}".strip()
    return found.asn if kind == "asn" else found.country


def _spread() -> Words:
    """Return addresses spread evenly over IPv4 and over the global unicast of IPv6 (RFC 4291: 2000::/3)."""
    four = np.linspace(0, 2**32 - 1, SPREAD_V4).astype(np.uint64)
    six = np.linspace(0x2000 << 48, 0x3FFF << 48, SPREAD_V6).astype(np.uint64)
    low = np.concatenate([four | np.uint64(0xFFFF << 32), np.zeros(SPREAD_V6, np.uint64)])
    return np.stack([np.concatenate([np.zeros(SPREAD_V4, np.uint64), six]), low], axis=1)


def candidates(databases: tuple[Publication, ...], kind: str) -> Iterator[Publication]:
    """Yield the databases that a file of this type may be."""
    return (each for each in databases if kind.startswith(each.types))


def _refused(what: str, where: str) -> UpdateError:
    remedy = "the data in use stays; fetch it anew, or from elsewhere with --from"
    return UpdateError(what, where=where, remedy=remedy)
