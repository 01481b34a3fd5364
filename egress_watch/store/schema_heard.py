"""What a step of the schema adds: times and others of names, counters of what was heard, and packets kept as evidence.

In: a database at the step before. Out: texts of the step, and views made anew. Never: a column of a view lost.
"""

from __future__ import annotations

from sqlite_utils import Database

HEARD = """
CREATE TABLE alias(
  id INTEGER PRIMARY KEY, names TEXT NOT NULL UNIQUE);
CREATE TABLE heard(
  recording INTEGER NOT NULL REFERENCES recording, counter TEXT NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY(recording, counter)) WITHOUT ROWID;
CREATE TABLE evidence(
  alert INTEGER NOT NULL REFERENCES alert, flow INTEGER NOT NULL, recording INTEGER NOT NULL REFERENCES recording,
  path TEXT NOT NULL, packets INTEGER NOT NULL, missing INTEGER NOT NULL, PRIMARY KEY(alert, flow)) WITHOUT ROWID;
CREATE INDEX evidence_flow ON evidence(flow);
ALTER TABLE flow ADD COLUMN name_ms INTEGER;
ALTER TABLE flow ADD COLUMN alias INTEGER REFERENCES alias;
"""
"""A name's time as milliseconds before the flow's first packet, so that one byte or two hold it nearly always; further
names of an address as a list that is kept once; what was heard and refused; packets kept as evidence."""
HEARD_SHOWN = """,
  CASE WHEN flow.name IS NOT NULL THEN flow.first_ns - flow.name_ms * 1000000 END AS name_ns,
  (SELECT alias.names FROM alias WHERE alias.id = flow.alias) AS other_names"""
ALERT_LISTED = """,
  asset.device_name, asset.site, asset.segment, asset.segment_class,
  (SELECT count(*) FROM evidence WHERE evidence.alert = alert.id AND evidence.packets > 0) AS evidence_flows"""
BY_NEWEST_LISTING = """ LEFT JOIN asset ON alert.kind = 'episode' AND asset.id = (
  SELECT listing.asset FROM listing LEFT JOIN flow ON flow.id = alert.last_flow
  WHERE listing.recording = alert.recording AND listing.device = alert.device
  ORDER BY listing.vlan = flow.vlan DESC, listing.vlan LIMIT 1)"""
"""The VLAN of the newest flow decides where a device was listed on several."""


def widen(db: Database, view: str, table: str, columns: str, joins: str = "") -> None:
    """Make a view anew, as it stands, with more columns and joins behind its own."""
    made = db.conn.execute("SELECT sql FROM sqlite_master WHERE type = 'view' AND name = ?", (view,)).fetchone()[0]
    selected, joined = made.rstrip("; \n").split(f"\nFROM {table} ", 1)
    db.conn.execute(f"DROP VIEW {view}")
    db.conn.execute(f"{selected}{columns}\nFROM {table} {joined}{joins}")
