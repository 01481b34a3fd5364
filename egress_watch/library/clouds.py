"""The cloud table: which provider, and which of its regions, publishes a prefix.

In: rows of prefix, provider and region, as published. Out: a MaxMind database with one answer for each prefix. Never: a
prefix without a region that hides one with a region.

Shared by ``data/build_data.py``, which builds the shipped table, and by `data update`.
"""

# mypy: disable-error-code="import-untyped"
# mmdb-writer and netaddr carry no types.

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Row = tuple[Network, str, str]
"""Prefix, provider and region; "" is a region that is not said, GLOBAL or global that there is none."""

Claims = dict[Network, tuple[str, str]]

KIND = "egress-watch-cloud"
FRONT_DOOR = ("AZUREFRONTDOOR.FIRSTPARTY", "AZUREFRONTDOOR.FRONTEND", "AZUREFRONTDOOR.MICROSOFTSECURITY")
"""Service tags of Azure whose addresses without a region are anycast (Microsoft Learn, Azure Front Door)."""


def unplaced(service: str) -> str:
    """Return the region of a row that names none: GLOBAL where its service is anycast, else nothing."""
    return "GLOBAL" if service.upper() in FRONT_DOOR else ""


def claims(rows: Iterable[Row]) -> Claims:
    """Return provider and region of each prefix, services dropped.

    A row with a region wins over one that is global, and that one over a row without a region; of equals the later.
    """
    found: Claims = {}
    for network, provider, region in rows:
        claim = (provider, region)
        if network not in found or weight(claim) >= weight(found[network]):
            found[network] = claim
    return found


def weight(claim: tuple[str, str]) -> int:
    """Say how much a claim tells of the place: a region 2, that there is none 1, nothing 0."""
    return {"": 0, "global": 1}.get(claim[1].lower(), 2)


def laid(zones: Sequence[Mapping[str, Any]], found: Claims, *, strict: bool = True) -> Claims:
    """Lay the Local Zones over their parents.

    A prefix in no published one of its parent raises ValueError; where not ``strict``, it is left out, and so is one
    that the provider itself publishes by that very prefix.
    """
    parents = {pair: [net for net in found if found[net] == pair] for pair in {pair_of(zone) for zone in zones}}
    laid_over = dict(found)
    for zone in zones:
        for network in map(ipaddress.ip_network, zone["prefixes"]):
            lies = any(inside(network, wide) for wide in parents[pair_of(zone)])
            if not lies and strict:
                raise ValueError(f"{zone['region']}: {network} is in no published prefix of {zone['parent']}")
            if strict or (lies and network not in found):
                laid_over[network] = (zone["provider"], zone["region"])
    return laid_over


def pair_of(zone: Mapping[str, Any]) -> tuple[str, str]:
    """Return provider and parent region of a Local Zone."""
    return zone["provider"], zone["parent"]


def kept(found: Claims) -> Iterator[Row]:
    """Yield the prefixes that say more than the nearest one around them.

    A prefix without a region inside one of the same provider that has one is a service tag (Azure publishes 54,000 of
    those): it would only hide the region, so it goes. So does a prefix that repeats what is around it.
    """
    around: list[tuple[Network, tuple[str, str]]] = []
    for network in sorted(found, key=lambda each: (each.version, each.network_address, each.prefixlen)):
        while around and not inside(network, around[-1][0]):
            around.pop()
        provider, region = found[network]
        above = around[-1][1] if around else ("", "")
        if above == (provider, region) or (above[0] == provider and hides(provider, region, above[1])):
            continue
        around.append((network, (provider, region)))
        yield network, provider, region


def hides(provider: str, region: str, around: str) -> bool:
    """Say whether a prefix would hide the region around it: one without a region, or one we call global ourselves."""
    return not region or (provider == "azure" and region == "GLOBAL" and around != "")


def inside(network: Network, wide: Network) -> bool:
    """Say whether ``network`` lies within ``wide``."""
    same = network.version == wide.version
    return same and wide.network_address <= network.network_address <= wide.broadcast_address  # type: ignore[operator]


def write_table(path: Path, found: Claims, epoch_s: int) -> None:
    """Write the table: ``{"provider": "aws", "region": "eu-west-1"}`` for each prefix, dated as the data is."""
    from mmdb_writer import MMDBWriter
    from netaddr import IPSet

    class DatedWriter(MMDBWriter):
        """A writer that says when the data was gathered, not when the file was written."""

        def _build_meta(self) -> dict[str, Any]:
            return {**super()._build_meta(), "build_epoch": epoch_s}

    writer = DatedWriter(6, KIND, ["en"], "Cloud provider and region", ipv4_compatible=True)
    # Wide prefixes go first: a narrow one then takes its part of the wide one.
    for network, provider, region in sorted(kept(found), key=lambda row: (row[0].version, row[0].prefixlen, row[0])):
        writer.insert_network(IPSet([str(network)]), {"provider": provider, "region": region})
    writer.to_db_file(str(path))
