"""Check Sigma rules: every finding with its line and column.

In: a folder of rules. Out: what is wrong, or that nothing is. Never: a rule run on data.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from egress_watch import sinks
from egress_watch.errors import DATA_TROUBLE, USAGE, RuleError
from egress_watch.exports.plain import printable
from egress_watch.library import country_sets, rule_files, rule_text
from egress_watch.rules import check, parse
from egress_watch.store import prepare

HELP = "check Sigma rules"
EXAMPLES = (
    "egress-watch rules check",
    "egress-watch rules check my-rules/",
    "egress-watch rules check my-rules/ --explain",
)


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("verb", choices=["check"], help="check: read the rules and say what is wrong")
    command.add_argument("folder", metavar="DIR", nargs="?", default="", help="default: the shipped rules")
    command.add_argument("--explain", action="store_true", help="print the SQL predicate of each sound rule")
    command.add_argument("--json", action="store_true", help="one JSON object a finding")


def run(options: argparse.Namespace) -> int:
    """Print the findings; the exit code is 2 where there are any."""
    files = rule_files(options.folder)
    findings = list(_findings(files))
    if options.json:
        sinks.write("-", [json.dumps({"where": e.where, "what": e.what, "remedy": e.remedy}) for e in findings])
    else:
        sinks.write("-", _report(files, findings, explain=options.explain))
    return USAGE if findings else 0 if files else DATA_TROUBLE


def _findings(files: Sequence[Path]) -> Iterator[RuleError]:
    sets = country_sets()
    ids: dict[str, str] = {}
    for path in files:
        try:
            text = rule_text(path)
        except RuleError as error:
            yield error
            continue
        if found := check(text, str(path), sets):
            yield from found
            continue
        rule = parse(text, str(path), sets)
        if rule.id in ids:
            yield RuleError(f"has the id of {ids[rule.id]}", where=str(path), remedy="give it a fresh UUID")
        ids.setdefault(rule.id, str(path))
        yield from prepare([(rule.predicate, str(path))])


def _report(files: Sequence[Path], findings: list[RuleError], *, explain: bool) -> Iterator[str]:
    for error in findings:
        yield from map(printable, str(error).split("\n"))
    broken = {error.where.split(":")[0] for error in findings}
    if explain:
        for path in files:
            if str(path) not in broken:
                yield f"{path}\n  {printable(parse(rule_text(path), str(path), country_sets()).predicate)}"
    yield f"{len(files)} rules, {len(findings)} findings" if files else "no rules here (*.yml)"
