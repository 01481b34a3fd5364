"""Check, test and try Sigma rules.

In: a folder of rules, and for some a capture or a database. Out: what is wrong, or what the rules would say.
Never: a change to the database that is asked.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from egress_watch import sinks
from egress_watch.config import OwnZone, load
from egress_watch.errors import DATA_TROUBLE, USAGE, RuleError
from egress_watch.exports.plain import printable

if TYPE_CHECKING:
    from egress_watch.rules import Part, Rule

HELP = "check, test and try Sigma rules"
EXAMPLES = (
    "egress-watch rules check",
    "egress-watch rules check my-rules/ --explain",
    "egress-watch rules test my-rules/",
    "egress-watch rules test my-rules/ --pcap site.pcapng --expect site.yml",
    "egress-watch rules backtest egress.db my-rules/ --since 7d",
    "egress-watch rules fields --json-schema > rule.schema.json",
)
MODULES = ("rule_tests", "rule_backtest", "rule_fields")
"""The other verbs, each in its own module."""


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the verbs and their options."""
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    check = verbs.add_parser("check", help="read the rules and say what is wrong, with line and column")
    check.add_argument("folder", metavar="DIR", nargs="?", default="", help="default: the shipped rules")
    check.add_argument("--config", default="", metavar="FILE", help="settings whose own zones the rules may name")
    check.add_argument("--explain", action="store_true", help="print the SQL predicate of each sound rule")
    check.add_argument("--json", action="store_true", help="one JSON object a finding")
    check.set_defaults(verb_run=_check)
    for module in (import_module(f"egress_watch.cli.{name}") for name in MODULES):
        verb = verbs.add_parser(module.VERB, help=module.HELP)
        module.arguments(verb)
        verb.set_defaults(verb_run=module.run)


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    return int(options.verb_run(options))


def _check(options: argparse.Namespace) -> int:
    """Print the findings; the exit code is 2 where there are any."""
    from egress_watch.library import rule_files

    own = load(options.config).own_zone
    files = rule_files(options.folder)
    count, findings, explained = _found(files, own)
    if options.json:
        sinks.write("-", [json.dumps(_as_json(error)) for error in findings])
    else:
        sinks.write("-", _report(count, findings, explained, explain=options.explain))
    return USAGE if findings else 0 if files else DATA_TROUBLE


def _found(files: Sequence[Path], own: Sequence[OwnZone]) -> tuple[int, list[RuleError], list[tuple[str, str]]]:
    """Return the number of documents, what is wrong with them, and the predicate of each that is sound."""
    from egress_watch.library import country_sets, read_parts, rule_text
    from egress_watch.rules import checked, linked
    from egress_watch.store import prepare

    sets = country_sets(own)
    ready: dict[str, list[Part]] = {}
    broken: dict[str, list[RuleError]] = {}
    for path in files:
        try:
            ready[str(path)], broken[str(path)] = checked(rule_text(path), str(path), sets)
        except RuleError as error:
            broken[str(path)] = [error]
    sound = [path for path in files if not broken[str(path)]]
    parts, twice = read_parts(sound, own, ready=lambda _, origin: ready[origin])
    rules, unlinked = linked(parts)
    late = [*twice, *unlinked, *prepare([(rule.predicate, rule.origin) for rule in rules])]
    findings = [error for errors in broken.values() for error in errors] + late
    return len(parts) + len(files) - len(sound), findings, [_explained(rule) for rule in rules]


def _as_json(error: RuleError) -> dict[str, object]:
    """Return a finding with its place in parts too, as tools that mark lines want it."""
    file = error.where.removesuffix(f":{error.line}:{error.column}")
    spot = {"where": error.where, "file": file, "line": error.line, "column": error.column}
    return {**spot, "what": error.what, "remedy": error.remedy}


def _explained(rule: Rule) -> tuple[str, str]:
    """Return a rule's name and what it comes to: an SQL condition, before it what a correlation counts."""
    from egress_watch.rules.crossings import counted

    head = f"{counted(rule.count)}, of the flows where\n  " if rule.count else ""
    return f"{rule.origin}: {rule.title}", head + rule.predicate


def _report(
    count: int, findings: Collection[RuleError], explained: Collection[tuple[str, str]], *, explain: bool
) -> Iterator[str]:
    """Yield the findings, and what each sound rule comes to where that is asked for.

    There are more documents than rules: filters, and what a correlation counts, raise no alerts of their own.
    """
    for error in findings:
        yield from map(printable, str(error).split("\n"))
    if explain:
        yield from ("\n  ".join(map(printable, (name, *words.split("\n  ")))) for name, words in explained)
    told = f"{_number(len(explained), 'rule')} in {_number(count, 'document')}, {_number(len(findings), 'finding')}"
    yield told if count else "no rules here (*.yml)"


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
