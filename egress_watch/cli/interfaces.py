"""List the network interfaces of this machine, and what is wrong with each as the end of a mirrored port.

An interface for a mirrored port is up, has no address, answers no ARP, speaks no IPv6 and glues no frames together.
Nothing is changed: each finding ends with the command that mends it.

In: nothing. Out: rows. Never: a setting changed.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from egress_watch import sinks
from egress_watch.exports.plain import printable

if TYPE_CHECKING:
    from egress_watch.sources.nics import Nic

HELP = "list network interfaces, and what is wrong with each for a mirrored port"
EXAMPLES = ("egress-watch interfaces", "egress-watch interfaces --json | jq '.[].name'")


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("--json", action="store_true", help="print a JSON list")


def run(options: argparse.Namespace) -> int:
    """Print the interfaces."""
    from egress_watch.sources.nics import LINK_WORDS, nics

    found = nics()
    if options.json:
        rows = [one._asdict() | {"link": LINK_WORDS.get(one.link, "")} for one in found]
        sinks.write("-", [json.dumps(rows)])
    else:
        sinks.write("-", [line for one in found for line in _lines(one)])
    return 0


def _lines(nic: Nic) -> list[str]:
    """Return an interface in a line, and a line for each finding."""
    from egress_watch.sources.nics import LINK_WORDS

    speed = f"{nic.speed_mbit:,} Mbit/s" if nic.speed_mbit else "speed unknown"
    addresses = ", ".join(nic.addresses) or "no address"
    head = f"{nic.name}: {nic.state}, {speed}, {LINK_WORDS.get(nic.link, 'not readable')}, MTU {nic.mtu}, {addresses}"
    return [printable(head), *(f"  {printable(finding)}" for finding in nic.findings)]
