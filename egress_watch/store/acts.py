"""What people do with alerts: acknowledge, note, mute; each act is written down once and stays.

In: numbers of alerts and words. Out: rows of the tables act and mute, each act in a short transaction of its own, so
that a recorder beside it goes on. Never: an alert that changes.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from egress_watch.errors import UsageError
from egress_watch.store.file import open_for_writing, storable, transaction

MOST_DAYS = 366
BY = ("rule", "device", "owner", "country")
"""What a mute goes by."""
DAY_NS = 86_400_000_000_000
_ACT = "INSERT INTO act(kind, alert, mute, who, made_ns, reason, subject) VALUES (?, ?, ?, ?, ?, ?, ?)"
_MUTE = "INSERT INTO mute(rule, device, owner, country, until_ns) VALUES (?, ?, ?, ?, ?)"
_SUBJECT = "SELECT title, device_ip, coalesce(owner, network, remote_ip) FROM alerts WHERE id = ?"


def who() -> str:
    """Return the user this program runs as, by the system's own list; for root also who asked for it (sudo)."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    asked = os.environ.get("SUDO_USER", "")
    return storable(f"{name} (for {asked})" if number == 0 and asked else name)


class Acts:
    """A database open for what people do."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._db = open_for_writing(path, new=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def say(self, kind: str, alerts: Sequence[int], reason: str) -> None:
        """Write an act (ack, note) on each of some alerts, on all or none; raises UsageError for one not there."""
        with transaction(self._db, self.path):
            for alert in alerts:
                self._act(kind, reason, alert=alert, subject=self._subject(alert))

    def mute(self, what: Mapping[str, str | None], until_ns: int, reason: str, alert: int | None = None) -> int:
        """Mute by rule, device, owner, country (None is any) up to a packet time; return the mute's number."""
        now_ns = time.time_ns()
        if not now_ns < until_ns <= now_ns + MOST_DAYS * DAY_NS:
            remedy = f"give a day from today on, at most {MOST_DAYS} days ahead; for longer, write it into the rule"
            raise UsageError("a mute must end", where=self.path, remedy=remedy)
        given = {name: what.get(name) for name in BY}
        subject = ", ".join(f"{name} {value}" for name, value in given.items() if value is not None)
        with transaction(self._db, self.path):
            number = int(self._db.conn.execute(_MUTE, (*given.values(), until_ns)).lastrowid or 0)
            self._act("mute", reason, alert=alert, mute=number, subject=subject)
        return number

    def unmute(self, mute: int, reason: str) -> None:
        """Take a mute back; raises UsageError where there is none that holds."""
        with transaction(self._db, self.path):
            end = "UPDATE mute SET ended_ns = ? WHERE id = ? AND ended_ns IS NULL"
            if not self._db.conn.execute(end, (time.time_ns(), mute)).rowcount:
                raise UsageError(f"no mute {mute}", where=self.path, remedy="see `egress-watch alert mutes DB`")
            self._act("unmute", reason, mute=mute)

    def alike(self, alert: int) -> dict[str, str | None]:
        """Return by what an alert's like is muted: its rule, device, owner (or network) and country."""
        self._subject(alert)
        query = "SELECT rule, device_ip, coalesce(owner, network), country, kind FROM alerts WHERE id = ?"
        *values, kind = self._db.conn.execute(query, (alert,)).fetchone()
        return {"rule": values[0]} if kind == "storm" else dict(zip(BY, values, strict=True))

    def _subject(self, alert: int) -> str:
        found: Sequence[Any] | None = self._db.conn.execute(_SUBJECT, (alert,)).fetchone()
        if not found:
            raise UsageError(f"no alert {alert}", where=self.path, remedy="see `egress-watch alerts DB --format csv`")
        return f"{found[0]}: {found[1]} to {found[2]}"

    def _act(
        self, kind: str, reason: str, *, alert: int | None = None, mute: int | None = None, subject: str = ""
    ) -> None:
        row = kind, alert, mute, who(), time.time_ns(), storable(reason), subject
        self._db.conn.execute(_ACT, row)
