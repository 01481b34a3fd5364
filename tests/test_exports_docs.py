"""docs/formats.md says what the code does: its tables are made from the mappings, or compared with them.

EGRESS_WATCH_README=write puts new tables there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from egress_watch.exports import cef, ecs, eve, ipfix, leef, ocsf, zeek
from egress_watch.exports.formats import FORMATS
from egress_watch.exports.mapping import Field
from egress_watch.exports.record import COLUMNS, EXPORTED, KEYS, KINDS
from egress_watch.exports.severity import SEVERITIES

PAGE = Path(__file__).parent.parent / "docs" / "formats.md"
MAPPED = {"ecs": ecs, "ocsf": ocsf, "cef": cef, "leef": leef, "eve": eve, "zeek": zeek}
BLOCK = "<!-- table: {} -->\n"
END = "<!-- /table -->"


def of_kinds(kinds) -> str:
    """Return which records a line of a table is for."""
    known = {frozenset(KINDS): "all", frozenset(EXPORTED): "both"}
    return known.get(frozenset(kinds)) or ", ".join(f"{kind}s" for kind in kinds)


def kinds_of(field: Field) -> list[str]:
    """Return the kinds that have the field: those it is for, as far as their records have the key."""
    return [kind for kind in KINDS if kind in field.kinds and field.ours in COLUMNS[kind]]


def table(heads, rows) -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join(['---'] * len(heads))} |"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def mapping(module) -> Iterator[str]:
    """Yield a format's table: our key, its field, and the kinds."""
    prefix = {"metadata": "`alert.metadata.", "plain": "`"}
    rows = [(field, "plain") for field in module.FIELDS]
    rows += [(field, "metadata") for field in getattr(module, "METADATA", ())]
    labels = getattr(module, "LABELS", {})
    lines = []
    for field, where in rows:
        label = f" ({labels[field.theirs]})" if field.theirs in labels else ""
        spelled = prefix[where] + field.theirs.partition(":")[0] + "`"
        lines.append((f"`{field.ours}`", spelled + label, of_kinds(kinds_of(field))))
    yield from table(("ours", "field", "of"), lines)
    yield from left_out({*(field.ours for field, _ in rows), *getattr(module, "ALSO", ())}, module)


def left_out(carried, module) -> Iterator[str]:
    """Yield what a format does not carry."""
    holds = next(known.kinds for known in FORMATS if known.name == module.__name__.rpartition(".")[2])
    for kind in holds:
        rest = [f"`{name}`" for name in COLUMNS[kind] if name not in carried]
        yield ""
        yield f"Not carried of {kind}s: {', '.join(rest)}."


def fixed(module) -> Iterator[str]:
    """Yield the values that are always the same."""
    paths = {path: None for kind in KINDS for path in module.FIXED[kind]}
    said = {path: [module.FIXED[kind].get(path) for kind in KINDS] for path in paths}
    cells = {path: ["" if value is None else f"`{value}`" for value in values] for path, values in said.items()}
    rows = [(f"`{path}`", *shown) for path, shown in cells.items()]
    yield from table(("field", *(f"{kind}s" for kind in KINDS)), rows)


def severities() -> Iterator[str]:
    """Yield the scales of every receiver."""
    heads = ("level", "ours, CEF, LEEF", "OCSF `severity_id`", "OCSF `risk_level_id`", "ECS", "EVE", "syslog")
    yield from table(heads, [(level, *map(str, scales)) for level, scales in SEVERITIES.items()])


def elements() -> Iterator[str]:
    """Yield the elements of the IPFIX templates."""
    seen = {element.theirs: element for elements in ipfix.TEMPLATES.values() for element in elements}
    enterprise = {one.theirs: f" (enterprise {one.enterprise})" if one.enterprise else "" for one in seen.values()}
    rows = [(f"`{one.ours}`", f"`{name}`", f"{one.number}{enterprise[name]}") for name, one in seen.items()]
    yield from table(("ours", "element", "number"), rows)
    yield from left_out({one.ours for one in seen.values()}, ipfix)


def _lined(known) -> str:
    return "yes" if known.line else "no"


def formats() -> Iterator[str]:
    """Yield what can be asked for."""
    rows = [
        (f"`{known.name}`", known.about, of_kinds(known.kinds), _lined(known), "bytes" if known.binary else "text")
        for known in FORMATS
    ]
    yield from table(("`--format`", "what", "holds", "one line a record", "is"), rows)


TABLES = {
    "formats": formats,
    "severity": severities,
    "ipfix": elements,
    **{name: partial(mapping, module) for name, module in MAPPED.items()},
    **{f"{name} fixed": partial(fixed, module) for name, module in MAPPED.items() if hasattr(module, "FIXED")},
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_in_the_document_is_the_one_in_the_code(name):
    """Every mapping, its fixed values, what it leaves out, and the scales of severity stand as the code has them."""
    text = PAGE.read_text(encoding="utf-8")
    start = BLOCK.format(name)
    assert text.count(start) == 1
    before, after = text.split(start)
    real = "".join(f"{line}\n" for line in TABLES[name]())
    if os.environ.get("EGRESS_WATCH_README") == "write":
        PAGE.write_text(before + start + real + END + after.partition(END)[2], encoding="utf-8")
        return
    assert after.partition(END)[0] == real


def test_the_document_lists_every_key_of_the_record():
    """Each key stands there once, in order, with its form and its kinds."""
    of = "all|both|alerts|flows|heartbeats"
    row = re.compile(rf"^\| `(\w+)` \| (text|number|time|list) \| ({of}) \| \S", re.MULTILINE)
    found = row.findall(PAGE.read_text("utf-8"))
    assert found == [(key.name, key.form, of_kinds(key.kinds)) for key in KEYS]


def test_the_document_has_no_table_of_something_else():
    """A table whose format is gone is gone too."""
    assert set(re.findall(r"<!-- table: (.*?) -->", PAGE.read_text("utf-8"))) == set(TABLES)
