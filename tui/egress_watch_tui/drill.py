"""From a row to what lies behind it: the terms that narrow another screen to it.

In: a row of a list, a screen's name, the filter so far. Out: a filter. Never: a term the other screen cannot be asked.
"""

from __future__ import annotations

from collections.abc import Iterator

from egress_watch.store.fields import BY_NAME
from egress_watch.store.terms import FilterError, Word, quoted, words
from egress_watch_tui.ask import Ask, with_filter
from egress_watch_tui.feed import Row
from egress_watch_tui.plain import harmless
from egress_watch_tui.taste import mask, taste, within
from egress_watch_tui.words import device, remote, worst

FLOWS_ONLY, ALERTS = "flow", "Alerts"


def narrowed(filter_: str, kind: str, row: Row, to: str) -> str:
    """Return the filter that leads from a row of the screen ``kind`` to another screen."""
    fresh = list(_terms(kind, row, to))
    named = {term.partition(":")[0].lstrip("!") for term in fresh}
    kept = [text for text, field in _parts(filter_) if field not in named and _fits(field, to)]
    return " ".join((*kept, *(term for term in fresh if _fits(term.partition(":")[0], to))))


def behind(ask: Ask, kind: str, row: Row) -> Ask | None:
    """Return the question for the flows that a row of sums owes its verdict to, None for a row that names its flow."""
    if row.get("last_flow") or kind == "Flows":
        return None
    terms = narrowed(ask.filter, kind, row, "Flows")
    gravest = f" verdict:{worst(row)}" if "worst" in row else ""
    return with_filter(ask, terms + gravest)


def told(kind: str, row: Row) -> str:
    """Return a row in a few words, for the way back."""
    if kind == "Owners":
        return str(row["id"])
    if kind == "Destinations":
        return remote(row)
    if kind == "Overview":
        return str(row.get("segment") or row.get("country") or row.get("owner") or row.get("device_ip") or "")
    return device(row)


def shown(filter_: str) -> str:
    """Return a filter made harmless: the addresses it asks for are hidden where the user hides addresses."""
    try:
        found = list(words(filter_))
    except FilterError:
        return "hidden" if taste().private else harmless(filter_)
    ends = [*(word.at for word in found), len(filter_)][1:]
    return "".join(harmless(filter_[word.at : word.value_at]) + _value(word, filter_[word.value_at : end])
                   for word, end in zip(found, ends, strict=True))  # fmt: skip


def _value(word: Word, text: str) -> str:
    """Return the value of a term as it stands; a part of an address is no address, and hidden as a whole."""
    part = "*" in text and taste().private and word.field in {"device", "remote"}
    return f"{mask(text.strip())} " if part else harmless(text)


def _parts(filter_: str) -> Iterator[tuple[str, str]]:
    """Yield the terms of a filter as they stand, with their fields."""
    try:
        found = list(words(filter_))
    except FilterError:
        return
    ends = [*(word.at for word in found), len(filter_)][1:]
    for word, end in zip(found, ends, strict=True):
        yield filter_[word.at : end].strip(), word.field


def _fits(field: str, to: str) -> bool:
    """Return whether a screen can be asked this field; "" is a plain text."""
    known = BY_NAME.get(field)
    if known is None or known.kind == "moment":
        return True
    return bool(known.alerts) if to == ALERTS else bool(known.flows) and (known.column != FLOWS_ONLY or to == "Flows")


def _terms(kind: str, row: Row, to: str) -> Iterator[str]:
    if kind == "Overview":
        yield from _of_overview(row)
    elif kind == "Devices" or (to == "Devices" and row.get("device_ip") and row.get("kind") != "storm"):
        yield f"device:{row['device_ip']}"
    elif kind == "Owners":
        yield f"owner:{quoted(str(row['id']))}" if row["id"] != "your own" else "status:local"
    elif kind == "Alerts":
        yield from _of_alert(row, to)
    else:
        yield from _of_remote(row, to)


def _of_overview(row: Row) -> Iterator[str]:
    if "segment" in row and "devices" in row:
        yield f"segment:{quoted(row['segment'])}" if row["segment"] else "!segment:*"
    elif "device_ip" in row:
        yield f"device:{row['device_ip']}"
    elif "location_status" in row:
        named = row["country"] or ",".join(row["countries"] or ())
        yield f"country:{named}" if named else f"status:{row['location_status']}"
        yield f"verdict:{row['verdict']}"
    else:
        yield from _terms("Owners", row, "")


def _of_alert(row: Row, to: str) -> Iterator[str]:
    if to != "Owners" and row["kind"] != "storm":
        yield f"device:{row['device_ip']}"
    if row["owner"] or row["network"]:
        yield f"owner:{quoted(row['owner'] or row['network'])}"


def _of_remote(row: Row, to: str) -> Iterator[str]:
    if to in {"Owners", ALERTS}:
        owner = row.get("owner") or row.get("as_name")
        yield f"owner:{quoted(owner)}" if owner else f"status:{row['location_status']}"
    elif row.get("name") and not (taste().private and within(row["remote_ip"])):
        yield f"name:{quoted(row['name'])}"
    else:
        yield f"remote:{row['remote_ip']}"
