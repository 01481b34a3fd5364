"""The optional accelerator: the work on every packet, compiled; NumPy does the same where it is missing.

In: columns. Out: columns. Never: needed; whoever asks for it gets None where it was not built, where the library is
none of these sources, or where EGRESS_WATCH_FAST=0 turns it off.
"""

from __future__ import annotations

from egress_watch.fast.books import ADDRESS_BYTES, NOBODY, Books, Notes, Numbers
from egress_watch.fast.devices import DeviceTables, Said
from egress_watch.fast.distinct import Kinds, by_columns, table
from egress_watch.fast.known import Known, KnownInPython
from egress_watch.fast.library import Accelerator, Drained, load
from egress_watch.fast.names import MOST_TEXTS, NO_NAMES, NameFinder, NameTables, PlainNames
from egress_watch.fast.pieces import PcapPieces, PcapShape, Records, packet_columns
from egress_watch.fast.records import Nothing, Pages, Rows
from egress_watch.fast.records import by_columns as records_by_columns
from egress_watch.model import Words

_loaded = load()


def accelerator() -> Accelerator | None:
    """Return the accelerator, None where NumPy does the work."""
    return _loaded


def turn_off() -> None:
    """Leave all work to NumPy from now on; whoever asked before keeps what was given."""
    global _loaded  # noqa: PLW0603 # one library a program
    _loaded = None


def distinct(words: Words) -> Kinds:
    """Return which rows of a table (n, width) are alike."""
    return _loaded.distinct(words) if _loaded else by_columns(words)


def records(rows: Rows, most: int, before: int = 0) -> Pages:
    """Return rows as pages of an SQLite table, at most so many on one, behind so many empty pages."""
    return _loaded.records(rows, most, before) if _loaded else records_by_columns(rows, most, before)


def known(width: int) -> Known:
    """Return what remembers numbers of keys, rows of so many words."""
    return _loaded.known(width) if _loaded else KnownInPython(width)


__all__ = [
    "ADDRESS_BYTES",
    "MOST_TEXTS",
    "NOBODY",
    "NO_NAMES",
    "Accelerator",
    "Books",
    "DeviceTables",
    "Drained",
    "Kinds",
    "Known",
    "NameFinder",
    "NameTables",
    "Notes",
    "Nothing",
    "Numbers",
    "Pages",
    "PcapPieces",
    "PcapShape",
    "PlainNames",
    "Records",
    "Rows",
    "Said",
    "accelerator",
    "distinct",
    "known",
    "packet_columns",
    "records",
    "table",
    "turn_off",
]
