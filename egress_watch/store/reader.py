"""Reading: rows for exports, sums for reports, a `Snapshot` for screens.

In: a database that may be written by another process meanwhile. Out: plain rows. Never: a long transaction, or a write.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Self

from egress_watch.model import Snapshot
from egress_watch.store.answers import known_dataset
from egress_watch.store.devices import FACTS, LISTINGS, SIGHTINGS
from egress_watch.store.file import open_for_reading, trouble
from egress_watch.store.foremost import destinations, devices
from egress_watch.store.forwarding import states

JSON_COLUMNS = ("laws", "ties", "data", "countries", "other_names")
PAGE_ROWS = 5_000
_NEWER_THAN_ALL = 2**63 - 1
LEVELS = ("critical", "high", "medium", "low", "informational")
_RANKS = " ".join(f"WHEN '{level}' THEN {rank}" for rank, level in enumerate(LEVELS))
_GRAVEST_FIRST = f"CASE level {_RANKS} ELSE {len(LEVELS)} END, bytes_out DESC, id"

_SUMS = "sum(flows) AS flows, sum(bytes_out) AS bytes_out, sum(bytes_in) AS bytes_in"
_BY_PLACE = f"""
WITH sums AS (SELECT place, {_SUMS} FROM segment_hour WHERE {{of}} GROUP BY place)
SELECT {{columns}}, {_SUMS} FROM sums JOIN place ON place.id = sums.place
GROUP BY {{keys}} ORDER BY sum(bytes_out) DESC, {{keys}}
"""  # noqa: S608 - constants
_COUNTRY = ("country", "countries", "location_status", "verdict")
_OWNER = (
    "coalesce(provider, as_name) AS provider", "owner", "owner_seat",
    "CASE location_status WHEN 'local' THEN 'local' END AS location_status", "verdict",
)  # fmt: skip
"""What a row of the report shows, and nothing else, so that no two rows look the same."""
_RECORDINGS = "SELECT * FROM recording WHERE {of} ORDER BY id"
_DAMAGE = "SELECT path, offset, reason, lost_bytes FROM damage WHERE {of}"
_SKIPPED = "SELECT reason, sum(frames) AS frames FROM skipped WHERE {of} GROUP BY reason ORDER BY 2 DESC, 1"
_HEARD = "SELECT counter, sum(count) AS count FROM heard WHERE {of} GROUP BY counter ORDER BY 1"
_EVIDENCE = """
SELECT path, count(*) AS flows, sum(packets) AS packets, sum(missing) AS missing
FROM (SELECT path, flow, max(packets) AS packets, max(missing) AS missing FROM evidence
  WHERE {of} GROUP BY path, flow) GROUP BY path ORDER BY path
"""
_DATA = "SELECT files FROM dataset WHERE id IN (SELECT dataset FROM recording WHERE {of}) ORDER BY id"

_EARLIER = """
SELECT place.*, rejudgement.made_ns, rejudged.new_place, flow.place AS now, dataset.dates AS data
FROM flow JOIN rejudged ON rejudged.recording = flow.recording AND rejudged.remote = flow.remote
    AND rejudged.name = coalesce(flow.name, 0)
  JOIN rejudgement ON rejudgement.id = rejudged.rejudgement
  JOIN place ON place.id = rejudged.old_place JOIN dataset ON dataset.id = place.dataset
WHERE flow.id = :flow ORDER BY rejudgement.id DESC
"""

FILTERS: dict[str, str] = {
    "verdict": "verdict = upper(:verdict)",
    "id": "id = :id",
    "country": "country = upper(:country) OR instr(countries, '\"' || upper(:country) || '\"') > 0",
    "owner": "instr(lower(owner), lower(:owner)) > 0",
    "provider": "instr(lower(provider), lower(:provider)) > 0",
    "device": "device_ip = :device OR device_mac = lower(:device)",
    "remote": "remote_ip = :remote",
    "name": "instr(name, lower(:name)) > 0",
    "port": "remote_port = :port",
    "protocol": "protocol = lower(:protocol)",
    "since_ns": "last_ns >= :since_ns",
    "until_ns": "first_ns <= :until_ns",
    "zone": "zone = lower(:zone)",
    "recording": "recording = :recording",
}
"""What the view `flows` can be narrowed by, as SQL; a place in dispute is found by each country that is named."""
_OF_ALERTS = {**FILTERS, "country": "country = upper(:country)"}
"""The same for the view `alerts`, as far as it has the columns."""


BEGAN = "(SELECT time_ns FROM alert_event WHERE alert_event.alert = alerts.id ORDER BY id LIMIT 1) AS began_ns"
"""When an episode was made, by the time of its packets: it never changes, and is the same wherever it is recorded."""


class Reader:
    """A database open for reading only."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._db = open_for_reading(path)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def newest_ns(self) -> int:
        """Return the time of the newest frame in the database, 0 where there is none."""
        return int(self._rows("SELECT coalesce(max(last_ns), 0) AS newest FROM recording")[0]["newest"])

    def is_device(self, ip: str) -> bool:
        """Return whether an address was ever seen on our side."""
        return bool(self._rows("SELECT EXISTS (SELECT 1 FROM device WHERE ip = :ip) AS held", {"ip": ip})[0]["held"])

    def zones(self) -> list[str]:
        """Return the zones that recordings and flows were judged under."""
        return [
            row["zone"] for row in self._rows("SELECT zone FROM recording UNION SELECT zone FROM place ORDER BY zone")
        ]

    def zone_dates(self) -> dict[int, str]:
        """Return the day of the zone that each recording was judged under, by the recording's number."""
        return {row["id"]: row["zone_as_of"] for row in self._rows("SELECT id, zone_as_of FROM recording")}

    def health(self, recording: int) -> list[dict[str, Any]]:
        """Return the minutes of a live recording by interface."""
        return self._rows("SELECT * FROM health WHERE recording = :of ORDER BY minute_ns, interface", {"of": recording})

    def happened(self, recording: int) -> list[dict[str, Any]]:
        """Return what became of the interfaces of a live recording, in order."""
        return self._rows("SELECT * FROM happening WHERE recording = :of ORDER BY time_ns", {"of": recording})

    def flows(self, filters: Mapping[str, Any], limit: int = 0) -> Iterator[dict[str, Any]]:
        """Yield flow rows by id, in pages, so that no transaction stays open; ``limit`` 0 gives all."""
        return self._by_id("flows", filters, FILTERS, limit)

    def episodes(self, filters: Mapping[str, Any], limit: int = 0) -> Iterator[dict[str, Any]]:
        """Yield alert rows by id with ``began_ns``, in pages like `flows`: for an export, which may not hold all."""
        return self._by_id("alerts", filters, _OF_ALERTS, limit, also=f", {BEGAN}")

    def _by_id(
        self, view: str, filters: Mapping[str, Any], known: Mapping[str, str], limit: int, also: str = ""
    ) -> Iterator[dict[str, Any]]:
        last, left = 0, limit or -1
        while left:
            size = min(PAGE_ROWS, left) if left > 0 else PAGE_ROWS
            clause = f"{conditions_of(filters, known)} AND id > :after ORDER BY id LIMIT :size"
            query = f"SELECT *{also} FROM {view} WHERE {clause}"  # noqa: S608 - view and clauses are ours, values are bound
            rows = self._rows(query, {**filters, "after": last, "size": size})
            yield from rows
            if len(rows) < size:
                return
            last, left = rows[-1]["id"], left - size

    def page(self, filters: Mapping[str, Any], size: int, *, before: int = 0, after: int = 0) -> list[dict[str, Any]]:
        """Return up to ``size`` flow rows for a screen, the newest first: those next below or above an id, or of all.

        Ids grow with the time of writing, so a page costs the same wherever it lies.
        """
        beside = "id > :after ORDER BY id" if after else "id < :before ORDER BY id DESC"
        query = f"SELECT * FROM flows WHERE {conditions_of(filters)} AND {beside} LIMIT :size"  # noqa: S608 - ours
        rows = self._rows(query, {**filters, "size": size, "before": before or _NEWER_THAN_ALL, "after": after})
        return rows[::-1] if after else rows

    def alerts(
        self, filters: Mapping[str, Any], limit: int = 0, *, of: str = "1", muted: bool = False, columns: str = "*",
        only: Sequence[int] | None = None,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Return alert rows, the gravest and largest first; those that somebody muted only where ``muted``.

        ``only`` are the numbers of those that are wanted, however many.
        """
        of = of if only is None else "id IN (SELECT value FROM json_each(:only))"
        of = of if muted else f"({of}) AND mute IS NULL"
        where = f"({of}) AND {conditions_of(filters, _OF_ALERTS)}"
        query = f"SELECT {columns} FROM alerts WHERE {where} ORDER BY {_GRAVEST_FIRST} LIMIT :size"  # noqa: S608 - ours
        return self._rows(query, {**filters, "size": limit or -1, "only": json.dumps(only)})

    def muted(self, filters: Mapping[str, Any], *, of: str = "1") -> int:
        """Return how many alerts are left out because somebody muted them."""
        where = conditions_of(filters, _OF_ALERTS)
        query = f"SELECT count(*) AS n FROM alerts WHERE ({of}) AND mute IS NOT NULL AND {where}"  # noqa: S608 - ours
        return int(self._rows(query, filters)[0]["n"]) if self._rows("SELECT 1 FROM mute LIMIT 1") else 0

    def events(self, alert: int) -> list[dict[str, Any]]:
        """Return what became of an alert, by packet time."""
        return self._rows("SELECT * FROM alert_event WHERE alert = :alert ORDER BY id", {"alert": alert})

    def acts(self, alert: int) -> list[dict[str, Any]]:
        """Return what people did with an alert, the oldest first, with all about mutes that came of it or hide it."""
        query = """SELECT * FROM act WHERE alert = :alert OR mute IN (SELECT mute FROM act WHERE alert = :alert)
          OR mute = (SELECT mute FROM alerts WHERE id = :alert) ORDER BY id"""
        return self._rows(query, {"alert": alert})

    def mutes(self) -> list[dict[str, Any]]:
        """Return every mute with who gave it and why, the newest first."""
        query = """SELECT mute.*, act.who, act.made_ns, act.reason,
            (SELECT count(*) FROM alerts WHERE alerts.mute = mute.id) AS alerts
          FROM mute JOIN act ON act.mute = mute.id AND act.kind = 'mute' ORDER BY mute.id DESC"""
        return self._rows(query)

    def recordings_of(self, fingerprints: Iterable[str]) -> list[int]:
        """Return the finished recordings that were made from any of these inputs."""
        query = """SELECT DISTINCT recording, fingerprint FROM input JOIN recording ON recording.id = input.recording
          WHERE state = 'finished' ORDER BY recording"""
        wanted = set(fingerprints)
        return list(dict.fromkeys(row["recording"] for row in self._rows(query) if row["fingerprint"] in wanted))

    def inputs(self, recording: int) -> dict[str, str]:
        """Return the files that a recording was made from, with their fingerprints."""
        rows = self._rows("SELECT path, fingerprint FROM input WHERE recording = :of ORDER BY path", {"of": recording})
        return {row["path"]: row["fingerprint"] for row in rows}

    def evidence(self, flow: int) -> list[str]:
        """Return the files that packets of a flow were kept in as evidence; the ring may have let them go since."""
        query = "SELECT DISTINCT path FROM evidence WHERE flow = :flow AND packets > 0 ORDER BY path"
        return [row["path"] for row in self._rows(query, {"flow": flow})]

    def flows_of(self, alert: int) -> list[int]:
        """Return flows of an alert, those with packets kept as evidence, else its newest; nothing for no alert."""
        query = """SELECT flow FROM evidence WHERE alert = :alert AND packets > 0
          UNION ALL SELECT last_flow FROM alert WHERE id = :alert
            AND NOT EXISTS (SELECT 1 FROM evidence WHERE alert = :alert AND packets > 0) ORDER BY 1"""
        return [row["flow"] for row in self._rows(query, {"alert": alert})]

    def failed_inputs(self) -> dict[str, str]:
        """Return why an input gave nothing, by its fingerprint."""
        rows = self._rows("SELECT fingerprint, failed FROM input WHERE failed IS NOT NULL")
        return {row["fingerprint"]: row["failed"] for row in rows}

    def data(self, *, of_alerts: bool = False) -> list[dict[str, Any]]:
        """Return the data files that judged the flows, or the alerts, each once."""
        judged = "SELECT dataset FROM alert" if of_alerts else "SELECT dataset FROM recording"
        return self._files(f"SELECT files FROM dataset WHERE id IN ({judged}) ORDER BY id")  # noqa: S608 - constants

    def dataset(self, data: Sequence[Mapping[str, str]]) -> int:
        """Return the number that a data set of these files has here, 0 where it judged nothing."""
        with trouble(self.path):
            return known_dataset(self._db, data)

    def seen(self, recording: int = 0) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
        """Return sightings, facts and listings of devices, of one recording or of all; see `store.devices`."""
        of = f"{{}}recording = {recording:d}" if recording else "1"
        sightings, facts = SIGHTINGS.format(of=of.format("flow.")), FACTS.format(of=of.format(""))
        return self._rows(sightings), self._rows(facts), self._rows(LISTINGS.format(of=of.format("listing.")))

    def earlier(self, flow: int) -> list[dict[str, Any]]:
        """Return what was said of a flow before it was judged again, the newest first.

        Each row is a place, with ``made_ns``, the moment it was replaced, and ``data``, which judged it.
        """
        rows = self._rows(_EARLIER, {"flow": flow})
        found, place = [], rows[0]["now"] if rows else 0
        for row in rows:
            if row["new_place"] == place:
                found.append(row)
                place = row["id"]
        return found

    def sinks(self) -> list[dict[str, Any]]:
        """Return every sink that was ever served, with its state and what waits for it; see `outbox.states`."""
        with trouble(self.path):
            return states(self._db)

    def snapshot(self, recordings: Sequence[int] = (), most: int = -1) -> Snapshot:
        """Return everything a report shows, as of now, of all or of some recordings.

        ``most`` is how many devices, and destinations of alerts, are wanted; -1 is all.
        """
        numbers = ", ".join(str(int(number)) for number in recordings)
        of = f"recording IN ({numbers})" if recordings else "1"
        of_id = of.replace("recording", "id", 1)
        told = destinations(self.alerts({}, of=of, columns="id, device_ip, owner, remote_ip, country"))
        wanted = [alert for alerts in told[: most if most >= 0 else None] for alert in alerts]
        with trouble(self.path):
            first, among = devices(self._db, of, most)
        return Snapshot(
            recordings=tuple(self._rows(_RECORDINGS.format(of=of_id))),
            verdicts=tuple(self._sums(("verdict",), of)),
            countries=tuple(self._sums(_COUNTRY, of)),
            owners=tuple(self._sums(_OWNER, of)),
            devices=tuple(first),
            device_count=among,
            alerts=tuple(self.alerts({}, only=wanted)),
            alert_count=sum(map(len, told)),
            destination_count=len(told),
            muted=self.muted({}, of=of),
            skipped=tuple(self._rows(_SKIPPED.format(of=of))),
            damage=tuple(self._rows(_DAMAGE.format(of=of))),
            heard=tuple(self._rows(_HEARD.format(of=of))),
            evidence=tuple(self._rows(_EVIDENCE.format(of=of))),
            data=tuple(self._data(of_id)),
        )

    def _sums(self, columns: Sequence[str], of: str) -> list[dict[str, Any]]:
        return self._rows(_BY_PLACE.format(columns=", ".join(columns), keys=_positions(columns), of=of))

    def _data(self, of: str) -> list[dict[str, Any]]:
        return self._files(_DATA.format(of=of))

    def _files(self, query: str) -> list[dict[str, Any]]:
        files = [row for found in self._rows(query) for row in json.loads(found["files"])]
        return list({json.dumps(row): row for row in files}.values())

    def _rows(self, query: str, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        with trouble(self.path):
            return [plain(row) for row in self._db.query(query, dict(values or {}))]


_parsed = lru_cache(4096)(json.loads)
"""The same few lists stand in thousands of rows."""


def _positions(columns: Sequence[str]) -> str:
    return ", ".join(str(number) for number in range(1, len(columns) + 1))


def conditions_of(filters: Mapping[str, Any], known: Mapping[str, str] = FILTERS) -> str:
    """Return the condition on a view for filters of its kind."""
    return " AND ".join(f"({known[name]})" for name in filters) or "1"


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its lists as lists."""
    for column in JSON_COLUMNS:
        if isinstance(row.get(column), str):
            row[column] = _parsed(row[column])
    return row
