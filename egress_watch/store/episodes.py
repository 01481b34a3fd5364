"""The alerts of one recording: an episode opens, grows, is told again when it is due, and ends after silence.

In: `Alert` rows of a batch. Out: rows of the tables alert, alert_event and folded. Never: a clock, or a decision that
depends on how flows were cut into batches.

Every decision is made hit by hit, in the order of the flows (`turns`). Hits are taken together, by columns, only where
no decision falls between them, which their sums tell (`settled`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, compress, groupby, repeat
from operator import itemgetter

import numpy as np
from sqlite_utils import Database

from egress_watch.model import Alert, Ints, Pace
from egress_watch.store.clock import NEVER
from egress_watch.store.episode import DEVICE_SHIFT, EPISODE, LATEST_NS, NOT_CLOSED, WHOM, Episode, Key, later
from egress_watch.store.episode_rows import CLOSE, END, EVENT, FOLD, GROW, OLDEST, OPEN, TELL_ENDED
from egress_watch.store.settled import HOUR_NS, Sums, Those, alone, grown, opened, summed, told_again, told_at_birth
from egress_watch.store.storm import Hits, by_device, together, undecided
from egress_watch.store.turns import LATE_NS, LIMIT, Turns

NO_FLOWS: Ints = np.empty(0, np.int64)


class Episodes(Turns):
    """Takes what needs no decision together, the rest hit by hit, and writes all of it."""

    def __init__(self, db: Database, recording: int, dataset: int, limit: int = LIMIT, pace: Pace = Pace()) -> None:  # noqa: B008 - a constant
        super().__init__(db, recording, limit, pace)
        self.judged_by(dataset)
        self._swept_ns = NEVER

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
        changed = [episode for row, episode in self._rows.items() if row not in born]
        self._db.conn.executemany(GROW, [episode[:-1] for episode in changed])
        closed = [(episode.closed_ns, episode.row) for episode in changed if episode.closed_ns != NOT_CLOSED]
        self._db.conn.executemany(CLOSE, closed)  # before any opens, since it makes way for those that come again
        self._db.conn.executemany(self._insert, [self._rows[row] + words for row, words in born.items()])
        self._db.conn.executemany(EVENT, [event for _, event in self._events])
        if self._folded:
            FOLD.write(self._db, list(together(self._folded)))
        if self._sweeps():
            self._sweep()

    def keep(self) -> None:
        """Remember what `add` did: it is committed."""
        self._remember()
        self._in_storm |= self._fresh_in_storm
        for slot, count in self._born_in.items():
            self._births[slot] = self._births.get(slot, 0) + count
        if self._sweeps():
            self._swept_ns = self._clock.now_ns
            self._open = {key: one for key, one in self._open.items() if not self._is_over(one, LATEST_NS)}
            storms = {episode.row for key, episode in self._open.items() if key <= WHOM}
            self._in_storm = {key: row for key, row in self._in_storm.items() if row in storms or self._full}
        self._clock.keep()
        self._begin_batch()

    def _remember(self) -> None:
        """Remember the open episodes that this batch changed, as far as there is room."""
        fresh = {key: episode for key, episode in self._fresh.items() if episode}
        for key in self._fresh.keys() - fresh.keys():
            self._open.pop(key, None)
        if len(self._open) + len(fresh) > self._limit:
            new = [key for key in fresh if key not in self._open]
            for key in new[self._limit - len(self._open) :]:
                del fresh[key]
                self._full = True
        self._open |= fresh

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

    def _at_once(self, hits: Hits) -> bool:
        """Take a rule's hits by columns, without a row for each; return False where they must come in turn.

        No episode ends meanwhile, so none has to do with another but by its number and its turn to be told.
        """
        keys, summary = self._keys(hits), self._known(self._whoms.summary(hits.rule))
        known = self._all_known(keys.tolist())
        if self._may_end([*known, summary], hits) or len(self._in_storm) + len(keys) >= LIMIT:
            return False
        unknown: Those = np.array([episode is None for episode in known], bool)
        folded, told = self._without_room(hits, keys, unknown, summary), len(self._events)
        new, storm = np.flatnonzero(unknown & ~folded), hits.only(np.flatnonzero(folded[hits.kinds.which]))
        rows, at = self._numbered(hits.flow[hits.kinds.first[new]], storm, summary)
        self._all_taken(hits, keys, known, new, rows)
        if folded.any():
            self._all_folded(storm, at, keys[folded])
        self._events[told:] = sorted(self._events[told:], key=itemgetter(0))
        return True

    def _keys(self, hits: Hits) -> Ints:
        """Return the keys of a rule's episodes."""
        told, which = hits.whom()
        some = np.flatnonzero(np.bincount(which, minlength=len(told)))
        numbers = np.zeros(len(told), np.int64)
        numbers[some] = self._whoms.numbers(hits.rule, map(told.__getitem__, some.tolist()))
        keys: Ints = hits.device[hits.kinds.first] << DEVICE_SHIFT | numbers[which]
        return keys

    def _all_known(self, keys: Sequence[Key]) -> list[Episode | None]:
        """Return the open episodes of some keys."""
        if self._full or not self._fresh.keys().isdisjoint(keys):
            return [self._known(key) for key in keys]
        return list(map(self._open.get, keys))

    def _may_end(self, episodes: Iterable[Episode | None], hits: Hits) -> bool:
        """Return whether any of a rule's episodes, or one that begins with these hits, may end before the last."""
        newest_ns = max(self._clock.now_ns, int(hits.last_ns.max()), int(hits.first_ns.max()))
        oldest_ns = min((one.last_ns for one in episodes if one), default=LATEST_NS)
        return newest_ns > later(min(oldest_ns, int(hits.last_ns.min())), self._pace.silence_ns)

    def _without_room(self, hits: Hits, keys: Ints, unknown: Those, summary: Episode | None) -> Those:
        """Return which episodes neither are open nor may open when their first hit comes: those go to the summary."""
        folded, fresh = unknown.copy(), np.flatnonzero(unknown)
        hours = hits.last_ns[hits.kinds.first[fresh]] // HOUR_NS
        left = {hour: self._left(hits.rule, hour) for hour in np.unique(hours).tolist()}
        room = sum(max(some, 0) for some in left.values())
        some = zip(fresh.tolist(), hours.tolist(), keys[fresh].tolist(), strict=True)
        for episode, hour, key in some if room else ():
            row = (self._fresh_in_storm.get(key) or self._in_storm.get(key)) if summary else None
            if left[hour] > 0 and not (row and summary and summary.row == row):
                folded[episode] = False
                left[hour], room = left[hour] - 1, room - 1
                if not room:
                    break
        return folded

    def _numbered(self, flows: Ints, storm: Hits, summary: Episode | None) -> tuple[Ints, int]:
        """Return the rows of episodes that open with these flows; if the summary opens, it has its turn among them.

        Return also how many hits of the storm were taken with that.
        """
        rows, newest = self._newest + 1 + np.arange(len(flows)), self._newest + len(flows)
        opens = len(storm.flow) > 0 and not summary
        if opens:
            before = int(np.searchsorted(flows, storm.flow[0]))
            self._newest += before
            self._fold(storm.together(0, 1))
            rows[before:] += 1
        self._newest = newest + opens
        return rows, int(opens)

    def _all_taken(self, hits: Hits, keys: Ints, known: Sequence[Episode | None], new: Ints, rows: Ints) -> None:
        """Let episodes go on, and open those that are new with their rows; where a decision may fall, hit by hit."""
        first, sums, going_on = hits.kinds.first[new], summed(hits), [episode for episode in known if episode]
        on = np.array([at for at, episode in enumerate(known) if episode], np.int64)
        apart, heads = np.zeros(len(keys), bool), alone(hits, first)
        apart[new] = told_at_birth(self._pace, heads, sums.only(new))
        apart[on] = told_again(self._pace, hits.level, going_on, sums.only(on))
        self._all_opened(hits, keys[new], rows, heads, sums.only(new).but(apart[new], heads))
        plain = on[~apart[on]]
        self._all_grown(hits, keys[plain], list(compress(going_on, ~apart[on])), sums.only(plain))
        each = apart[hits.kinds.which]
        each[first] = False
        self._in_turn(hits, keys, np.flatnonzero(each))

    def _all_opened(self, hits: Hits, keys: Ints, rows: Ints, heads: Sums, sums: Sums) -> None:
        """Open episodes with these sums; what is told of an opening is the first hit alone."""
        flows, hours = hits.flow[heads.newest].tolist(), (heads.last_ns // HOUR_NS).tolist()
        head = (
            heads.last_ns.tolist(),
            repeat(hits.level),
            repeat(1),
            heads.bytes_out.tolist(),
            heads.bytes_in.tolist(),
        )
        told = zip(rows.tolist(), repeat("create"), repeat("hit"), *head, strict=False)
        self._events += zip(flows, told, strict=True)
        for key, episode, flow in zip(keys.tolist(), opened(hits, rows, heads, sums), flows, strict=True):
            whom = self._whoms.told[key & WHOM][1]
            self._born[episode.row] = hits.rule, key >> DEVICE_SHIFT, *whom, EPISODE, hits.title, flow
            self._write(key, episode)
        for hour, count in Counter(hours).items():
            self._born_in[hits.rule, hour] = self._born_in.get((hits.rule, hour), 0) + count

    def _all_grown(self, hits: Hits, keys: Ints, known: Sequence[Episode], sums: Sums) -> None:
        """Let episodes go on with these sums, none of which decides anything."""
        for key, episode in zip(keys.tolist(), grown(hits, known, sums), strict=True):
            self._write(key, episode)

    def _in_turn(self, hits: Hits, keys: Ints, some: Ints) -> None:
        """Let open episodes go on with some hits, one by one."""
        for key, hit in zip(keys[hits.kinds.which[some]].tolist(), hits.each(some), strict=True):
            episode = self._known(key)
            assert episode
            self._grow(key, episode, hit)

    def _all_folded(self, hits: Hits, at: int, keys: Ints) -> None:
        """Count hits from one on in their rule's summary, all at once between two decisions."""
        key = self._whoms.summary(hits.rule)
        while at < len(hits.flow):
            episode = self._known(key)
            if episode and (stop := undecided(self._pace, episode, hits, at)) > at:
                more = episode.grown(self._as_storm(hits.together(at, stop)))
                self._write(key, more)
                self._folded.append(by_device(hits, slice(at, stop), more.row))
                at = stop
            else:
                self._fold(hits.together(at, at + 1))
                at += 1
        if summary := self._known(key):
            self._fresh_in_storm |= dict.fromkeys(keys.tolist(), summary.row)
