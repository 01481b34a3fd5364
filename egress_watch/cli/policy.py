"""A policy by observation: propose what segments and devices need, review it, and be alerted on drift from it.

`observe` writes a file of proposals, each with its breadth and its evidence. A person answers each of them. `show` is
the review at a glance, with what is wrong or open. `promote` turns a review without open points into Sigma rules that
alert on everything else. Nothing is in force before that, and nothing that was not allowed.

In: a database, or a file under review. Out: the file, a table, or rule files. Never: a rule file of yours replaced.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egress_watch import sinks
from egress_watch.cli.options import write_lines
from egress_watch.config import load
from egress_watch.errors import USAGE, ConfigError, UsageError
from egress_watch.exports.plain import printable
from egress_watch.moments import EARLIEST_NS, LATEST_NS, time_ns

if TYPE_CHECKING:
    from egress_watch.rules.policy_file import Answer, Review

HELP = "propose, review and enforce what segments and devices may talk to"
EXAMPLES = (
    "egress-watch policy observe egress.db --since 14d -o policy.toml",
    "egress-watch policy observe egress.db --by device -o policy.toml",
    "egress-watch policy show policy.toml",
    "egress-watch policy promote policy.toml --to my-rules/",
)
MOST_BYTES = 16 << 20
WEEK = 7
SHOWN = 20
"""Open points that are told before the rest is only counted."""


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the verbs and their options."""
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    observe = verbs.add_parser("observe", help="write proposals from what was seen")
    observe.add_argument("db", metavar="DB", help="a database that egress-watch wrote")
    observe.add_argument("--since", default="", metavar="TIME", help="flows that began then or later: a time, or 14d")
    observe.add_argument("--until", default="", metavar="TIME", help="flows that began then or earlier")
    observe.add_argument(
        "--by", choices=["segment", "device"], default="segment",
        help="whom a need is for; segment, the default, takes the device where the inventory names no segment",
    )  # fmt: skip
    observe.add_argument("-o", "--output", default="-", metavar="FILE", help="a file instead of standard output")
    observe.set_defaults(verb_run=_observe)
    show = verbs.add_parser("show", help="show a review: each need, and what is wrong or open")
    show.add_argument("file", metavar="FILE", help="a file that observe wrote and you edit")
    show.add_argument("--json", action="store_true", help="one JSON object a need")
    show.set_defaults(verb_run=_show)
    promote = verbs.add_parser("promote", help="write a finished review as Sigma rules and filters")
    promote.add_argument("file", metavar="FILE", help="a review without open points")
    promote.add_argument("--to", required=True, metavar="DIR", help="your folder of rules (rules.folder)")
    also = "a rule of that folder, by name or id, that is to leave what is allowed alone too; may be given again"
    promote.add_argument("--except", dest="also", action="append", default=[], metavar="RULE", help=also)
    promote.add_argument("--replace", action="store_true", help="in place of the files that an earlier review made")
    promote.add_argument("--config", default="", metavar="FILE", help="settings whose own zones the rules may name")
    promote.set_defaults(verb_run=_promote)


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    return int(options.verb_run(options))


def _observe(options: argparse.Namespace) -> int:
    from egress_watch.rules import policy, policy_file
    from egress_watch.store import Reader
    from egress_watch.store.policy import period, sightings

    with Reader(options.db) as reader:
        newest_ns = reader.newest_ns()
    since_ns = time_ns(options.since, newest_ns) if options.since else EARLIEST_NS
    until_ns = time_ns(options.until, newest_ns) if options.until else LATEST_NS
    seen = period(options.db, since_ns, until_ns)
    found, left_out = policy.needs(sightings(options.db, since_ns, until_ns), by_device=options.by == "device")
    observed = {
        "from": policy_file.moment(seen.first_ns), "until": policy_file.moment(seen.last_ns),
        "days": len({day for need in found for day in need.days}), "flows": seen.flows,
        "unanswered": seen.unanswered, "left_out": left_out,
    }  # fmt: skip
    write_lines(options, policy_file.written(found, observed))
    return 0


def _read(path: str) -> Review:
    from egress_watch.library.texts import user_text
    from egress_watch.rules.policy_file import read

    return read(user_text(path, MOST_BYTES, "name a file that `policy observe` wrote", "a file of a policy"))


def _show(options: argparse.Namespace) -> int:
    """Print the review; the exit code is 2 where something is wrong, 0 where points are merely open."""
    review = _read(options.file)
    if options.json:
        sinks.write("-", [json.dumps(_object(answer)) for answer in review.answers])
    else:
        sinks.write("-", [printable(line) for line in _table(review)])
    return USAGE if review.mistakes else 0


def _object(answer: Answer) -> dict[str, Any]:
    return {
        "number": answer.number, "for": dict([answer.subject]), "to": dict(answer.destination),
        "services": list(answer.services), "review": answer.review, "reason": answer.reason, **answer.told,
    }  # fmt: skip


def _table(review: Review) -> Iterator[str]:
    observed = review.observed
    if observed:
        days = observed.get("days", 0)
        yield f"observed from {observed.get('from')} to {observed.get('until')}: {observed.get('flows')} flows"
        if isinstance(days, int) and days < WEEK:
            yield f"! days of traffic: {days}; what runs once a week or a month is not in it"
        if observed.get("left_out"):
            yield f"! {observed['left_out']} needs were too many and left out; observe a shorter time or fewer devices"
    subject = None
    for answer in review.answers:
        if answer.subject != subject:
            subject = answer.subject
            yield from ("", f"{subject[0]} {subject[1]}")
        yield from _need(answer)
    points = [*review.mistakes, *review.open_points()]
    yield ""
    yield from (f"{what}\n    try: {remedy}".replace("\n    ", "; ") for what, remedy in points[:SHOWN])
    if len(points) > SHOWN:
        yield f"and {len(points) - SHOWN:,} more"
    still_open = len(points) - len(review.mistakes)
    yield f"{len(review.answers)} needs, {len(review.mistakes)} mistakes, {still_open} open points"


def _need(answer: Answer) -> Iterator[str]:
    """Yield one need: what, for which services; then how much it opens and what it rests on."""
    to = " and ".join(f"{kind} {what}" for kind, what in answer.destination)
    mark = {"allow": "allow ", "refuse": "refuse"}.get(answer.review, "?     ")
    services = ", ".join(answer.services) or "any service"
    yield f"{answer.number:>5} {mark} {answer.told.get('verdict', ''):7} {to}: {services}"
    breadth, evidence = answer.told.get("breadth", {}), answer.told.get("evidence", {})
    if isinstance(breadth, dict) and isinstance(evidence, dict) and breadth:
        where = ", ".join(map(str, [*breadth.get("owners", ()), *breadth.get("countries", ())]))
        yield (
            f"              opens {breadth.get('opens')}; names: {breadth.get('names')}, "
            f"addresses: {breadth.get('addresses')}, {where or 'nobody known'}; flows: {evidence.get('flows')}, "
            f"bytes out: {evidence.get('bytes_out')}, devices: {evidence.get('devices')}, days: {evidence.get('days')}"
        )


def _promote(options: argparse.Namespace) -> int:
    """Write the rules, all of them or none; the exit code is 2 where the review has open points."""
    from egress_watch.rules.policy_rules import rule_files

    review = _read(options.file)
    if points := [*review.mistakes, *review.open_points()]:
        more = f" (and {len(points) - 1:,} more points, see `policy show`)" if len(points) > 1 else ""
        raise ConfigError(points[0][0] + more, where=options.file, remedy=points[0][1])
    if not review.answers:
        raise ConfigError("there is no need in it", where=options.file, remedy="see `policy observe`")
    files = list(rule_files(review, options.also))
    _may_write(Path(options.to), [name for name, _ in files], replace=options.replace)
    _check(files, options)
    for name, text in files:
        sinks.write(str(Path(options.to) / name), text.rstrip("\n").split("\n"))
    sinks.write("-", [printable(line) for line in _promoted(review, files, options)])
    return 0


def _may_write(folder: Path, names: Sequence[str], *, replace: bool) -> None:
    """Raise UsageError unless the folder is there and none of the files is somebody else's."""
    from egress_watch.rules.policy_rules import MARK

    if not folder.is_dir():
        raise UsageError("no such folder", where=str(folder), remedy="make it, and copy the shipped rules there")
    for path in (folder / name for name in names):
        if not path.exists():
            continue
        if f"  {MARK}:" not in path.read_text(encoding="utf-8", errors="replace"):
            raise UsageError("is not of `policy promote`", where=str(path), remedy="rename it")
        if not replace:
            remedy = "compare the two, then give --replace"
            raise UsageError("an earlier review is in force there", where=str(path), remedy=remedy)


def _check(files: Sequence[tuple[str, str]], options: argparse.Namespace) -> None:
    """Raise RuleError where the new rules are not sound beside the others of their folder, or miss their examples."""
    from egress_watch.library import country_sets, read_parts
    from egress_watch.library import rule_files as files_of
    from egress_watch.library.rulebook import MOST_RULES
    from egress_watch.rules import linked, parts, schema
    from egress_watch.store import holds

    own = load(options.config).own_zone
    names = {name for name, _ in files}
    others, _ = read_parts([path for path in files_of(options.to) if path.name not in names], own)
    mine = [part for name, text in files for part in parts(text, name, country_sets(own))]
    rules, broken = linked([*others, *mine])
    if len(rules) > MOST_RULES:
        remedy = "review by segment, or give --to a folder with fewer rules"
        raise ConfigError(f"{len(rules):,} rules; {MOST_RULES:,} is the limit", where=options.to, remedy=remedy)
    for error in broken:
        if error.where.partition(":")[0] in names:
            raise error
    for rule in rules:
        for example in rule.examples if rule.origin in names else ():
            if holds(rule.predicate, rule.count, example.flows, schema()) is not example.wanted:
                where = f"{rule.origin}:{example.line}"
                raise ConfigError("the rule misses its own example", where=where, remedy="report this with the review")


def _promoted(review: Review, files: Sequence[tuple[str, str]], options: argparse.Namespace) -> Iterator[str]:
    """Yield what is in force from now on, and what stays of earlier reviews."""
    names = {name for name, _ in files}
    yield from (f"{Path(options.to) / name}" for name in sorted(names))
    earlier = [path for path in sorted(Path(options.to).glob("policy-*.yml")) if path.name not in names]
    yield from (f"{path}: stays as it was, for this review does not speak of it" for path in earlier)
    allowed = sum(answer.review == "allow" for answer in review.answers)
    refused = len(review.answers) - allowed
    yield f"{allowed} needs allowed, {refused} refused; everything else is drift, level {review.level}"
    yield "They run with the next recording whose settings have this folder as rules.folder."
