"""Alerts, the gravest first, with the whole reason and the evidence of the newest flow; acts upon them.

In: pages of alerts. Out: a list, a pane of evidence, and what the user does: acknowledge, note, mute.
Never: an alert that changes, or an act without who, when and why.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from rich.console import RenderableType
from textual import work
from textual.binding import Binding, BindingType
from textual.message import Message

from egress_watch.errors import EgressWatchError, UsageError
from egress_watch.moments import EPOCH
from egress_watch_tui import detail
from egress_watch_tui.choice import Form
from egress_watch_tui.feed import Row
from egress_watch_tui.lines import Column
from egress_watch_tui.paged import Paged
from egress_watch_tui.pane import View
from egress_watch_tui.words import level, size, verdict, when

MUTED_DAYS = 30
DAY_NS = 86_400 * 10**9
COLUMNS = (
    Column("level", lambda row: level(row["level"]), 8, order="gravity"),
    Column("verdict", lambda row: verdict(row["verdict"]), 9),
    Column("device", lambda row: f"{row['devices']:,} devices" if row["kind"] == "storm" else row["device_ip"], 15,
           grow=1, most=39, order="name"),
    Column("rule", lambda row: row["title"], 16, grow=4, most=60),
    Column("owner", lambda row: row["owner"] or row["network"] or "not listed", 10, grow=1, most=30),
    Column("cc", lambda row: row["country"] or "-", 2, from_width=90),
    Column("seen", lambda row: "✓" if row["acked_by"] else "·", 4),
    Column("state", lambda row: row["state"], 6, from_width=120),
    Column("flows", lambda row: f"{row['hits']:,}", 6, right=True, from_width=100, order="flows"),
    Column("out", lambda row: size(row["bytes_out"]), 8, right=True, order="out"),
    Column("last seen", lambda row: when(row["last_ns"]), 19, from_width=130, order="last seen"),
    Column("why", lambda row: row["why"], 20, grow=12, from_width=180),
)  # fmt: skip


class Alerts(Paged):
    """The second screen."""

    NAME: ClassVar[str] = "Alerts"
    KIND: ClassVar[str] = "alerts"
    HELP: ClassVar[str] = (
        "Episodes: what one rule says of one device towards one owner. `seen` has ✓ where somebody acknowledged it. "
        "A mute hides what is alike, up to a day; every act is written down with user, time and reason."
    )
    COLUMNS: ClassVar[tuple[Column, ...]] = COLUMNS
    ORDERS: ClassVar[tuple[str, ...]] = ("gravity", "last seen", "out", "flows", "name")
    NOTHING: ClassVar[str] = "No alerts: no rule has matched a flow"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "ack", "Ack"),
        Binding("n", "note", "Note"),
        Binding("m", "mute", "Mute"),
    ]

    class Done(Message):
        """An act has been written, or could not be."""

        def __init__(self, said: str, trouble: str = "") -> None:
            super().__init__()
            self.said, self.trouble = said, trouble

    def label(self, view: View) -> str:
        """Return the tab's words with the number of alerts, and of those left out."""
        muted = f" +{view.muted:,} muted" if view.muted else ""
        return f"{super().label(view)} {view.alerts:,}{muted}"

    def reveal(self, row: Row, evidence: dict[str, Any] | None) -> RenderableType:
        """Return the alert, and its evidence as soon as that is read."""
        return detail.alert(row, (evidence or {}).get("flow"), (evidence or {}).get("history", ()))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer acts where there is an alert."""
        if action in {"ack", "note", "mute"}:
            return self.listing.current() is not None
        return super().check_action(action, parameters)

    def action_ack(self) -> None:
        """Say that somebody has seen the alert."""
        if row := self.listing.current():
            self._say("ack", row["id"], "")

    def action_note(self) -> None:
        """Write something down beside the alert."""
        row = self.listing.current()
        if row is None:
            return
        about = "It stays with the alert, with your name and the time."
        form = Form(f"Note on alert {row['id']}", [("note", "")], _worded, about)
        self.app.push_screen(form, partial(self._noted, row["id"]))

    def action_mute(self) -> None:
        """Hide what is like the alert, up to a day, for a reason."""
        row = self.listing.current()
        if row is None:
            return
        until = datetime.now(UTC).date() + timedelta(days=MUTED_DAYS)
        about = "Hides alerts of this rule, device, owner and country. They are recorded all the same."
        form = Form(
            f"Mute what is like alert {row['id']}",
            [("reason", ""), ("last day (UTC)", until.isoformat())],
            _ends,
            about,
        )
        self.app.push_screen(form, partial(self._muted, row["id"]))

    def _noted(self, alert: int, answer: tuple[str, ...] | None) -> None:
        if answer:
            self._say("note", alert, answer[0])

    def _muted(self, alert: int, answer: tuple[str, ...] | None) -> None:
        if answer:
            self._mute(alert, _ends(answer), answer[0])

    @work(thread=True, group="acts")
    def _say(self, kind: str, alert: int, words: str) -> None:
        try:
            self.feed.say(kind, alert, words)
        except EgressWatchError as error:
            self.post_message(self.Done("", str(error)))
            return
        self.post_message(self.Done(f"Alert {alert}: {'acknowledged' if kind == 'ack' else 'noted'}."))

    @work(thread=True, group="acts")
    def _mute(self, alert: int, until_ns: int, words: str) -> None:
        try:
            number = self.feed.mute(alert, until_ns, words)
        except EgressWatchError as error:
            self.post_message(self.Done("", str(error)))
            return
        last = when(until_ns, "%Y-%m-%d")
        self.post_message(
            self.Done(f"Mute {number} holds to the end of {last}; `egress-watch alert unmute` takes it back.")
        )

    def on_alerts_done(self, event: Done) -> None:
        """Say what was done, and show it."""
        if event.trouble:
            self.app.notify(event.trouble, severity="error", timeout=8, markup=False)
            return
        self.app.notify(event.said, timeout=4, markup=False)
        row = self.listing.current()
        self.wanted = row["id"] if row else None
        self._read_on("top")
        self.feed.forget()


def _worded(answer: tuple[str, ...]) -> None:
    """Raise UsageError for an empty text."""
    if not answer[0]:
        raise UsageError("an empty text", remedy="say it in a few words")


def _ends(answer: tuple[str, ...]) -> int:
    """Return the last nanosecond of the day a mute ends, in UTC; raises UsageError, also for no reason."""
    _worded(answer)
    try:
        day = date.fromisoformat(answer[1])
    except ValueError as error:
        raise UsageError(f"{answer[1]!r} is no day", remedy="write it as 2026-12-24") from error
    today = datetime.now(UTC).date()
    if not today <= day <= today + timedelta(days=365):
        raise UsageError("a mute must end", remedy="give a day from today on, at most a year ahead")
    return (day - EPOCH.date()).days * DAY_NS + DAY_NS - 1
