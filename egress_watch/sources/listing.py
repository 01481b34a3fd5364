"""From the paths a user names to the files there are.

In: paths, ``-`` for standard input. Out: entries in the order named, folders unfolded. Never: a file opened.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from egress_watch.errors import CaptureError, UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

STDIN = "-"
NOT_KNOWN = (0, 0)


class Entry(NamedTuple):
    """One thing to read."""

    path: str
    size_bytes: int = 0
    """Size on disk, 0 where it cannot be known."""
    piped: bool = False
    """Whether it can be read only once: standard input, a FIFO, a device."""
    folder: str = ""
    """The folder it was found in, "" where the user named it."""
    identity: tuple[int, int] = NOT_KNOWN
    """Device and inode."""


class Listing(NamedTuple):
    """What the paths stand for."""

    entries: list[Entry]
    passed_over: list[tuple[str, str]]
    """What in a folder is no file, and what comes twice, with the reason."""
    repeated: list[Entry]
    """What comes twice."""
    folders: list[str]
    """The folders named."""


def expand(paths: Sequence[str]) -> Listing:
    """Return the files behind the paths; a folder stands for the files in it, one level, in the order of their names.

    A file reached twice is taken once. UsageError where a path is missing or ``-`` comes twice; CaptureError where a
    folder cannot be listed.
    """
    if not paths:
        raise UsageError("nothing to read", remedy="name a capture file, a folder of them, or - for standard input")
    if list(paths).count(STDIN) > 1:
        raise UsageError("standard input can be read only once", where=STDIN)
    listing = Listing([], [], [], [])
    known: dict[tuple[int, int], str] = {}
    for entry in (entry for path in paths for entry in _behind(path, listing)):
        if entry.identity in known:
            listing.repeated.append(entry)
            listing.passed_over.append((entry.path, f"the same file as {known[entry.identity]}"))
            continue
        listing.entries.append(entry)
        if entry.identity != NOT_KNOWN:
            known[entry.identity] = entry.path
    return listing


def _behind(path: str, listing: Listing) -> Iterator[Entry]:
    if path == STDIN:
        yield Entry(path, piped=True)
        return
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise UsageError("no such file or folder", where=path, remedy="check the spelling") from None
    except OSError:  # there, but not for us: reading it will say why
        yield Entry(path)
        return
    if stat.S_ISDIR(status.st_mode):
        listing.folders.append(path)
        yield from _within(path, listing.passed_over)
    else:
        yield _entry(path, status, "")


def _within(folder: str, passed_over: list[tuple[str, str]]) -> Iterator[Entry]:
    try:
        found = sorted(Path(folder).iterdir())
    except OSError as error:
        raise CaptureError(f"cannot be listed: {error.strerror}", where=folder) from None
    for path in found:
        try:
            status = path.stat()
        except OSError as error:
            passed_over.append((str(path), error.strerror or str(error)))
            continue
        if stat.S_ISREG(status.st_mode):
            yield _entry(str(path), status, folder)
        else:  # a FIFO found by chance would make us wait for its writer
            passed_over.append((str(path), "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"))


def _entry(path: str, status: os.stat_result, folder: str) -> Entry:
    regular = stat.S_ISREG(status.st_mode)
    size_bytes = status.st_size if regular else 0
    return Entry(path, size_bytes, not regular, folder, (status.st_dev, status.st_ino))
