"""Who publishes the data, at which address, and what may be fetched at most.

In: ``publishers.toml``, or a table of the same make. Out: `Publishers`. Never: a look-up.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from egress_watch.errors import ConfigError
from egress_watch.library.folders import table


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a download may take, in seconds, and how large it may get, in bytes."""

    connect_s: float
    read_s: float
    """The longest silence."""
    whole_s: float
    """One file from its first byte to its last."""
    redirects: int
    most_packed_bytes: int
    most_bytes: int
    """A database, unpacked."""
    most_list_bytes: int
    """A provider's list of prefixes."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A database: what it is called, where it is published, under which licence."""

    name: str
    kind: str
    types: tuple[str, ...]
    """How the type in its metadata begins."""
    urls: tuple[str, ...]
    source: dict[str, str]
    licence: str
    attribution: str

    def addresses(self, today: date) -> list[str]:
        """Return where to look, the newest first: a monthly file is there this month or was the month before."""
        months = (today, today.replace(day=1) - timedelta(days=1))
        found = [url.replace("{month}", f"{day:%Y-%m}") for url in self.urls for day in months]
        return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Provider:
    """A cloud that publishes its prefixes; ``link`` finds their address on a page, "" where the URL is the list."""

    name: str
    urls: tuple[str, ...]
    link: str = ""


@dataclass(frozen=True, slots=True)
class Publishers:
    """All of them."""

    limits: Limits
    databases: tuple[Publication, ...]
    providers: tuple[Provider, ...]


def publishers(path: str = "") -> Publishers:
    """Return the shipped table, or the one at ``path``; raises ConfigError for one of another make."""
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8")) if path else table("publishers")
        return _publishers(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, re.error) as error:
        what = getattr(error, "strerror", None) or f"no table of publishers: {error}"
        remedy = "see egress_watch/data/publishers.toml for a sound one"
        raise ConfigError(what, where=path, remedy=remedy) from error


def _publishers(found: dict[str, Any]) -> Publishers:
    databases = [
        Publication(**row | {key: tuple(row[key]) for key in ("types", "urls")}) for row in found.get("database", [])
    ]
    providers = [Provider(**row | {"urls": tuple(row["urls"])}) for row in found.get("provider", [])]
    for provider in providers:
        re.compile(provider.link)
    return Publishers(Limits(**found["limits"]), tuple(databases), tuple(providers))
