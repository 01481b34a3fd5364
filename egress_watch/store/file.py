"""The database file: opened safely, brought to the newest version, and its troubles put into words.

In: a path. Out: a connection, or a `StoreError` with a remedy.
Never: a file that others may read, or a file of unknown make.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlite_utils import Database

from egress_watch.errors import StoreError, UsageError
from egress_watch.store.bulk import attach
from egress_watch.store.schema import APPLICATION, MIGRATIONS, NEWEST

BUSY_S = 10
BUSY_PAUSE_S = 0.02
OWNER_ONLY = 0o600

MAGIC, LEAST_BYTES = b"SQLite format 3\0", 512
"""How a database begins, and its smallest page (sqlite.org/fileformat2.html, section 1.3)."""

_NO_ROOM = "make room; what was committed is safe, and the same command records it anew"
_REMEDIES = {
    "disk is full": _NO_ROOM,
    "no space left": _NO_ROOM,
    "too large": _NO_ROOM,
    "permission denied": "ask its owner for the right to it, or name another file",
    "is a directory": "name a file in it",
    "not a database": "name a database that egress-watch wrote, or a new file",
    "readonly": "make the file and its folder writable, or name another with --db",
    "read-only": "make the file and its folder writable, or name another with --db",
    "unable to open": "make the folder, or name another file with --db",
    "no such file": "make the folder, or name another file with --db",
    "locked": "wait for the other egress-watch that writes here, or name another file with --db",
    "malformed": "restore a copy, or name a new file and replay again",
    "disk i/o": "look at the disk (dmesg); what was committed is safe",
}


@contextmanager
def trouble(path: str) -> Iterator[None]:
    """Turn what SQLite and the file system complain of into StoreError."""
    try:
        yield
    except (sqlite3.Error, OSError, json.JSONDecodeError) as error:
        what = (error.strerror if isinstance(error, OSError) else None) or str(error)
        remedy = next(
            (remedy for word, remedy in _REMEDIES.items() if word in what.lower()), "look at the file and its folder"
        )
        raise StoreError(what, where=path, remedy=remedy) from error


def open_for_writing(path: str, *, new: bool = True) -> Database:
    """Open a database, or create one where ``new``, readable by its owner only. Raises StoreError, UsageError."""
    with trouble(path):
        if new:
            _touch(path, os.O_CREAT | os.O_RDWR)
        else:
            _found(path, os.O_RDWR)
        with _connected(Path(path).resolve().as_uri() + "?mode=rw") as db:
            if _version(db, path) == 0:
                db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # must come before the first table
            _write_ahead(db)
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA wal_autocheckpoint = 8000")  # pages: fold the log in every 32 MB, not every batch
            attach(db)
            _migrate(db, path)
            return db


def open_for_reading(path: str) -> Database:
    """Open a database that must be there, without the right to change it. Raises UsageError, StoreError."""
    with trouble(path):
        _found(path, os.O_RDONLY)
        with _connected(_reading_uri(Path(path).resolve())) as db:
            if (version := _version(db, path)) != NEWEST:
                what = (
                    f"is of schema {version}, older than this egress-watch reads ({NEWEST})" if version else "is empty"
                )
                raise StoreError(what, where=path, remedy="open it once for writing (replay), or name another")
            return db


def _reading_uri(path: Path) -> str:
    """Return the address to read from; a file in a place that cannot be written is read as it stands.

    SQLite needs to write beside a WAL database even to read it, unless it is told that nobody writes. The log that a
    reader leaves behind is empty.
    """
    uri = path.as_uri() + "?mode=ro"
    log = path.with_name(path.name + "-wal")
    written = log.exists() and log.stat().st_size
    return uri if written or os.access(path.parent, os.W_OK) else uri + "&immutable=1"


def _found(path: str, flags: int) -> None:
    """Look at a file that must be there; raises UsageError."""
    try:
        _touch(path, flags)
    except (FileNotFoundError, NotADirectoryError) as error:
        remedy = "make one: egress-watch replay CAPTURE --db " + path
        raise UsageError("no such database", where=path, remedy=remedy) from error


def _touch(path: str, flags: int) -> None:
    """Look at a file before SQLite does, unless this process has it open already.

    SQLite does not say why it cannot open one, waits for ever for a FIFO's writer, and takes a file below its smallest
    page for an empty one, which it fills: a short note would be gone. But to close a file ends all locks that this
    process has on it, those of SQLite too (sqlite.org/howtocorrupt.html, section 2.2): another process would then take
    the write-ahead log away from under whoever records.
    """
    if _identity(path) in _OPENED:
        if not os.access(path, os.W_OK if flags & os.O_RDWR else os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, OWNER_ONLY)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise StoreError("is no regular file", where=path, remedy="name a file")
        if status.st_size and (os.read(descriptor, len(MAGIC)) != MAGIC or status.st_size < LEAST_BYTES):
            raise StoreError("file is not a database", where=path, remedy=_REMEDIES["not a database"])
    finally:
        os.close(descriptor)


_OPENED: set[tuple[int, int]] = set()
"""Files that this process has opened as databases, by device and inode; perhaps it still has."""


def _identity(path: str) -> tuple[int, int]:
    """Return what tells a file from others, (0, 0) where there is none."""
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_dev, status.st_ino


@contextmanager
def transaction(db: Database, path: str) -> Iterator[None]:
    """Commit everything in the block or nothing; raises StoreError."""
    with trouble(path):
        db.conn.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.conn.execute("COMMIT")
        except BaseException:
            if db.conn.in_transaction:
                db.conn.execute("ROLLBACK")
            raise


@contextmanager
def _connected(uri: str) -> Iterator[Database]:
    """Yield a connection that stays open, unless the block fails."""
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        yield Database(connection)
        _OPENED.add(_identity(connection.execute("PRAGMA database_list").fetchone()[2]))
    except BaseException:
        connection.close()
        raise


def _version(db: Database, path: str) -> int:
    """Return the version of the file, 0 for an empty one; refuse what others made and what is newer than we are.

    Another process may be making the file just now. Its tables, version and owner come in one transaction, so whoever
    asks for the owner last sees it wherever the others were seen.
    """
    asked = ("SELECT count(*) FROM sqlite_master", "PRAGMA user_version", "PRAGMA application_id")
    tables, version, owner = (int(db.execute(sql).fetchone()[0]) for sql in asked)
    if owner != APPLICATION and (owner or version or tables):
        raise StoreError("is a database of something else", where=path, remedy="name another file with --db")
    if version > NEWEST:
        what = f"is of schema {version}, newer than this egress-watch knows ({NEWEST})"
        raise StoreError(what, where=path, remedy="use the egress-watch that wrote it, or a newer one")
    return version


def _write_ahead(db: Database) -> None:
    """Switch to a write-ahead log; while another process does the same, SQLite gives up without its time-out."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(BUSY_PAUSE_S)
        else:
            return


def _migrate(db: Database, path: str) -> None:
    """Take the file to the newest version, all steps or none; two processes that open a new file do it once."""
    if _version(db, path) == NEWEST:
        return
    with transaction(db, path):
        for step in MIGRATIONS[_version(db, path) :]:
            step(db)
        db.execute(f"PRAGMA user_version = {NEWEST}")


def storable(text: str) -> str:
    """Return a text that UTF-8 can hold: the name of a file may be any bytes (PEP 383), the others are escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
