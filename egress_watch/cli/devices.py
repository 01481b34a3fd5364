"""List the devices of a database: who made them, what they call themselves, and how that is known.

A device is known by its MAC where the segment shows it, else by address and VLAN. The maker is the one to whom the IEEE
gave the block of the MAC; its seat and ties are those of its group.

In: a database and filters. Out: rows. Never: a change to the database.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from egress_watch.cli.options import add_output, filters, write_rows
from egress_watch.cli.privacy import add_pseudonyms, covering
from egress_watch.config import load
from egress_watch.errors import UsageError

if TYPE_CHECKING:  # at run time it would load NumPy for --help
    from egress_watch.devices.units import Unit
    from egress_watch.places.dossiers import Dossier

HELP = "list devices: maker, names, addresses, and how they are known"
EXAMPLES = (
    "egress-watch devices egress.db",
    "egress-watch devices egress.db --seat CN",
    "egress-watch devices egress.db --segment cameras --unlisted",
    "egress-watch devices egress.db --format ndjson | jq '{mac, maker, facts}'",
)
TABLE = (
    "name",
    "addresses",
    "mac",
    "maker",
    "seat",
    "model",
    "segment",
    "known_by",
    "first_ns",
    "last_ns",
    "bytes_out",
)
COLUMNS = (
    "name", "mac", "made_up", "router", "behind", "vlan", "addresses", "maker", "group", "seat", "ties", "model",
    "vendor_class", "software", "site", "segment", "segment_class", "role", "supplier", "zone", "contact", "notes",
    "listed", "known_by", "first_ns", "last_ns", "flows", "bytes_out", "bytes_in", "facts", "seen",
)  # fmt: skip
MADE_UP = "(made up by software)"


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("db", metavar="DB", help="a database that replay wrote")
    add_output(command)
    command.add_argument("--device", metavar="ADDRESS", help="address or MAC of the device")
    command.add_argument("--maker", metavar="TEXT", help="part of the maker's name, or of its group's")
    command.add_argument("--seat", metavar="CC", help="ISO code of the country the maker's group is run from")
    command.add_argument("--segment", metavar="NAME", help="segment or class of segment, by your inventory")
    command.add_argument(
        "--unlisted", action="store_true", help="only what stands in a segment and not in the inventory"
    )
    command.add_argument("--recording", metavar="N", help="number of the recording, as replay --json tells")
    command.add_argument("--config", default="", metavar="FILE", help="settings of privacy (TOML)")
    add_pseudonyms(command)


def run(options: argparse.Namespace) -> int:
    """Print the rows."""
    from egress_watch.store.reader import Reader

    wanted = filters(options, ("device", "recording"), 0)
    with Reader(options.db) as reader:
        rows = [row for row in known(*reader.seen(wanted.get("recording", 0))) if _meant(row, options, wanted)]
    if covers := covering(options, load(options.config)):
        rows = [covers.device(row) for row in rows]
    write_rows(options, rows[: options.limit or None], TABLE if options.format == "table" else COLUMNS)
    return 0


def known(
    sightings: list[dict[str, Any]], facts: list[dict[str, Any]], listings: list[dict[str, Any]]
) -> Iterator[Any]:
    """Yield a row for each device behind what was seen, heard and listed."""
    import numpy as np

    from egress_watch.devices.units import units
    from egress_watch.library import groups, makers
    from egress_watch.places.dossiers import maker
    from egress_watch.store.devices import listed_by

    found = units(sightings, facts)
    macs = np.array([int(unit.mac.replace(":", "") or "0", 16) for unit in found], np.uint64)
    names = makers().names(macs) if found else []
    listed, dossiers = listed_by(listings), groups()
    behind = cache(lambda name: maker(dossiers, name))
    for unit, mac, registered in zip(found, macs.tolist(), names, strict=True):
        yield _row(unit, mac, registered, behind(registered), _listing(unit, listed))


def _listing(unit: Unit, listed: Mapping[tuple[str, str, int], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return what the inventory says of the address seen last."""
    seen = sorted(unit.sightings, key=lambda row: -row["last_ns"])
    keys = [(row["ip"], row["mac"], row["vlan"]) for row in seen]
    return next((listed[key] for key in keys if key in listed), {})


def _row(
    unit: Unit, mac: int, registered: str, dossier: Dossier | None, listing: Mapping[str, Any]
) -> dict[str, Any]:  # fmt: skip
    from egress_watch.devices.facts import CLASS, MAKER, MODEL, SOFTWARE
    from egress_watch.devices.makers import made_up
    from egress_watch.devices.units import how, name

    own, known = made_up(mac, registered), registered or next(iter(unit.told(MAKER)), "")
    group = dossier.group if dossier else None
    said = {"name": listing.get("device_name") or name(unit) or None, "mac": unit.mac or None}
    inventory = {key: listing.get(key) for key in COLUMNS if key in _OF_INVENTORY}
    return {
        **said, "made_up": own, "router": unit.router, "behind": unit.behind or None, "vlan": unit.vlan or None,
        "addresses": unit.addresses,
        "maker": (f"{known} {MADE_UP}".strip() if own else known) or None,
        "group": group.name if group else None, "seat": group.seat if group else None,
        "ties": list(group.ties) if group else [], "model": unit.told(MODEL), "vendor_class": unit.told(CLASS),
        "software": unit.told(SOFTWARE), **inventory, "known_by": list(how(unit)), "first_ns": unit.first_ns,
        "last_ns": unit.last_ns, **{sum_: unit.total(sum_) for sum_ in ("flows", "bytes_out", "bytes_in")},
        "facts": [{key: fact[key] for key in _OF_FACT} for fact in unit.facts], "seen": unit.seen,
    }  # fmt: skip


_OF_INVENTORY = ("site", "segment", "segment_class", "role", "supplier", "zone", "contact", "notes", "listed")
_OF_FACT = ("kind", "value", "source", "ip", "first_ns", "last_ns")


def _meant(row: Mapping[str, Any], options: argparse.Namespace, wanted: Mapping[str, Any]) -> bool:
    """Return whether a row passes the filters."""
    device, maker = wanted.get("device"), (options.maker or "").casefold()
    if options.seat and not (len(options.seat) == 2 and options.seat.isalpha()):
        raise UsageError(f"{options.seat!r} is no country code", remedy="give two letters (ISO 3166-1), such as CN")
    return (
        device in (None, row["mac"], *row["addresses"])
        and maker in f"{row['maker'] or ''}\n{row['group'] or ''}".casefold()
        and options.seat in (None, row["seat"], (row["seat"] or "").lower())
        and options.segment in (None, row["segment"], row["segment_class"])
        and not (options.unlisted and (row["segment"] is None or row["listed"]))
    )
