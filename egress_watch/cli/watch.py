"""Watch mirrored ports: judge live traffic, store it, raise alerts, for as long as it runs.

Listens to network interfaces and never sends on them. Needs the right to open packet sockets (CAP_NET_RAW) at the start
and gives up all rights before the first frame is read. Frames that were lost are counted by minute in the database and
said; an interface that goes away is waited for. SIGHUP, or a change of their files, loads rules and data anew;
SIGINT and SIGTERM end the recording in good order, with a report. The exit code is then 0. Where the settings have a
[[sink]], `egress-watch forward` runs beside it in a process of its own.

In: interfaces and settings. Out: a database that others may read meanwhile, and a report. Never: a frame sent.
"""

from __future__ import annotations

import argparse
import gc
from dataclasses import replace
from typing import TYPE_CHECKING

from egress_watch.cli.options import add_zone, with_zone
from egress_watch.config import WatchSettings, load
from egress_watch.errors import UsageError

if TYPE_CHECKING:
    from egress_watch.sources.filter import Filter
    from egress_watch.sources.live import Live

HELP = "judge live traffic of mirrored ports and store the flows"
EXAMPLES = (
    "egress-watch watch -i eth1 --db city.db",
    "egress-watch watch -i eth1 -i eth2 --filter tcp --user egress-watch",
    "egress-watch watch -i eth1 --tui",
    "egress-watch watch --config /etc/egress-watch/egress-watch.toml --quiet",
)


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("-i", "--interface", action="append", default=[], metavar="NAME", dest="interfaces",
                         help="an interface to listen to; several are put together in order of time")  # fmt: skip
    command.add_argument(
        "--db", default="", metavar="FILE", help="the database to write; default: as configured (egress.db)"
    )
    add_zone(command)
    command.add_argument("--filter", default="", metavar="EXPRESSION",
                         help="only frames that match, as for tcpdump (pcap-filter(7))")  # fmt: skip
    command.add_argument("--config", default="", metavar="FILE", help="a TOML file of settings")
    command.add_argument("--user", default="", metavar="NAME", help="become this user once the interfaces are open")
    command.add_argument("--seconds", type=_count, default=0, metavar="N", help="end after so long")
    command.add_argument("--packets", type=_count, default=0, metavar="N", help="end after so many frames")
    command.add_argument("--json", action="store_true", help="print one JSON object instead of the report")
    command.add_argument("--quiet", action="store_true", help="show no figures meanwhile and no report at the end")
    command.add_argument("--tui", action="store_true", help="watch it on the terminal UI; leaving that ends both")


def run(options: argparse.Namespace) -> int:
    """Watch until told to stop, and report."""
    gc.disable()  # what a program loads to start is no garbage; from the first packet on collections run
    try:
        config = with_zone(load(options.config), options)
        seen = replace(
            config.watch, interfaces=tuple(options.interfaces) or config.watch.interfaces,
            filter=options.filter or config.watch.filter, user=options.user or config.watch.user,
        )  # fmt: skip
        if not seen.interfaces:
            remedy = "name one with -i, or in the settings; see `egress-watch interfaces`"
            raise UsageError("no interface to listen to", where="watch", remedy=remedy)
        if options.tui:
            from egress_watch.cli.beside import beside

            return beside(options.db or config.db, [word for word in options.words if word != "--tui"], wait=False)
        if options.packets:
            seen = replace(seen, readers=1)  # so many frames and no more: one counts
        lives, by = _listening(seen)
        from egress_watch.cli.live import LiveJob

        job = LiveJob(replace(config, db=options.db or config.db), lives, by, settings=options.config,
                      quiet=options.quiet)  # fmt: skip
        return job.run(seconds=options.seconds, frames=options.packets, as_json=options.json)
    finally:
        gc.unfreeze()
        gc.enable()


def _listening(seen: WatchSettings) -> tuple[list[Live], Filter | None]:
    """Open the interfaces, once for each reader, and give up all rights, before most of the program is loaded.

    Rights are those of a thread, and libraries start threads of their own when they are loaded.
    """
    from egress_watch.cli.privileges import give_up
    from egress_watch.sources.filter import Filter
    from egress_watch.sources.live import Live

    by = Filter(seen.filter) if seen.filter else None
    groups: dict[str, int] | None = {} if seen.readers > 1 else None
    lives = [
        Live(seen.interfaces, ring_bytes=seen.ring_bytes // seen.readers, spool_bytes=seen.spool_bytes,
             times=seen.times, filtered=by, groups=groups)
        for _ in range(seen.readers)
    ]  # fmt: skip
    lives[0].notes += give_up(seen.user)
    return lives, by


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 10**15:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)
