"""The data sets that judged and that judge: described for the store, shown in a line, and told when they are old.

In: data files. Out: rows and lines. Never: an old answer shown as if it were of today.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from egress_watch.cli.data import OWN_WORD, STALE_DAYS, stale
from egress_watch.errors import ConfigError
from egress_watch.exports.plain import printable

if TYPE_CHECKING:  # at run time they would load the readers of the data files
    from egress_watch.config import Config
    from egress_watch.library import DataFile
    from egress_watch.places.zones import Zone

_KEPT = ("name", "kind", "built", "licence", "attribution", "sha256")


def today() -> date:
    """Return the day it is in UTC."""
    return datetime.now(UTC).date()


def described(files: Iterable[DataFile]) -> list[dict[str, str]]:
    """Return what the store keeps of data files, which makes them one data set."""
    return [{name: getattr(file, name) for name in _KEPT} for file in files]


def dated(data: Iterable[Mapping[str, Any]]) -> str:
    """Return names and dates of data files in one line."""
    return printable(", ".join(f"{row['name']} {row['built']}" for row in data)) or "none"


def old(data: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a line for each file that is too old today to be taken without a word; the user's own word is not."""
    rows = [row for row in data if row.get("kind") != OWN_WORD and stale(str(row["built"]), today())]
    return [printable(f"{row['name']} of {row['built']} is older than {STALE_DAYS} days") for row in rows]


def say_notices() -> None:
    """Say on standard error what is wrong with updated data that is not in use."""
    from egress_watch.library import notices

    _say([f"egress-watch: {printable('; '.join(told))}"] if (told := notices()) else [])


def zone_of(recorded: str, config: Config) -> Zone:
    """Return the zone that a database was recorded under, as of the configured day; raises ConfigError."""
    from egress_watch.library import zone

    try:
        return zone(recorded, config.as_of, config.own_zone)
    except ConfigError as error:
        if error.where:  # the zone is known, the day is not
            raise
        what = f"flows here were judged under {recorded!r}, a zone that these settings do not know"
        raise ConfigError(what, remedy="give the settings that it stands in with --config FILE") from error


def say_if_old(data: Iterable[Mapping[str, Any]]) -> None:
    """Say on standard error, in one line, that what is shown was judged by old data."""
    _say([f"egress-watch: {', '.join(lines)}: see `egress-watch data`"] if (lines := old(data)) else [])


def _say(lines: Iterable[str]) -> None:
    if sys.stderr is not None:
        with suppress(OSError):
            for line in lines:
                print(line, file=sys.stderr, flush=True)
