"""Values put into words: sizes, times, ages, verdicts and levels.

In: numbers and rows of the store. Out: short harmless text. Never: colour without its word.

The colours are Okabe and Ito's palette (2008), which people with any kind of colour vision can tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from rich.text import Text

from egress_watch.model import GLYPHS, IN, OUT, OWN, UNKNOWN
from egress_watch_tui.plain import harmless

COLOURS = {IN: "#56b4e9", OWN: "#e69f00", OUT: "bold #ff7f3f", UNKNOWN: "#cc79a7"}
MEANING = {
    IN: "in the zone, in hands seated in it",
    OWN: "in the zone, in hands that answer to a law outside it",
    OUT: "outside the zone",
    UNKNOWN: "cannot tell, each with its reason",
}
LEVELS = {
    "critical": ("critical", "bold reverse"), "high": ("high", "bold"), "medium": ("medium", ""),
    "low": ("low", "dim"), "informational": ("info", "dim"),
}  # fmt: skip
STATUS = {
    "declared": "the operator publishes this prefix with a region",
    "agreed": "two independent databases say the same",
    "single": "one database says so",
    "disputed": "the databases disagree",
    "anycast": "one address in many places at once",
    "edge": "a content network that is in many places at once",
    "local": "on this network",
    "override": "your own overrides say so",
    "unknown": "no source knows it",
}
RESTS_ON = {
    "override": "your own overrides", "name": "the name that was heard", "prefix": "a known prefix",
    "cloud": "the prefixes the cloud publishes", "asn": "the network's number",
    "registry": "a registry: the address leads nowhere",
}  # fmt: skip
"""What the owner rests on, by the column ``evidence``."""
NANOSECOND = 1_000_000_000
OLD_DAYS = 90
"""Beyond this age the data files are called old, as everywhere in egress-watch: prefixes and their owners move."""


def size(count: int) -> str:
    """Return a number of bytes as 12.3 kB or 4.5 MB (powers of 1000)."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.95:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


def when(time_ns: int | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a time in UTC; what no calendar holds stays a number of seconds, and no time is a dash."""
    if not time_ns:
        return "-"
    try:
        return datetime.fromtimestamp(time_ns // NANOSECOND, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return f"{time_ns / NANOSECOND:.0f}s"


def verdict(name: str | None) -> Text:
    """Return glyph and word, with the colour that only adds."""
    known = name if name in GLYPHS else UNKNOWN
    return Text(f"{GLYPHS[known]} {harmless(name or UNKNOWN)}", style=COLOURS[known])


def level(name: str) -> Text:
    """Return the level of an alert in one short word."""
    word, style = LEVELS.get(name, (harmless(name), ""))
    return Text(word, style=style)


def age(data: Sequence[Mapping[str, Any]], today: date) -> str:
    """Return how old the oldest data file is on that day; says so where no file gives its date."""
    days = _oldest(data, today)
    if days is None:
        return "of unknown age"
    return f"{days} d old" + (" ! replace them" if days > OLD_DAYS else "")


def stale(data: Sequence[Mapping[str, Any]], today: date) -> str:
    """Return the warning that the data is old, "" where it is not."""
    days = _oldest(data, today) or 0
    return f"! data {days} d old" if days > OLD_DAYS else ""


def dated(data: Sequence[Mapping[str, Any]]) -> str:
    """Return the data files with their dates in one line."""
    return ", ".join(f"{row.get('name')} {row.get('built')}" for row in data)


def _oldest(data: Sequence[Mapping[str, Any]], today: date) -> int | None:
    built = (_built(row) for row in data if row.get("kind") != "override")  # the user's own word does not age
    return max(((today - day).days for day in built if day), default=None)


def _built(row: Mapping[str, Any]) -> date | None:
    try:
        return date.fromisoformat(str(row.get("built")))
    except ValueError:
        return None


def owner(row: Mapping[str, Any]) -> str:
    """Return the owner with the country of its seat, or that it is on no list."""
    if row.get("location_status") == "local":
        return "your own"
    if not row.get("owner"):
        return "not listed"
    seat = row.get("owner_seat")
    return f"{row['owner']} ({seat})" if seat else str(row["owner"])


def country(row: Mapping[str, Any]) -> str:
    """Return the country, the countries in dispute, or the reason why there is none."""
    if row.get("location_status") == "local":
        return "stays local"
    named = row.get("country") or " or ".join(row.get("countries") or ())
    return f"{named} {row.get('location_status') or ''}".strip() or "unknown"


def operator(row: Mapping[str, Any]) -> str:
    """Return who runs the network."""
    if row.get("location_status") == "local":
        return "stays local"
    return str(row.get("provider") or "not listed")


def protocol(row: Mapping[str, Any]) -> str:
    """Return protocol and remote port, such as ``tcp/443``; the port is left out where the protocol has none."""
    return f"{row['protocol']}/{row['remote_port']}" if row["remote_port"] else str(row["protocol"])
