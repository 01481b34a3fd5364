"""All the captures of one run, in the order of their time.

In: paths and the formats to ask. Out: `Frames`, file by file. Never: one bad file stopping the others.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import numpy as np

from egress_watch.errors import CaptureError
from egress_watch.model import PAD_BYTES, Damage, EasyTables, Frames
from egress_watch.sources.columns import NOTHING
from egress_watch.sources.listing import STDIN, Entry, expand
from egress_watch.sources.look import in_order
from egress_watch.sources.opened import Opened, recognise
from egress_watch.sources.tap import Sampler, Tap, file_fingerprint

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from egress_watch.sources.opened import Format

Result = TypeVar("Result")


class Inputs:
    """What there is to read. Standard input and other pipes come last: their time is known only when they are read."""

    def __init__(self, paths: Sequence[str], formats: Sequence[Format], stdin: BinaryIO | None = None) -> None:
        listing = expand(paths)
        ordered = in_order(listing.entries, formats)
        self._formats = formats
        self._stdin = stdin
        self._entries = {entry.path: entry for entry in ordered.entries}
        self._failed = dict(ordered.failed)
        self._fingerprints: dict[str, str] = {}
        self.files = tuple(self._entries)
        """In the order they are read: files without frames, files by the time of their first frame, pipes."""
        self.total_bytes = sum(entry.size_bytes for entry in ordered.entries)
        """As they lie on disk, packed; pipes count 0."""
        self.passed_over = listing.passed_over + ordered.passed_over
        """(path, reason) of what is in a folder and is no capture, or is here already."""
        _refuse_barren_folders(listing.folders, ordered.entries + listing.repeated)

    @property
    def failed(self) -> list[tuple[str, str]]:
        """(path, reason) of each file that gave nothing though it should have; complete once `frames` is exhausted."""
        return list(self._failed.items())

    def frames(self, tables: EasyTables | None = None) -> Iterator[Frames]:
        """Yield the frames of all files; each yields at least one batch, if only an empty one with its `Damage`.

        With ``tables``, plain frames may be read by them on their way in: `Frames.easy`.

        A pipe that is silent yields an empty batch every half second, so that whoever reads can stop between two.
        ``read_bytes`` counts over all files. A pipe that ends in damage is read on, up to 256 MiB, for its fingerprint.
        """
        before = 0
        for path, entry in self._entries.items():
            seen_bytes = before
            for frames in self.frames_of(path, before, tables):
                seen_bytes = frames.read_bytes
                yield frames
            before = max(seen_bytes, before + entry.size_bytes)

    def frames_of(self, path: str, before: int = 0, tables: EasyTables | None = None) -> Iterator[Frames]:
        """Yield the frames of one of ``files``, as `frames` does; ``read_bytes`` counts from ``before``."""
        return self._of(self._entries[path], before, tables)

    def size_bytes(self, path: str) -> int:
        """Return the size of one of ``files``, as in ``total_bytes``."""
        return self._entries[path].size_bytes

    def note(self, path: str, failed: str | None) -> None:
        """Take over what another process found when it read one of ``files``: why it gave nothing, None if it did."""
        if failed is not None:
            self._failed.setdefault(path, failed)

    def looked_at(self, before: Inputs) -> Inputs:
        """Take over the fingerprints of the same files that were taken a moment ago, and return these inputs."""
        self._fingerprints |= {path: mark for path, mark in before._fingerprints.items() if path in self._entries}
        return self

    def fingerprint(self, path: str) -> str:
        """Return the fingerprint of one of ``files``, see `tap`; "" for a pipe whose end has not been seen.

        CaptureError where the file cannot be read.
        """
        if path not in self._fingerprints and not self._entries[path].piped:
            try:
                self._fingerprints[path] = file_fingerprint(path)
            except OSError as error:
                raise CaptureError(f"cannot be read: {error.strerror}", where=path) from None
        return self._fingerprints.get(path, "")

    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprints of all readable files, and of the pipes once `frames` is exhausted."""
        for path in self.files:
            try:
                self.fingerprint(path)
            except CaptureError:
                continue
        return {path: self._fingerprints[path] for path in self.files if path in self._fingerprints}

    def _of(self, entry: Entry, before: int, tables: EasyTables | None) -> Iterator[Frames]:
        try:
            with self._open(entry) as raw:
                tap = Tap(raw, Sampler() if entry.piped else None)
                opened = yield from _pausing(recognise(tap, self._formats), entry, tap, before)
                if opened.format:
                    yield from self._read(entry, opened, tap, before, tables)
                else:
                    yield self._fail(entry, opened.reason, before + tap.count)
        except OSError as error:
            yield self._fail(entry, error.strerror or str(error), before)

    def _open(self, entry: Entry) -> AbstractContextManager[BinaryIO]:
        if entry.path != STDIN and entry.piped:  # waits in `Tap`, not here, for somebody to open the other end
            return os.fdopen(os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0)
        if entry.path != STDIN:
            return Path(entry.path).open("rb", buffering=0)
        return nullcontext(self._stdin) if self._stdin else open(0, "rb", buffering=0, closefd=False)

    def _read(
        self, entry: Entry, opened: Opened, tap: Tap, before: int, tables: EasyTables | None
    ) -> Iterator[Frames]:  # fmt: skip
        assert opened.format
        known_bytes = -1 if opened.packing else entry.size_bytes or -1
        count, damage = 0, ()  # type: tuple[int, tuple[Damage, ...]]
        for frames in opened.format.frames(opened.stream, entry.path, tables):
            damage = tuple(_measured(damage, known_bytes) for damage in frames.damage)
            count += len(frames)
            yield replace(frames, read_bytes=before + tap.count, damage=damage)
        if damage and not count:
            self._failed.setdefault(entry.path, damage[-1].reason)
        if entry.piped and (yield from _pausing(tap.drain(), entry, tap, before)):
            self._fingerprints[entry.path] = tap.fingerprint()

    def _fail(self, entry: Entry, reason: str, read_bytes: int) -> Frames:
        """Remember that a file gave nothing, and return the empty batch that says so."""
        self._failed.setdefault(entry.path, reason)
        damage = Damage(entry.path, 0, reason, -1 if entry.piped else entry.size_bytes)
        return _empty(entry, read_bytes, damage)


def _empty(entry: Entry, read_bytes: int, *damage: Damage) -> Frames:
    return Frames(np.zeros(PAD_BYTES, np.uint8), *NOTHING, entry.path, read_bytes, 0, damage)


def _pausing(
    steps: Generator[None, None, Result], entry: Entry, tap: Tap, before: int
) -> Generator[Frames, None, Result]:
    """Yield an empty batch wherever the steps pause, and return what they come to."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        yield _empty(entry, before + tap.count)


def _measured(damage: Damage, known_bytes: int) -> Damage:
    """Fill in the bytes lost where the format did not see the end of the file but its size is known."""
    if damage.lost_bytes >= 0 or known_bytes < 0:
        return damage
    return damage._replace(lost_bytes=max(known_bytes - damage.offset, 0))


def _refuse_barren_folders(folders: Sequence[str], entries: Sequence[Entry]) -> None:
    fruitful = {entry.folder for entry in entries}
    for folder in folders:
        if folder not in fruitful:
            remedy = "name a folder that holds pcap or pcapng files itself, not in folders below"
            raise CaptureError("no capture in this folder", where=folder, remedy=remedy)
