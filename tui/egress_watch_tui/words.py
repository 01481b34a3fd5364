"""Values put into words: sizes, times, ages, verdicts and levels.

In: numbers and rows of the store. Out: short harmless text. Never: colour without its word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from rich.text import Text

from egress_watch.model import GLYPHS, IN, OUT, OWN, UNKNOWN
from egress_watch_tui.plain import harmless
from egress_watch_tui.taste import colour, taste, within

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


def count(number: int, most: int) -> str:
    """Return a number with its thousands apart, or as 16.5 M where that is longer than ``most`` characters."""
    for text in (f"{number:,}", f"{number / 1e6:,.1f} M", f"{number / 1e9:,.1f} G"):
        if len(text) <= most:
            return text
    return f"{number / 1e12:,.0f} T"


def when(time_ns: int | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a time in the zone chosen; what no calendar holds stays a number of seconds, and no time is a dash."""
    if not time_ns:
        return "-"
    try:
        return datetime.fromtimestamp(time_ns // NANOSECOND, UTC).astimezone(taste().zone()).strftime(form)
    except (ValueError, OverflowError, OSError):
        return f"{time_ns / NANOSECOND:.0f}s"


def verdict(name: str | None) -> Text:
    """Return glyph and word, with the colour that only adds."""
    known = name if name in GLYPHS else UNKNOWN
    return Text(f"{GLYPHS[known]} {harmless(name or UNKNOWN)}", style=colour(known))


def zone(time_ns: int) -> str:
    """Return the name of the zone that times are shown in, at that time."""
    return when(time_ns or 1, "%Z") or "local"


def device(row: Mapping[str, Any]) -> str:
    """Return what a device is called: its name in the inventory, unless names are hidden, or its address."""
    known = row.get("device_name")
    return str(known if known and not taste().private else row["device_ip"])


def remote(row: Mapping[str, Any]) -> str:
    """Return what the other side is called, or its address, where names are hidden and it is in one's own network."""
    hidden = taste().private and within(row["remote_ip"])
    return str((not hidden and row.get("name")) or row["remote_ip"])


def worst(row: Mapping[str, Any]) -> str:
    """Return the gravest verdict of a row of sums."""
    return (OUT, UNKNOWN, OWN, IN)[row["worst"]]


def span(seconds: float) -> str:
    """Return a length of time in one unit: 12 s, 3 min, 5 h, 9 d."""
    for unit, limit, size_s in (("s", 100, 1), ("min", 7_200, 60), ("h", 172_800, 3_600)):
        if seconds < limit:
            return f"{seconds / size_s:.0f} {unit}"
    return f"{seconds / 86_400:,.0f} d"


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
    """Return how old the data is in three words, with a mark where it is too old; "" where nothing tells."""
    days = _oldest(data, today)
    return "" if days is None else f"{'! ' * (days > OLD_DAYS)}data {days} d old"


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


def owner_row(row: Mapping[str, Any]) -> str:
    """Return the owner of a row of sums, or the network where none is listed."""
    if not row["owner"]:
        return f"{row['network']}, not listed"
    return f"{row['owner']} ({row['owner_seat']})" if row["owner_seat"] else str(row["owner"])


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


def amount(count: int | None) -> Text:
    """Return a number of bytes, faint where it is none, so that the others stand out."""
    return Text(size(count or 0), style="" if count else "dim")


def listed(codes: str | None) -> str:
    """Return codes that stand between commas, in order."""
    return " ".join(sorted((codes or "").split(","))) or "-"


def changes(answer: Mapping[str, Any]) -> list[str]:
    """Return what would have to be otherwise for another verdict, as far as what is stored tells."""
    found = [_of_place(answer), _of_owner(answer), "your own word on the prefix ([data] overrides), which outranks all"]
    return [harmless(line) for line in found if line]


def _of_place(answer: Mapping[str, Any]) -> str:
    status = answer["location_status"]
    return {
        "disputed": f"the databases agreeing on {' or '.join(answer['countries'])}, or the operator declaring it",
        "agreed": "both databases naming another country",
        "declared": "the operator declaring another region",
        "local": "an address beyond your own networks",
        "override": "another word of yours on the prefix",
        "anycast": "the operator declaring where this address answers; no database can tell",
        "edge": "the operator declaring where this address answers; no database can tell",
    }.get(status, "a second database, or the operator, saying where it is")


def _of_owner(answer: Mapping[str, Any]) -> str:
    if answer["location_status"] == "local":
        return ""
    if answer["verdict"] == OWN:
        return f"owner and network seated in the zone; now {owner(answer)} on the network of {operator(answer)}"
    if not answer.get("owner"):
        return "the owner being listed; you may name it in your overrides"
    return f"another name on the wire, or a sale: {answer['owner']} is seated in {answer['owner_seat']}"
