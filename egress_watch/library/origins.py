"""Where new data files come from: their publishers, a folder, one file, or a mirror inside the house.

In: what --from says. Out: an unpacked file for each database that is there. Never: a file outside the given folder, and
no network but for the publishers and a mirror.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from egress_watch.errors import UpdateError, UsageError
from egress_watch.library.checks import candidates, type_of
from egress_watch.library.fetch import REMEDY, check, fetch
from egress_watch.library.gather import Before, built, gather
from egress_watch.library.packed import copy, unpack
from egress_watch.library.publishers import Publication, Publishers
from egress_watch.library.sets import MANIFEST, MOST_MANIFEST_BYTES, digest

ENDINGS = ("", ".xz", ".gz")
SHOWN = 200

Say = Callable[[str], None]


class Brought(NamedTuple):
    """A file that was brought: where it came from, and what its manifest row says beyond that."""

    where: str
    more: dict[str, Any]
    problems: list[UpdateError]
    """What went wrong without making the file unusable."""


class Origin(Protocol):
    """A place that new files come from."""

    @property
    def where(self) -> str:
        """Name the place as a person knows it."""
        ...

    def names(self, databases: tuple[Publication, ...], folder: Path) -> tuple[Publication, ...]:
        """Return the databases to look for; ``folder`` is for what has to be looked at first."""
        ...

    def bring(self, want: Publication, target: Path) -> Brought | None:
        """Write a database to ``target``, None where it is not there; raises UpdateError."""
        ...


@dataclass
class Published:
    """The publishers themselves; the cloud table is built from the providers' lists."""

    publishers: Publishers
    table: Callable[[], Before]
    """The cloud table in use, read only where it is needed."""
    today: date
    say: Say

    @property
    def where(self) -> str:
        """Name the place."""
        return "the publishers"

    def names(self, databases: tuple[Publication, ...], folder: Path) -> tuple[Publication, ...]:
        """Return all of them."""
        del folder
        return databases

    def bring(self, want: Publication, target: Path) -> Brought | None:
        """Fetch a database, or build it where it has no address of its own."""
        if not want.urls:
            return self._built(target)
        for url in want.addresses(self.today):
            self.say(f"fetching {want.name}: {url}")
            if fetched := _download(url, target, self.publishers):
                return Brought(fetched, {}, [])
        where = want.addresses(self.today)[0]
        raise UpdateError("the server has no such file", where=where, remedy=REMEDY)

    def _built(self, target: Path) -> Brought:
        limits = self.publishers.limits
        done = gather(self.publishers.providers, self.table(), target, limits, self.today, self.say)
        if not done.providers:
            first = done.kept[0] if done.kept else UpdateError("no provider is listed", remedy=REMEDY)
            raise UpdateError(f"no list of a provider could be had: {first.what}", where=first.where, remedy=REMEDY)
        where = ", ".join(sorted({url for each in self.publishers.providers for url in each.urls}))
        return Brought(where, {"providers": done.providers, "built": built(done.providers)}, done.kept)


@dataclass
class Folder:
    """A folder with files named after the databases, plain or packed."""

    folder: Path
    publishers: Publishers

    @property
    def where(self) -> str:
        """Name the place."""
        return str(self.folder)

    def names(self, databases: tuple[Publication, ...], folder: Path) -> tuple[Publication, ...]:
        """Return all of them."""
        del folder
        return databases

    def bring(self, want: Publication, target: Path) -> Brought | None:
        """Copy a database."""
        for ending in ENDINGS:
            path = self.folder / f"{want.name}.mmdb{ending}"
            if path.exists():
                _copied(path, target, self.publishers)
                _compare(target, self._manifest.get(want.name, {}), str(path))
                return Brought(str(path), _more(self._manifest.get(want.name, {})), [])
        return None

    @cached_property
    def _manifest(self) -> dict[str, dict[str, Any]]:
        path = self.folder / MANIFEST
        return _manifest(_small(path), str(path)) if path.is_file() else {}


@dataclass
class File:
    """One file, whose metadata says which database it is."""

    path: Path
    publishers: Publishers
    only: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """Name the place."""
        return str(self.path)

    def names(self, databases: tuple[Publication, ...], folder: Path) -> tuple[Publication, ...]:
        """Return the one it is; raises UpdateError where it is none."""
        copied = folder / "named"
        _copied(self.path, copied, self.publishers)
        kind = type_of(copied, str(self.path))
        copied.unlink()
        found = tuple(candidates(databases, kind))[:1]
        if not found:
            remedy = "name your own file in the settings instead: [data] country_db or asn_db"
            what = f"is of type {kind!r}, which is none of {', '.join(self.only or [each.name for each in databases])}"
            raise UpdateError(what, where=str(self.path), remedy=remedy)
        return found

    def bring(self, want: Publication, target: Path) -> Brought | None:
        """Copy it."""
        del want
        _copied(self.path, target, self.publishers)
        return Brought(str(self.path), {}, [])


@dataclass
class Mirror:
    """An address under which the files lie by their names, and perhaps a manifest with their sha256."""

    base: str
    publishers: Publishers
    say: Say
    _rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Name the place."""
        return self.base

    def names(self, databases: tuple[Publication, ...], folder: Path) -> tuple[Publication, ...]:
        """Return all of them; the manifest is read first."""
        url, target = f"{self.base}/{MANIFEST}", folder / "listed"
        if fetch(url, target, self.publishers.limits, MOST_MANIFEST_BYTES):
            self._rows = _manifest(target.read_bytes(), url)
            target.unlink()
        return databases

    def bring(self, want: Publication, target: Path) -> Brought | None:
        """Fetch a database, packed or plain; with a manifest, it must be the one that is named there."""
        for ending in ENDINGS:
            url = f"{self.base}/{want.name}.mmdb{ending}"
            self.say(f"fetching {want.name}: {url}")
            if fetched := _download(url, target, self.publishers):
                _compare(target, self._rows.get(want.name, {}), fetched)
                return Brought(fetched, _more(self._rows.get(want.name, {})), [])
        return None


def origin(given: str, publishers: Publishers, say: Say, only: tuple[str, ...] = ()) -> Origin:
    """Return the place that a person names with --from; raises UsageError or UpdateError where there is none."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", given):
        check(given)
        return Mirror(given.rstrip("/"), publishers, say)
    path = Path(given)
    try:
        if path.is_dir():
            return Folder(path, publishers)
        if path.exists():
            return File(path, publishers, only)
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        pass
    raise UsageError("no such file or folder", where=given[:SHOWN], remedy="name a .mmdb file, a folder, or a URL")


def _download(url: str, target: Path, publishers: Publishers) -> str:
    """Fetch and unpack one file; return where it came from in the end, "" where it is not there."""
    packed = target.with_name(f"{target.name}.packed")
    fetched = fetch(url, packed, publishers.limits, publishers.limits.most_packed_bytes)
    if fetched is None:
        return ""
    unpack(packed, target, publishers.limits.most_bytes, url)
    packed.unlink()
    return url


def _copied(path: Path, target: Path, publishers: Publishers) -> None:
    packed = target.with_name(f"{target.name}.packed")
    copy(path, packed, publishers.limits.most_bytes)
    unpack(packed, target, publishers.limits.most_bytes, str(path))
    packed.unlink()


def _small(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_MANIFEST_BYTES)


def _manifest(text: bytes, where: str) -> dict[str, dict[str, Any]]:
    try:
        return dict(_named(json.loads(text)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        remedy = "give a list of rows with name and sha256, or no manifest at all"
        raise UpdateError("no manifest of data files", where=where, remedy=remedy) from error


def _named(rows: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in rows:
        yield row["name"], {"name": row["name"], "sha256": str(row["sha256"]).lower()} | _dates(row)


def _dates(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a manifest tells of the providers' lists: a cloud table built elsewhere says it only there."""
    dated = {
        str(name): {"gathered": _iso(each["gathered"]), "published": _iso(each.get("published") or "")}
        for name, each in row.get("providers", {}).items()
    }
    return {"providers": dated}


def _iso(day: str) -> str:
    return date.fromisoformat(day).isoformat() if day else ""


def _more(row: dict[str, Any]) -> dict[str, Any]:
    return {"providers": row["providers"]} if row.get("providers") else {}


def _compare(target: Path, row: dict[str, Any], where: str) -> None:
    if row and digest(target) != row["sha256"]:
        remedy = "copy or fetch it anew, and see that manifest and file belong together"
        raise UpdateError("its sha256 is not the one in the manifest", where=where, remedy=remedy)
