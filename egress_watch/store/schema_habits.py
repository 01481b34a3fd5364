"""What a step of the schema adds: what a device usually sends, and what was agreed upon for it.

In: nothing. Out: texts of the step. Never: a change of a row that is there.
"""

from __future__ import annotations

HABITS = """
ALTER TABLE asset ADD COLUMN supplier_group TEXT;
ALTER TABLE flow ADD COLUMN habit INTEGER;
CREATE TABLE habit(
  recording INTEGER NOT NULL REFERENCES recording, device INTEGER NOT NULL REFERENCES device, hour INTEGER NOT NULL,
  hour_bytes INTEGER NOT NULL, hours INTEGER NOT NULL, peak INTEGER NOT NULL,
  PRIMARY KEY(device, recording)) WITHOUT ROWID;
"""
HABITS_SHOWN = """,
  asset.zone AS contract_zone, asset.supplier_group = coalesce(place.owner, '') COLLATE NOCASE AS to_supplier,
  flow.habit AS habit_times"""
