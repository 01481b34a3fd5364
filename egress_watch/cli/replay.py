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

HELP = "judge captures and store the flows"
EXAMPLES = (
    "egress-watch replay capture.pcap",
    "egress-watch replay /var/captures/ --db city.db --zone eu27",
    "ssh sensor tcpdump -w - | egress-watch replay - --db live.db",
    "egress-watch replay capture.pcapng.gz --json | jq .verdicts",
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
    command.add_argument("--config", default="", metavar="FILE", help="a TOML file of settings")
    command.add_argument(
        "--again", action="store_true", help="record captures that the database holds already once more"
    )
    add_pseudonyms(command)
    command.add_argument("--json", action="store_true", help="print one JSON object instead of the report")


def run(options: argparse.Namespace) -> int:
    """Replay and report."""
    gc.disable()  # what a program loads to start is no garbage; from the first packet on collections run
    try:
        from egress_watch.cli.job import Job

        config = with_zone(load(options.config), options)
        covering(options, config)  # a key that is none is told before anything is read
        job = Job(
            replace(config, db=options.db or config.db), again=options.again,
            cover=lambda known: covering(options, config, known),
        )  # fmt: skip
        return job.run(options.paths, as_json=options.json)
    finally:
        gc.unfreeze()
        gc.enable()
