"""A first look at the files: which are captures, and which comes first.

In: the entries of a listing and the formats to ask. Out: the entries in order of time. Never: a pipe touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from egress_watch.sources.opened import Opened, recognise
from egress_watch.sources.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from egress_watch.sources.listing import Entry
    from egress_watch.sources.opened import Format

LOOK_BATCHES = 8
"""Batches looked into for a file's first frame; a capture that opens with 20 MiB of other blocks sorts as if empty."""
EARLIEST_NS, LATEST_NS = -(2**63), 2**63 - 1


class Look(NamedTuple):
    """What a first look at a file told."""

    first_ns: int
    """Time of its first frame, EARLIEST_NS where there is none."""
    reason: str
    """Why nothing can be read, "" where something can."""
    opened: bool
    """Whether it could be opened at all."""


class Ordered(NamedTuple):
    """What there is to read, in order, and what there is not."""

    entries: list[Entry]
    passed_over: list[tuple[str, str]]
    """Files found in a folder that are no captures, with the reason."""
    failed: list[tuple[str, str]]
    """Files named that are no captures, and any that cannot be opened, with the reason; they are among the entries."""


def in_order(entries: Sequence[Entry], formats: Sequence[Format]) -> Ordered:
    """Order files by the time of their first frame, those without frames first, pipes last; equals keep their order."""
    found = Ordered([], [], [])
    looks = [(entry, look(entry, formats)) for entry in entries]
    for entry, seen in sorted(looks, key=lambda pair: (pair[0].piped, pair[1].first_ns)):
        if seen.reason and seen.opened and entry.folder:
            found.passed_over.append((entry.path, seen.reason))
            continue
        found.entries.append(entry)
        if seen.reason:
            found.failed.append((entry.path, seen.reason))
    return found


def look(entry: Entry, formats: Sequence[Format]) -> Look:
    """Return what the start of a file tells; a pipe is left alone."""
    if entry.piped:
        return Look(LATEST_NS, "", opened=True)
    try:
        with Path(entry.path).open("rb", buffering=0) as raw:
            opened = _at_once(recognise(Tap(raw), formats))
            return Look(_first_ns(opened, entry.path), opened.reason, opened=True)
    except OSError as error:
        return Look(EARLIEST_NS, error.strerror or str(error), opened=False)


def _at_once(steps: Generator[None, None, Opened]) -> Opened:
    """Return what the steps come to; a regular file is never silent, so there is nothing to do between them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            opened: Opened = end.value
            return opened


def _first_ns(opened: Opened, origin: str) -> int:
    if not opened.format:
        return EARLIEST_NS
    batches = zip(range(LOOK_BATCHES), opened.format.frames(opened.stream, origin), strict=False)
    return next((int(frames.time_ns[0]) for _, frames in batches if len(frames)), EARLIEST_NS)
