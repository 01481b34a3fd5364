"""The user's own words on prefixes: country, provider, owner and note, from the file that the settings name.

In: a TOML file, and the groups there are. Out: `Override` rows by prefix. Never: an entry that is ignored in silence,
or one that takes the place of another.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network
from itertools import pairwise
from typing import Any, NamedTuple
from unicodedata import category

from egress_watch.config import Config
from egress_watch.countries import KNOWN, meant
from egress_watch.errors import ConfigError
from egress_watch.library.folders import table
from egress_watch.library.tables import groups
from egress_watch.library.texts import user_text
from egress_watch.places import Override
from egress_watch.places.carried import MECHANISMS
from egress_watch.places.dossiers import Dossier, called, near
from egress_watch.places.owners import Group
from egress_watch.places.prefixes import span

MOST_BYTES = 4 << 20
KEYS = ("prefix", "country", "provider", "provider_seat", "owner", "owner_seat", "note")
IPV4_IN_IPV6 = IPv6Network("::ffff:0:0/96")
REMEDY = 'write [[override]], and below it prefix = "203.0.113.0/24" and country = "NL", for example'
UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Categories of characters that have no place in a line of text: controls, marks of direction, what is unassigned."""

_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*[\"']?override[\"']?[ \t]*\]\]", re.MULTILINE)

Network = IPv4Network | IPv6Network


class _Entry(NamedTuple):
    """One table of the file, and how to name it in a complaint."""

    row: Mapping[str, str]
    title: str
    where: str

    def wrong(self, what: str, remedy: str) -> ConfigError:
        return ConfigError(f"{self.title}: {what}", where=self.where, remedy=remedy)


def overrides(config: Config) -> list[tuple[str, Override]]:
    """Return the overrides of the configured file by prefix, none where there is no file.

    Raises ConfigError with file, line and remedy for what cannot be meant.
    """
    path = config.data.overrides
    return read_overrides(path, groups(), table("laws")["seats"]) if path else []


def read_overrides(
    path: str, known: Sequence[Dossier], laws: Mapping[str, Sequence[str]]
) -> list[tuple[str, Override]]:
    """Return the overrides of a file by prefix; ``known`` are the listed groups, ``laws`` those of each seat."""
    text = user_text(path, MOST_BYTES, "mend overrides in [data]", "a file of overrides")
    entries = list(_entries(_tables(text, path), _lines(text), path))
    found = [(_prefix(entry), _override(entry, known, laws), entry) for entry in entries]
    _apart([(network, entry) for network, _, entry in found])
    return [(str(network), override) for network, override, _ in found]


def _tables(text: str, path: str) -> list[Any]:
    """Return the tables called ``override``, and refuse anything else."""
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"no TOML: {what}", where=path, remedy=REMEDY) from error
    if other := next((key for key in tables if key != "override"), ""):
        raise ConfigError(f"unknown table {other!r}", where=path, remedy=REMEDY)
    rows = tables.get("override", [])
    if not isinstance(rows, list):
        raise ConfigError("override must be a list of tables", where=path, remedy=REMEDY)
    return rows


def _lines(text: str) -> list[int]:
    """Return the lines on which entries begin, counted from 1."""
    return [text.count("\n", 0, match.start()) + 1 for match in _HEADER.finditer(text)]


def _entries(rows: Sequence[Any], lines: Sequence[int], path: str) -> Iterator[_Entry]:
    """Yield the entries with their texts; ``lines`` count only where there is one for each, as a parser gives none."""
    known = lines if len(lines) == len(rows) else ()
    for number, row in enumerate(rows, 1):
        where = f"{path}:{known[number - 1]}" if known else path
        bare = _Entry({}, f"override {number}", where)
        if not isinstance(row, dict):
            raise bare.wrong("must be a table", REMEDY)
        texts = {key: _word(bare, key, value) for key, value in row.items()}
        yield bare._replace(row=texts, title=" ".join(filter(None, (bare.title, texts.get("prefix", "")))))


def _word(entry: _Entry, key: str, value: object) -> str:
    if key not in KEYS:
        close = get_close_matches(key, KEYS, n=1, cutoff=0.5)
        raise entry.wrong(f"unknown key {key!r}", f"did you mean {close[0]}?" if close else f"known: {', '.join(KEYS)}")
    if not isinstance(value, str):
        raise entry.wrong(f"{key} must be text, is {value!r}", "write it between quotes")
    if any(category(char) in UNSAFE for char in value):
        raise entry.wrong(f"{key} holds a control character, is {value!r}", "take it out")
    return value.strip()


def _prefix(entry: _Entry) -> Network:
    text = entry.row.get("prefix", "")
    if not text:
        raise entry.wrong("no prefix", 'say which addresses it is about, such as prefix = "203.0.113.0/24"')
    try:
        network, first = ip_network(text, strict=False), ip_interface(text).ip
    except ValueError as error:
        raise entry.wrong("no prefix of IPv4 or IPv6", 'write it as "203.0.113.0/24" or "2001:db8::/32"') from error
    if "/" not in text:
        raise entry.wrong("a prefix without its length", f"write {network} for this one address")
    if first != network.network_address:
        raise entry.wrong("has host bits set", f"write {network}, or all bits for one address")
    _reached(entry, network)
    return network


def _reached(entry: _Entry, network: Network) -> None:
    """Raise ConfigError for a prefix of IPv6 that means more or less than its addresses."""
    if isinstance(network, IPv4Network):
        return
    if IPV4_IN_IPV6.subnet_of(network):
        raise entry.wrong("holds all of IPv4 as well", "write 2000::/3 for the global addresses of IPv6")
    for mechanism in MECHANISMS[1:]:
        if network.subnet_of(IPv6Network(mechanism.prefix)):
            what = f"lies in {mechanism.name}, where the IPv4 address inside is what counts"
            raise entry.wrong(what, "name the prefix of IPv4")


def _override(entry: _Entry, known: Sequence[Dossier], laws: Mapping[str, Sequence[str]]) -> Override:
    row = entry.row
    said = Override(
        row["prefix"], _country(entry, "country"), provider=_group(entry, "provider", known, laws),
        owner=_group(entry, "owner", known, laws), note=row.get("note", ""),
    )  # fmt: skip
    if not any(said[1:]):
        raise entry.wrong("nothing is said of it", "give country, provider, owner or note")
    return said


def _country(entry: _Entry, key: str) -> str:
    code = entry.row.get(key, "")
    if code and code not in KNOWN:
        raise entry.wrong(f"unknown country {code!r} as {key}", meant(code))
    return code


def _group(entry: _Entry, key: str, known: Sequence[Dossier], laws: Mapping[str, Sequence[str]]) -> Group | None:
    """Return a group of ours by id, name or alias, or one of the user's own, with the laws of its seat."""
    name, seat = entry.row.get(key, ""), _country(entry, f"{key}_seat")
    if not name:
        if seat:
            raise entry.wrong(f"{key}_seat without {key}", f"say whose seat it is with {key}")
        return None
    for group in (dossier.group for dossier in called(known, name)):
        if seat not in ("", group.seat):
            raise entry.wrong(f"{key} {group.name} is listed with seat {group.seat}", f"leave {key}_seat out")
        return group
    if not seat:
        like = f"did you mean {', '.join(close)}? else " if (close := near(known, name)) else ""
        raise entry.wrong(f"{key} {name!r} is no listed group", f'{like}say where it is run from: {key}_seat = "NL"')
    return Group(f"override:{name}", name, seat, tuple(laws.get(seat, ())), (), "your overrides", "")


def _apart(entries: Sequence[tuple[Network, _Entry]]) -> None:
    """Raise ConfigError where two entries speak of one address: neither wins by its place in the file."""
    order = sorted(entries, key=lambda pair: (span(str(pair[0]))[0], -span(str(pair[0]))[1]))
    for (first, one), (second, other) in pairwise(order):
        if span(str(second))[0] < span(str(first))[1]:
            early, late = sorted((one, other), key=lambda entry: int(entry.title.split()[1]))
            said = "is the same prefix as" if first == second else "overlaps"
            remedy = "keep one of them" if first == second else "leave one out, or write the rest of the wider prefix"
            raise late.wrong(f"{said} {early.title}", remedy)
