"""Sets of updated data files: where they lie, which one is in use, and the one before it.

In: ``$XDG_DATA_HOME/egress-watch``: ``current.json`` and ``sets/ID/`` with a ``manifest.json`` each. Out: the rows of
the set in use, and in words what is wrong with one that is not. Never: a set that is used although a file of it is not
the one its manifest names.

``current.json`` is the only thing that ever changes under its name, by one atomic replacement.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import Any, NamedTuple

from egress_watch.errors import DataError, UpdateError

MOST_MANIFEST_BYTES = 1 << 20
POINTER, MANIFEST, FRESH = "current.json", "manifest.json", ".new-"
REMEDY = "run `egress-watch data update`, or `egress-watch data rollback`"
TEXTS = ("name", "kind", "file", "built", "licence", "attribution", "sha256")
KINDS = ("country", "asn", "cloud")


class Pointer(NamedTuple):
    """The ids of the set in use and of the one before; "" is the shipped data."""

    current: str = ""
    previous: str = ""


class InUse(NamedTuple):
    """The rows of the set in use, each with its ``path``, the set's id, and what is to be said of it."""

    rows: list[dict[str, Any]]
    id: str
    notices: list[str]


def home() -> Path | None:
    """Return where updated data lies (XDG Base Directory Specification 0.8), None where there is no such place."""
    given = os.environ.get("XDG_DATA_HOME", "")
    if Path(given).is_absolute():
        return Path(given) / "egress-watch"
    try:
        return Path.home() / ".local" / "share" / "egress-watch"
    except RuntimeError:  # no HOME and no entry for the user
        return None


def in_use(place: Path | None) -> InUse:
    """Return the set in use: the current one, else the one before, else none, which means the shipped data."""
    notices: list[str] = []
    try:
        names = _candidates(place, notices) if place else []
    except FileNotFoundError:  # there never was an update
        return InUse([], "", [])
    except OSError as error:
        notices.append(f"{error.filename}: {error.strerror}")
        return InUse([], "", _ended(notices, ""))
    return _first_sound(place, names, notices) if place else InUse([], "", [])


def _first_sound(place: Path, names: list[str], notices: list[str]) -> InUse:
    for name in names:
        try:
            return InUse(entries(place / "sets" / name) if name else [], name, _ended(notices, name))
        except DataError as error:
            notices.append(f"{error.where}: {error.what}")
    return InUse([], "", _ended(notices, ""))


def _ended(notices: list[str], name: str) -> list[str]:
    """Return the notices, each with what is in use instead."""
    instead = f"the set {name} is in use instead" if name else "the shipped data is in use instead"
    return [f"{notice}; {instead}; {REMEDY}" for notice in notices]


def _candidates(place: Path, notices: list[str]) -> list[str]:
    sets = sealed(place)
    if not sets and not (place / POINTER).exists():
        return []
    try:
        pointer = read_pointer(place)
    except DataError as error:  # which one it named is not known: the newest sound one, for older ones are removed
        notices.append(f"{error.where}: {error.what}")
        return sorted(sets, reverse=True)
    return [pointer.current, pointer.previous] if pointer.current else [""]


def read_pointer(place: Path) -> Pointer:
    """Return what is in use; raises DataError for a pointer that is missing or damaged."""
    path = place / POINTER
    try:
        found = json.loads(_text(path))
        pointer = Pointer(*(_id(found[key]) for key in Pointer._fields))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        what = getattr(error, "strerror", None) or "does not say which set is in use"
        raise DataError(what, where=str(path), remedy=REMEDY) from error
    return pointer


def _id(name: Any) -> str:
    if not isinstance(name, str) or (name and not _plain(name)):
        raise ValueError(name)
    return name


def point(place: Path, pointer: Pointer) -> None:
    """Switch to a set, in one step and for good: what is named is on the disk before it is named."""
    fresh = place / f"{POINTER}.part"
    write(fresh, json.dumps(pointer._asdict()) + "\n")
    fresh.replace(place / POINTER)
    settle(place)


def entries(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a set's manifest, each with its ``path``; raises DataError where a file is another."""
    path = folder / MANIFEST
    try:
        rows = [_row(row, folder) for row in json.loads(_text(path))]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        what = getattr(error, "strerror", None) or "no manifest of a set"
        raise DataError(what, where=str(path), remedy=REMEDY) from error
    for row in rows:
        _check(row)
    return rows


def _row(row: dict[str, Any], folder: Path) -> dict[str, Any]:
    texts = {key: row[key] for key in TEXTS}
    if not all(isinstance(text, str) for text in texts.values()) or texts["kind"] not in KINDS:
        raise ValueError
    if not _plain(texts["file"]):
        raise ValueError
    return row | {"path": folder / texts["file"], "bytes": int(row["bytes"]), "modified_ns": int(row["modified_ns"])}


def _check(row: dict[str, Any]) -> None:
    """Hold a file to its manifest. One whose size and time of change are as written was not touched since."""
    path: Path = row["path"]
    try:
        found = path.stat()
        sound = S_ISREG(found.st_mode) and found.st_size == row["bytes"] and os.access(path, os.R_OK)
        if sound and found.st_mtime_ns != row["modified_ns"]:
            sound = digest(path) == row["sha256"]
    except OSError as error:
        raise DataError(error.strerror or str(error), where=str(path), remedy=REMEDY) from error
    if not sound:
        raise DataError("is not the file that its manifest names", where=str(path), remedy=REMEDY)


def digest(path: Path) -> str:
    """Return a file's sha256 in hexadecimal digits; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text(path: Path) -> str:
    with path.open("rb") as file:
        text = file.read(MOST_MANIFEST_BYTES + 1)
    if len(text) > MOST_MANIFEST_BYTES:
        raise ValueError
    return text.decode("utf-8")


def _plain(name: str) -> bool:
    return bool(name) and name == Path(name).name and name.isprintable() and not name.startswith(".")


def sealed(place: Path) -> list[str]:
    """Return the ids of all sets that were written to their end."""
    return [path.name for path in (place / "sets").iterdir() if path.is_dir() and not path.name.startswith(".")]


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """Let one update or rollback at a time work on the sets; raises UpdateError where another one does.

    The lock ends with the program that holds it, however that ends (flock(2)).
    """
    try:
        (place / "sets").mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(place, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise UpdateError("another update is running", where=str(place), remedy="wait for its end") from error
    try:
        yield
    except OSError as error:
        raise _unwritable(place, error) from error
    finally:
        os.close(descriptor)


def _unwritable(place: Path, error: OSError) -> UpdateError:
    remedy = "make room and let yourself write there, or set XDG_DATA_HOME to another folder"
    return UpdateError(error.strerror or str(error), where=str(error.filename or place), remedy=remedy)


@contextmanager
def fresh(place: Path, name: str) -> Iterator[Path]:
    """Give a folder in which a set grows, on the file system where it will lie; whatever is left there goes."""
    folder = place / "sets" / f"{FRESH}{name}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def seal(folder: Path) -> str:
    """Put a grown set, its files already on the disk, under its own name and return that."""
    name = folder.name.removeprefix(FRESH)
    settle(folder)
    folder.rename(folder.with_name(name))
    settle(folder.parent)
    return name


def sweep(place: Path, pointer: Pointer) -> None:
    """Remove every set but the one in use and the one before, and what a killed update left behind."""
    for path in (place / "sets").iterdir():
        if path.name not in pointer:
            shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        (place / f"{POINTER}.part").unlink()


def manifest(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows of a set, of the make of the shipped manifest, without the path that each had as it was read."""
    plain = [{key: value for key, value in row.items() if key != "path"} for row in rows]
    write(path, json.dumps(plain, indent=2, ensure_ascii=False) + "\n")


def write(path: Path, text: str) -> None:
    """Write a small file down to the disk."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def settle(path: Path) -> None:
    """Bring a file, or the names in a folder, down to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
