"""Judge the stored flows again with today's data, and show which answers change.

Each recording is judged under its own zone as it is today, with the settings of --config: give those it was recorded
with. Nothing is written without --write. With it the flows get the new answers, and what was said before is kept:
`flows --why` tells it. Alerts stay as they are: they are what was said then. Under another zone (--zone) the difference
is only shown.

In: a database and settings. Out: what changes, and with --write new answers. Never: a write that was not asked for.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from egress_watch import __version__, sinks
from egress_watch.cli.judges import dated, say_if_old, say_notices, zone_of
from egress_watch.cli.options import add_zone, row_count
from egress_watch.cli.privacy import add_pseudonyms, covering
from egress_watch.config import Config, load
from egress_watch.exports.plain import printable
from egress_watch.exports.table import encode

if TYPE_CHECKING:  # at run time they would load the libraries that only a judgement needs
    from egress_watch.exports.pseudonyms import Pseudonyms
    from egress_watch.library import DataFile
    from egress_watch.store import Difference, Law

HELP = "judge stored flows again with today's data"
EXAMPLES = (
    "egress-watch rejudge egress.db",
    "egress-watch rejudge egress.db --all --limit 0",
    "egress-watch rejudge egress.db --write",
    "egress-watch rejudge egress.db --zone eu27 --json",
)
SHOWN = 20
_WORDS = {
    "verdict": "another verdict", "country": "another country", "owner": "other hands", "status": "other certainty",
    "words": "other words", "data": "the same answer, by other data",
}  # fmt: skip


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("db", metavar="DB", help="a database that replay wrote")
    command.add_argument("--write", action="store_true", help="store the new answers; the earlier ones are kept")
    command.add_argument("--all", action="store_true", help="list also what changed without changing the verdict")
    limit = f"list at most so many destinations; 0 is all; default: {SHOWN}, and all with --json"
    command.add_argument("--limit", type=row_count, default=None, metavar="N", help=limit)
    add_zone(command, "each recording's own")
    command.add_argument("--config", default="", metavar="FILE", help="a TOML file of settings")
    add_pseudonyms(command)
    command.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Judge, write if asked, and print the difference."""
    from egress_watch.cli.judges import described
    from egress_watch.library import data_files

    config = load(options.config)
    covering(options, config)  # a key that is none is told before anything is judged
    files = data_files(config)
    data = described(files)
    limit = options.limit if options.limit is not None else 0 if options.json else SHOWN
    say_notices()
    with _judged(options, _law(config, files, options.zone, options.as_of), data) as found:
        covers = covering(options, config, found.is_device)
        write = _json if options.json else _lines
        sinks.write("-", write(found, options, limit, covers))
    say_if_old(data)
    return 0


def _judged(
    options: argparse.Namespace, law: Callable[[str], Law], data: Sequence[Mapping[str, str]]
) -> AbstractContextManager[Difference]:
    from egress_watch.store import compare, rewrite

    return rewrite(options.db, law, data, __version__) if options.write else compare(options.db, law, data)


def _law(config: Config, files: Sequence[DataFile], name: str, as_of: str) -> Callable[[str], Law]:
    """Return what judges recordings of a zone: under that zone, or all under the one that is named."""
    from egress_watch.library import adequate, atlas, zone
    from egress_watch.store import Law

    config = replace(config, as_of=as_of or config.as_of)
    zone(name or config.zone, config.as_of, config.own_zone)  # a mistake is told before anything is opened

    def law(own: str) -> Law:
        under = zone_of(name or own, config)
        settings = replace(config, zone=under.id)
        return Law(under.id, under.as_of, atlas(settings, files), adequate(settings))

    return law


def _destinations(
    found: Difference, options: argparse.Namespace, limit: int, covers: Pseudonyms | None
) -> Iterator[dict[str, Any]]:  # fmt: skip
    rows = found.destinations(limit, every=options.all)
    return covers.rows(rows) if covers else rows


def _json(
    found: Difference, options: argparse.Namespace, limit: int, covers: Pseudonyms | None
) -> Iterator[str]:  # fmt: skip
    """Yield one object over several lines, so that a long list is never held whole."""
    head = {
        "db": options.db, "written": options.write, "flows": _flows(found), "recordings": found.laws(),
        "data": found.data, "matrix": found.matrix(), "changes": found.changes(),
    }  # fmt: skip
    yield json.dumps(head)[:-1] + ', "destinations": ['
    comma = " "
    for row in _destinations(found, options, limit, covers):
        yield comma + json.dumps(row)
        comma = ","
    yield "]}"


def _flows(found: Difference) -> int:
    return sum(row["flows"] for row in found.matrix())


def _lines(
    found: Difference, options: argparse.Namespace, limit: int, covers: Pseudonyms | None
) -> Iterator[str]:  # fmt: skip
    changes = found.changes()
    yield printable(f"{options.db}: {_flows(found):,} flows judged again")
    for row in found.laws():
        yield from _law_lines(row, found.data)
    yield ""
    yield from encode(_matrix(found), ("then", *(f"now {verdict}" for verdict in _verdicts())))
    yield ""
    for kind, words in _WORDS.items():
        yield f"{words}: {changes[kind]['destinations']:,} destinations, {changes[kind]['flows']:,} flows"
    yield ""
    for row in _destinations(found, options, limit, covers):
        yield from _destination(row)
    kinds = [kind for kind in _WORDS if kind != "data"] if options.all else ["verdict"]
    more = sum(changes[kind]["destinations"] for kind in kinds) - limit
    if limit and more > 0:
        yield f"and {more:,} more destinations: --limit 0 lists all"
    yield _written(found, options)


def _law_lines(row: Mapping[str, Any], data: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    numbers = ", ".join(map(str, row["recordings"][:5])) + (" ..." if len(row["recordings"]) > 5 else "")
    yield (
        f"  recording {numbers}" if len(row["recordings"]) == 1 else f"  {len(row['recordings'])} recordings: {numbers}"
    )
    yield printable(f"    then: {row['zone']} as of {row['zone_as_of']}; {dated(row['data'])}")
    yield printable(f"    now:  {row['zone_now']} as of {row['zone_now_as_of']}; {dated(data)}")
    if other := _other(row["data"], data):
        yield printable(f"    not the same: {', '.join(other)}")


def _other(then: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the data files that are others now, or there no more: two of one date may differ."""
    rows = [{row.get("name", ""): row for row in data} for data in (then, now)]
    return [name for name in dict.fromkeys((*rows[0], *rows[1])) if rows[0].get(name) != rows[1].get(name)]


def _matrix(found: Difference) -> Iterator[dict[str, str]]:
    """Yield a row for each verdict then, with flows and bytes out by the verdict now."""
    from egress_watch.cli.report import size

    cells = {
        (row["before"], row["after"]): f"{row['flows']:,} ({size(row['bytes_out'])} out)" for row in found.matrix()
    }
    for then in dict.fromkeys((*_verdicts(), *(before for before, _ in cells))):
        yield {"then": then, **{f"now {now}": cells.get((then, now), "-") for now in _verdicts()}}


def _verdicts() -> tuple[str, ...]:
    from egress_watch.model import VERDICTS

    return VERDICTS


def _destination(row: Mapping[str, Any]) -> Iterator[str]:
    from egress_watch.cli.report import size

    called = f" as {row['name']}" if row["name"] else ""
    sums = f"{row['flows']:,} flows, {size(row['bytes_out'])} out, {size(row['bytes_in'])} in"
    yield printable(f"{row['remote_ip']}{called}: {_WORDS[row['changed']]}; {sums}")
    for label in ("before", "after"):
        yield printable(f"  {label:<6} {_told(row[label])}")
    yield ""


def _told(answer: Mapping[str, Any]) -> str:
    """Return an answer in one line: the verdict, place and hands in short, and why."""
    from egress_watch.model import GLYPHS

    where = f"{' or '.join(answer['countries'])} {answer['location_status']}".strip()
    hands = f"{answer['owner'] or 'not listed'}, network {answer['provider'] or 'not listed'}"
    return f"{GLYPHS.get(answer['verdict'], '?')} {answer['verdict']} ({where}; {hands}): {answer['why']}"


def _written(found: Difference, options: argparse.Namespace) -> str:
    if any(row["zone"] != row["zone_now"] for row in found.laws()):
        return "nothing is written: a recording keeps its zone, so under another one the difference is only shown"
    if not found.differs():
        return "nothing to write: every flow has the answer of today's data"
    if options.write:
        return "written; what was said before is kept: `egress-watch flows DB --why` tells it"
    return "nothing is written: --write stores the new answers and keeps the earlier ones"
