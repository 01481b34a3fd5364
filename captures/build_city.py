"""Build the demo capture: `city.pcapng`, and beside it `city.toml` with its story and what must come of it.

In: the scenario's table. Out: the two files, the same bytes in each run. Never: an answer from the program under test.

    python captures/build_city.py            write both files beside this script
    python captures/build_city.py --check    look every remote address up in the data files, write nothing

Totals are counted from the packets as they are built; verdicts, countries and owners come from the table, and the
alerts from the rules' plain meaning. It needs the extra `captures` (scapy).
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path as File
from typing import Any

import maxminddb

sys.path.insert(0, str(File(__file__).parent))

from build_noise import noise
from build_talks import BEGIN_S, HOUR_S, City, clocks, talk
from build_wire import SECOND_NS, pcapng
from city_expect import document
from city_scenario import REMOTES, TALKS

FILES = ("dbip-country-lite", "server-country", "origin-asn", "cloud")
DATA = File(__file__).parent.parent / "egress_watch" / "data"


def build() -> tuple[bytes, str]:
    """Return the capture and its TOML."""
    city = City()
    for row in TALKS:
        talk(city, row)
    clocks(city)
    noise(city)
    frames = sorted(city.wire.frames, key=lambda frame: frame[0])
    assert frames[-1][0] == HOUR_S * SECOND_NS, "something runs over the hour"
    return pcapng(frames, BEGIN_S * SECOND_NS), document(city.wire)


def check() -> int:
    """Print what the data files say of every remote beside what the table says; return how many do not fit.

    A place fits where the cloud table's region or both country databases name it, and where the table names none, the
    address is at an edge, or anycast, or the databases disagree: that is for the reader to see.
    """
    files: dict[str, Any] = {name: maxminddb.open_database(DATA / f"{name}.mmdb") for name in FILES}
    regions, owners = (
        tomllib.loads((DATA / f"{name}.toml").read_text(encoding="utf-8")) for name in ("regions", "owners")
    )
    misfits = 0
    for key, row in REMOTES.items():
        first, second, asn, cloud = (files[name].get(row.ip) or {} for name in FILES)
        said = [first.get("country", {}).get("iso_code", ""), second.get("country_code", "")]
        declared = regions.get(cloud.get("provider", ""), {}).get(cloud.get("region", ""), "")
        owner = _owner(owners["group"], row.name, cloud.get("provider", ""), asn.get("autonomous_system_number", 0))
        fits = row.country in ("", declared) or (not declared and said == [row.country] * 2)
        misfits += not (fits and owner == row.owner)
        print(
            f"{key:12}{row.ip:24}{row.country:3}",
            *said,
            declared,
            owner,
            "" if fits and owner == row.owner else "MISFIT",
        )
    return misfits


def _owner(groups: list[dict[str, Any]], name: str, provider: str, asn: int) -> str:
    """Return the group that a name, else the cloud, else the AS belongs to, "" where none is listed."""
    labels = name.split(".")
    suffixes = {".".join(labels[at:]) for at in range(len(labels))}
    for field, held in (("names", suffixes), ("providers", {provider}), ("asns", {asn})):
        for group in groups:
            if held & set(group[field]):
                return str(group["name"])
    return ""


def main() -> int:
    """Build, or check."""
    parser = argparse.ArgumentParser(description="Build the demo capture.")
    parser.add_argument("--check", action="store_true", help="look the table's addresses up in the data files")
    if parser.parse_args().check:
        return min(check(), 1)
    capture, words = build()
    target = File(__file__).parent
    (target / "city.pcapng").write_bytes(capture)
    (target / "city.toml").write_text(words, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
