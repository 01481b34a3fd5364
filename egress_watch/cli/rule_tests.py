"""Test rules: each against its own examples, and all of them against a capture.

In: a folder of rules, and for the second a capture with what is expected of it. Out: each difference.
Never: a database that stays.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from egress_watch import sinks
from egress_watch.config import Config, EvidenceSettings, load
from egress_watch.errors import DATA_TROUBLE, USAGE, RuleError, UsageError
from egress_watch.exports.plain import printable

if TYPE_CHECKING:
    from egress_watch.rules import Rule

VERB = "test"
HELP = "test rules against their own examples, or against a capture"


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("folder", metavar="RULE|DIR", nargs="?", default="", help="default: the shipped rules")
    command.add_argument("--pcap", default="", metavar="FILE", help="a capture to replay; nothing of it stays")
    command.add_argument("--expect", default="", metavar="FILE", help="YAML: alerts by rule, others quiet")
    command.add_argument("--config", default="", metavar="FILE", help="settings")


def run(options: argparse.Namespace) -> int:
    """Print what is not as it should be; the exit code is 1 where something is not, 2 where a rule is broken."""
    from egress_watch.library import read_rules, rule_files

    if options.expect and not options.pcap:
        raise UsageError("--expect needs a capture", remedy="name one with --pcap")
    config = load(options.config)
    rules, broken = read_rules(rule_files(options.folder), config.own_zone)
    lines = list(_of_capture(rules, config, options) if options.pcap else _of_examples(rules))
    told = [line for error in broken for line in str(error).split("\n")]
    sinks.write("-", [printable(line) for line in (*told, *lines)])
    failed = any(line.startswith("✗") for line in lines)
    return USAGE if broken else DATA_TROUBLE if failed or not rules else 0


def _of_examples(rules: Sequence[Rule]) -> Iterator[str]:
    """Yield each example that goes wrong, and a line that sums up."""
    from egress_watch.rules import schema
    from egress_watch.store import holds

    tried = failed = 0
    for rule in rules:
        for example in rule.examples:
            tried += 1
            try:
                wrong = "" if holds(rule.predicate, rule.count, example.flows, schema()) is example.wanted else (
                    "is not found" if example.wanted else "is found, and should not be")  # fmt: skip
            except RuleError as error:
                wrong = str(error)
            failed += bool(wrong)
            if wrong:
                yield f"✗ {rule.origin}:{example.line}: this example {wrong}"
    bare = [rule.title for rule in rules if not rule.examples]
    yield from (f"  {title}: has no examples" for title in bare)
    yield f"{len(rules)} rules, {tried} examples, {failed} of them wrong"


def _of_capture(rules: Sequence[Rule], config: Config, options: argparse.Namespace) -> Iterator[str]:
    """Yield how many alerts each rule raised, marked where that is not what was expected."""
    with TemporaryDirectory(prefix="egress-watch-") as folder:
        found, broken = replayed(rules, replace(config, db=str(Path(folder) / "test.db")), options.pcap)
    wanted = _expected(options.expect, rules) if options.expect else None
    for rule in rules:
        stem, count = Path(rule.origin).stem, found[rule.id]
        if rule.id in broken:
            yield f"✗ {stem}: {broken[rule.id]}"
        elif wanted is not None and wanted.get(rule.id, 0) != count:
            yield f"✗ {stem}: {count}  # expected {wanted.get(rule.id, 0)}"
        elif wanted is None and count:
            yield f"{stem}: {count}"
    yield f"# {len(rules)} rules, {sum(found.values())} alerts"


def replayed(rules: Sequence[Rule], config: Config, capture: str) -> tuple[Counter[str], Mapping[str, str]]:
    """Return the alerts by rule that a capture gives, and the rules that broke; raises what a replay raises."""
    from egress_watch.cli.recorder import begin
    from egress_watch.library import atlas, data_files, inventory, with_networks
    from egress_watch.sources import open_inputs
    from egress_watch.store import Reader, Store
    from egress_watch.watch import stages, watch

    listed = inventory(config)
    config = replace(with_networks(config), evidence=EvidenceSettings())  # a trial leaves nothing in the ring
    inputs, files = open_inputs([capture]), data_files(config)
    through = stages(config, atlas(config, files), rules, inventory=listed)
    with Store(config.db) as store:
        recording = begin(store, config, rules, files, inputs.fingerprints(), "")
        tally = watch(inputs.frames(), through, recording)
        recording.finish(tally, inputs.fingerprints(), failed=dict(inputs.failed))
    if inputs.failed:
        raise UsageError(next(why for _, why in inputs.failed), where=capture, remedy="name a pcap or pcapng file")
    with Reader(config.db) as reader:
        return Counter(row["rule"] for row in reader.alerts({})), through.rules.broken


def _expected(path: str, rules: Sequence[Rule]) -> dict[str, int]:
    """Return the alerts expected by rule id; raises RuleError for a name that no rule has."""
    from egress_watch.library import rule_text
    from egress_watch.rules.document import read

    stems = Counter(Path(rule.origin).stem for rule in rules)
    known = {rule.id: rule.id for rule in rules}
    known |= {stem: rule.id for rule in rules if stems[stem := Path(rule.origin).stem] == 1}
    wanted: dict[str, int] = {}
    (document, *_) = read(rule_text(Path(path)), path)
    for key, node in document.pairs:
        if key.text not in known or not node.text.isdecimal():
            what = "no rule is named so" if key.text not in known else "this must be a number of alerts"
            at = key if key.text not in known else node
            raise RuleError(what, where=path, line=at.line, column=at.column, remedy="write `file-name: 3`")
        wanted[known[key.text]] = int(node.text)
    return wanted
