"""The curated tables: zones, groups, country sets, special addresses.

In: the TOML files of ``data/`` and the settings. Out: zones, dossiers, prefixes. Never: an address looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from egress_watch.config import Config, OwnZone
from egress_watch.errors import ConfigError
from egress_watch.library.folders import table
from egress_watch.places import Special
from egress_watch.places.dossiers import Dossier, dossiers
from egress_watch.places.zones import Zone, own_zone, zones

NOWHERE = ("reserved", "documentation", "benchmarking")
"""Kinds of special addresses that no network should carry: seen on a wire they are forged or a mistake, not local."""


def tables_checked() -> dict[str, str]:
    """Return the ISO date on which each curated table was last gone over, by name."""
    checked = {name: str(table(name)["checked"]) for name in ("laws", "regions", "special", "zones")}
    return {"owners": min(str(row["checked"]) for row in table("owners")["group"]), **checked}


def groups() -> list[Dossier]:
    """Return everything the owners file holds, a dossier a group."""
    return dossiers(table("owners")["group"], table("laws")["seats"])


def zone(name: str, as_of: str = "", own: Sequence[OwnZone] = ()) -> Zone:
    """Return the zone of this id, in any case, as of an ISO day; raises ConfigError naming what is known.

    ``own`` are the user's zones beside the shipped ones.
    """
    tables, day = table("zones"), _day(as_of)
    if day and day > tables["checked"]:
        what = f"{as_of} lies behind the day the zones were checked, {tables['checked']}"
        raise ConfigError(what, where="as_of", remedy="give an earlier day, or none")
    known = _zones(own, tables, day)
    if name.lower() not in known:
        raise ConfigError(f"unknown zone {name!r}", remedy=f"one of: {', '.join(known)}")
    if not known[name.lower()].countries:
        mine = any(row.name.lower() == name.lower() for row in own)
        what = f"there was no {'country in ' * mine}{known[name.lower()].name} on {as_of or tables['checked']}"
        raise ConfigError(what, where="as_of", remedy="give a later day, or mend the zone")
    return known[name.lower()]


def zone_name(name: str, own: Iterable[OwnZone] = ()) -> str:
    """Return what a zone of this id is called; other settings may have had one that these do not know."""
    known = _zones(own, table("zones"), None)
    return known[name].name if name in known else "a zone of one's own"


def other_zones(config: Config) -> list[Zone]:
    """Return the zones beside the configured one, shipped and the user's own, for the same day."""
    known = _zones(config.own_zone, table("zones"), _day(config.as_of))
    return [row for name, row in known.items() if name != config.zone.lower() and row.countries]


def _zones(own: Iterable[OwnZone], tables: dict[str, Any], day: date | None) -> dict[str, Zone]:
    mine = (
        own_zone(row.name, row.countries, tables, day, based_on=row.based_on, without=row.without) for row in own
    )  # fmt: skip
    return {**zones(tables, day), **{row.id: row for row in mine}}


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise ConfigError(f"{text!r} is no day", where="as_of", remedy="write it as 2019-05-01") from error


def adequate(config: Config) -> list[str]:
    """Return the countries that personal data may go to under EU law on the configured day: EEA and adequacy."""
    return sorted(zones(table("zones"), _day(config.as_of))["eea+adequacy"].countries)


def country_sets(own: Iterable[OwnZone] = ()) -> dict[str, list[str]]:
    """Return the country sets that rules may name, by placeholder: every zone, the user's ``own`` ones included."""
    known = _zones(own, table("zones"), None)
    return {name.replace("+", "_"): sorted(row.countries) for name, row in known.items()}


def special(tables: dict[str, Any], config: Config) -> Iterator[tuple[str, Special]]:
    """Yield the prefixes without a single place; within the user's own networks nothing else counts."""
    own = [ip_network(network) for network in config.networks]
    for row in tables["local"]:
        yield row["prefix"], Special("unknown" if row["kind"] in NOWHERE else "local", row["kind"])
    for row in tables["prefix"]:
        if not _within(row["prefix"], own):
            yield row["prefix"], Special(row["status"], row["name"], row.get("group", ""))
    for network in own:
        yield str(network), Special("local", "your own network")


def _within(prefix: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    inner: Any = ip_network(prefix)
    return any(inner.subnet_of(outer) for outer in networks if outer.version == inner.version)
