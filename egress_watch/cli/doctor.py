"""Look at everything that a recording hangs on, and say what to do about each thing that is wrong.

Rights, interface, offloads, what a few seconds of the mirror look like (both directions? duplicates? own traffic?),
disk, clock, age of the data, rules, receivers. Nothing is changed and nothing is sent. The exit code is 1 where
anything is in trouble.

In: settings, interfaces, a database if there is one. Out: a line for each thing looked at. Never: a setting changed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from egress_watch import sinks
from egress_watch.cli.findings import BAD, GOOD, ODD, Finding, of_standing
from egress_watch.cli.status import lines
from egress_watch.config import Config, load
from egress_watch.errors import DATA_TROUBLE, EgressWatchError
from egress_watch.exports.plain import printable

HELP = "look at rights, interfaces, mirror, disk, clock, data, rules and receivers"
EXAMPLES = (
    "egress-watch doctor",
    "egress-watch doctor -i eth1 --seconds 10",
    "egress-watch doctor --config /etc/egress-watch/egress-watch.toml --json",
)


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("-i", "--interface", action="append", default=[], metavar="NAME", dest="interfaces",
                         help="an interface to look at; default: those of the settings")  # fmt: skip
    command.add_argument("--seconds", type=float, default=3.0, metavar="N", help="listen so long; 0: not at all")
    command.add_argument("--db", default="", metavar="DB", help="the database; default: db of the settings")
    command.add_argument("--config", default="", metavar="FILE", help="a TOML file of settings")
    command.add_argument("--json", action="store_true", help="print a JSON list")


def run(options: argparse.Namespace) -> int:
    """Look at everything and print it."""
    config = load(options.config)
    names = options.interfaces or list(config.watch.interfaces)
    looks = (
        _program(), _rules(config), _data(config), _clock(), _database(config, options.db or config.db),
        _interfaces(names, options.seconds, config),
    )  # fmt: skip
    found = dict.fromkeys(chain.from_iterable(looks))  # settings and database may say the same of the data
    if options.json:
        sinks.write("-", [json.dumps([finding._asdict() for finding in found])])
    else:
        sinks.write("-", [printable(line) for line in lines([*found])])
    return DATA_TROUBLE if any(finding.state == BAD for finding in found) else 0


def _program() -> Iterator[Finding]:
    from egress_watch.fast import accelerator

    if accelerator():
        yield Finding("program", GOOD, "the compiled accelerator is in use")
    else:
        remedy = "install a C compiler, then python -m egress_watch.fast.compile, or reinstall"
        yield Finding("program", ODD, "works without the compiled accelerator: slower", remedy)


def _rules(config: Config) -> Iterator[Finding]:
    from egress_watch.library import rules

    try:
        good, broken = rules(config)
    except EgressWatchError as error:
        yield Finding("rules", BAD, f"{error.where}: {error.what}", error.remedy)
        return
    yield Finding(
        "rules", GOOD if good else BAD, f"{len(good)} rules run", "" if good else "see [rules] in the settings"
    )
    for one in broken:
        yield Finding("rules", ODD, f"{one.where}: {one.what}", one.remedy or "egress-watch rules check")


def _data(config: Config) -> Iterator[Finding]:
    from egress_watch.cli.judges import described, old
    from egress_watch.library import data_files

    try:
        files = described(data_files(config))
    except EgressWatchError as error:
        yield Finding("data", BAD, f"{error.where}: {error.what}", error.remedy)
        return
    if stale := old(files):
        yield Finding("data", ODD, "; ".join(stale), "egress-watch data update")
    else:
        yield Finding("data", GOOD, f"{len(files)} data files, none too old")


def _clock() -> Iterator[Finding]:
    from egress_watch.sources.clock import synchronised

    told = synchronised()
    if told is None:
        yield Finding("clock", ODD, "whether it is set by others cannot be told here", "check that NTP or PTP runs")
    elif told:
        yield Finding("clock", GOOD, "the kernel says it is synchronised")
    else:
        remedy = "start chrony, ntpd or systemd-timesyncd; alerts carry the times of packets"
        yield Finding("clock", ODD, "the kernel says nobody keeps it right", remedy)


def _database(config: Config, db: str) -> Iterator[Finding]:
    from egress_watch.store.standing import standing

    if not Path(db).exists():
        folder = Path(db).absolute().parent
        known = folder.is_dir()
        remedy = "" if known else "make the folder"
        yield Finding("database", GOOD if known else BAD, f"{db} is not there yet; watch makes it", remedy)
        return
    try:
        yield from of_standing(standing(db), config.retention.least_free_bytes)
    except EgressWatchError as error:
        yield Finding("database", BAD, f"{error.where}: {error.what}", error.remedy)


def _interfaces(names: Sequence[str], seconds: float, config: Config) -> Iterator[Finding]:
    if not names:
        yield Finding("interface", ODD, "none was named", "give one with -i; see `egress-watch interfaces`")
        return
    from egress_watch.cli.mirror import listened
    from egress_watch.sources.nics import nic

    for name in names:
        told = nic(name)
        if told.state == "gone":
            yield Finding("interface", BAD, f"{name}: there is none", "see `egress-watch interfaces`")
            continue
        speed = f"{told.speed_mbit:,} Mbit/s" if told.speed_mbit else "speed unknown"
        what, up = f"{name}: {told.state}, {speed}, MTU {told.mtu}", told.state == "up"
        yield Finding("interface", GOOD if up else BAD, what, "" if up else told.findings[0].partition(": ")[2])
        for finding in told.findings[not up :]:
            what, _, remedy = finding.partition(": ")
            yield Finding("interface", ODD, f"{name}: {what}", remedy or "name another")
        if up and seconds > 0:
            yield from listened(name, seconds, config)
