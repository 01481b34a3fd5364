"""Show a group: who stands behind it, which laws reach it, what it is known by, and whom it is tied to.

In: names, aliases, AS numbers, domains, addresses, makers of devices. Out: a dossier each. Never: a question to any
network.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from egress_watch import sinks
from egress_watch.errors import UsageError
from egress_watch.exports.plain import printable

if TYPE_CHECKING:  # at run time it would load the country databases' reader for --help
    from egress_watch.places.dossiers import Dossier

HELP = "show a group: seat, laws, networks, names, ties"
EXAMPLES = (
    "egress-watch who hikvision",
    "egress-watch who 'WeChat Pay' OneDrive HiSilicon",
    "egress-watch who AS1136 dev.hik-connect.com 52.208.0.10 --json",
)
WIDTH = 118


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument(
        "names", metavar="NAME", nargs="+", help="a company or product, AS1136, a domain, an address, a device's maker"
    )
    command.add_argument("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> int:
    """Print one dossier for each group that is meant."""
    from egress_watch.library import groups

    known = groups()
    wanted = [dossier for word in options.names for dossier in _meant(known, word)]
    show = (json.dumps(_object(dossier)) for dossier in wanted)
    sinks.write("-", show if options.json else (line for dossier in wanted for line in _lines(dossier)))
    return 0


def _meant(known: Sequence[Dossier], word: str) -> list[Dossier]:
    """Return the groups a word means; raises UsageError with what is like it."""
    from egress_watch.places.dossiers import asked_for, near

    if address := _address(word):
        return _behind(known, address, word)
    if found := asked_for(known, word):
        return found
    like = ", ".join(near(known, word))
    remedy = f"did you mean {like}?" if like else "see egress_watch/data/owners.toml for the groups there are"
    raise UsageError(f"no group is known as {word!r}", remedy=remedy)


def _address(word: str) -> tuple[int, int] | None:
    from egress_watch.model import address_words

    try:
        return address_words(word)
    except ValueError:
        return None


def _behind(known: Sequence[Dossier], address: tuple[int, int], word: str) -> list[Dossier]:
    """Return the group that runs the network of an address: by its prefix, its cloud or its AS."""
    from egress_watch.config import Config
    from egress_watch.library import atlas
    from egress_watch.places.dossiers import called

    place = atlas(Config()).sheet(address).place
    if found := called(known, place.provider):
        return found
    network = f": AS{place.asn} {place.as_name}" if place.asn else ""
    remedy = f"see `where {word}` for what the sources say"
    raise UsageError(f"the network of {word} is in no listed hands{network}", remedy=remedy)


def _object(dossier: Dossier) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(dossier.group), **{key: value for key, value in dossier._asdict().items() if key != "group"}}


def _lines(dossier: Dossier) -> Iterator[str]:
    group = dossier.group
    yield printable(f"{group.name}: {dossier.parent}, seat {group.seat}")
    yield from _row("laws", "; ".join(group.laws) or f"the law of {group.seat}")
    yield from _row("also", ", ".join(dossier.aliases))
    yield from _row("clouds", ", ".join(dossier.clouds))
    yield from _row("networks", ", ".join(f"AS{asn}" for asn in dossier.asns))
    yield from _row("names", ", ".join(dossier.names))
    yield from _row("devices", ", ".join(dossier.vendors))
    yield from _rows("tied to", group.ties)
    yield from _rows("tied by", dossier.tied_by)
    yield from _row("source", f"{group.source}; checked {group.checked}")
    yield ""


def _rows(title: str, texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        yield from _row(title, text)


def _row(title: str, text: str) -> Iterator[str]:
    if text:
        yield from textwrap.wrap(printable(text), WIDTH, initial_indent=f"  {title:<9} ", subsequent_indent=" " * 12)
