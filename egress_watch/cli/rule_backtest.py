"""Try rules on the flows of a database: what they would have said, how loud, and at what cost.

In: a database and a folder of rules. Out: one line a rule. Never: a change to the database.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from egress_watch import sinks
from egress_watch.cli.privacy import add_pseudonyms, covering
from egress_watch.config import load
from egress_watch.errors import USAGE
from egress_watch.exports.plain import printable
from egress_watch.moments import time_ns

if TYPE_CHECKING:
    from egress_watch.store import Tried

VERB = "backtest"
HELP = "try rules on the flows of a database"
HEAD = f"{'hits':>9}  {'alerts':>7}  {'ms':>8}  rule (noisiest devices)"


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("db", metavar="DB", help="a database that egress-watch wrote")
    command.add_argument("folder", metavar="RULE|DIR", nargs="?", default="", help="default: the shipped rules")
    command.add_argument("--since", default="", metavar="TIME", help="a day, a time, or a span back such as 7d")
    command.add_argument("--config", default="", metavar="FILE", help="settings whose own zones the rules may name")
    add_pseudonyms(command)
    command.add_argument("--json", action="store_true", help="one JSON object a rule")


def run(options: argparse.Namespace) -> int:
    """Print what each rule would have said; the exit code is 2 where one is broken or too slow."""
    from egress_watch.library import read_rules, rule_files
    from egress_watch.store import Reader, backtest

    config = load(options.config)
    covers = covering(options, config)
    rules, broken = read_rules(rule_files(options.folder), config.own_zone)
    with Reader(options.db) as reader:
        since_ns = time_ns(options.since, reader.newest_ns()) if options.since else 0
    titles = {rule.id: rule.title for rule in rules}
    with backtest(options.db, since_ns) as trial:
        tried = [trial.run(rule) for rule in rules]
        flows = trial.flows
    if covers:
        tried = [row._replace(noisiest=tuple((covers.word("ip", ip), n) for ip, n in row.noisiest)) for row in tried]
    if options.json:
        sinks.write("-", [json.dumps({**row._asdict(), "title": titles[row.rule]}) for row in tried])
    else:
        told = [printable(line) for error in broken for line in str(error).split("\n")]
        sinks.write("-", [*told, *_report(tried, titles, flows)])
    return USAGE if broken or any(row.trouble for row in tried) else 0


def _report(tried: list[Tried], titles: Mapping[str, str], flows: int) -> Iterator[str]:
    yield HEAD
    for row in sorted(tried, key=lambda row: (-row.alerts, -row.hits, titles[row.rule])):
        noisy = ", ".join(f"{device} {hits:,}" for device, hits in row.noisiest)
        what = (row.trouble and f"! {row.trouble.splitlines()[0]}") or noisy
        line = f"{row.hits:>9,}  {row.alerts:>7,}  {row.cost_ms:>8.1f}  {titles[row.rule]}"
        yield printable(f"{line} ({what})" if what else line)
    cost_s = sum(row.cost_ms for row in tried) / 1000
    yield f"{len(tried)} rules over {flows:,} flows in {cost_s:.2f} s"
    yield "An alert is one device, owner and country until a day of silence; of a rule that counts, one group."
