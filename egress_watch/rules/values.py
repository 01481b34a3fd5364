"""The strict reading of one value: that it fits its field, can match at all, and is what was meant.

In: a field, its modifiers and a scalar. Out: findings. Never: a value let through that could match no flow.
"""

from __future__ import annotations

import re
from importlib import import_module
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from egress_watch.model import PROTOCOLS
from egress_watch.rules.document import Finding, Node, at, shown
from egress_watch.rules.fields import BY_NAME, Field, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

LIMIT_VALUE = 1_000
"""Characters in one value; SQLite itself stops at patterns of 50,000 bytes."""
LIMIT_WILDCARDS = 8

_PARTS = ("contains", "startswith", "endswith", "all", "re", "i", "m", "s")
_EXACT = ("neq", "exists", "expand", "fieldref", "cased")
MODIFIERS: Mapping[str, tuple[str, ...]] = {
    "number": ("gt", "gte", "lt", "lte", "neq", "exists", "fieldref"),
    "flag": ("neq", "exists"),
    "text": (*_PARTS, *_EXACT),
    "address": (*_PARTS, *_EXACT, "cidr"),
    "mac": (*_PARTS, *_EXACT),
    "country": _EXACT,
    "protocol": _EXACT,
    "closed": _EXACT,
    "list": (*_PARTS, "neq", "exists", "expand"),
}
"""The Sigma modifiers that make sense, by kind of field (sigma-specification, appendix "Modifiers")."""

NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
SET_NAME = re.compile(r"%([A-Za-z0-9_-]+)%")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
MISNAMED = {"UK": "GB", "EL": "GR"}
"""Codes in daily use that ISO 3166-1 does not give to a country, and the ones it does."""


def text_trap(node: Node) -> Finding | None:
    """Return the finding where YAML reads an unquoted word as something other than text, or as nothing."""
    if node.kind == "bool":
        return at(node, f"{node.text} without quotes is a boolean in YAML, not text", f"quote it: '{node.text}'")
    if node.kind in ("int", "float", "timestamp"):
        what = f"{shown(node.text)} without quotes is of type {node.kind} in YAML, not text"
        return at(node, what, f"quote it: '{node.text}'")
    if not node.text.strip() or node.kind == "null":
        return at(node, "there is no text here", "write some, or leave the key out")
    return None


def terms(modifiers: Sequence[str], node: Node, sets: Mapping[str, Sequence[str]]) -> int:
    """Return how many comparisons a value becomes: a set one a member, a network one a pattern."""
    if "expand" in modifiers:
        return len(sets.get(node.text.strip("%"), ()))
    if "cidr" in modifiers and "/" in node.text:
        prefix = node.text.rpartition("/")[2]
        # An IPv4 pattern ends at a byte; an IPv6 one has a few spellings.
        return 4 if ":" in node.text else 2 ** (-int(prefix) % 8) if re.fullmatch("[0-9]{1,2}", prefix) else 1
    return 1


def value_findings(  # one line a kind of value
    field: Field, modifiers: Sequence[str], node: Node, sets: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """Yield everything wrong with one value of one item."""
    if "exists" in modifiers:
        if node.kind != "bool" or len(modifiers) > 1:
            yield at(node, "`exists` stands alone and takes true or false", f"write `{field.name}|exists: true`")
    elif node.kind == "null":
        yield from _null(modifiers, node)
    elif "expand" in modifiers:
        yield from _set(modifiers, node, sets)
    elif "fieldref" in modifiers:
        yield from _reference(field, node)
    elif field.kind == "number":
        yield from _number(field, node)
    elif field.kind == "flag":
        yield from _flag(field, node)
    else:
        yield from _text(field, modifiers, node)


def _null(modifiers: Sequence[str], node: Node) -> Iterator[Finding]:
    """Check that NULL is meant: a forgotten value looks the same to YAML."""
    if not node.text:
        yield at(node, "there is no value here", "write one, or `null` for `not known`")
    elif set(modifiers) - {"neq"}:
        yield at(node, "null takes no modifier", "leave the modifier out")


def _set(modifiers: Sequence[str], node: Node, sets: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Check that a value such as ``%eea%`` names a set that has members."""
    match = SET_NAME.fullmatch(node.text)
    if "re" in modifiers:
        yield at(node, "`expand` and `re` do not go together", "use `contains` or `endswith` with the set")
    elif not match:
        yield at(node, f"{shown(node.text)} names no set", "write it between percent signs, such as '%eea%'")
    elif match[1] not in sets:
        meant = nearest(match[1], sets)
        remedy = f"did you mean '%{meant}%'?" if meant else f"known sets: {', '.join(sorted(sets)) or 'none'}"
        yield at(node, f"unknown set {shown(node.text)}", remedy)
    elif not sets[match[1]]:
        yield at(node, f"the set {shown(node.text)} is empty", "it would match nothing: fill it or leave the item out")


def _reference(field: Field, node: Node) -> Iterator[Finding]:
    """Check that a ``fieldref`` names a field of the same type."""
    other = BY_NAME.get(node.text)
    if other is None:
        meant = nearest(node.text, BY_NAME)
        yield at(node, f"unknown field {shown(node.text)}", f"did you mean `{meant}`?" if meant else "")
    elif other.type != field.type:
        yield at(node, f"`{field.name}` is {field.type} and `{other.name}` is {other.type}", "compare like with like")


def _number(field: Field, node: Node) -> Iterator[Finding]:
    """Check a whole number: YAML 1.1 also reads 010 as eight and 1:30 as ninety."""
    if node.kind == "str" and NUMBER.fullmatch(node.text):
        yield at(node, f"'{node.text}' in quotes is text, and `{field.name}` is a number", "take the quotes away")
    elif node.kind != "int" or not NUMBER.fullmatch(node.text):
        yield at(node, f"`{field.name}` takes a whole number, not {shown(node.text)}", "write digits only")


def _flag(field: Field, node: Node) -> Iterator[Finding]:
    """Check a yes or no."""
    if node.kind != "bool":
        yield at(node, f"`{field.name}` takes true or false, not {shown(node.text)}", "write true or false")


def _text(field: Field, modifiers: Sequence[str], node: Node) -> Iterator[Finding]:
    """Check a text value: really text, visible, short, and of the field's shape."""
    if trap := text_trap(node):
        yield trap
    elif not node.text.isprintable():
        yield at(node, "this value has invisible characters", "no field holds them: write visible ones")
    elif len(node.text) > LIMIT_VALUE or node.text.count("*") > LIMIT_WILDCARDS:
        what = f"a value has at most {LIMIT_VALUE} characters and {LIMIT_WILDCARDS} wildcards"
        yield at(node, what, "split it")
    elif "re" in modifiers:
        yield from _regex(modifiers, node)
    elif "cidr" in modifiers:
        yield from _network(node)
    elif not {"contains", "startswith", "endswith"} & set(modifiers) and field.kind in SHAPES:
        yield from SHAPES[field.kind](field, node)


def _regex(modifiers: Sequence[str], node: Node) -> Iterator[Finding]:
    """Check a regular expression with the engine that will run it: RE2, whose time is linear in the text."""
    if {"contains", "startswith", "endswith", "cased"} & set(modifiers):
        yield at(node, "`re` does not go with other ways to match", "put it into the expression")
        return
    try:
        re2 = import_module("re2")
    except ImportError:
        remedy = "install google-re2, or use contains, startswith, endswith"
        yield at(node, "regular expressions need RE2, which is not installed", remedy)
        return
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(node.text, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""  # bytes in the versions there are
        text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        yield at(node, f"RE2 refuses the expression: {shown(text)}", "RE2 knows no look-around and no back-references")


def _network(node: Node) -> Iterator[Finding]:
    """Check a network in CIDR notation (RFC 4632, RFC 4291)."""
    try:
        network = ip_network(node.text)
    except ValueError as error:
        remedy = _without_host_bits(node.text) or "write it like 192.0.2.0/24 or 2001:db8::/32"
        yield at(node, f"no network: {shown(str(error))[1:-1]}", remedy)
        return
    # In the store, IPv4-mapped addresses are IPv4 (RFC 4291, 2.5.5.2), and nothing else in ::/32 is ever routed.
    if isinstance(network, IPv6Network) and int(network.broadcast_address) >> 96 == 0:
        yield at(node, "no IPv6 flow has an address there", "write the IPv4 network, such as 192.0.2.0/24")


def _without_host_bits(text: str) -> str:
    """Return the remedy for a network with bits set behind its prefix, "" where that is not the trouble."""
    try:
        return f"did you mean {ip_network(text, strict=False)}?"
    except ValueError:
        return ""


def _address(_: Field, node: Node) -> Iterator[Finding]:
    """Check an address: the store holds the canonical text of RFC 5952, so any other spelling never matches."""
    if "*" in node.text or "?" in node.text:
        return
    if "/" in node.text:
        yield at(node, f"{shown(node.text)} is a network, not an address", "use the modifier `|cidr`")
        return
    try:
        address = ip_address(node.text)
    except ValueError:
        yield at(node, f"{shown(node.text)} is no address", "write it like 192.0.2.1 or 2001:db8::1")
        return
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    if (canonical := str(mapped or address)) != node.text.lower():
        yield at(node, f"{shown(node.text)} is not how the store writes this address", f"write {canonical}")


def _mac(_: Field, node: Node) -> Iterator[Finding]:
    """Check a MAC as the store writes it."""
    if not ("*" in node.text or "?" in node.text or MAC.fullmatch(node.text.lower())):
        yield at(node, f"{shown(node.text)} is no MAC", "write six pairs with colons, in quotes: '00:11:22:aa:bb:cc'")


def _country(_: Field, node: Node) -> Iterator[Finding]:
    """Check a country code of ISO 3166-1 alpha-2."""
    if node.text == "EU":
        yield at(node, "EU is no country", "use `|expand` with '%eu27%' or '%eea%'")
    elif node.text in MISNAMED:
        yield at(node, f"ISO 3166-1 has no country {node.text}", f"write {MISNAMED[node.text]}")
    elif not re.fullmatch("[A-Z]{2}", node.text):
        yield at(node, f"{shown(node.text)} is no country code", "two upper-case letters, as in ISO 3166-1 alpha-2: US")


MOST_PROTOCOL = 255


def _closed(field: Field, node: Node) -> Iterator[Finding]:
    """Check a value of a field that has only a few."""
    if node.text not in field.values:
        meant = nearest(node.text, field.values)
        remedy = f"did you mean `{meant}`?" if meant else f"write one of {', '.join(field.values)}"
        yield at(node, f"`{field.name}` is never {shown(node.text)}", remedy)


def _protocol(field: Field, node: Node) -> Iterator[Finding]:
    """Check a protocol: one of the named ones, or the IANA number of one without a name."""
    if not (node.text.isascii() and node.text.isdecimal()):
        yield from _closed(field, node)
    elif known := PROTOCOLS.get(int(node.text)):
        yield at(node, f"protocol {node.text} is stored by its name", f"write `{known}`")
    elif int(node.text) > MOST_PROTOCOL:
        yield at(node, f"there is no protocol {node.text}", f"write a number from 0 to {MOST_PROTOCOL}")


def _in_list(field: Field, node: Node) -> Iterator[Finding]:
    """Check that a JSON list is not asked for equality with one of its members."""
    if "*" not in node.text:
        yield at(node, f"`{field.name}` is a JSON list and never equals one text", f"use `{field.name}|contains`")


SHAPES: Mapping[str, Callable[[Field, Node], Iterator[Finding]]] = {
    "address": _address,
    "mac": _mac,
    "country": _country,
    "closed": _closed,
    "protocol": _protocol,
    "list": _in_list,
}
