"""The alerts of one recording: an episode opens, grows, is told again when it is due, and ends after silence.

In: `Alert` rows of a batch. Out: rows of the tables alert, alert_event and folded. Never: a clock, or a decision that
depends on how flows were cut into batches.

Every decision is made hit by hit, in the order of the flows. Hits that were summed by the rules are taken together only
where no decision falls between them, which their sums tell; else they come one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import chain, groupby, islice, repeat

import numpy as np
from sqlite_utils import Database

from egress_watch.model import Alert, Flags, Ints, Pace
from egress_watch.store.clock import NEVER, Clock
from egress_watch.store.episode import (
    DEVICE_SHIFT,
    EPISODE,
    LATEST_NS,
    NOBODY,
    STORM,
    SUMMARY,
    WHOM,
    Episode,
    Key,
    Whoms,
    gravity,
    later,
)  # fmt: skip
from egress_watch.store.episode_rows import CLOSE, END, EVENT, FIND, FOLD, GROW, OLDEST, OPEN, TELL_ENDED
from egress_watch.store.storm import Hits, by_device, together, undecided

NO_FLOWS: Ints = np.empty(0, np.int64)
LIMIT = 200_000
"""Episodes whose row is remembered; any further one is found by its key."""
HOUR_NS = 3_600_000_000_000
STEPS_NS = (HOUR_NS, 6 * HOUR_NS, 24 * HOUR_NS)
"""How long after it was told an episode is told again: the first time, the second, and from then on."""
LATE_NS = HOUR_NS
"""How much later than its own end a flow may come, beside those that came meanwhile: the time-outs are minutes."""


class Episodes:
    """Knows up to ``limit`` open episodes, since to look for one by its key costs as much as to write it.

    Only this object writes alerts of its recording. So as long as it has room for all, an episode that it does not
    know is new; from then on such a one may be known to the table.
    """

    def __init__(self, db: Database, recording: int, dataset: int, limit: int = LIMIT, pace: Pace = Pace()) -> None:  # noqa: B008 - a constant
        self._db, self._recording, self._limit, self._pace = db, recording, limit, pace
        self.judged_by(dataset)
        self._whoms = Whoms()
        self._open: dict[Key, Episode] = {}
        self._births: dict[tuple[str, int], int] = {}
        """New episodes by rule and hour of packet time."""
        self._in_storm: dict[Key, int] = {}
        """The summary by what was folded into it: while that storm goes on, it gets no episode of its own."""
        self._full = False
        self._clock, self._swept_ns = Clock(), NEVER
        self._begin_batch()

    def judged_by(self, dataset: int) -> None:
        """Take the data files that judge from now on; an alert keeps those of its first hit."""
        self._insert = OPEN.format(recording=self._recording, dataset=dataset)

    def add(self, found: Iterable[Hits | Alert], ids: Ints = NO_FLOWS, last_ns: Ints = NO_FLOWS) -> None:
        """Write a batch's episodes within a transaction; `keep` follows once it is committed.

        ``ids`` and ``last_ns`` (n,) are those of all flows of the batch: by their times what has been silent for
        `LATE_NS` longer than it may is closed, though nothing hits it again.
        """
        self._clock.begin(ids, last_ns)
        query = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'alert'"
        self._begin_batch(int(self._db.conn.execute(query).fetchone()[0]))
        for _, some in groupby(found, key=lambda one: one.rule):
            for one in some:
                if isinstance(one, Alert):
                    self._of_a_rule(chain((one,), (alert for alert in some if isinstance(alert, Alert))))
                elif not self._at_once(one):
                    self._of_a_rule(one.alerts())
        born = self._born
        grown = [episode for row, episode in self._rows.items() if row not in born]
        self._db.conn.executemany(GROW, [(*episode[1:-1], episode.row) for episode in grown])
        closed = [(episode.closed_ns, episode.row) for episode in grown if episode.closed_ns is not None]
        self._db.conn.executemany(CLOSE, closed)  # before any opens, since it makes way for those that come again
        self._db.conn.executemany(self._insert, [(*self._rows[row], *words) for row, words in born.items()])
        self._db.conn.executemany(EVENT, self._events)
        if self._folded:
            FOLD.write(self._db, list(together(self._folded).T))
        if self._sweeps():
            self._sweep()

    def keep(self) -> None:
        """Remember what `add` did: it is committed."""
        for key, episode in self._fresh.items():
            if episode is None:
                self._open.pop(key, None)
            elif key in self._open or len(self._open) < self._limit:
                self._open[key] = episode
            else:
                self._full = True
        self._in_storm |= self._fresh_in_storm
        for slot, count in self._born_in.items():
            self._births[slot] = self._births.get(slot, 0) + count
        if self._sweeps():
            self._swept_ns = self._clock.now_ns
            self._open = {key: one for key, one in self._open.items() if not self._is_over(one, LATEST_NS)}
            storms = {episode.row for key, episode in self._open.items() if key[1] == SUMMARY}
            self._in_storm = {key: row for key, row in self._in_storm.items() if row in storms or self._full}
        self._clock.keep()
        self._begin_batch()

    def _sweeps(self) -> bool:
        """Return whether an hour has passed since silent episodes were looked for; when they are changes nothing."""
        return self._clock.now_ns > NEVER and self._clock.now_ns - HOUR_NS >= self._swept_ns

    def _sweep(self) -> None:
        """Close what was silent for long enough, and `LATE_NS`, by the times of the flows after its last one."""
        for flow, newest_ns in self._clock.steps():
            values = {"recording": self._recording, "flow": flow}
            oldest_ns = self._db.conn.execute(OLDEST, values).fetchone()[0]
            self._close_before(newest_ns - LATE_NS, flow)
            if oldest_ns is None or oldest_ns >= newest_ns - LATE_NS - self._pace.silence_ns:
                return

    def end(self, newest_ns: int) -> None:
        """Close, within a transaction, what was silent for long enough when the recording ended."""
        self._close_before(newest_ns, LATEST_NS)

    def _close_before(self, newest_ns: int, flow: int) -> None:
        """Close what was silent for long enough at a packet time and whose last flow came before one."""
        silence = self._pace.silence_ns
        before = max(newest_ns - silence, -LATEST_NS)
        values = {"recording": self._recording, "silence": silence, "before": before, "flow": flow}
        self._db.conn.execute(TELL_ENDED, values)
        self._db.conn.execute(END, values)

    def _begin_batch(self, newest: int = 0) -> None:
        self._newest = newest
        self._fresh: dict[Key, Episode | None] = {}
        """What this batch changed: None where an episode was closed and none opened since."""
        self._rows: dict[int, Episode] = {}
        self._born: dict[int, tuple[object, ...]] = {}
        self._born_in: dict[tuple[str, int], int] = {}
        self._events: list[tuple[object, ...]] = []
        self._folded: list[Ints] = []
        self._fresh_in_storm: dict[Key, int] = {}

    def _of_a_rule(self, alerts: Iterable[Alert], folding: Iterator[int] | None = None) -> None:
        """Take a rule's alerts in the order of their flows, those that must come hit by hit among them.

        ``folding`` yields the flow before it takes its hit.
        """
        folding = iter(()) if folding is None else folding
        waiting: list[tuple[int, Alert | None]] = [(flow, None) for flow in islice(folding, 1)]
        for alert in alerts:
            if waiting and waiting[0][0] < alert.first_flow:
                self._until(alert.first_flow, waiting, folding)
            for hit in self._apart(alert):
                heappush(waiting, (hit.first_flow, hit))
        self._until(LATEST_NS, waiting, folding)

    def _until(self, flow: int, waiting: list[tuple[int, Alert | None]], folding: Iterator[int]) -> None:
        """Take what waits for its turn before a flow."""
        while waiting and waiting[0][0] < flow:
            if hit := heappop(waiting)[1]:
                self._take(hit)
            else:
                for further in islice(folding, 1):
                    heappush(waiting, (further, None))

    def _at_once(self, hits: Hits) -> bool:
        """Take a rule's hits, in a storm without a row for each; return False where they must come in turn."""
        keys, summary = self._keys(hits), self._known((hits.rule, SUMMARY))
        known = [self._known(key) for key in keys]
        if self._may_end([*known, summary], hits) or len(self._in_storm) + len(keys) >= LIMIT:
            return False
        folded = self._without_room(hits, keys, known, summary)[hits.episode]
        if folded.any():
            folding = self._folding(hits.only(np.flatnonzero(folded)))
            self._of_a_rule(hits.only(np.flatnonzero(~folded)).alerts() if not folded.all() else (), folding)
        else:
            self._of_a_rule(hits.alerts())
        return True

    def _keys(self, hits: Hits) -> list[Key]:
        """Return the keys of a rule's episodes."""
        told, which = hits.whom()
        numbers = np.array([self._whoms.number(whom) for whom in told], np.int64)[which]
        return list(zip(repeat(hits.rule), (hits.device[hits.head] << DEVICE_SHIFT | numbers).tolist(), strict=False))

    def _may_end(self, episodes: Iterable[Episode | None], hits: Hits) -> bool:
        """Return whether any of a rule's episodes, or one that begins with these hits, may end before the last."""
        newest_ns = max(self._clock.now_ns, int(hits.last_ns.max()), int(hits.first_ns.max()))
        oldest_ns = min((one.last_ns for one in episodes if one), default=LATEST_NS)
        return newest_ns > later(min(oldest_ns, int(hits.last_ns.min())), self._pace.silence_ns)

    def _without_room(
        self, hits: Hits, keys: Sequence[Key], known: Sequence[Episode | None], summary: Episode | None
    ) -> Flags:
        """Return which episodes neither are open nor may open when their first hit comes: those go to the summary."""
        folded: Flags = np.array([episode is None for episode in known], bool)
        fresh = np.flatnonzero(folded)
        fresh = fresh[np.argsort(hits.head[fresh])]
        hours = (hits.last_ns[hits.head[fresh]] // HOUR_NS).tolist()
        room = {hour: self._left(hits.rule, hour) for hour in set(hours)}
        for episode, hour in zip(fresh.tolist(), hours, strict=True) if max(room.values(), default=0) > 0 else ():
            key = keys[episode]
            row = (self._fresh_in_storm.get(key) or self._in_storm.get(key)) if summary else None
            if room[hour] > 0 and not (row and summary and summary.row == row):
                room[hour] -= 1
                folded[episode] = False
        return folded

    def _folding(self, hits: Hits) -> Iterator[int]:
        """Count hits in their rule's summary, all at once between two decisions; yield the flow before each of them."""
        at, key = 0, (hits.rule, SUMMARY)
        while at < len(hits.flow):
            episode = self._known(key)
            if episode and (stop := undecided(self._pace, episode, hits, at)) > at:
                grown = episode.grown(self._as_storm(hits.together(at, stop)))
                self._write(key, grown)
                self._folded.append(by_device(hits, slice(at, stop), grown.row))
                at = stop
            else:
                yield int(hits.flow[at])
                self._fold(hits.together(at, at + 1))
                at += 1
        if summary := self._known(key):
            self._fresh_in_storm |= dict.fromkeys(self._keys(hits), summary.row)

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
        grown = episode.grown(hit)
        if cause := self._cause(episode, grown.bytes_out, hit.last_ns, hit.level):
            updates = episode.updates + (cause == "time")
            due_ns = later(hit.last_ns, STEPS_NS[min(updates, len(STEPS_NS) - 1)])
            grown = grown._replace(updates=updates, due_ns=due_ns, told_bytes=grown.bytes_out)
            self._events.append(grown.event("update", cause, hit.last_ns))
        self._write(key, grown)

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
        whom = self._whoms.told[key[1] & WHOM] if kind == EPISODE else NOBODY
        self._born[self._newest] = alert.rule, alert.device, *whom, kind, alert.title, alert.first_flow
        self._events.append(self._first_told(episode, alert, kind, head_ns))
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
        key = hit.rule, SUMMARY
        if episode := self._going_on(key, hit):
            self._grow(key, episode, told)
        else:
            self._create(key, told, STORM)
        summary = self._fresh[key]
        assert summary
        if len(self._in_storm) + len(self._fresh_in_storm) < LIMIT:
            self._fresh_in_storm[self._whoms.key(hit)] = summary.row
        self._folded.append(np.array([[summary.row, hit.device, hit.hits, hit.bytes_out, hit.bytes_in]]))

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
        self._events.append(episode.event("close", "silence", end_ns))
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
        storm = self._going_on((hit.rule, SUMMARY), hit) if row else None
        return (not storm or storm.row != row) and self._room(hit.rule, time_ns)

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
        rule, number = key
        device, kind = (0, STORM) if number == SUMMARY else (number >> DEVICE_SHIFT, EPISODE)
        whom = self._whoms.told[number & WHOM] if device else NOBODY
        values = self._recording, rule, *whom, kind, device, device or LATEST_NS
        found = self._db.conn.execute(FIND, values).fetchone()
        return Episode(*found) if found else None
