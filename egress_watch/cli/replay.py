"""Replay captures: judge every flow, store it, raise alerts, and print who talks to whom.

Captures are pcap or pcapng, plain or packed with gzip, xz or zstd: files, a folder of them, or - for standard input.
A capture that the database holds already is not recorded twice; one that was stopped half-way is recorded anew.
A broken rule is set aside and told; the others run, and the exit code is then 2 where it would be 0.

In: captures and settings. Out: a database and a report. Never: a packet sent, or a name looked up.
"""

from __future__ import annotations

import argparse
import gc
from dataclasses import replace

from egress_watch.cli.options import add_zone, with_zone
from egress_watch.cli.privacy import add_pseudonyms, covering
from egress_watch.config import load
from egress_watch.errors import UsageError

HELP = "judge captures and store the flows"
EXAMPLES = (
    "egress-watch replay capture.pcap",
    "egress-watch replay /var/captures/ --db city.db --zone eu27",
    "ssh sensor tcpdump -w - | egress-watch replay - --db live.db",
    "egress-watch replay capture.pcapng.gz --json | jq .verdicts",
    "egress-watch replay /var/captures/ --from 2026-11-02T08:00 --to 2026-11-02T09:00 --filter tcp --jobs 2",
)


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument(
        "paths", metavar="PATH", nargs="+", help="a capture, a folder of captures, or - for standard input"
    )
    command.add_argument(
        "--db", default="", metavar="FILE", help="the database to write; default: as configured (egress.db)"
    )
    add_zone(command)
    command.add_argument(
        "--filter", default="", metavar="EXPRESSION",
        help="only frames that match, as for tcpdump (pcap-filter(7)); names in other frames are not heard",
    )  # fmt: skip
    times = "2026-11-02 or 2026-11-02T08:30Z"
    command.add_argument("--from", dest="from_time", default="", metavar="TIME",
                         help=f"only frames of this time and later: {times}")  # fmt: skip
    command.add_argument("--to", dest="to_time", default="", metavar="TIME", help=f"only frames up to then: {times}")
    command.add_argument("--config", default="", metavar="FILE", help="a TOML file of settings")
    command.add_argument(
        "--again", action="store_true", help="record captures that the database holds already once more"
    )
    add_pseudonyms(command)
    command.add_argument("--json", action="store_true", help="print one JSON object instead of the report")
    command.add_argument(
        "--jobs", type=_jobs, default=1, metavar="N",
        help="processes: 1, the default, does all in one; more read ahead, up to 16; 0 is one for each core",
    )  # fmt: skip
    command.add_argument("--tui", action="store_true", help="watch it on the terminal UI; the report comes after")
    command.add_argument("--quiet", action="store_true", help="show no progress, even where a person watches")


def run(options: argparse.Namespace) -> int:
    """Replay and report."""
    gc.disable()  # what a program loads to start is no garbage; from the first packet on collections run
    try:
        from egress_watch.cli.job import Job
        from egress_watch.cli.narrow import asked

        config = with_zone(load(options.config), options)
        covering(options, config)  # a key that is none is told before anything is read
        if options.tui:
            return _on_screen(options, config.db)
        job = Job(
            replace(config, db=options.db or config.db), asked(options),
            again=options.again, quiet=options.quiet, jobs=options.jobs,
            cover=lambda known: covering(options, config, known),
        )  # fmt: skip
        return job.run(options.paths, as_json=options.json)
    finally:
        gc.unfreeze()
        gc.enable()


def _on_screen(options: argparse.Namespace, db: str) -> int:
    """Replay in a process of its own, with the screen over it."""
    from egress_watch.cli.beside import beside

    if "-" in options.paths:
        remedy = "write it to a file first, or open the database in another terminal: egress-watch tui DB"
        raise UsageError("--tui needs the keyboard, so a capture cannot come through standard input", remedy=remedy)
    return beside(options.db or db, [*(word for word in options.words if word != "--tui"), "--quiet"], wait=True)


def _jobs(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes")
    return int(text)
