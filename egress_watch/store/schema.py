"""The tables, and how a file grows from one version to the next.

In: an open database. Out: the same at the newest version. Never: a row changed by a reader, or a version guessed.

`docs/schema.md` describes every table for people. Look-up tables (device, remote, name, place) hold each text once,
so a flow is a row of integers; the view ``flows`` puts them together again.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from sqlite_utils import Database

from egress_watch.model import END_REASONS, NAME_SOURCES, PROTOCOLS
from egress_watch.store.schema_habits import HABITS, HABITS_SHOWN
from egress_watch.store.schema_heard import ALERT_LISTED, BY_NEWEST_LISTING, HEARD, HEARD_SHOWN, widen
from egress_watch.store.schema_outbox import OUTBOX
from egress_watch.store.schema_senders import widen_sums
from egress_watch.store.sums import tables as sum_tables

APPLICATION = 0x45677257
"""``EgrW``: PRAGMA application_id of our files, so that a database of something else is never taken for one."""

TABLES = """
CREATE TABLE dataset(
  id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, files TEXT NOT NULL);
CREATE TABLE recording(
  id INTEGER PRIMARY KEY AUTOINCREMENT, state TEXT NOT NULL, zone TEXT NOT NULL, zone_as_of TEXT NOT NULL,
  dataset INTEGER NOT NULL REFERENCES dataset, version TEXT NOT NULL, writer TEXT,
  frames INTEGER NOT NULL DEFAULT 0, packets INTEGER NOT NULL DEFAULT 0, packet_bytes INTEGER NOT NULL DEFAULT 0,
  lost INTEGER NOT NULL DEFAULT 0, flows INTEGER NOT NULL DEFAULT 0, evicted INTEGER NOT NULL DEFAULT 0,
  late_fragments INTEGER NOT NULL DEFAULT 0, first_ns INTEGER, last_ns INTEGER, rules_done INTEGER NOT NULL DEFAULT 0);
CREATE TABLE input(
  recording INTEGER NOT NULL REFERENCES recording, path TEXT NOT NULL, fingerprint TEXT NOT NULL,
  failed TEXT, PRIMARY KEY(recording, path)) WITHOUT ROWID;
CREATE INDEX input_fingerprint ON input(fingerprint);
CREATE TABLE skipped(
  recording INTEGER NOT NULL REFERENCES recording, reason TEXT NOT NULL, frames INTEGER NOT NULL,
  PRIMARY KEY(recording, reason)) WITHOUT ROWID;
CREATE TABLE damage(
  recording INTEGER NOT NULL REFERENCES recording, path TEXT NOT NULL, offset INTEGER NOT NULL, reason TEXT NOT NULL,
  lost_bytes INTEGER NOT NULL);
CREATE TABLE device(
  id INTEGER PRIMARY KEY, ip TEXT NOT NULL, mac TEXT NOT NULL, UNIQUE(ip, mac));
CREATE TABLE remote(
  id INTEGER PRIMARY KEY, ip TEXT NOT NULL UNIQUE);
CREATE TABLE name(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE place(
  id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, zone TEXT NOT NULL, dataset INTEGER NOT NULL REFERENCES dataset,
  country TEXT, location_status TEXT NOT NULL, countries TEXT NOT NULL, asn INTEGER, as_name TEXT, provider TEXT,
  region TEXT, owner TEXT, owner_seat TEXT, laws TEXT NOT NULL, evidence TEXT, ties TEXT NOT NULL,
  verdict TEXT NOT NULL, why TEXT NOT NULL);
CREATE TABLE flow(
  id INTEGER PRIMARY KEY, recording INTEGER NOT NULL REFERENCES recording, first_ns INTEGER NOT NULL,
  duration_ns INTEGER NOT NULL, protocol INTEGER NOT NULL, device INTEGER NOT NULL REFERENCES device,
  device_port INTEGER NOT NULL, remote INTEGER NOT NULL REFERENCES remote, remote_port INTEGER NOT NULL,
  vlan INTEGER NOT NULL, packets_out INTEGER NOT NULL, bytes_out INTEGER NOT NULL, packets_in INTEGER NOT NULL,
  bytes_in INTEGER NOT NULL, flags_out INTEGER NOT NULL, flags_in INTEGER NOT NULL, end_reason INTEGER NOT NULL,
  name INTEGER REFERENCES name, name_source INTEGER NOT NULL, place INTEGER NOT NULL REFERENCES place);
CREATE TABLE rule(
  id TEXT PRIMARY KEY, title TEXT NOT NULL, level TEXT NOT NULL, digest TEXT NOT NULL, origin TEXT NOT NULL,
  broken TEXT) WITHOUT ROWID;
CREATE TABLE alert(
  id INTEGER PRIMARY KEY AUTOINCREMENT, recording INTEGER NOT NULL REFERENCES recording,
  dataset INTEGER NOT NULL REFERENCES dataset, rule TEXT NOT NULL, title TEXT NOT NULL, level TEXT NOT NULL,
  device INTEGER NOT NULL REFERENCES device, remote_ip TEXT NOT NULL, owner TEXT NOT NULL, country TEXT NOT NULL,
  verdict TEXT NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, hits INTEGER NOT NULL,
  bytes_out INTEGER NOT NULL, bytes_in INTEGER NOT NULL, first_flow INTEGER NOT NULL, last_flow INTEGER NOT NULL,
  why TEXT NOT NULL, network TEXT NOT NULL,
  UNIQUE(recording, rule, device, owner, country, network));
"""


def _cases(column: str, names: dict[int, str]) -> str:
    whens = " ".join(f"WHEN {number} THEN '{name}'" for number, name in names.items())
    return f"CASE {column} {whens} ELSE CAST({column} AS TEXT) END"


def _flows_view(more: str = "", joins: str = "") -> str:
    return f"""
CREATE VIEW flows AS SELECT
  flow.id, flow.recording, flow.first_ns, flow.first_ns + flow.duration_ns AS last_ns,
  {_cases("flow.protocol", PROTOCOLS)} AS protocol,
  device.ip AS device_ip, flow.device_port, nullif(device.mac, '') AS device_mac,
  remote.ip AS remote_ip, flow.remote_port, nullif(flow.vlan, 0) AS vlan,
  flow.packets_out, flow.bytes_out, flow.packets_in, flow.bytes_in,
  {_cases("flow.end_reason", dict(enumerate(END_REASONS)))} AS end_reason,
  name.name, CASE flow.name_source {" ".join(f"WHEN {n} THEN '{s}'" for n, s in enumerate(NAME_SOURCES) if s)} END
    AS name_source,
  place.country, place.location_status, place.asn, place.as_name, place.provider, place.region,
  place.owner, place.owner_seat, place.laws, place.ties, place.zone, place.verdict, place.why{more}, flow.device
FROM flow JOIN device ON device.id = flow.device JOIN remote ON remote.id = flow.remote
  JOIN place ON place.id = flow.place{joins} LEFT JOIN name ON name.id = flow.name;
"""  # noqa: S608 - built from the constants above


ALERTS_VIEW = """
CREATE VIEW alerts AS SELECT
  alert.id, alert.recording, alert.level, alert.title, alert.rule, device.ip AS device_ip,
  nullif(device.mac, '') AS device_mac, alert.remote_ip, nullif(alert.owner, '') AS owner,
  nullif(alert.network, '') AS network, nullif(alert.country, '') AS country, alert.verdict, alert.first_ns,
  alert.last_ns, alert.hits, alert.bytes_out, alert.bytes_in, alert.first_flow, alert.last_flow, alert.why,
  dataset.files AS data
FROM alert JOIN device ON device.id = alert.device JOIN dataset ON dataset.id = alert.dataset;
"""


HISTORY = """
CREATE TABLE rejudgement(
  id INTEGER PRIMARY KEY AUTOINCREMENT, recording INTEGER NOT NULL REFERENCES recording, made_ns INTEGER NOT NULL,
  version TEXT NOT NULL, old_zone_as_of TEXT NOT NULL, zone_as_of TEXT NOT NULL,
  old_dataset INTEGER NOT NULL REFERENCES dataset, dataset INTEGER NOT NULL REFERENCES dataset);
CREATE TABLE rejudged(
  recording INTEGER NOT NULL REFERENCES recording, remote INTEGER NOT NULL REFERENCES remote, name INTEGER NOT NULL,
  rejudgement INTEGER NOT NULL REFERENCES rejudgement, old_place INTEGER NOT NULL REFERENCES place,
  new_place INTEGER NOT NULL REFERENCES place, flows INTEGER NOT NULL,
  PRIMARY KEY(recording, remote, name, rejudgement, old_place)) WITHOUT ROWID;
"""
"""What was said before. Within one recording a remote under one name has one answer, so a row tells it of all its
flows; ``name`` is 0 where none was heard."""


DEVICES = """
CREATE TABLE fact(
  recording INTEGER NOT NULL REFERENCES recording, mac TEXT NOT NULL, ip TEXT NOT NULL, vlan INTEGER NOT NULL,
  source TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL,
  PRIMARY KEY(recording, mac, ip, vlan, source, kind, value)) WITHOUT ROWID;
CREATE TABLE asset(
  id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, device_name TEXT, site TEXT, segment TEXT, segment_class TEXT,
  role TEXT, supplier TEXT, zone TEXT, contact TEXT, notes TEXT, listed INTEGER NOT NULL);
CREATE TABLE listing(
  recording INTEGER NOT NULL REFERENCES recording, device INTEGER NOT NULL REFERENCES device, vlan INTEGER NOT NULL,
  asset INTEGER NOT NULL REFERENCES asset, PRIMARY KEY(recording, device, vlan)) WITHOUT ROWID;
"""
"""What devices say of themselves, and what the inventory says of them."""


def dates(files: str) -> str:
    """Return name and date of each data file of ``dataset.files``, as JSON: what every flow shows of its data set."""
    return json.dumps([{"name": row.get("name"), "built": row.get("built")} for row in json.loads(files)])


def _run(db: Database, statements: str) -> None:
    for statement in statements.split(";\n"):
        if statement.strip():
            db.conn.execute(statement)


def _version_1(db: Database) -> None:
    db.execute(f"PRAGMA application_id = {APPLICATION}")
    _run(db, TABLES + _flows_view() + ALERTS_VIEW)


_JUDGED = ", place.countries, place.evidence,\n  place.note, place.dataset, dataset.dates AS data"
_BY_DATASET = " JOIN dataset ON dataset.id = place.dataset"
_LISTED = """,
  asset.device_name, asset.site, asset.segment, asset.segment_class, asset.role, asset.supplier, asset.listed"""
_BY_LISTING = """ LEFT JOIN listing ON listing.recording = flow.recording AND listing.device = flow.device
    AND listing.vlan = flow.vlan LEFT JOIN asset ON asset.id = listing.asset"""


def _version_2(db: Database) -> None:
    """Each flow shows what its answer rests on and which data judged it; a later judgement keeps the earlier ones."""
    _run(db, "ALTER TABLE place ADD COLUMN note TEXT;\nALTER TABLE dataset ADD COLUMN dates TEXT NOT NULL DEFAULT '[]'")
    rows = db.conn.execute("SELECT id, files FROM dataset").fetchall()
    db.conn.executemany("UPDATE dataset SET dates = ? WHERE id = ?", [(dates(files), number) for number, files in rows])
    _run(db, HISTORY + "DROP VIEW flows;\n" + _flows_view(_JUDGED, _BY_DATASET))


def _version_3(db: Database) -> None:
    """Devices: facts heard of them, and each flow shows what the inventory says of its device."""
    _run(db, "ALTER TABLE recording ADD COLUMN refused_facts INTEGER NOT NULL DEFAULT 0")
    _run(db, DEVICES + "DROP VIEW flows;\n" + _flows_view(f"{_JUDGED}{_LISTED}", _BY_DATASET + _BY_LISTING))


def _version_4(db: Database) -> None:
    """Let a recording say what part of its inputs was asked for."""
    _run(db, "ALTER TABLE recording ADD COLUMN narrowed TEXT NOT NULL DEFAULT ''")


FACTS = """
CREATE TABLE contact(
  device INTEGER NOT NULL REFERENCES device, kind INTEGER NOT NULL, value TEXT NOT NULL, first_ns INTEGER NOT NULL,
  recording INTEGER NOT NULL REFERENCES recording, PRIMARY KEY(device, kind, value)) WITHOUT ROWID;
CREATE TABLE rollup(
  recording INTEGER NOT NULL REFERENCES recording, rule TEXT NOT NULL, grouped TEXT NOT NULL, slot INTEGER NOT NULL,
  item TEXT NOT NULL, amount INTEGER NOT NULL, hits INTEGER NOT NULL, bytes_out INTEGER NOT NULL,
  bytes_in INTEGER NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, first_flow INTEGER NOT NULL,
  last_flow INTEGER NOT NULL, told INTEGER NOT NULL DEFAULT 0, told_out INTEGER NOT NULL DEFAULT 0,
  told_in INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(recording, rule, grouped, slot, item)) WITHOUT ROWID;
"""
_FACTS_OF_THE_PAST = """
ALTER TABLE flow ADD COLUMN facts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE device ADD COLUMN first_ns INTEGER;
ALTER TABLE recording ADD COLUMN adequate TEXT NOT NULL DEFAULT '';
UPDATE device SET first_ns = old.first_ns
FROM (SELECT device, min(first_ns) AS first_ns FROM flow GROUP BY device) AS old WHERE old.device = device.id;
"""
_CONTACT_OF_THE_PAST = """
INSERT INTO contact SELECT device, {kind}, place.{column}, min(first_ns), min(recording)
FROM flow JOIN place ON place.id = flow.place
WHERE bytes_out >= 200 AND place.{column} IS NOT NULL AND location_status <> 'local' GROUP BY 1, 3;
"""
_FACTS_SHOWN = """,
  flow.facts & 1 AS first_country, flow.facts >> 1 & 1 AS first_owner, flow.facts >> 2 & 1 AS first_provider,
  max(0, (flow.first_ns - device.first_ns) / 1000000000) AS device_age_s,
  (SELECT instr(nullif(recording.adequate, ''), place.country) > 0 FROM recording
    WHERE recording.id = flow.recording) AS adequate"""


def _version_5(db: Database) -> None:
    """Flows know whether they are a first contact, and rules can count over time; what was stored before counts too."""
    columns = enumerate(("country", "owner", "provider"))
    past = "".join(_CONTACT_OF_THE_PAST.format(kind=kind, column=column) for kind, column in columns)
    _run(db, FACTS + _FACTS_OF_THE_PAST + past)
    _run(db, "DROP VIEW flows;\n" + _flows_view(f"{_JUDGED}{_LISTED}{_FACTS_SHOWN}", _BY_DATASET + _BY_LISTING))


ALERT_TABLES = """
CREATE TABLE grown(
  id INTEGER PRIMARY KEY AUTOINCREMENT, recording INTEGER NOT NULL REFERENCES recording,
  dataset INTEGER NOT NULL REFERENCES dataset, rule TEXT NOT NULL, title TEXT NOT NULL, level TEXT NOT NULL,
  device INTEGER NOT NULL REFERENCES device, remote_ip TEXT NOT NULL, owner TEXT NOT NULL, country TEXT NOT NULL,
  verdict TEXT NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, hits INTEGER NOT NULL,
  bytes_out INTEGER NOT NULL, bytes_in INTEGER NOT NULL, first_flow INTEGER NOT NULL, last_flow INTEGER NOT NULL,
  why TEXT NOT NULL, network TEXT NOT NULL, kind TEXT NOT NULL, due_ns INTEGER NOT NULL, updates INTEGER NOT NULL,
  told_bytes INTEGER NOT NULL, closed_ns INTEGER);
INSERT INTO grown
  SELECT alert.id, recording, alert.dataset, rule, title, level, device, remote_ip, owner, country, verdict,
    alert.first_ns, alert.last_ns, hits, bytes_out, bytes_in, first_flow, last_flow, why, network, 'episode',
    alert.last_ns, 0, bytes_out,
    CASE WHEN alert.last_ns < recording.last_ns - 86400000000000 THEN alert.last_ns + 86400000000000 END
  FROM alert JOIN recording ON recording.id = alert.recording;
DROP VIEW alerts;
DROP TABLE alert;
ALTER TABLE grown RENAME TO alert;
CREATE UNIQUE INDEX alert_open ON alert(recording, rule, device, owner, country, network, kind) WHERE closed_ns IS NULL;
CREATE TABLE alert_event(
  id INTEGER PRIMARY KEY AUTOINCREMENT, alert INTEGER NOT NULL REFERENCES alert, kind TEXT NOT NULL,
  cause TEXT NOT NULL, time_ns INTEGER NOT NULL, level TEXT NOT NULL, hits INTEGER NOT NULL,
  bytes_out INTEGER NOT NULL, bytes_in INTEGER NOT NULL);
CREATE INDEX alert_event_of ON alert_event(alert);
INSERT INTO alert_event(alert, kind, cause, time_ns, level, hits, bytes_out, bytes_in)
  SELECT id, 'create', 'hit', last_ns, level, hits, bytes_out, bytes_in FROM alert ORDER BY id;
INSERT INTO alert_event(alert, kind, cause, time_ns, level, hits, bytes_out, bytes_in)
  SELECT id, 'close', 'silence', closed_ns, level, hits, bytes_out, bytes_in FROM alert WHERE closed_ns IS NOT NULL
  ORDER BY id;
CREATE TABLE folded(
  alert INTEGER NOT NULL REFERENCES alert, device INTEGER NOT NULL REFERENCES device, hits INTEGER NOT NULL,
  bytes_out INTEGER NOT NULL, bytes_in INTEGER NOT NULL, PRIMARY KEY(alert, device)) WITHOUT ROWID;
CREATE TABLE mute(
  id INTEGER PRIMARY KEY AUTOINCREMENT, rule TEXT, device TEXT, owner TEXT, country TEXT, until_ns INTEGER NOT NULL,
  ended_ns INTEGER);
CREATE TABLE act(
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, alert INTEGER, mute INTEGER, who TEXT NOT NULL,
  made_ns INTEGER NOT NULL, reason TEXT NOT NULL, subject TEXT NOT NULL);
CREATE INDEX act_of ON act(alert);
CREATE TRIGGER act_stays BEFORE UPDATE ON act BEGIN SELECT RAISE(ABORT, 'what was done stays written'); END;
CREATE TRIGGER act_is_kept BEFORE DELETE ON act BEGIN SELECT RAISE(ABORT, 'what was done stays written'); END;
CREATE VIEW alerts AS SELECT
  alert.id, alert.recording, alert.level, alert.title, alert.rule, device.ip AS device_ip,
  nullif(device.mac, '') AS device_mac, alert.remote_ip, nullif(alert.owner, '') AS owner,
  nullif(alert.network, '') AS network, nullif(alert.country, '') AS country, alert.verdict, alert.first_ns,
  alert.last_ns, alert.hits, alert.bytes_out, alert.bytes_in, alert.first_flow, alert.last_flow, alert.why,
  dataset.files AS data, alert.kind,
  CASE alert.kind WHEN 'storm' THEN (SELECT count(*) FROM folded WHERE folded.alert = alert.id) ELSE 1 END AS devices,
  CASE WHEN alert.closed_ns IS NULL THEN 'open' ELSE 'closed' END AS state, alert.closed_ns,
  (SELECT who FROM act WHERE act.alert = alert.id AND act.kind = 'ack' ORDER BY act.id LIMIT 1) AS acked_by,
  (SELECT made_ns FROM act WHERE act.alert = alert.id AND act.kind = 'ack' ORDER BY act.id LIMIT 1) AS acked_ns,
  (SELECT mute.id FROM mute WHERE mute.ended_ns IS NULL AND alert.last_ns <= mute.until_ns
    AND (mute.rule IS NULL OR mute.rule = alert.rule) AND (mute.country IS NULL OR mute.country = alert.country)
    AND (mute.device IS NULL OR alert.kind = 'episode' AND mute.device IN (device.ip, device.mac))
    AND (mute.owner IS NULL OR alert.kind = 'episode'
      AND mute.owner = coalesce(nullif(alert.owner, ''), alert.network) COLLATE NOCASE)
    ORDER BY mute.id LIMIT 1) AS mute
FROM alert JOIN device ON device.id = alert.device JOIN dataset ON dataset.id = alert.dataset;
"""
"""The life of alerts: `docs/alerts.md`. A storm's summary has the device of its first hit; `folded` has all."""


def _version_6(db: Database) -> None:
    """Let an alert end and come again, and write down what becomes of it and what people do with it."""
    given = db.conn.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'alert'").fetchone()[0]
    _run(db, ALERT_TABLES)
    db.conn.execute("DELETE FROM sqlite_sequence WHERE name = 'alert'")
    db.conn.execute("INSERT INTO sqlite_sequence VALUES ('alert', ?)", (given,))


HEALTH = """
CREATE TABLE health(
  recording INTEGER NOT NULL REFERENCES recording, minute_ns INTEGER NOT NULL, interface TEXT NOT NULL,
  frames INTEGER NOT NULL, bytes INTEGER NOT NULL, lost INTEGER NOT NULL, overruns INTEGER NOT NULL,
  dropped INTEGER NOT NULL, errors INTEGER NOT NULL, lag_ns INTEGER NOT NULL,
  PRIMARY KEY(recording, minute_ns, interface)) WITHOUT ROWID;
CREATE TABLE happening(
  recording INTEGER NOT NULL REFERENCES recording, time_ns INTEGER NOT NULL, interface TEXT NOT NULL,
  what TEXT NOT NULL);
"""
"""How a live recording fares: one row a minute and interface, and what became of the interfaces."""


HOURS = """
CREATE TABLE hour(
  recording INTEGER NOT NULL REFERENCES recording, hour INTEGER NOT NULL, device INTEGER NOT NULL REFERENCES device,
  vlan INTEGER NOT NULL, place INTEGER NOT NULL REFERENCES place, flows INTEGER NOT NULL, packets_out INTEGER NOT NULL,
  bytes_out INTEGER NOT NULL, packets_in INTEGER NOT NULL, bytes_in INTEGER NOT NULL,
  PRIMARY KEY(recording, hour, device, vlan, place)) WITHOUT ROWID;
ALTER TABLE recording ADD COLUMN thinned_hour INTEGER;
INSERT INTO hour
  SELECT recording, max(0, first_ns + duration_ns) / 3600000000000, device, vlan, place, count(*), sum(packets_out),
    sum(bytes_out), sum(packets_in), sum(bytes_in)
  FROM flow GROUP BY 1, 2, 3, 4, 5;
CREATE VIEW hours AS SELECT
  hour.recording, hour.hour * 3600000000000 AS first_ns, device.ip AS device_ip, nullif(device.mac, '') AS device_mac,
  nullif(hour.vlan, 0) AS vlan, asset.site, asset.segment, place.country, place.location_status,
  coalesce(place.provider, place.as_name) AS provider, place.owner, place.owner_seat, place.zone, place.verdict,
  hour.flows, hour.packets_out, hour.bytes_out, hour.packets_in, hour.bytes_in
FROM hour JOIN device ON device.id = hour.device JOIN place ON place.id = hour.place
  LEFT JOIN listing ON listing.recording = hour.recording AND listing.device = hour.device AND listing.vlan = hour.vlan
  LEFT JOIN asset ON asset.id = listing.asset;
"""
"""Sums by the hour, kept when the flows are gone; ``thinned_hour`` is the newest hour that retention took flows of."""


SEGMENTS = """
CREATE TABLE segment_hour(
  recording INTEGER NOT NULL REFERENCES recording, hour INTEGER NOT NULL, asset INTEGER NOT NULL,
  place INTEGER NOT NULL REFERENCES place, flows INTEGER NOT NULL, packets_out INTEGER NOT NULL,
  bytes_out INTEGER NOT NULL, packets_in INTEGER NOT NULL, bytes_in INTEGER NOT NULL,
  PRIMARY KEY(recording, hour, asset, place)) WITHOUT ROWID;
INSERT INTO segment_hour
  SELECT hour.recording, hour, coalesce(listing.asset, 0), place, sum(flows), sum(packets_out), sum(bytes_out),
    sum(packets_in), sum(bytes_in)
  FROM hour LEFT JOIN listing ON listing.recording = hour.recording AND listing.device = hour.device
    AND listing.vlan = hour.vlan
  GROUP BY 1, 2, 3, 4;
"""
MARKS = """
CREATE TABLE mark(flow INTEGER PRIMARY KEY, written_ns INTEGER NOT NULL);
INSERT INTO mark SELECT max(id), strftime('%s', 'now') * 1000000000 FROM flow HAVING max(id) IS NOT NULL;
"""


def _version_7(db: Database) -> None:
    """Keep sums by the hour beside the flows."""
    _run(db, HOURS)


def _version_8(db: Database) -> None:
    """Sum the hours of segments too, and know when flows were stored, by the clock: what retention goes by."""
    _run(db, SEGMENTS + MARKS)


def _version_9(db: Database) -> None:
    """Flows say when their name was heard and which others there were; alerts their segment and their evidence."""
    _run(db, HEARD)
    widen(db, "flows", "flow", HEARD_SHOWN)
    widen(db, "alerts", "alert", ALERT_LISTED, BY_NEWEST_LISTING)


def _version_10(db: Database) -> None:
    """Keep sums by remote and over days too, so that a screen opens at once whatever the number of flows."""
    for statement in sum_tables():
        db.conn.execute(statement)


def _version_11(db: Database) -> None:
    """Keep what was lost of live traffic, and when an interface went and came."""
    _run(db, HEALTH)


def _version_12(db: Database) -> None:
    """Flows know the zone and the supplier that were agreed upon, and what their device usually sends."""
    _run(db, HABITS)
    widen(db, "flows", "flow", HABITS_SHOWN)


def _version_13(db: Database) -> None:
    """Let sinks remember how far they came."""
    _run(db, OUTBOX)


def _version_14(db: Database) -> None:
    """Count flows that found no room on a full disk."""
    for column in ("unstored", "unstored_packets"):
        db.conn.execute(f"ALTER TABLE recording ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")


def _version_15(db: Database) -> None:
    """Keep sums by device that tell of verdicts in one row, and slots of six hours: a day or a week opens at once."""
    widen_sums(db)


MIGRATIONS: list[Callable[[Database], None]] = [
    _version_1, _version_2, _version_3, _version_4, _version_5, _version_6, _version_7, _version_8, _version_9,
    _version_10, _version_11, _version_12, _version_13, _version_14, _version_15,
]  # fmt: skip
"""Each step takes a file from one version to the next; the version is PRAGMA user_version."""

NEWEST = len(MIGRATIONS)
