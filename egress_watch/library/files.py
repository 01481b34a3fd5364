"""Which data files judge: the user's own where configured, else the updated ones, else the shipped ones.

In: settings. Out: `DataFile` rows, and what is to be said of updated files that cannot be used. Never: a look-up, or a
big file read: updated ones are held to their manifest by size and time.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import Any

from egress_watch.config import Config
from egress_watch.errors import ConfigError, DataError
from egress_watch.library.folders import DATA, parsed
from egress_watch.library.mmdb import described
from egress_watch.library.sets import digest, home, in_use
from egress_watch.library.tables import tables_checked

OWN, UPDATED, SHIPPED = "own", "updated", "shipped"
CURATED, OVERRIDE = "curated", "override"

MAKERS = "oui"


@dataclass(frozen=True, slots=True)
class DataFile:
    """One data file that judges, as its manifest or its own metadata describes it."""

    name: str
    kind: str
    """country, asn or cloud; oui for makers of devices, curated for the tables of the program, override for the user's
    own words."""
    path: Path
    built: str
    """ISO date of the data."""
    licence: str
    attribution: str
    sha256: str
    origin: str = SHIPPED
    """own, updated or shipped."""
    providers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of an updated cloud table: when each provider's rows were gathered and published (ISO dates)."""


def data_files(config: Config) -> list[DataFile]:
    """Return the files in use: the user's own where configured, else the updated ones, else the shipped ones."""
    own = {"dbip-country-lite": config.data.country_db, "origin-asn": config.data.asn_db}
    files = [_own_file(file, own[file.name]) if own.get(file.name) else file for file in kept_files()]
    return [*files, _tables(), *([_overrides(Path(config.data.overrides))] if config.data.overrides else [])]


def kept_files() -> list[DataFile]:
    """Return the updated files that judge, and the shipped ones where there is no update."""
    updated = {row["name"]: _file(row, row["path"], UPDATED) for row in in_use(home()).rows}
    return [updated.get(file.name, file) for file in shipped_files()]


def shipped_files() -> list[DataFile]:
    """Return the files that came with the program and judge; raises DataError."""
    return [file for file in _came_along() if file.kind != MAKERS]


def makers_file() -> DataFile:
    """Return the registry of makers of devices; it judges nothing."""
    return next(file for file in _came_along() if file.kind == MAKERS)


def _came_along() -> list[DataFile]:
    return [_file(row, DATA / row["file"], SHIPPED) for row in parsed(DATA / "manifest.json", json.loads)]


def notices() -> list[str]:
    """Return what a person must hear of the updated data: a damaged set, or one that the program has outrun."""
    used = in_use(home())
    shipped = {file.name: file.built for file in shipped_files()}
    late = [row["name"] for row in used.rows if row["built"] < shipped.get(row["name"], "")]
    outrun = "older than what this version ships; run `egress-watch data update`, or `egress-watch data rollback`"
    return used.notices + ([f"updated {', '.join(late)}: {outrun}"] if late else [])


def _tables() -> DataFile:
    """Return the curated tables as one file: who changes an owner changes what judges."""
    paths = [DATA / f"{name}.toml" for name in sorted(tables_checked())]
    sha256 = hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
    return DataFile("tables", CURATED, DATA, min(tables_checked().values()), "MIT", "egress-watch", sha256)


def _overrides(path: Path) -> DataFile:
    """Return the user's overrides as a data file, dated by their last change."""
    remedy = "mend the path in [data] overrides"
    try:
        found = path.stat()
        if not S_ISREG(found.st_mode):  # reading a FIFO would wait for its writer
            raise ConfigError("no regular file", where=str(path), remedy=remedy)
        changed = datetime.fromtimestamp(found.st_mtime, UTC).date().isoformat()
        return DataFile("overrides", OVERRIDE, path, changed, "yours", "your own file", digest(path), OWN)
    except (OSError, ValueError, OverflowError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise ConfigError(what, where=str(path), remedy=remedy) from error


def _file(row: dict[str, Any], path: Path, origin: str) -> DataFile:
    texts = {key: row[key] for key in ("name", "kind", "built", "licence", "attribution", "sha256")}
    return DataFile(**texts, path=path, origin=origin, providers=row.get("providers", {}))


def _own_file(file: DataFile, path: str) -> DataFile:
    kind, built = described(Path(path))
    try:
        sha256 = digest(Path(path))
    except OSError as error:  # gone since it was opened
        raise DataError(error.strerror or str(error), where=path, remedy="mend the path in [data]") from error
    return DataFile(kind, file.kind, Path(path), built, "as you obtained it", "your own file", sha256, OWN)
