"""An inventory written in TOML: tables of sites, segments, networks, VLANs, MAC patterns and devices.

In: the text of a file. Out: entries, and every mistake with its line. Never: a key that is ignored in silence.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple
from unicodedata import category

from egress_watch.inventory import values
from egress_watch.inventory.entries import (
    CLASSES,
    DEVICE,
    KINDS,
    MAC,
    NETWORK,
    SAID,
    SEGMENT,
    SITE,
    VLAN,
    Entry,
    Mistake,
)

MOST_ENTRIES = 200_000
UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Categories of characters that have no place in a line of text."""
EXAMPLE = 'write [[device]], and below it name = "camera 11" and macs = ["44:19:b6:0b:6e:11"], for example'

_KEYS = {
    SITE: {"name"}, SEGMENT: {"name", "networks", "vlans"}, NETWORK: {"prefix"}, VLAN: {"id", "name"},
    MAC: {"pattern"}, DEVICE: {"name", "macs", "addresses", "router"},
}  # fmt: skip
"""The keys of each kind beside SAID."""
_NEEDS = {SITE: "name", SEGMENT: "name", NETWORK: "prefix", VLAN: "id", MAC: "pattern", DEVICE: "name"}
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*[\"']?(\w+)[\"']?[ \t]*\]\]", re.MULTILINE)
_AT_LINE = re.compile(r"at line (\d+)")


class _Table(NamedTuple):
    kind: str
    row: Mapping[str, Any]
    line: int
    lines: Mapping[str, int]
    """The line of each key, where it could be found."""

    def wrong(self, key: str, what: str, remedy: str) -> Mistake:
        return Mistake(self.lines.get(key, self.line), f"{self.kind}: {what}", remedy)


def read(text: str) -> tuple[list[Entry], list[Mistake]]:
    """Return the entries of a document and what is wrong with it."""
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        found = _AT_LINE.search(str(error))
        line = int(found[1]) if found else text.count("\n") + 1 if "at end of document" in str(error) else 0
        what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        return [], [Mistake(line, f"no TOML: {what}", EXAMPLE)]
    mistakes = [_unknown_table(text, key) for key in tables if key not in KINDS]
    entries: list[Entry] = []
    for table in _tables(tables, text, mistakes):
        wrong = list(_mistakes(table))
        mistakes += wrong
        if not wrong:
            entries.append(_entry(table, mistakes))
    return entries, mistakes


def _unknown_table(text: str, key: str) -> Mistake:
    line = next((text.count("\n", 0, m.start()) + 1 for m in _HEADER.finditer(text) if m[1] == key), 0)
    return Mistake(line, f"unknown table {key!r}", _like(key, KINDS))


def _like(word: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(word[:64], known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


def _tables(tables: Mapping[str, Any], text: str, mistakes: list[Mistake]) -> Iterator[_Table]:
    """Yield every table with its line; a parser gives none, so headers are counted."""
    lines = text.split("\n")
    starts: dict[str, list[int]] = {}
    for match in _HEADER.finditer(text):
        starts.setdefault(match[1], []).append(text.count("\n", 0, match.start()) + 1)
    for kind in KINDS:
        rows = tables.get(kind, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            mistakes.append(Mistake(0, f"{kind} must be a list of tables", f"write [[{kind}]]"))
            continue
        known = starts.get(kind, [])
        for number, row in enumerate(rows[:MOST_ENTRIES]):
            line = known[number] if len(known) == len(rows) else 0
            yield _Table(kind, row, line, _key_lines(lines, line) if line else {})


def _key_lines(lines: list[str], start: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, line in enumerate(lines[start:], start + 1):
        if line.lstrip().startswith("["):
            break
        found.setdefault(line.partition("=")[0].strip(" \t\"'"), number)
    return found


def _mistakes(table: _Table) -> Iterator[Mistake]:
    """Yield what is wrong with the keys and types of a table."""
    known = tuple(sorted(_KEYS[table.kind])) + SAID
    for key, value in table.row.items():
        if key not in known or (table.kind, key) in ((SITE, "site"), (SITE, "segment"), (SEGMENT, "segment")):
            yield table.wrong(key, f"unknown key {key!r}", _like(key, known))
        elif wanted := _wrong_type(key, value):
            yield table.wrong(key, f"{key} must be {wanted}, is {value!r}", f"write {key} as {wanted}")
        elif any(category(char) in UNSAFE for char in str(value)):
            yield table.wrong(key, f"{key} holds a control character, is {value!r}", "take it out")
    need = _NEEDS[table.kind]
    if not str(table.row.get(need, "")).strip():
        yield table.wrong(need, f"no {need}", f"say {need} = ...")
    if table.kind == DEVICE and not table.row.get("macs") and not table.row.get("addresses"):
        yield table.wrong("name", "neither macs nor addresses", 'say macs = ["44:19:b6:0b:6e:11"], or addresses')


def _wrong_type(key: str, value: object) -> str:
    if key in ("networks", "macs", "addresses"):
        return "" if isinstance(value, list) and all(isinstance(one, str) for one in value) else "a list of texts"
    if key == "vlans":
        return "" if isinstance(value, list) and all(type(one) is int for one in value) else "a list of numbers"
    if key in ("id", "router"):
        wanted = int if key == "id" else bool
        return "" if type(value) is wanted else ("a number" if key == "id" else "true or false")
    return "" if isinstance(value, str) else "a text"


def _entry(table: _Table, mistakes: list[Mistake]) -> Entry:
    """Return the entry of a table of sound types; values that are none are noted and left out."""
    row = table.row

    def parsed(key: str, parse: Callable[[str], Any]) -> tuple[Any, ...]:
        given, found = row.get(key, []), []
        for one in given if isinstance(given, list) else [given]:
            try:
                found.append(parse(str(one)))
            except ValueError as error:
                mistakes.append(table.wrong(key, f"{key}: {error}", "mend it"))
        return tuple(found)

    networks = parsed("networks", values.prefix) + parsed("prefix", values.prefix) + parsed("addresses", values.address)
    said = {key: row[key].strip() for key in SAID if row.get(key, "").strip()}
    if "class" in said:
        said["class"] = values.segment_class(said["class"]) or _no_class(table, mistakes)
    return Entry(
        table.kind, str(row.get("name", "")).strip(), table.line, said, networks=networks,
        vlans=parsed("vlans", values.vlan) + parsed("id", values.vlan),
        macs=parsed("macs", values.mac) + parsed("pattern", values.pattern), router=bool(row.get("router", False)),
    )  # fmt: skip


def _no_class(table: _Table, mistakes: list[Mistake]) -> str:
    mistakes.append(
        table.wrong("class", f"unknown class {table.row['class']!r}", _like(table.row["class"], tuple(CLASSES)))
    )
    return ""
