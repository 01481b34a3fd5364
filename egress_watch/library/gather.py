"""Build the cloud table anew from the providers' own lists.

In: publishers, and the table in use. Out: a new table, and for each provider when its rows were gathered. Never: a
provider that falls out: the rows in use stay where its list cannot be had or is not to be believed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import maxminddb

from egress_watch.errors import UpdateError
from egress_watch.library.clouds import Network, Row, claims, laid, write_table
from egress_watch.library.fetch import fetch
from egress_watch.library.folders import table
from egress_watch.library.providers import Listing, listing
from egress_watch.library.publishers import Limits, Provider

LEAST_SHARE = 0.5
MOST_PAGE_BYTES = 1 << 23
REMEDY = "try again later; its rows in use stay"


class Before(NamedTuple):
    """The table in use: its rows, and for each provider when they were gathered and published (ISO dates)."""

    rows: list[Row]
    providers: dict[str, dict[str, Any]]


class Gathered(NamedTuple):
    """What became of each provider, and why the rows of some are still those from before."""

    providers: dict[str, dict[str, Any]]
    kept: list[UpdateError]


def before(path: Path, built: str, providers: dict[str, dict[str, Any]]) -> Before:
    """Return the table in use; ``providers`` is what its manifest says of them, {} for the shipped table."""
    with maxminddb.open_database(path) as reader:
        rows: list[Row] = [(network, row["provider"], row["region"]) for network, row in reader]
    names = {provider for _, provider, _ in rows}
    dated = {name: providers.get(name, {"gathered": built, "published": ""}) for name in names}
    return Before(rows, dated)


def gather(
    providers: tuple[Provider, ...], old: Before, target: Path, limits: Limits, today: date,
    say: Callable[[str], None] = lambda _: None,
) -> Gathered:  # fmt: skip
    """Write a new table to ``target``, unless no provider gave a list; say what became of each."""
    found: list[Row] = []
    dated: dict[str, dict[str, Any]] = {}
    refused: list[tuple[str, UpdateError]] = []
    for provider in providers:
        say(f"fetching the prefixes of {provider.name}: {' '.join(provider.urls)}")
        try:
            new = _listed(provider, target.with_name(f"{provider.name}.list"), limits)
            _believe(provider, new, old, today)
            found += [(network, provider.name, region) for network, region in new.rows]
            dated[provider.name] = {"gathered": today.isoformat(), "published": new.published}
        except UpdateError as error:
            refused.append((provider.name, error))
    stays = [_stays(name, error, old) for name, error in refused]
    if not dated:
        return Gathered({}, stays)
    found += [row for row in old.rows if row[1] not in dated]
    dated = {name: row for name, row in old.providers.items() if name not in dated} | dated
    oldest = datetime.fromisoformat(built(dated)).replace(tzinfo=UTC)
    laid_over = laid(table("local-zones")["zone"], claims(found), strict=False)
    write_table(target, laid_over, int(oldest.timestamp()))
    return Gathered(dated, stays)


def built(providers: dict[str, dict[str, Any]]) -> str:
    """Return the ISO date of a table: when the oldest of its rows were gathered."""
    return min(str(row["gathered"]) for row in providers.values())


def _stays(name: str, error: UpdateError, old: Before) -> UpdateError:
    """Return the error with what stays in use instead."""
    day = old.providers.get(name, {}).get("gathered")
    stays = f"its prefixes of {day} stay in use" if day else "it has no prefixes in use"
    return UpdateError(f"{name}: {error.what}; {stays}", where=error.where, remedy=error.remedy)


def _listed(provider: Provider, target: Path, limits: Limits) -> Listing:
    parts = [_part(provider, url, target, limits) for url in provider.urls]
    return Listing(max(part.published for part in parts), [row for part in parts for row in part.rows])


def _part(provider: Provider, url: str, target: Path, limits: Limits) -> Listing:
    if provider.link:
        page = _text(url, target, limits, MOST_PAGE_BYTES)[0].decode("utf-8", "replace")
        link = re.search(provider.link, page)
        if not link:
            raise _refusal("the page no longer links to the list", url)
        url = link[0]
    text, changed = _text(url, target, limits, limits.most_list_bytes)
    try:
        return listing(provider.name, text, changed, url)
    except ValueError as error:
        raise _refusal(str(error), url) from error


def _text(url: str, target: Path, limits: Limits, most_bytes: int) -> tuple[bytes, str]:
    fetched = fetch(url, target, limits, most_bytes)
    if fetched is None:
        raise UpdateError("the server has no such file", where=url, remedy=REMEDY)
    text = target.read_bytes()
    target.unlink()
    return text, fetched.changed


def _believe(provider: Provider, new: Listing, old: Before, today: date) -> None:
    """Refuse a list from the future, one older than the one in use, and one that lost half of its ranges."""
    last, url = old.providers.get(provider.name, {}).get("published", ""), provider.urls[0]
    if new.published > today.isoformat():
        raise _refusal(f"is dated {new.published}, which is yet to come", url)
    if new.published and new.published < last:
        raise _refusal(f"is of {new.published}, older than the one in use of {last}", url)
    had = _ranges(network for network, name, _ in old.rows if name == provider.name)
    has = _ranges(network for network, _ in new.rows)
    if has < LEAST_SHARE * had:
        raise _refusal(f"covers {has:,} ranges where the one in use covers {had:,}", url)


def _ranges(networks: Iterable[Network]) -> int:
    """Return how many ranges are covered, however they are cut: the table in use is cut at its nested prefixes."""
    each = list(networks)
    four = collapse_addresses(network for network in each if isinstance(network, IPv4Network))
    six = collapse_addresses(network for network in each if isinstance(network, IPv6Network))
    return sum(1 for _ in chain(four, six))


def _refusal(what: str, url: str) -> UpdateError:
    return UpdateError(what, where=url, remedy=REMEDY)
