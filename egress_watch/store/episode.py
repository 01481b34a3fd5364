"""One episode as it stands, and the statements that write it.

In: hits, as `Alert` rows. Out: rows of the tables alert, alert_event and folded. Never: a decision; see `episodes`.
"""

from __future__ import annotations

from typing import NamedTuple

from egress_watch.model import Alert

LATEST_NS = 2**63 - 1
GRAVITY = {level: n for n, level in enumerate(("informational", "low", "medium", "high", "critical"))}
EPISODE, STORM = "episode", "storm"
Key = tuple[str, int, str, str, str, str]
"""Rule, device (0 for a summary), owner, country, network, kind."""

LIVING = (
    "level", "first_ns", "last_ns", "hits", "bytes_out", "bytes_in", "remote_ip", "verdict", "last_flow", "why",
    "due_ns", "updates", "told_bytes", "closed_ns",
)  # fmt: skip
BORN = ("rule", "device", "owner", "country", "network", "kind", "title", "first_flow")
GROW = f"UPDATE alert SET {', '.join(f'{name} = ?' for name in LIVING[:-1])} WHERE id = ?"  # noqa: S608 - constants
CLOSE = "UPDATE alert SET closed_ns = ? WHERE id = ?"
"""Apart from the rest: a column of the index that is set, even to what it was, costs as much as the row."""
OPEN = f"""
INSERT INTO alert(recording, dataset, id, {", ".join(LIVING)}, {", ".join(BORN)})
VALUES ({{recording:d}}, {{dataset:d}}, ?{", ?" * len(LIVING + BORN)})
"""  # noqa: S608 - constants
FIND = f"""
SELECT id, {", ".join(LIVING)} FROM alert WHERE recording = ? AND rule = ? AND owner = ? AND country = ?
  AND network = ? AND kind = ? AND device BETWEEN ? AND ? AND closed_ns IS NULL
"""  # noqa: S608 - constants
EVENT = """INSERT INTO alert_event(alert, kind, cause, time_ns, level, hits, bytes_out, bytes_in)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
FOLD = """INSERT INTO folded VALUES (?, ?, ?, ?, ?) ON CONFLICT(alert, device) DO UPDATE
SET hits = hits + excluded.hits, bytes_out = bytes_out + excluded.bytes_out, bytes_in = bytes_in + excluded.bytes_in"""
ENDED = "FROM alert WHERE recording = :recording AND closed_ns IS NULL AND last_ns < :before"
TELL_ENDED = f"""
INSERT INTO alert_event(alert, kind, cause, time_ns, level, hits, bytes_out, bytes_in)
SELECT id, 'close', 'silence', last_ns + :silence, level, hits, bytes_out, bytes_in {ENDED} ORDER BY id
"""
END = """UPDATE alert SET closed_ns = last_ns + :silence
WHERE recording = :recording AND closed_ns IS NULL AND last_ns < :before"""


class Episode(NamedTuple):
    """An episode as it stands: its row, and the columns that change."""

    row: int
    level: str
    first_ns: int
    last_ns: int
    hits: int
    bytes_out: int
    bytes_in: int
    remote_ip: str
    verdict: str
    last_flow: int
    why: str
    due_ns: int
    """When it is told again, if it is hit then."""
    updates: int
    told_bytes: int
    closed_ns: int | None = None

    def grown(self, hit: Alert) -> Episode:
        """Return the episode with the hits of an alert added."""
        level = self.level if hit.level == self.level else max(self.level, hit.level, key=gravity)
        return Episode(
            self.row, level, min(self.first_ns, hit.first_ns),
            max(self.last_ns, hit.last_ns), self.hits + hit.hits, self.bytes_out + hit.bytes_out,
            self.bytes_in + hit.bytes_in, hit.remote_ip, hit.verdict, hit.last_flow, hit.why, self.due_ns,
            self.updates, self.told_bytes,
        )  # fmt: skip

    def event(self, kind: str, cause: str, time_ns: int) -> tuple[object, ...]:
        """Return the row of alert_event for what happened at a packet time."""
        return self.row, kind, cause, time_ns, self.level, self.hits, self.bytes_out, self.bytes_in


def key_of(alert: Alert) -> Key:
    """Return the key of the episode that an alert belongs to."""
    return alert.rule, alert.device, alert.owner, alert.country, alert.network, EPISODE


def gravity(level: str) -> int:
    """Return how grave a level is."""
    return GRAVITY.get(level, -1)


def later(time_ns: int, by_ns: int) -> int:
    """Return a time so much later, within what SQLite can hold."""
    return min(time_ns + by_ns, LATEST_NS)
