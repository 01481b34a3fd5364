"""The only door to the database: looks, pages, single flows, and the acts of the user.

In: the path of a database, and questions. Out: frozen values. Never: a write but an act, or a connection kept open.

Every look opens the file anew, so a database that was replaced, moved or is being written is seen as it is now.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from time import monotonic
from typing import Any, NamedTuple

from egress_watch.errors import UsageError
from egress_watch.model import Snapshot
from egress_watch.store.acts import Acts
from egress_watch.store.scope import Scope
from egress_watch.store.screens import Overview, Screens
from egress_watch_tui.ask import Ask, Range
from egress_watch_tui.window import PAGE_ROWS, Page

Row = Mapping[str, Any]
STORED = "stored"
"""The order of flows by their ids: the one that pages without end."""
BEFORE_ALL = -1


class Look(NamedTuple):
    """What one look at the database saw."""

    snapshot: Snapshot
    newest_ns: int
    frames_s: float
    """Frames a second since the look before, 0 where nothing is being recorded."""
    muted: int
    alerts: int
    overview: Overview | None


class Feed:
    """Looks at one database."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = os.path.basename(path)  # noqa: PTH119 - a name to show, no file access
        self._mark: object = None
        self._counted = (0.0, 0)

    def changed(self, ask: Ask, *, overview: bool = False) -> Look | None:
        """Return what is seen, or None where the file is as it was at the last look. Raises EgressWatchError."""
        mark = self._marked(), ask, overview
        if mark == self._mark:
            return None
        with Screens(self.path) as screens:
            snapshot, newest_ns = screens.status(), screens.newest_ns()
            scope = _scope(screens, ask, newest_ns)
            counts = screens.alert_counts(Scope())
            seen = screens.overview(scope) if overview else None
        self._mark = mark  # taken before reading: what is written meanwhile is seen at the next look
        muted = counts.pop("muted", 0)
        return Look(snapshot, newest_ns, self._rate(snapshot), muted, sum(counts.values()), seen)

    def forget(self) -> None:
        """Take the next look for the first one."""
        self._mark = None

    def page(self, kind: str, ask: Ask, order: tuple[str, bool], beside: Any = None, *, back: bool = False) -> Page:
        """Return the page of a list that begins beside a row's key, or at its top. Raises EgressWatchError."""
        with Screens(self.path) as screens:
            scope = _scope(screens, ask, screens.newest_ns())
            if kind == "flows" and order[0] == STORED:
                return _stored(screens, scope, beside, rising=order[1], back=back)
            asked = {"rising": order[1], "beside": beside, "back": back}
            if kind == "flows":
                rows = screens.flows_by(order[0], scope, PAGE_ROWS, **asked)
            elif kind == "alerts":
                rows = screens.alert_rows(scope, PAGE_ROWS, order=order[0], **asked)
            else:
                rows = screens.sums(kind, scope, PAGE_ROWS, order=order[0], **asked)
        return Page(tuple(rows), len(rows) < PAGE_ROWS)

    def check(self, line: str) -> None:
        """Say what is wrong with a filter, by raising FilterError."""
        with Screens(self.path) as screens:
            screens.filtered(line)

    def complete(self, field: str, start: str) -> list[str]:
        """Return fields, or values of a field, that begin so. Raises EgressWatchError."""
        with Screens(self.path) as screens:
            return screens.complete(field, start)

    def flow(self, number: int) -> dict[str, Any] | None:
        """Return one flow by its id, None where it is gone. Raises EgressWatchError."""
        with Screens(self.path) as screens:
            return next(iter(screens.flows({"id": number}, 1)), None)

    def evidence(self, kind: str, row: Row, behind: Ask | None = None) -> dict[str, Any]:
        """Return what is stored that bears on a row: a flow of it, what was said before, facts of its device.

        ``behind`` asks for the flows behind a row of sums: the newest of them is told.
        """
        with Screens(self.path) as screens:
            number = row["id"] if kind == "flows" else row.get("last_flow")
            number = (behind and _newest(screens, behind)) or number
            flow = next(iter(screens.flows({"id": number}, 1)), None) if number else None
            device = row.get("device_row") or row.get("device") or (flow or {}).get("device")
            return {
                "flow": flow, "earlier": screens.earlier(number) if number else [],
                "facts": screens.facts_of(device) if device else [], "listed": screens.listed(device) if device else [],
                "files": screens.data(), "history": screens.acts(row["id"]) if kind == "alerts" else [],
                "place": screens.place(row["place"]) if not flow and row.get("place") else None,
            }  # fmt: skip

    def say(self, kind: str, alert: int, words: str) -> None:
        """Acknowledge an alert or write a note beside it. Raises EgressWatchError."""
        with Acts(self.path) as acts:
            acts.say(kind, [alert], words)

    def mute(self, alert: int, until_ns: int, words: str) -> int:
        """Mute what is like an alert; return the mute's number. Raises EgressWatchError."""
        if not words.strip():
            raise UsageError("a mute needs a reason", remedy="say why, in a few words")
        with Acts(self.path) as acts:
            return acts.mute(acts.alike(alert), until_ns, words, alert)

    def _rate(self, snapshot: Snapshot) -> float:
        frames, now = sum(row["frames"] for row in snapshot.recordings), monotonic()
        running = any(row["state"] == "running" for row in snapshot.recordings)
        (then, before), self._counted = self._counted, (now, frames)
        return (frames - before) / (now - then) if then and running and frames >= before else 0.0

    def _marked(self) -> list[tuple[int, int, int]]:
        """Return what changes with every commit: identity, time and size of the file and of its write-ahead log."""
        marks = []
        for path in (self.path, self.path + "-wal"):
            try:
                stat = os.stat(path)  # noqa: PTH116 - the path stays a string, as the user gave it
            except OSError:
                continue
            if stat.st_size:
                marks.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return marks


def _newest(screens: Screens, ask: Ask) -> int:
    """Return the newest flow of a question, 0 where none is found."""
    found = screens.flow_rows(_scope(screens, ask, screens.newest_ns()), 1)
    return int(found.rows[0]["id"]) if found.rows else 0


def _stored(screens: Screens, scope: Scope, beside: int | None, *, rising: bool, back: bool) -> Page:
    """Return the page of flows in the order of their ids that begins beside one."""
    down = rising == back
    where = {"before": beside or 0} if down else {"after": beside or BEFORE_ALL}
    found = screens.flow_rows(scope, PAGE_ROWS, **where)
    return Page(tuple(reversed(found.rows) if rising else found.rows), found.ended, found.reached)


def _scope(screens: Screens, ask: Ask, newest_ns: int) -> Scope:
    span: Range = ask.range
    return Scope(screens.filtered(ask.filter), *span.times(newest_ns))
