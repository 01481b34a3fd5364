"""Options that several commands share.

In: parsers and parsed options. Out: filters for the store. Never: a filter that is dropped in silence.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from egress_watch import sinks
from egress_watch.config import ZONES, Config
from egress_watch.errors import UsageError
from egress_watch.exports import ROW_FORMATS
from egress_watch.moments import time_ns

_HELP = {
    "id": "number of the flow",
    "verdict": "IN, OWN, OUT or UNKNOWN",
    "country": "ISO code of the remote's country, such as CN; of flows also where it is one of several in dispute",
    "owner": "part of the owner's name",
    "provider": "part of the network operator's name",
    "device": "address or MAC of the device",
    "remote": "address of the remote",
    "name": "part of the remote's name",
    "port": "port of the remote",
    "protocol": "tcp, udp, icmp ... or a number",
    "since_ns": "not before: 2026-11-02, 2026-11-02T08:30, or a span back from the newest, such as 15m, 2h, 7d",
    "until_ns": "not after, in the same forms as --since",
    "recording": "number of the recording, as replay --json tells",
    "zone": "zone it was judged under: eu27, eea, eea+adequacy, ch or one of your own",
}
_METAVARS = {"since_ns": "TIME", "until_ns": "TIME", "device": "ADDRESS", "remote": "ADDRESS", "country": "CC",
             "recording": "N", "port": "N", "id": "N"}  # fmt: skip
FLOW_FILTERS = tuple(_HELP)
ALERT_FILTERS = ("verdict", "country", "owner", "device", "since_ns", "until_ns", "recording")


def add_filters(command: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Add one option for each filter of the store."""
    for name in names:
        metavar = _METAVARS.get(name, name.upper())
        command.add_argument(f"--{name.removesuffix('_ns')}", dest=name, metavar=metavar, help=_HELP[name])


def add_output(command: argparse.ArgumentParser, formats: Iterable[str] = ROW_FORMATS, default: str = "table") -> None:
    """Add the options of every command that writes rows."""
    command.add_argument("--format", choices=list(formats), default=default, help=f"default: {default}")
    command.add_argument("-o", "--output", default="-", metavar="FILE", help="a file instead of standard output")
    command.add_argument(
        "--limit", type=row_count, default=0, metavar="N", help="at most this many rows; 0, the default, is all"
    )


def filters(
    options: argparse.Namespace, names: Sequence[str], newest_ns: int, zones: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the filters that were given, in the store's own spelling; spans count back from ``newest_ns``.

    ``zones`` are those the rows were judged under, beside the shipped ones. Raises UsageError for what no row can
    match: a word that is no verdict, an address that is none, an unknown zone.
    """
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    _check_zone(given.get("zone", ZONES[0]), dict.fromkeys((*ZONES, *zones)))
    return {
        name: time_ns(value, newest_ns) if name.endswith("_ns") else _SPELLINGS.get(name, str)(value)
        for name, value in given.items()
    }


def write_rows(options: argparse.Namespace, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows in the format and to the place asked for."""
    write_lines(options, ROW_FORMATS[options.format](rows, columns))


def write_lines(options: argparse.Namespace, lines: Iterable[str] | Iterable[bytes]) -> None:
    """Write lines, or pieces of bytes, to the place asked for, which must not be the database they come from."""
    if options.output != "-" and os.path.realpath(options.output) == os.path.realpath(options.db):
        raise UsageError("is the database itself", where=options.output, remedy="name another file with -o")
    sinks.write(options.output, lines)


def add_zone(command: argparse.ArgumentParser, default: str = "as configured (eea)") -> None:
    """Add the options that say under which law to judge; ``default`` says which zone it is where none is given."""
    zones = f"eu27, eea, eea+adequacy, ch or one of your own; default: {default}"
    command.add_argument("--zone", default="", metavar="NAME", help=zones)
    days = "the zone as it was on that day, such as 2019-05-01; default: the day its data was checked"
    command.add_argument("--as-of", default="", metavar="DATE", help=days)


def with_zone(config: Config, options: argparse.Namespace) -> Config:
    """Return the settings with the zone and the day of the command line, where given."""
    return replace(config, zone=options.zone or config.zone, as_of=options.as_of or config.as_of)


def row_count(text: str) -> int:
    """Return a number of rows; raises what argparse tells as a mistake of usage."""
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows")
    return int(text)


def _verdict(text: str) -> str:
    from egress_watch.model import VERDICTS

    if text.upper() not in VERDICTS:
        raise UsageError(f"{text!r} is no verdict", remedy=f"one of: {', '.join(VERDICTS)}")
    return text.upper()


def _country(text: str) -> str:
    if not re.fullmatch("[A-Za-z]{2}", text):
        raise UsageError(f"{text!r} is no country code", remedy="give two letters (ISO 3166-1), such as CN")
    return text.upper()


def _address(text: str) -> str:
    from egress_watch.model import address_text, address_words

    try:
        return address_text(*address_words(text))
    except ValueError as error:
        raise UsageError(f"{text!r} is no address", remedy="give IPv4 or IPv6, such as 52.208.0.10") from error


def device_spelt(text: str) -> str:
    """Return a device's address or MAC as the store spells it; raises UsageError."""
    if re.fullmatch("[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}", text):
        return text.lower().replace("-", ":")
    return _address(text)


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 0xFFFF:
        raise UsageError(f"{text!r} is no port", remedy="give a number from 0 to 65535")
    return int(text)


def _protocol(text: str) -> str:
    from egress_watch.model import PROTOCOLS

    if re.fullmatch("[0-9]{1,3}", text) and int(text) < 256:
        return PROTOCOLS.get(int(text), str(int(text)))
    if text.lower() not in PROTOCOLS.values():
        remedy = f"a number from 0 to 255, or one of: {', '.join(PROTOCOLS.values())}"
        raise UsageError(f"{text!r} is no protocol known by name", remedy=remedy)
    return text.lower()


def _recording(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise UsageError(f"{text!r} is no recording", remedy="give its number, such as 1")
    return int(text)


def _check_zone(text: str, known: Collection[str]) -> None:
    if text.lower() not in known:
        raise UsageError(f"unknown zone {text!r}", remedy=f"one of: {', '.join(known)}")


def _flow(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise UsageError(f"{text!r} is no number of a flow", remedy="give its id, as --format ndjson shows it")
    return int(text)


_SPELLINGS: dict[str, Callable[[str], Any]] = {
    "id": _flow, "verdict": _verdict, "country": _country, "device": device_spelt, "remote": _address, "port": _port,
    "protocol": _protocol, "recording": _recording, "zone": str.lower,
}  # fmt: skip
"""How a filter's value is written in the store; the others are taken as they are."""
