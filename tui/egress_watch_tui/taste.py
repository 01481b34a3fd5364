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
SECRET = secrets.token_bytes(16)
_ADDRESS = re.compile(
    r"(?<![0-9A-Za-z:.])(?:(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}|(?:[0-9]{1,3}\.){3}[0-9]{1,3}"
    r"|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:[0-9.]{7,15})?)(?![0-9A-Za-z])"
)


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


@lru_cache(65_536)
def mask(address: str) -> str:
    """Return what stands for an address."""
    return "addr-" + blake2b(address.lower().encode(), key=SECRET, digest_size=3).hexdigest()


def _mask(found: re.Match[str]) -> str:
    text = found[0]
    if text.count(":") == 5 or text.count("-") == 5:
        return mask(text)
    try:
        ip_address(text)
    except ValueError:
        return text
    return mask(text)
