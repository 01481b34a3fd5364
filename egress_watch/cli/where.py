"""Show everything known about an address: every source, its date, what it said, and the verdict.

In: addresses. Out: an evidence sheet each. Never: a question to any network.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from egress_watch import sinks
from egress_watch.cli.evidence import sheet_lines
from egress_watch.cli.options import add_zone, with_zone
from egress_watch.config import load
from egress_watch.errors import UsageError

if TYPE_CHECKING:  # at run time it would load the library
    from egress_watch.places.zones import Zone

HELP = "show the evidence for an address"
EXAMPLES = (
    "egress-watch where 52.208.0.10",
    "egress-watch where 52.208.0.10 --name dev.hik-connect.com",
    "egress-watch where 1.1.1.1 145.53.1.1 --zone eu27 --json",
)


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("addresses", metavar="ADDRESS", nargs="+", help="an IPv4 or IPv6 address")
    command.add_argument("--name", default="", help="a name the address was reached by (SNI, DNS, HTTP host)")
    add_zone(command)
    command.add_argument("--config", default="", metavar="FILE", help="a TOML file of settings")
    command.add_argument("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> int:
    """Print one sheet an address."""
    from egress_watch.cli.judges import described, say_if_old, say_notices
    from egress_watch.library import atlas, data_files, zone

    addresses = [_words(text) for text in options.addresses]
    config = with_zone(load(options.config), options)
    files = data_files(config)
    places = atlas(config, files)
    sheets = [places.sheet(address, options.name.lower().rstrip(".")) for address in addresses]
    law = zone(config.zone, config.as_of, config.own_zone)
    if options.json:
        sinks.write("-", [json.dumps(_object(sheet, law)) for sheet in sheets])
    else:
        short = f"{law.short} as of {law.as_of}"
        sinks.write("-", [line for sheet in sheets for line in sheet_lines(sheet, short)])
    say_notices()
    say_if_old(described(files))
    return 0


def _words(text: str) -> tuple[int, int]:
    from egress_watch.model import address_words

    try:
        return address_words(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no address", remedy="give IPv4 or IPv6, such as 52.208.0.10") from error


def _object(sheet: Any, law: Zone) -> dict[str, Any]:
    return {
        "address": sheet.address, "name": sheet.name, "zone": law.id, "zone_as_of": law.as_of,
        **sheet.verdict._asdict(), **sheet.place._asdict(), "sources": [row._asdict() for row in sheet.evidence],
        "changes": list(sheet.changes),
    }  # fmt: skip
