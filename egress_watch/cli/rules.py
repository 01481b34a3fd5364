"""Check Sigma rules: every finding with its line and column.

In: a folder of rules. Out: what is wrong, or that nothing is. Never: a rule run on data.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from egress_watch import sinks
from egress_watch.config import load
from egress_watch.errors import DATA_TROUBLE, USAGE, RuleError
from egress_watch.exports.plain import printable

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
    command.add_argument("--config", default="", metavar="FILE", help="settings whose own zones the rules may name")
    command.add_argument("--explain", action="store_true", help="print the SQL predicate of each sound rule")
    command.add_argument("--json", action="store_true", help="one JSON object a finding")


def run(options: argparse.Namespace) -> int:
    """Print the findings; the exit code is 2 where there are any."""
    from egress_watch.library import country_sets, rule_files

    sets = country_sets(load(options.config).own_zone)
    files = rule_files(options.folder)
    found = {path: list(errors) for path, errors in _findings(files, sets)}
    findings = [error for errors in found.values() for error in errors]
    if options.json:
        sinks.write("-", [json.dumps({"where": e.where, "what": e.what, "remedy": e.remedy}) for e in findings])
    else:
        sinks.write("-", _report(found, sets if options.explain else None))
    return USAGE if findings else 0 if files else DATA_TROUBLE


def _findings(files: Sequence[Path], sets: Mapping[str, Sequence[str]]) -> Iterator[tuple[Path, list[RuleError]]]:
    """Yield what is wrong with each file; of two rules with one id, the later is at fault."""
    from egress_watch.library import rule_text
    from egress_watch.rules import check, parse
    from egress_watch.store import prepare

    ids: dict[str, Path] = {}
    for path in files:
        try:
            text = rule_text(path)
        except RuleError as error:
            yield path, [error]
            continue
        if found := check(text, str(path), sets):
            yield path, found
            continue
        rule = parse(text, str(path), sets)
        first = ids.setdefault(rule.id, path)
        twice = RuleError(f"has the id of {first}", where=str(path), remedy="give it a fresh UUID")
        yield path, [*([twice] if first != path else []), *prepare([(rule.predicate, str(path))])]


def _report(found: Mapping[Path, Sequence[RuleError]], explained: Mapping[str, Sequence[str]] | None) -> Iterator[str]:
    """Yield the findings, and what each sound rule comes to where the sets it may name are given."""
    findings = [error for errors in found.values() for error in errors]
    for error in findings:
        yield from map(printable, str(error).split("\n"))
    if explained is not None:
        yield from (_explained(path, explained) for path, errors in found.items() if not errors)
    yield f"{_number(found, 'rule')}, {_number(findings, 'finding')}" if found else "no rules here (*.yml)"


def _number(things: Collection[object], word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


def _explained(path: Path, sets: Mapping[str, Sequence[str]]) -> str:
    from egress_watch.library import rule_text
    from egress_watch.rules import parse

    return f"{printable(str(path))}\n  {printable(parse(rule_text(path), str(path), sets).predicate)}"
