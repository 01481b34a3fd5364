"""Bring new data files into use, all checked, in one step; or go back to the ones before.

In: a place that files come from. Out: a new set in use, and what changed. Never: a step by which the data in use is
worse than before: whatever fails or is interrupted, the old set stays, byte for byte.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from egress_watch.errors import DataError, UpdateError, UsageError
from egress_watch.library.checks import InUse, checked, nodes
from egress_watch.library.files import DataFile, kept_files, shipped_files
from egress_watch.library.gather import Before, before
from egress_watch.library.mmdb import BROKEN
from egress_watch.library.origins import Brought, Origin, Published, Say, origin
from egress_watch.library.publishers import Publication, Publishers
from egress_watch.library.sets import (
    MANIFEST,
    Pointer,
    digest,
    entries,
    fresh,
    home,
    locked,
    manifest,
    point,
    read_pointer,
    seal,
    sealed,
    settle,
    sweep,
)

NEW, SAME, KEPT, ABSENT = "new", "the same as in use", "kept: refused", "kept: not there"


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one database."""

    name: str
    old: str
    new: str
    """ISO dates of the data before and now."""
    bytes: int
    what: str


@dataclass
class Outcome:
    """What an update did: the set it made, "" for none, a row for each database, and what went wrong."""

    id: str = ""
    changes: list[Change] = field(default_factory=list)
    problems: list[UpdateError] = field(default_factory=list)


def update(
    given: str, publishers: Publishers, only: Sequence[str] = (), *, older: bool = False, say: Say = lambda _: None
) -> Outcome:
    """Bring new files into use: from ``given`` (a file, a folder, a URL), or from the publishers where it is "".

    Raises UsageError for a wrong name or place, and UpdateError where nothing can be done at all; what is wrong with
    one file is in the outcome, and keeps no other back.
    """
    wanted = _wanted(publishers, only)
    place = _place()
    now = datetime.now(UTC)
    with locked(place):
        pointer = _pointer(place)
        sweep(place, pointer)
        used = {file.name: file for file in kept_files()}
        source = origin(given, publishers, say, tuple(only)) if given else Published(
            publishers, lambda: _table(used["cloud"]), now.date(), say
        )  # fmt: skip
        with fresh(place, f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}") as folder:
            work = _Work(source, used, folder, now, older)
            work.bring(wanted)
            if work.rows:
                work.seal(place, pointer)
    return work.outcome


def rollback() -> str:
    """Go back to the set before, or to the shipped data; return the id of what is in use now, "" for the latter.

    Raises UsageError where the shipped data is in use already.
    """
    place = _place()
    with locked(place):
        pointer = _pointer(place)
        if not pointer.current:
            remedy = "run `egress-watch data update` for newer data"
            raise UsageError("nothing to go back to: the shipped data is in use", remedy=remedy)
        before_it = pointer.previous if _sound(place, pointer.previous) else ""
        point(place, Pointer(before_it))
        sweep(place, Pointer(before_it))
    return before_it


class _Work:
    """One update on its way."""

    def __init__(self, source: Origin, used: dict[str, DataFile], folder: Path, now: datetime, older: bool) -> None:
        self._source, self._used, self._folder, self._now, self._older = source, used, folder, now, older
        self.outcome = Outcome()
        self.rows: dict[str, dict[str, Any]] = {}
        """The manifest's row of each database that is new."""

    def bring(self, wanted: Sequence[Publication]) -> None:
        """Bring each database, and check it; what is wrong with one is noted."""
        named = self._source.names(tuple(wanted), self._folder)
        brought = [each for each in named if self._one(each)]
        if not brought and not self.outcome.problems:
            files = ", ".join(f"{each.name}.mmdb" for each in named)
            remedy = "name the files so; each may end in .xz or .gz"
            raise UpdateError(f"none of {files} is there", where=self._source.where, remedy=remedy)

    def _one(self, want: Publication) -> bool:
        target = self._folder / f"{want.name}.mmdb"
        old = self._used[want.name]
        try:
            found = self._source.bring(want, target)
            what = self._taken(want, target, found) if found else ABSENT
        except UpdateError as error:
            self.outcome.problems.append(error)
            found, what = None, KEPT
        self._tidy()
        new = self.rows.get(want.name, {"built": old.built, "bytes": _size(old.path)})
        self.outcome.changes.append(Change(want.name, old.built, new["built"], new["bytes"], what))
        return found is not None

    def _tidy(self) -> None:
        """Remove what is no part of the set: a refused file, a download that failed on the way."""
        files = {row["file"] for row in self.rows.values()}
        for path in self._folder.iterdir():
            if path.name not in files:
                path.unlink()

    def _taken(self, want: Publication, target: Path, found: Brought) -> str:
        """Check a file and take it up; raises UpdateError."""
        old = self._used[want.name]
        self.outcome.problems += found.problems
        sha256 = digest(target)
        if sha256 == old.sha256:
            return SAME
        known = checked(
            target, found.where, want, InUse(old.built, nodes(old.path)), self._now.date(), older=self._older
        )
        settle(target)
        self.rows[want.name] = {
            "name": want.name, "file": target.name, "kind": want.kind, "source": want.source, "licence": want.licence,
            "attribution": want.attribution, "built": known.built, "sha256": sha256, "bytes": target.stat().st_size,
            "modified_ns": target.stat().st_mtime_ns,
            "fetched": {"from": found.where, "at": f"{self._now:%Y-%m-%dT%H:%M:%SZ}"}, **found.more,
        }  # fmt: skip
        return f"{NEW}: {known.nodes:,} nodes, {nodes(old.path):,} before"

    def seal(self, place: Path, pointer: Pointer) -> None:
        """Make a set of the new files and of those updated before, and switch to it."""
        current = pointer.current if _sound(place, pointer.current) else ""
        if current:
            self._carry_over(entries(place / "sets" / current))
        manifest(self._folder / MANIFEST, list(self.rows.values()))
        self.outcome.id = seal(self._folder)
        after = Pointer(self.outcome.id, current)
        point(place, after)
        sweep(place, after)

    def _carry_over(self, rows: list[dict[str, Any]]) -> None:
        """Take up the files of the set in use that are not new: by another link to the same content."""
        for row in rows:
            if row["name"] not in self.rows:
                target = self._folder / row["file"]
                try:
                    os.link(row["path"], target)
                except OSError:  # a file system without links
                    shutil.copy2(row["path"], target)
                    settle(target)
                self.rows[row["name"]] = row


def _wanted(publishers: Publishers, only: Sequence[str]) -> list[Publication]:
    shipped = {file.name for file in shipped_files()}
    known = [each for each in publishers.databases if each.name in shipped]
    unknown = sorted(set(only) - {each.name for each in known})
    if unknown:
        names = ", ".join(each.name for each in known)
        raise UsageError(f"no such database: {', '.join(unknown)}", where="--only", remedy=f"one of: {names}")
    return [each for each in known if not only or each.name in only]


def _place() -> Path:
    place = home()
    if place is None:
        remedy = "set XDG_DATA_HOME to a folder of your own"
        raise UpdateError("there is no home folder to keep data in", remedy=remedy)
    return place


def _pointer(place: Path) -> Pointer:
    """Return what is in use, and make sure that it is written down before a set is made.

    Where the pointer is damaged, it is the newest sound set, as for every reader.
    """
    try:
        return read_pointer(place)
    except DataError:
        sound = [name for name in sorted(sealed(place), reverse=True) if _sound(place, name)]
        pointer = Pointer(*sound[:2])
        point(place, pointer)
        return pointer


def _sound(place: Path, name: str) -> bool:
    try:
        return bool(name) and bool(entries(place / "sets" / name))
    except DataError:
        return False


def _table(file: DataFile) -> Before:
    try:
        return before(file.path, file.built, file.providers)
    except (OSError, *BROKEN) as error:
        what = "the cloud table in use cannot be read, and no provider may fall out of it"
        raise UpdateError(what, where=str(file.path), remedy="run `egress-watch data rollback` first") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
