"""The database file: opened safely, brought to the newest version, and its troubles put into words.

In: a path. Out: a connection, or a `StoreError` with a remedy.
Never: a file that others may read, or a file of unknown make.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlite_utils import Database

from egress_watch.errors import StoreError, UsageError
from egress_watch.store.schema import MIGRATIONS, NEWEST

BUSY_S = 10
OWNER_ONLY = 0o600

_REMEDIES = (
    ("disk is full", "make room; what was committed is safe, and the same command goes on"),
    ("not a database", "name a database that egress-watch wrote, or a new file"),
    ("readonly", "make the file and its folder writable, or name another with --db"),
    ("read-only", "make the file and its folder writable, or name another with --db"),
    ("unable to open", "make the folder, or name another file with --db"),
    ("locked", "wait for the other egress-watch that writes here, or name another file with --db"),
    ("malformed", "restore a copy, or name a new file and replay again"),
    ("disk i/o", "look at the disk (dmesg); what was committed is safe"),
)


@contextmanager
def trouble(path: str) -> Iterator[None]:
    """Turn what SQLite and the file system complain of into StoreError."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        what = (error.strerror if isinstance(error, OSError) else None) or str(error)
        remedy = next((remedy for word, remedy in _REMEDIES if word in what.lower()), "look at the file and its folder")
        raise StoreError(what, where=path, remedy=remedy) from error


def open_for_writing(path: str) -> Database:
    """Open or create a database; a new one is readable by its owner only. Raises StoreError."""
    with trouble(path):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, OWNER_ONLY))
        db = _connect(Path(path).resolve().as_uri() + "?mode=rw")
        version = _version(db, path)
        if version == 0:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # must come before the first table
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        _migrate(db, version)
        return db


def open_for_reading(path: str) -> Database:
    """Open a database that must be there, without the right to change it. Raises UsageError, StoreError."""
    if not Path(path).exists():
        raise UsageError("no such database", where=path, remedy="make one: egress-watch replay CAPTURE --db " + path)
    with trouble(path):
        db = _connect(_reading_uri(path))
        if (version := _version(db, path)) != NEWEST:
            remedy = "open it once for writing (replay), or name another"
            raise StoreError(f"is no egress-watch database of this version ({version})", where=path, remedy=remedy)
        return db


def _reading_uri(path: str) -> str:
    """Return the address to read from; a file in a place that cannot be written is read as it stands.

    SQLite needs to write beside a WAL database even to read it, unless it is told that nobody writes.
    """
    uri = Path(path).resolve().as_uri() + "?mode=ro"
    writable = os.access(Path(path).resolve().parent, os.W_OK)
    return uri if writable or Path(path + "-wal").exists() else uri + "&immutable=1"


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


def _connect(uri: str) -> Database:
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
    return Database(connection)


def _version(db: Database, path: str) -> int:
    """Return the version of the file, 0 for an empty one; refuse what others made and what is newer than we are."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if version > NEWEST:
        what = f"is of schema {version}, newer than this egress-watch knows ({NEWEST})"
        raise StoreError(what, where=path, remedy="use the egress-watch that wrote it, or a newer one")
    if version == 0 and tables:
        raise StoreError("is a database of something else", where=path, remedy="name another file with --db")
    return version


def _migrate(db: Database, version: int) -> None:
    for number, step in enumerate(MIGRATIONS[version:], version + 1):
        db.execute("BEGIN IMMEDIATE")
        try:
            step(db)
            db.execute(f"PRAGMA user_version = {number}")
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
