"""How the user wants to see things: colours, time zone, addresses shown or hidden.

In: the user's choice. Out: styles, a zone, and texts whose addresses are hidden. Never: an address in sight that should
be hidden: whatever is drawn comes through `masked`.

A mask stands for the same address as long as the program runs, and for nothing after that: its key is never kept.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from functools import lru_cache
from hashlib import blake2b
from ipaddress import ip_address
from typing import Any

from egress_watch.model import IN, OUT, OWN, UNKNOWN

PALETTES: Mapping[str, Mapping[str, str]] = {
    "dark": {IN: "#56b4e9", OWN: "#e69f00", OUT: "bold #ff7f3f", UNKNOWN: "#cc79a7"},
    "light": {IN: "#00557f", OWN: "#7a5200", OUT: "bold #a83200", UNKNOWN: "#8a2f63"},
    "high-contrast": {IN: "bold #00ffff", OWN: "bold #ffff00", OUT: "bold #000000 on #ffff00", UNKNOWN: "bold #ff9dff"},
    "colour-blind": {IN: "#88ccee", OWN: "#ddcc77", OUT: "bold #ee8866", UNKNOWN: "#bbbbbb"},
    "no-colour": {IN: "", OWN: "italic", OUT: "bold reverse", UNKNOWN: "underline"},
}
"""Styles of the verdicts by theme. Okabe and Ito's palette (2008) and, for `colour-blind`, Paul Tol's light one (2021):
people with any kind of colour vision can tell them apart, and nothing rests on colour alone."""
OF_PEOPLE = ("device_name", "contact", "notes")
"""Columns of a row whose words point to a device or its people."""
SECRET = secrets.token_bytes(16)
_ADDRESS = re.compile(
    r"(?<![0-9A-Za-z:.])(?:(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}|(?:[0-9]{1,3}\.){3}[0-9]{1,3}"
    r"|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:[0-9.]{7,15})?)(?![0-9A-Za-z])"
)

_TOWARDS = re.compile(r"(?<= to )[A-Za-z_][^ ]*?(?= \(|: |:$|$)")
"""The name that the sentence of an alert speaks of: ``10.20.1.1 to johns-phone.local: ...``."""


@dataclass(frozen=True, slots=True)
class Taste:
    """One choice of everything."""

    theme: str = "dark"
    utc: bool = True
    private: bool = False

    def zone(self) -> tzinfo | None:
        """Return the zone times are shown in; None is the one of this machine."""
        return UTC if self.utc else None


_chosen = [Taste()]


def taste() -> Taste:
    """Return what is chosen now."""
    return _chosen[0]


def choose(**changes: Any) -> Taste:
    """Change the choice and return it."""
    _chosen[0] = replace(_chosen[0], **changes)
    return _chosen[0]


def colour(verdict: str) -> str:
    """Return the style of a verdict in the theme chosen."""
    return PALETTES[taste().theme].get(verdict, "")


def masked(text: str) -> str:
    """Return the text with every address and MAC replaced by its mask, where the user wants that."""
    return _ADDRESS.sub(_mask, text) if taste().private else text


def masked_name(text: str) -> str:
    """Return what stands for a name or words that point to a person, where the user wants that."""
    return mask(text, "name") if text and taste().private else text


def masked_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with the names that point to a device or its people masked; addresses are for `masked`."""
    if not taste().private:
        return dict(row)
    own = within(row.get("remote_ip"))
    hidden = (*OF_PEOPLE, *(("name", "other_names") if own else ()))
    shown = {key: _hidden(value) if key in hidden and value else value for key, value in row.items()}
    if own and isinstance(row.get("why"), str):
        shown["why"] = _TOWARDS.sub(lambda found: _hidden(found[0]), row["why"], count=1)
    return shown


def within(address: object) -> bool:
    """Return whether an address is of a network of one's own: a private one, or of the link."""
    try:
        known = ip_address(str(address))
    except ValueError:
        return False
    return (known.is_private or known.is_link_local) and not known.is_multicast


def _hidden(value: Any) -> Any:
    return [mask(str(one), "name") for one in value] if isinstance(value, list) else mask(str(value), "name")


@lru_cache(65_536)
def mask(text: str, kind: str = "addr") -> str:
    """Return what stands for an address, or for a name."""
    return f"{kind}-" + blake2b(text.lower().encode("utf-8", "replace"), key=SECRET, digest_size=3).hexdigest()


def _mask(found: re.Match[str]) -> str:
    text = found[0]
    if text.count(":") == 5 or text.count("-") == 5:
        return mask(text)
    try:
        ip_address(text)
    except ValueError:
        return text
    return mask(text)
