"""Do something with an alert: acknowledge it, note, mute, or read what became of it.

Each act is written down with user, time and reason, and stays. An alert itself never changes by it. A mute hides what
is like it from lists, up to a day; the episodes are recorded all the same.

In: a database and what to do. Out: a line that says what was done, or rows. Never: an act that leaves no trace.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from egress_watch import sinks
from egress_watch.cli.options import add_output, device_spelt, write_rows
from egress_watch.cli.privacy import add_pseudonyms, covering
from egress_watch.config import load
from egress_watch.errors import UsageError
from egress_watch.moments import EPOCH

if TYPE_CHECKING:
    from egress_watch.exports.pseudonyms import Pseudonyms

HELP = "acknowledge, note or mute an alert, or read its history"
EXAMPLES = (
    "egress-watch alert ack egress.db 12 13 --reason supplier-asked",
    "egress-watch alert note egress.db 12 ticket-4711",
    "egress-watch alert mute egress.db 12 --reason agreed --until 2026-12-24",
    "egress-watch alert mute egress.db --device 10.20.110.11 --owner Hikvision --reason being-replaced",
    "egress-watch alert unmute egress.db 3",
    "egress-watch alert mutes egress.db",
    "egress-watch alert history egress.db 12",
)
DEFAULT_DAYS = 30
MUTE_COLUMNS = (
    "id", "rule", "device", "owner", "country", "until_ns", "ended_ns", "alerts", "who", "made_ns", "reason",
)  # fmt: skip
HISTORY_COLUMNS = ("time_ns", "what", "by", "hits", "bytes_out", "words")


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the acts and their options."""
    acts = command.add_subparsers(metavar="ACT", dest="act", required=True)
    for name, text in (("ack", "say that somebody has seen it"), ("note", "write something down beside it")):
        act = _act(acts, name, text)
        act.add_argument("alerts", metavar="ID", nargs="+" if name == "ack" else 1, type=_number)
        if name == "note":
            act.add_argument("reason", metavar="TEXT")
        else:
            act.add_argument("--reason", default="", metavar="TEXT")
    _mute_arguments(_act(acts, "mute", "hide what is like an alert, or what you describe, up to a day"))
    unmute = _act(acts, "unmute", "take a mute back")
    unmute.add_argument("mute", metavar="MUTE", type=_number, help="its number, as `alert mutes` shows it")
    unmute.add_argument("--reason", default="", metavar="TEXT")
    _list_arguments(_act(acts, "mutes", "list mutes, the newest first"))
    history = _act(acts, "history", "what became of an alert, and what people did with it")
    history.add_argument("alert", metavar="ID", type=_number)
    _list_arguments(history)


def _list_arguments(act: argparse.ArgumentParser) -> None:
    add_output(act)
    act.add_argument("--config", default="", metavar="FILE", help="settings of privacy (TOML)")
    add_pseudonyms(act)


def _act(acts: Any, name: str, text: str) -> argparse.ArgumentParser:
    act: argparse.ArgumentParser = acts.add_parser(name, help=text, description=text)
    act.add_argument("db", metavar="DB", help="a database that replay wrote")
    return act


def _mute_arguments(mute: argparse.ArgumentParser) -> None:
    mute.add_argument("alert", metavar="ID", nargs="?", type=_number, help="mute what is like this alert")
    mute.add_argument("--rule", metavar="UUID", help="id of the rule")
    mute.add_argument("--device", metavar="ADDRESS", help="address or MAC of the device")
    mute.add_argument("--owner", metavar="NAME", help="the owner's whole name, or the network's where none is listed")
    mute.add_argument("--country", metavar="CC", help="ISO code of the remote's country")
    mute.add_argument("--reason", required=True, metavar="TEXT", help="why; a mute without a reason is refused")
    until = f"the last day it holds, in UTC, by the alert's own packet times; default: {DEFAULT_DAYS} days from today"
    mute.add_argument("--until", default="", metavar="DATE", help=until)


def run(options: argparse.Namespace) -> int:
    """Do what is asked."""
    if options.act in {"mutes", "history"}:
        _list(options)
        return 0
    from egress_watch.store.acts import Acts

    if options.act in {"note", "mute"} and not options.reason.strip():
        raise UsageError("an empty text", remedy="say why, in a few words")
    with Acts(options.db) as acts:
        sinks.write("-", [_done(options, acts)])
    return 0


def _done(options: argparse.Namespace, acts: Any) -> str:
    """Carry out one act and say it."""
    if options.act == "mute":
        until_ns = _end_of(options.until)
        number = acts.mute(_described(options, acts), until_ns, options.reason, options.alert)
        last = (EPOCH + timedelta(microseconds=until_ns // 1000)).date()
        return f"mute {number} holds to the end of {last}"
    if options.act == "unmute":
        acts.unmute(options.mute, options.reason)
        return f"mute {options.mute} is taken back"
    acts.say(options.act, options.alerts, options.reason)
    return f"{options.act}: {', '.join(map(str, options.alerts))}"


def _described(options: argparse.Namespace, acts: Any) -> dict[str, str | None]:
    """Return by what to mute; raises UsageError where that is nothing, or said twice."""
    given = {name: getattr(options, name) for name in ("rule", "device", "owner", "country")}
    named = any(value is not None for value in given.values())
    if named == (options.alert is not None):
        remedy = "give the ID of an alert, or some of --rule, --device, --owner and --country"
        raise UsageError("mute what?", remedy=remedy)
    if options.alert is not None:
        return dict(acts.alike(options.alert))
    if empty := [name for name, value in given.items() if value == ""]:
        raise UsageError(f"--{empty[0]} is empty", remedy="leave it out to mean any")
    for name, spelt in (("rule", str.lower), ("device", device_spelt), ("country", str.upper)):
        given[name] = spelt(given[name]) if given[name] is not None else None
    return given


def _end_of(text: str) -> int:
    """Return the last nanosecond of a day in UTC, or of the day a mute ends by default."""
    try:
        day = date.fromisoformat(text) if text else datetime.now(UTC).date() + timedelta(days=DEFAULT_DAYS)
        return (day - EPOCH.date()).days * 86_400 * 10**9 + 86_400 * 10**9 - 1
    except ValueError as error:
        raise UsageError(f"{text!r} is no day", remedy="write it as 2026-12-24") from error


def _list(options: argparse.Namespace) -> None:
    """Print mutes, or one alert's history."""
    from egress_watch.store.reader import Reader

    with Reader(options.db) as reader:
        covers = covering(options, load(options.config), reader.is_device)
        if options.act == "mutes":
            rows: Iterable[Mapping[str, Any]] = map(covers.mute, reader.mutes()) if covers else reader.mutes()
            columns: Sequence[str] = MUTE_COLUMNS
        else:
            rows, columns = _history(reader, options.alert, covers), HISTORY_COLUMNS
        kept = list(rows)
        write_rows(options, kept[: options.limit or len(kept)], columns)


def _history(reader: Any, alert: int, covers: Pseudonyms | None) -> list[dict[str, Any]]:
    """Return events, by packet time, then acts, by the clock."""
    events = [
        {**row, "what": row["kind"], "by": "recorder", "words": f"{row['cause']}, {row['level']}"}
        for row in reader.events(alert)
    ]
    if not events:
        raise UsageError(f"no alert {alert}", where=reader.path, remedy="see `egress-watch alerts DB --format csv`")
    (itself,) = reader.alerts({}, of=f"id = {alert}", muted=True)
    told = (lambda text: covers.told(text, itself)) if covers else str
    blank = dict.fromkeys(("hits", "bytes_out"))
    acts = [
        {**blank, "time_ns": row["made_ns"], "what": row["kind"], "by": row["who"],
         "words": told("; ".join(filter(None, (row["subject"], row["reason"]))))}
        for row in reader.acts(alert)
    ]  # fmt: skip
    return events + acts


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return int(text)
