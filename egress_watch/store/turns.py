"""The alerts of a recording hit by hit: what each hit does to its episode, in the order of the flows.

In: `Alert` rows of a rule. Out: episodes as they stand, what happened to them, and what was folded, until all is
written. Never: a row written; `episodes` does that, and takes together what needs no decision.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush

import numpy as np
from sqlite_utils import Database

from egress_watch.model import Alert, Ints, Pace
from egress_watch.store.clock import Clock
from egress_watch.store.episode import (
    DEVICE_SHIFT,
    EPISODE,
    LATEST_NS,
    STORM,
    WHOM,
    Episode,
    Key,
    Whoms,
    gravity,
    later,
)  # fmt: skip
from egress_watch.store.episode_rows import FIND
from egress_watch.store.settled import HOUR_NS, STEPS_NS

LIMIT = 200_000
"""Episodes whose row is remembered, and what is folded in storms; any further one is found by its key."""
LATE_NS = HOUR_NS
"""How much later than its own end a flow may come, beside those that came meanwhile: the time-outs are minutes."""


class Turns:
    """Knows up to ``limit`` open episodes, since to look for one by its key costs as much as to write it.

    Only this object writes alerts of its recording. So as long as it has room for all, an episode that it does not
    know is new; from then on such a one may be known to the table.
    """

    def __init__(self, db: Database, recording: int, limit: int, pace: Pace) -> None:
        self._db, self._recording, self._limit, self._pace = db, recording, limit, pace
        self._whoms = Whoms()
        self._open: dict[Key, Episode] = {}
        self._births: dict[tuple[str, int], int] = {}
        """New episodes by rule and hour of packet time."""
        self._in_storm: dict[Key, int] = {}
        """The summary by what was folded into it: while that storm goes on, it gets no episode of its own."""
        self._full = False
        self._clock = Clock()
        self._begin_batch()

    def _begin_batch(self, newest: int = 0) -> None:
        self._newest = newest
        self._fresh: dict[Key, Episode | None] = {}
        """What this batch changed: None where an episode was closed and none opened since."""
        self._rows: dict[int, Episode] = {}
        self._born: dict[int, tuple[object, ...]] = {}
        self._born_in: dict[tuple[str, int], int] = {}
        self._events: list[tuple[int, tuple[object, ...]]] = []
        """What happened, each with the flow that brought it."""
        self._folded: list[Ints] = []
        self._fresh_in_storm: dict[Key, int] = {}

    def _of_a_rule(self, alerts: Iterable[Alert]) -> None:
        """Take a rule's alerts in the order of their flows, those that must come hit by hit among them."""
        waiting: list[tuple[int, Alert]] = []
        for alert in alerts:
            self._until(alert.first_flow, waiting)
            for hit in self._apart(alert):
                heappush(waiting, (hit.first_flow, hit))
        self._until(LATEST_NS, waiting)

    def _until(self, flow: int, waiting: list[tuple[int, Alert]]) -> None:
        """Take what waits for its turn before a flow."""
        while waiting and waiting[0][0] < flow:
            self._take(heappop(waiting)[1])

    def _apart(self, alert: Alert) -> Iterable[Alert]:
        """Take an alert at once where no decision falls between its hits, else return them to be taken in turn."""
        if alert.each is None:
            self._take(alert)
            return ()
        key = self._whoms.key(alert)
        episode = self._known(key)
        if episode is None and self._may_open(key, alert, alert.head_ns):
            episode = self._as_opened(alert)
        if episode is None or self._decides(episode, alert):
            return alert.each()
        if episode.row:
            self._write(key, episode.grown(alert))
        else:
            self._create(key, alert, EPISODE)
        return ()

    def _as_opened(self, alert: Alert) -> Episode:
        """Return what an alert's first hit would open, as row 0."""
        due_ns = later(alert.head_ns, STEPS_NS[0])
        return Episode(0, alert.level, 0, alert.head_ns, 1, 0, 0, "", "", 0, "", due_ns, 0, alert.head_bytes)

    def _decides(self, episode: Episode, alert: Alert) -> bool:
        """Return whether any hit of an alert would close the episode or have it told."""
        return (
            alert.latest_ns > later(episode.last_ns, self._pace.silence_ns)
            or self._is_over(episode, alert.last_flow)
            or bool(self._cause(episode, episode.bytes_out + alert.bytes_out, alert.last_ns, alert.level))
        )  # fmt: skip

    def _take(self, hit: Alert) -> None:
        """Take hits that are one for every decision."""
        key = self._whoms.key(hit)
        if episode := self._going_on(key, hit):
            self._grow(key, episode, hit)
        elif self._may_open(key, hit, hit.head_ns or hit.last_ns):
            self._create(key, hit, EPISODE)
        else:
            self._fold(hit)

    def _grow(self, key: Key, episode: Episode, hit: Alert) -> None:
        """Add a hit, and tell the episode again where that is due."""
        more = episode.grown(hit)
        if cause := self._cause(episode, more.bytes_out, hit.last_ns, hit.level):
            updates = episode.updates + (cause == "time")
            due_ns = later(hit.last_ns, STEPS_NS[min(updates, len(STEPS_NS) - 1)])
            more = more._replace(updates=updates, due_ns=due_ns, told_bytes=more.bytes_out)
            self._events.append((hit.first_flow, more.event("update", cause, hit.last_ns)))
        self._write(key, more)

    def _cause(self, episode: Episode, bytes_out: int, last_ns: int, level: str) -> str:
        """Return why an episode that came so far is told again, "" where it is not."""
        if level != episode.level and gravity(level) > gravity(episode.level):
            return "level"
        if bytes_out >= max(self._pace.jump_bytes, self._pace.jump * episode.told_bytes):
            return "bytes"
        return "time" if last_ns >= episode.due_ns else ""

    def _create(self, key: Key, alert: Alert, kind: str) -> None:
        """Open an episode with its first hit, and with those behind it that decide nothing."""
        self._newest += 1
        head_ns = alert.head_ns or alert.last_ns
        head_bytes = alert.head_bytes if alert.each else alert.bytes_out
        episode = Episode(
            self._newest, alert.level, alert.first_ns, alert.last_ns, alert.hits, alert.bytes_out, alert.bytes_in,
            alert.remote_ip, alert.verdict, alert.last_flow, alert.why, later(head_ns, STEPS_NS[0]), 0, head_bytes,
        )  # fmt: skip
        whom = self._whoms.told[key & WHOM][1]
        self._born[self._newest] = alert.rule, alert.device, *whom, kind, alert.title, alert.first_flow
        self._events.append((alert.first_flow, self._first_told(episode, alert, kind, head_ns)))
        self._write(key, episode)
        if kind == EPISODE:
            slot = alert.rule, head_ns // HOUR_NS
            self._born_in[slot] = self._born_in.get(slot, 0) + 1

    def _first_told(self, episode: Episode, alert: Alert, kind: str, head_ns: int) -> tuple[object, ...]:
        """Return the event of an opening: it tells of the first hit alone, however many were taken with it."""
        if alert.each:
            return episode.row, "create", "hit", head_ns, alert.level, 1, alert.head_bytes, alert.head_in
        return episode.event("create" if kind == EPISODE else "summary", "hit", head_ns)

    def _fold(self, hit: Alert) -> None:
        """Count a hit in its rule's summary: too many episodes began in this hour."""
        told = self._as_storm(hit)
        key = self._whoms.summary(hit.rule)
        if episode := self._going_on(key, hit):
            self._grow(key, episode, told)
        else:
            self._create(key, told, STORM)
        summary = self._fresh[key]
        assert summary
        if len(self._in_storm) + len(self._fresh_in_storm) < LIMIT:
            self._fresh_in_storm[self._whoms.key(hit)] = summary.row
        self._folded.append(np.array([[summary.row], [hit.device], [hit.hits], [hit.bytes_out], [hit.bytes_in]]))

    def _as_storm(self, hit: Alert) -> Alert:
        words = f"storm: more than {self._pace.storm:,} new episodes in an hour; newest: {hit.why}"
        return hit._replace(why=words)

    def _going_on(self, key: Key, hit: Alert) -> Episode | None:
        """Return the open episode of a key, unless it was silent for too long before a hit: then it is closed."""
        episode = self._known(key)
        if not episode:
            return None
        end_ns = later(episode.last_ns, self._pace.silence_ns)
        if hit.first_ns <= end_ns and not self._is_over(episode, hit.first_flow):
            return episode
        self._rows[episode.row] = episode._replace(closed_ns=end_ns)
        self._fresh[key] = None
        self._events.append((hit.first_flow, episode.event("close", "silence", end_ns)))
        return None

    def _is_over(self, episode: Episode, flow: int) -> bool:
        """Return whether an episode was over, though late flows were waited for, before a flow came."""
        end_ns = later(episode.last_ns, self._pace.silence_ns + LATE_NS)
        return self._clock.now_ns > end_ns and self._clock.between(episode.last_flow, flow) > end_ns

    def _write(self, key: Key, episode: Episode) -> None:
        self._fresh[key] = self._rows[episode.row] = episode

    def _may_open(self, key: Key, hit: Alert, time_ns: int) -> bool:
        """Return whether a hit may open an episode: its rule has room, and it is not in a storm that goes on."""
        row = self._fresh_in_storm.get(key) or self._in_storm.get(key)
        summary = self._whoms.summary(hit.rule)
        storm = self._known(summary) if row else None
        if storm and storm.row == row and self._going_on(summary, hit):
            return False
        return self._room(hit.rule, time_ns)

    def _room(self, rule: str, time_ns: int) -> bool:
        """Return whether a rule may open another episode in the hour of a packet."""
        return self._left(rule, time_ns // HOUR_NS) > 0

    def _left(self, rule: str, hour: int) -> int:
        """Return how many episodes a rule may still open in an hour."""
        return self._pace.storm - self._births.get((rule, hour), 0) - self._born_in.get((rule, hour), 0)

    def _known(self, key: Key) -> Episode | None:
        """Return the open episode of a key."""
        if key in self._fresh:
            return self._fresh[key]
        if (episode := self._open.get(key)) or not self._full:
            return episode
        (rule, whom), device = self._whoms.told[key & WHOM], key >> DEVICE_SHIFT
        values = self._recording, rule, *whom, EPISODE if device else STORM, device, device or LATEST_NS
        found = self._db.conn.execute(FIND, values).fetchone()
        return Episode(*found) if found else None
