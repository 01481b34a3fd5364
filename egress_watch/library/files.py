"""Which data files judge: the user's own where configured, else the shipped ones.

In: settings. Out: `DataFile` rows. Never: a look-up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egress_watch.config import Config
from egress_watch.library.folders import DATA, parsed
from egress_watch.library.mmdb import described

MAKERS = "oui"


@dataclass(frozen=True, slots=True)
class DataFile:
    """One data file that judges, as its manifest or its own metadata describes it."""

    name: str
    kind: str
    """country, asn, cloud or oui."""
    path: Path
    built: str
    """ISO date of the data."""
    licence: str
    attribution: str
    sha256: str


def data_files(config: Config) -> list[DataFile]:
    """Return the files in use that judge: the user's own where configured, else the shipped ones."""
    files = [file for file in _shipped_files() if file.kind != MAKERS]
    own = {"dbip-country-lite": config.data.country_db, "origin-asn": config.data.asn_db}
    return [_own_file(file, own[file.name]) if own.get(file.name) else file for file in files]


def makers_file() -> DataFile:
    """Return the registry of makers of devices; it judges nothing."""
    return next(file for file in _shipped_files() if file.kind == MAKERS)


def _shipped_files() -> list[DataFile]:
    return [_shipped_file(row) for row in parsed(DATA / "manifest.json", json.loads)]


def _shipped_file(row: dict[str, Any]) -> DataFile:
    return DataFile(
        row["name"], row["kind"], DATA / row["file"], row["built"], row["licence"], row["attribution"], row["sha256"]
    )


def _own_file(file: DataFile, path: str) -> DataFile:
    kind, built = described(Path(path))
    return DataFile(kind, file.kind, Path(path), built, "as you obtained it", "your own file", "")
