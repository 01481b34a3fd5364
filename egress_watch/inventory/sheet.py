"""An inventory as a CSV sheet: our own columns, or NetBox's exports of devices, prefixes and IP addresses as they come.

In: the text of a file. Out: entries, mistakes with their lines, and the columns that were not used. Never: a cell that
is taken for something its column does not say.

A row with a prefix names a network, one with a MAC or an address a device, one with a VLAN alone a VLAN. NetBox writes
the titles of its tables into the first line (``IP Address``, ``Tenant``, ``Prefix``), an address with its mask, a VLAN
as ``name (110)``, and a dash where there is nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import StringIO
from typing import Any, NamedTuple
from unicodedata import category

from egress_watch.inventory import values
from egress_watch.inventory.document import MOST_ENTRIES, UNSAFE
from egress_watch.inventory.entries import DEVICE, MAC, NETWORK, VLAN, Entry, Mistake

COLUMNS = {
    "name": "name", "device": "name", "device/vm": "name", "dns name": "name",
    "mac": "macs", "macs": "macs", "mac address": "macs", "mac addresses": "macs", "mac pattern": "pattern",
    "address": "addresses", "addresses": "addresses", "ip address": "addresses", "ip addresses": "addresses",
    "ipv4 address": "addresses", "ipv6 address": "addresses", "oob ip": "addresses",
    "prefix": "prefix", "network": "prefix", "vlan": "vlan", "vlan id": "vlan", "vid": "vlan",
    "site": "site", "scope": "site", "segment": "segment", "class": "class", "role": "role",
    "supplier": "supplier", "manufacturer": "supplier", "zone": "zone", "contact": "contact",
    "owner contact": "contact", "tenant": "contact", "notes": "notes", "description": "notes", "comments": "notes",
    "router": "router",
}  # fmt: skip
"""Title of a column in any case: what it says. Of several columns that say one thing the first that is filled counts,
but for addresses, which add up."""
EMPTY = ("", "—", "-", "–")
YES = ("true", "yes", "1", "✔", "x")


class Sheet(NamedTuple):
    """What a CSV file says."""

    entries: list[Entry]
    mistakes: list[Mistake]
    unused: list[str]
    """Titles of columns that say nothing to us."""
    passed_over: int
    """Rows without a network, VLAN, MAC or address."""


def read(text: str) -> Sheet:
    """Return the entries of a sheet, with commas or semicolons between its cells, and what is wrong with it."""
    head = text.split("\n", 1)[0]
    reader = csv.reader(StringIO(text, newline=""), delimiter=";" if head.count(";") > head.count(",") else ",")
    sheet = Sheet([], [], [], 0)
    try:
        titles = [title.strip().lower() for title in next(reader, [])]
        if not {"prefix", "macs", "addresses", "vlan", "pattern"} & {COLUMNS.get(title) for title in titles}:
            remedy = "begin with a line of titles, such as name,mac,address,segment"
            return sheet._replace(mistakes=[Mistake(1, "no column of networks, VLANs, MACs or addresses", remedy)])
        passed = _fill(sheet, titles, reader)
    except csv.Error as error:
        return sheet._replace(mistakes=[*sheet.mistakes, Mistake(reader.line_num, f"no CSV: {error}", "mend the line")])
    return sheet._replace(unused=[title for title in titles if title not in COLUMNS], passed_over=passed)


def _fill(sheet: Sheet, titles: list[str], rows: Any) -> int:
    """Add the entries and mistakes of all rows; return how many said nothing of a device or network."""
    passed = 0
    for cells in rows:
        line = rows.line_num
        if len(cells) > len(titles) or len(sheet.entries) >= MOST_ENTRIES:
            sheet.mistakes.append(Mistake(line, f"{len(cells)} cells under {len(titles)} titles", "mend the line"))
            continue
        row = _row(titles, cells)
        found = list(_entries(row, line, sheet.mistakes, of_addresses="assigned" in titles))
        sheet.entries.extend(found)
        passed += not found
    return passed


def _row(titles: Iterable[str], cells: Iterable[str]) -> dict[str, str]:
    """Return what a row says by our own keys."""
    row: dict[str, str] = {}
    for title, cell in zip(titles, cells, strict=False):
        key, value = COLUMNS.get(title, ""), cell.strip()
        if key == "addresses" and value not in EMPTY:
            row[key] = f"{row[key]} {value}" if key in row else value
        elif key and value not in EMPTY:
            row.setdefault(key, value)
    return row


def _entries(
    row: Mapping[str, str], line: int, mistakes: list[Mistake], *, of_addresses: bool
) -> Iterator[Entry]:  # fmt: skip
    """Yield what a row names, with the mistakes in it noted."""
    if any(category(char) in UNSAFE for value in row.values() for char in value):
        mistakes.append(Mistake(line, "a cell holds a control character", "take it out"))
        return

    def parsed(key: str, parse: Callable[[str], Any]) -> tuple[Any, ...]:
        return tuple(_parsed(row.get(key, ""), key, parse, line, mistakes))

    said, name, vlans = _said(row, of_addresses=of_addresses), row.get("name", ""), parsed("vlan", values.vlan)
    networks, addresses = parsed("prefix", values.prefix), parsed("addresses", values.address)
    macs, patterns = parsed("macs", values.mac), parsed("pattern", values.pattern)
    if networks:
        yield Entry(NETWORK, name, line, _of_network(row, said), networks=networks, vlans=vlans)
    elif addresses or macs:
        router = row.get("router", "").lower() in YES
        yield Entry(DEVICE, name or _unnamed(row), line, said, networks=addresses, macs=macs, router=router)
    elif patterns:
        yield Entry(MAC, name, line, said, macs=patterns)
    elif vlans:
        yield Entry(VLAN, name, line, said, vlans=vlans)


def _parsed(
    cell: str, key: str, parse: Callable[[str], Any], line: int, mistakes: list[Mistake]
) -> Iterator[Any]:  # fmt: skip
    """Yield the values of a cell, several with blanks or commas between them; a VLAN may have blanks in its name."""
    for one in filter(None, [cell] if key == "vlan" else cell.replace(",", " ").split()):
        try:
            yield parse(one)
        except ValueError as error:
            mistakes.append(Mistake(line, f"{key}: {error}", "mend the cell"))


def _unnamed(row: Mapping[str, str]) -> str:
    """Return what to call a device that has no name: its first address or MAC."""
    return (row.get("addresses") or row.get("macs", "")).split()[0]


def _said(row: Mapping[str, str], *, of_addresses: bool) -> dict[str, str]:
    """Return what can be inherited; the role of an IP address in NetBox (VIP, anycast) is none of its device."""
    keys = ("site", "segment", "class", "role", "supplier", "zone", "contact", "notes")
    said = {key: row[key] for key in keys if key in row and not (of_addresses and key == "role")}
    if "class" in said:
        said["class"] = values.segment_class(said["class"]) or said["class"]
    return said


def _of_network(row: Mapping[str, str], said: dict[str, str]) -> dict[str, str]:
    """Return the same for a network: NetBox's role of a prefix, else the name of its VLAN, is our segment."""
    if "segment" in said:
        return said
    vlan_name = row.get("vlan", "").rpartition("(")[0].strip()
    segment = said.pop("role", "") or vlan_name
    return {**said, "segment": segment} if segment else said
