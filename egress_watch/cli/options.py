"""Options that several commands share.

In: parsers and parsed options. Out: filters for the store. Never: a filter that is dropped in silence.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from egress_watch.config import Config
from egress_watch.errors import UsageError
from egress_watch.exports import FORMATS

SPAN_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

_HELP = {
    "verdict": "IN, OWN, OUT or UNKNOWN",
    "country": "ISO code of the remote's country, such as CN",
    "owner": "part of the owner's name",
    "provider": "part of the network operator's name",
    "device": "address or MAC of the device",
    "remote": "address of the remote",
    "name": "part of the remote's name",
    "port": "port of the remote",
    "protocol": "tcp, udp, icmp ... or a number",
    "since_ns": "not before: 2026-11-02, 2026-11-02T08:30, or a span back from the newest, such as 15m, 2h, 7d",
    "until_ns": "not after, in the same forms as --since",
}


def add_filters(command: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Add one option for each filter of the store."""
    for name in names:
        kind = int if name == "port" else str
        command.add_argument(f"--{name.removesuffix('_ns')}", dest=name, type=kind, help=_HELP[name])


def add_output(command: argparse.ArgumentParser) -> None:
    """Add the options of every command that prints rows."""
    command.add_argument("--format", choices=list(FORMATS), default="table", help="default: table")
    command.add_argument("-o", "--output", default="-", help="a file instead of standard output")
    command.add_argument("--limit", type=int, default=0, help="at most this many rows; 0, the default, is all")


def filters(options: argparse.Namespace, names: Sequence[str], newest_ns: int) -> dict[str, Any]:
    """Return the filters that were given; spans count back from ``newest_ns``."""
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return {name: time_ns(value, newest_ns) if name.endswith("_ns") else value for name, value in given.items()}


def time_ns(text: str, newest_ns: int) -> int:
    """Return the moment a person means, in nanoseconds; raises UsageError."""
    if span := re.fullmatch(r"(\d{1,9})([smhdw])", text):
        return newest_ns - int(span[1]) * SPAN_S[span[2]] * 1_000_000_000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no time", remedy="write 2026-11-02, 2026-11-02T08:30Z, or a span: 15m, 2h, 7d"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1_000_000) * 1000


def with_zone(config: Config, zone: str) -> Config:
    """Return the settings with the zone of the command line, where one was given."""
    return replace(config, zone=zone) if zone else config
