"""MaxMind databases, asked by whole columns of addresses.

In: a path. Out: the number of the record that holds each address, and each record once. Never: a look-up in a file that
changes meanwhile: what was opened is kept, whatever becomes of the file.

`Tree` finds where an address ends. Only a record never met before is read, by maxminddb or, in the user's own files, by
geoip2: a country file holds some 200 different ones.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from stat import S_ISREG
from typing import Any
from weakref import finalize

import maxminddb
import numpy as np

from egress_watch.errors import ConfigError, DataError
from egress_watch.fast import distinct, table
from egress_watch.library.folders import DATA
from egress_watch.library.tree import Tree
from egress_watch.model import Ints, Words, address_text
from egress_watch.places.knowledge import NOTHING, Found

READING = maxminddb.MODE_MMAP
"""Its reader in Python: on broken records the compiled one (3.2.0) ends the process with a segmentation fault."""

BROKEN = (
    maxminddb.InvalidDatabaseError, ValueError, TypeError, AttributeError, LookupError, RecursionError, struct.error,
    OverflowError,
)  # fmt: skip
"""What reading a data file of the wrong make raises, in maxminddb, in geoip2 and in our own reading of a record."""

EDITIONS = {"asn": ("ASN", "ISP"), "country": ("City", "Enterprise", "Country")}
"""Words in the type of a user's own file; each names the method of geoip2 that reads it."""

MOST_BYTES = 1 << 31
PIECE_BYTES = 1 << 18
MOST_OPEN = 8
"""Files that are held open for whoever asks for them next: more than judge at a time."""
NO_COUNTRY = "ZZ"
"""What DB-IP writes where it knows no country: a code for users in ISO 3166-1, "unknown territory" in CLDR."""
Read = Callable[[str], tuple[str, Found]]


class Database:
    """One open file: its tree, and how to read a record of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.copy, descriptor = _private(path)
        """Where the reader maps the content from: not the file itself, where the system allows it."""
        if descriptor >= 0:
            finalize(self, os.close, descriptor)  # else data loaded anew would keep the memory of those before
        try:
            self.reader = maxminddb.open_database(self.copy, READING)
            metadata = self.reader.metadata()
            self.kind, self.epoch = str(metadata.database_type), metadata.build_epoch
            self.narrow = metadata.ip_version == 4
            self.tree = Tree(_mapped(self.copy), metadata.node_count, metadata.record_size, narrow=self.narrow)
        except BROKEN as error:
            what = "no MaxMind database, or one cut short"
            raise DataError(what, where=str(path), remedy="fetch the file anew") from error

    def built(self) -> str:
        """Return the ISO date of the data, "" where the file gives none."""
        try:
            return datetime.fromtimestamp(self.epoch, UTC).date().isoformat()
        except (ValueError, OverflowError, OSError, TypeError):
            return ""


class Records:
    """The answers of one database, numbered in the order they were met; number 0 is NOTHING."""

    def __init__(self, database: Database, read: Read) -> None:
        self._database, self._read = database, read
        self.found: list[Found] = [NOTHING]
        self._numbers: dict[Found, int] = {NOTHING: 0}
        self._by_leaf: dict[int, int] = {}

    def numbers(self, addresses: Words) -> Ints:
        """Return the number of the answer for each address; raises DataError for a broken record."""
        leaves = self._database.tree.leaves(addresses)
        first, which = distinct(table((leaves,), len(leaves)))
        some = zip(leaves[first].tolist(), addresses[first], strict=True)
        known = [self._number(leaf, address) for leaf, address in some]
        return np.array(known, np.int64)[which]

    def find(self, address: str) -> Found:
        """Return the answer for one address, with its prefix; raises DataError for a broken record."""
        if self._database.narrow and ":" in address:
            return NOTHING
        try:
            prefix, found = self._read(address)
            _typed(found)
        except BROKEN as error:
            what = f"holds a broken record for {address}"
            raise DataError(what, where=str(self._database.path), remedy="fetch the file anew") from error
        return found._replace(prefix=prefix)

    def _number(self, leaf: int, words: Words) -> int:
        if leaf <= self._database.tree.nodes:
            return 0
        if leaf not in self._by_leaf:
            found = self.find(address_text(int(words[0]), int(words[1])))._replace(prefix="")
            self._by_leaf[leaf] = self._numbers.setdefault(found, len(self.found))
            if self._by_leaf[leaf] == len(self.found):
                self.found.append(found)
        return self._by_leaf[leaf]


def _typed(found: Found) -> None:
    """Raise TypeError for an answer that is no text or number where one belongs."""
    if not all(isinstance(value, type(nothing)) for value, nothing in zip(found, NOTHING, strict=True)):
        raise TypeError("a record of other types")


def opened(path: Path) -> Database:
    """Return a database, opened once as long as its file stays as it is; raises DataError with a remedy."""
    stamp: tuple[int, ...] = ()
    with suppress(OSError):  # what is wrong is said when it is read
        about = path.stat()
        stamp = about.st_mtime_ns, about.st_size, about.st_ino
    return _opened(path, stamp)


@lru_cache(maxsize=MOST_OPEN)
def _opened(path: Path, _: tuple[int, ...]) -> Database:
    return Database(path)


def records(path: Path, kind: str, *, own: bool) -> Records:
    """Return the answers of a database of a kind (country, asn, cloud); ``own`` ones are read through geoip2."""
    database = opened(path)
    return Records(database, _reading_own(database, kind) if own else _reading(database.reader, _SHAPES[kind]))


def _pieces(path: Path) -> Iterator[bytes]:
    """Yield the content of a file, a piece at a time; raises DataError with a remedy."""
    remedy = "give a readable .mmdb file"
    try:
        about = path.stat()
        if not S_ISREG(about.st_mode):  # a FIFO waits for its writer, a device may never end
            raise DataError("is no regular file", where=str(path), remedy=remedy)
        if about.st_size > MOST_BYTES:
            raise DataError(f"holds more than {MOST_BYTES:,} bytes", where=str(path), remedy=remedy)
        with path.open("rb", buffering=0) as file:
            yield from iter(partial(file.read, PIECE_BYTES), b"")
    except FileNotFoundError as error:
        remedy = "run `make setup`, which unpacks the data files" if path.parent == DATA else "mend the path in [data]"
        raise DataError("no such data file", where=str(path), remedy=remedy) from error
    except OSError as error:
        raise DataError(error.strerror or str(error), where=str(path), remedy=remedy) from error


def _private(path: Path) -> tuple[str, int]:
    """Return the path of a copy in memory: a mapped file that is overwritten in place would end the process.

    And the descriptor that it leads through. Where the system has no such memory, or grants too little of it, it is the
    file itself, and -1. Raises DataError with a remedy.
    """
    pieces = _pieces(path)
    first = next(pieces, b"")  # what cannot be read is told before a copy is begun
    if not hasattr(os, "memfd_create"):
        return str(path), -1
    descriptor = os.memfd_create(path.name[:100])
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.writelines(chain((first,), pieces))
    except DataError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return str(path), -1
    return f"/proc/self/fd/{descriptor}", descriptor


def _mapped(copy: str) -> memoryview:
    with open(copy, "rb") as file:  # noqa: PTH123 - a path that leads through a descriptor
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _reading(reader: maxminddb.Reader, shape: Callable[[Any], Found]) -> Read:
    def read(address: str) -> tuple[str, Found]:
        record, length = reader.get_with_prefix_len(address)
        return (f"{address}/{length}", shape(record)) if record else ("", NOTHING)

    return read


def _flat_or_nested(record: Any) -> Found:
    """Read DB-IP's and MaxMind's nested country, or the flat ``country_code`` of ip-location-db; ZZ is no country."""
    code = record.get("country_code") or record.get("country", {}).get("iso_code", "")
    return Found("", country="" if code == NO_COUNTRY else code)


def _network(record: Any) -> Found:
    name = record.get("autonomous_system_organization") or ""
    return Found("", asn=int(record.get("autonomous_system_number") or 0), as_name=name)


def _cloud(record: Any) -> Found:
    return Found("", provider=record["provider"], region=record["region"])


_SHAPES = {"country": _flat_or_nested, "asn": _network, "cloud": _cloud}


def _reading_own(database: Database, kind: str) -> Read:
    """Ask the user's own file through geoip2, which knows every edition that MaxMind and DB-IP sell."""
    from geoip2.database import Reader
    from geoip2.errors import AddressNotFoundError

    method = getattr(Reader(database.copy, mode=READING), _edition(database, kind))

    def read(address: str) -> tuple[str, Found]:
        try:
            return _answered(method(address), kind, address)
        except AddressNotFoundError:
            return "", NOTHING

    return read


def _edition(database: Database, kind: str) -> str:
    """Return the method of geoip2 for a file; raises ConfigError where it answers another question."""
    for word in EDITIONS[kind]:
        if word in database.kind:
            return word.lower()
    wanted = {"asn": "ASN", "country": "country or city"}[kind]
    remedy = f"give a GeoLite2, GeoIP2 or DB-IP {wanted} file, as .mmdb"
    what = f"holds {database.kind!r}, which is no {wanted} database"
    raise ConfigError(what, where=str(database.path), remedy=remedy)


def _answered(answer: Any, kind: str, address: str) -> tuple[str, Found]:
    if kind == "asn":
        number, name = answer.autonomous_system_number or 0, answer.autonomous_system_organization or ""
        return str(answer.network), Found("", asn=int(number), as_name=str(name))
    return str(answer.traits.network or address), Found("", country=str(answer.country.iso_code or ""))


def described(path: Path) -> tuple[str, str]:
    """Return the type of a database and the ISO date of its data."""
    database = opened(path)
    return database.kind, database.built()
