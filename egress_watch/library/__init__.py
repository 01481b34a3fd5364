"""The shelf: data files, owners, zones, rules and captures, wherever they are installed.

In: settings. Out: knowledge for `places`, rules for `rules`, paths of shipped folders. Never: a connection that nobody
asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

from egress_watch.config import Config
from egress_watch.devices.makers import Makers
from egress_watch.errors import DataError
from egress_watch.library.files import CURATED, OWN, DataFile, data_files, makers_file, notices
from egress_watch.library.folders import DATA, shipped, table
from egress_watch.library.inventories import inventory, read_inventory, with_networks, wrong
from egress_watch.library.mmdb import records
from egress_watch.library.overrides import overrides
from egress_watch.library.rulebook import MOST_RULE_BYTES, read_parts, read_rules, rule_files, rule_text, rules
from egress_watch.library.tables import (
    adequate,
    country_sets,
    groups,
    other_zones,
    special,
    tables_checked,
    zone,
    zone_name,
)
from egress_watch.places import Atlas, Knowledge, Source, Special
from egress_watch.places.owners import Owners
from egress_watch.places.prefixes import Prefixes

__all__ = [
    "CURATED", "DATA", "MOST_RULE_BYTES", "DataFile", "adequate", "atlas", "country_sets", "data_files", "groups",
    "inventory", "knowledge", "makers", "makers_file", "notices", "read_inventory", "read_parts", "read_rules",
    "rule_files", "rule_text", "rules", "shipped", "tables_checked", "with_networks", "wrong", "zone", "zone_name",
]  # fmt: skip

LOOKED_UP = ("country", "asn", "cloud")
"""Kinds of data files that are asked about addresses; the others are read whole."""


def makers() -> Makers:
    """Return the registry of makers of devices; raises DataError."""
    file = makers_file()
    try:
        return Makers(file.path.read_bytes())
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or str(error)
        remedy = "install egress-watch anew, or in a checkout: python egress_watch/data/unpack.py"
        raise DataError(what, where=str(file.path), remedy=remedy) from error


def atlas(config: Config, files: Sequence[DataFile] | None = None) -> Atlas:
    """Return the atlas of the configured zone over the data files in use; raises DataError or ConfigError.

    Give the ``files`` where they are also written down: an update may come between.
    """
    return Atlas(knowledge(config, files))


def knowledge(config: Config, files: Sequence[DataFile] | None = None) -> Knowledge:
    """Open the data files and read the curated tables."""
    sources: dict[str, list[Source]] = {}
    for file in data_files(config) if files is None else files:
        if file.kind in LOOKED_UP:
            sources.setdefault(file.kind, []).append(_source(file))
    regions, places = table("regions"), table("special")
    return Knowledge(
        countries=sources["country"], networks=sources["asn"][0], clouds=sources["cloud"][0],
        regions={(p, region): country for p, rows in regions.items() if p in regions["sources"]
                 for region, country in rows.items()},
        nowhere=frozenset((row["provider"], row["region"]) for row in regions["unmapped"]
                          if row["region"].lower() == "global"),
        special=Prefixes(special(places, with_networks(config))),
        edges={row["asn"]: Special(row["status"], row["name"], row.get("group", "")) for row in places["network"]},
        owners=Owners(table("owners")["group"], table("laws")["seats"]),
        overrides=Prefixes(overrides(config)), zone=zone(config.zone, config.as_of, config.own_zone),
        checked=str(min(regions["checked"], places["checked"])), zones=other_zones(config),
    )  # fmt: skip


def _source(file: DataFile) -> Source:
    answers = records(file.path, file.kind, own=file.origin == OWN)
    return Source(file.name, file.built, answers.numbers, answers.found, answers.find)
