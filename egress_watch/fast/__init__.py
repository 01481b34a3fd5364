"""The optional accelerator: the work on every packet, compiled; NumPy does the same where it is missing.

In: columns. Out: columns. Never: needed; whoever asks for it gets None where it was not built, where the library is
none of these sources, or where EGRESS_WATCH_FAST=0 turns it off.
"""

from __future__ import annotations

from egress_watch.fast.books import ADDRESS_BYTES, NOBODY, Books, Notes, Numbers
from egress_watch.fast.devices import DeviceTables, Said
from egress_watch.fast.distinct import Kinds, by_columns, table
from egress_watch.fast.library import Accelerator, Drained, load
from egress_watch.fast.names import MOST_TEXTS, NO_NAMES, NameFinder, NameTables, PlainNames
from egress_watch.fast.pieces import PcapPieces, PcapShape, Records, packet_columns
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
    "NameFinder",
    "NameTables",
    "Notes",
    "Numbers",
    "PcapPieces",
    "PcapShape",
    "PlainNames",
    "Records",
    "Said",
    "accelerator",
    "distinct",
    "packet_columns",
    "table",
    "turn_off",
]
