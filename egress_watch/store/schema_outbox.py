"""The tables of the outbox: how far each sink came, what receivers refused, and what was dropped.

In: nothing. Out: statements for a step of `schema`. Never: a table that holds a record a second time.
"""

from __future__ import annotations

OUTBOX = """
CREATE TABLE sink(
  name TEXT PRIMARY KEY, target TEXT NOT NULL DEFAULT '', promise TEXT NOT NULL DEFAULT '',
  records TEXT NOT NULL DEFAULT '', forwarder TEXT NOT NULL DEFAULT '', alerts_done INTEGER NOT NULL,
  flows_done INTEGER NOT NULL, sent INTEGER NOT NULL DEFAULT 0, passed INTEGER NOT NULL DEFAULT 0,
  refused INTEGER NOT NULL DEFAULT 0, dropped_alerts INTEGER NOT NULL DEFAULT 0,
  dropped_flows INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '',
  tried_ns INTEGER NOT NULL DEFAULT 0, delivered_ns INTEGER NOT NULL DEFAULT 0, retry_ns INTEGER NOT NULL DEFAULT 0
  ) WITHOUT ROWID;
CREATE TABLE refusal(
  id INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL,
  event_id TEXT NOT NULL, reason TEXT NOT NULL, made_ns INTEGER NOT NULL);
CREATE INDEX refusal_of ON refusal(sink);
CREATE TABLE gap(
  id INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, stream TEXT NOT NULL, records INTEGER NOT NULL,
  after INTEGER NOT NULL, last INTEGER NOT NULL, made_ns INTEGER NOT NULL, told INTEGER NOT NULL DEFAULT 0);
"""
"""How far each sink came, what receivers refused, and what was dropped: `docs/sinks.md`."""
