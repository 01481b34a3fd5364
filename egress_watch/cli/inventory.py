"""Check an inventory of networks and devices, or write a starter file from what was seen.

An inventory is TOML, CSV, or NetBox's CSV export of devices, prefixes or IP addresses as it comes. `check` tells every
mistake with its line. `suggest` writes TOML: a segment for each subnet or VLAN and a device for each one seen, to be
named, sorted and completed by hand.

In: files, or a database. Out: mistakes, or a file. Never: a change to the inventory or the database.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from egress_watch import sinks
from egress_watch.cli.options import write_lines
from egress_watch.config import load
from egress_watch.errors import USAGE, UsageError
from egress_watch.exports.plain import printable

if TYPE_CHECKING:  # at run time it would load the libraries of the data files for --help
    from egress_watch.inventory import Entry

HELP = "check an inventory, or write a starter one"
EXAMPLES = (
    "egress-watch inventory check city.toml",
    "egress-watch inventory check netbox_devices.csv netbox_prefixes.csv",
    "egress-watch inventory suggest egress.db -o city.toml",
)
HEAD = """\
# A starter inventory, made of what was seen. Name the segments, give them a class, and add what you know:
# site, class, role, supplier, zone, contact, notes. What a segment says holds for all in it.
# Known classes: {classes}
"""


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument(
        "verb", choices=["check", "suggest"], help="check: tell mistakes; suggest: write a starter file"
    )
    command.add_argument("paths", metavar="PATH", nargs="+", help="files of an inventory, or for suggest a database")
    command.add_argument("--config", default="", metavar="FILE", help="settings whose own zones the files may name")
    command.add_argument(
        "-o", "--output", default="-", metavar="FILE", help="suggest: a file instead of standard output"
    )


def run(options: argparse.Namespace) -> int:
    """Check or suggest; the exit code is 2 where there are mistakes."""
    return _check(options) if options.verb == "check" else _suggest(options)


def _check(options: argparse.Namespace) -> int:
    from egress_watch.library import read_inventory, wrong

    found = read_inventory(list(dict.fromkeys(options.paths)), load(options.config).own_zone)
    lines = [printable(line) for mistake in found.mistakes for line in str(wrong(mistake)).split("\n")]
    lines += map(printable, found.notes)
    number = len(found.mistakes)
    sinks.write("-", [*lines, f"{_counted(found.entries)}; {number} mistake{'' if number == 1 else 's'}"])
    return USAGE if found.mistakes else 0


def _counted(entries: Iterable[Entry]) -> str:
    """Return how many there are of each kind."""
    kinds = [entry.kind for entry in entries]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)) or "nothing"


def _suggest(options: argparse.Namespace) -> int:
    from egress_watch.cli.devices import known
    from egress_watch.inventory import CLASSES
    from egress_watch.store.reader import Reader

    if len(options.paths) > 1:
        raise UsageError("suggest takes one database", remedy="egress-watch inventory suggest egress.db")
    options.db = options.paths[0]
    with Reader(options.db) as reader:
        sightings, facts, listings = reader.seen()
    rows = list(known(sightings, facts, listings))
    head = HEAD.format(classes=f"{', '.join(list(CLASSES)[:11])},\n# {', '.join(list(CLASSES)[11:])}").splitlines()
    write_lines(options, [*head, *_segments(sightings), *_devices(rows)])
    return 0


def _segments(sightings: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a segment for each VLAN with the subnets seen in it, and for each subnet without one."""
    from ipaddress import ip_address, ip_network

    from egress_watch.devices.units import NO_ADDRESSES, SUBNET_BITS

    subnets: dict[str, int] = {}
    for row in sightings:
        address = ip_address(row["ip"])
        if address.is_private and not address.is_link_local and row["ip"] not in NO_ADDRESSES:
            subnet = ip_network((address, SUBNET_BITS[address.version]), strict=False)
            subnets[str(subnet)] = max(row["vlan"], subnets.get(str(subnet), 0))
    grouped: dict[str, list[str]] = {}
    for network, vlan in sorted(subnets.items()):
        grouped.setdefault(f"vlan {vlan}" if vlan else network, []).append(network)
    for name, members in grouped.items():
        vlans = [f"vlans = [{name.removeprefix('vlan ')}]"] if name.startswith("vlan ") else []
        yield from (
            "",
            "[[segment]]",
            f"name = {_toml(name)}",
            f"networks = {_list(members)}",
            *vlans,
            '# class = "cameras"',
        )


def _devices(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a device for each row: by its MAC, else by its addresses; no address twice."""
    named: set[str] = set()
    for row in rows:
        addresses = [one for one in row["addresses"] if one not in named]
        if not row["mac"] and not addresses:
            continue
        named.update(addresses if row["router"] or not row["mac"] else ())
        name = row["name"] or (row["addresses"] or [row["mac"]])[0]
        yield from ("", f"[[device]]  # {_told(row)}", f"name = {_toml(name)}")
        yield f"macs = {_list([row['mac']])}" if row["mac"] else f"addresses = {_list(addresses)}"
        if row["router"]:
            yield from (
                "router = true",
                f"addresses = {_list(addresses)}" if addresses and row["mac"] else "# addresses =",
            )
        yield from [f"supplier = {_toml(row['maker'])}"] if row["maker"] and not row["made_up"] else []


def _told(row: Mapping[str, Any]) -> str:
    """Return what was seen of a device in a comment of one line."""
    said = [", ".join(row["addresses"][:4]), *row["model"][:1], *row["vendor_class"][:1], *row["software"][:1]]
    return printable("; ".join(filter(None, said)))[:100]


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_toml, texts))}]"


def _toml(text: str) -> str:
    return json.dumps(printable(text), ensure_ascii=False)
