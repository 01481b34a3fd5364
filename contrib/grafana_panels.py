"""The two Grafana dashboards: over the database itself, and over metrics.

In: the panels listed here. Out: dashboards as Grafana's JSON. Never: a query that the tests do not run or parse.

Over the database the data source is the plug-in frser-sqlite-datasource; times come in milliseconds and go in seconds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

SQLITE = {"type": "frser-sqlite-datasource", "uid": "${source}"}
PROMETHEUS = {"type": "prometheus", "uid": "${source}"}
_HOURS = "FROM hours WHERE first_ns BETWEEN ($__from - 3600000) * 1000000 AND $__to * 1000000"
_ALERTS = "FROM alerts WHERE last_ns >= $__from * 1000000 AND first_ns <= $__to * 1000000 AND mute IS NULL"
_WHO = "coalesce(owner, provider, 'unknown') AS who"
_LEVEL = "CASE level WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 WHEN 'low' THEN 3 ELSE 4 END"


class Panel(NamedTuple):
    """One panel: a query, and how its answer is drawn."""

    title: str
    query: str
    form: str = "table"
    """timeseries, table, stat or bargauge."""
    unit: str = "short"
    width: int = 12
    legend: str = ""
    about: str = ""


SQL_PANELS = (
    Panel("Bytes out by verdict", f"SELECT first_ns / 1000000000 AS time, verdict, sum(bytes_out) AS bytes {_HOURS} "
          "GROUP BY 1, 2 ORDER BY 1", "timeseries", "bytes", 24,
          about="Sums by the hour, which stay when old flows are taken out."),
    Panel("Open alerts", f"SELECT level, count(*) AS alerts {_ALERTS} AND state = 'open' GROUP BY 1 ORDER BY {_LEVEL}",
          "bargauge", width=6),
    Panel("Newest alerts", "SELECT last_ns / 1000000000 AS last_seen, level, device_ip, title, owner, country, "
          f"verdict, hits, bytes_out, state {_ALERTS} ORDER BY last_ns DESC LIMIT 50", width=18),
    Panel("Owners outside the zone or under foreign law",
          f"SELECT {_WHO}, owner_seat AS seat, verdict, sum(bytes_out) AS bytes_out, sum(flows) AS flows, "
          f"count(DISTINCT device_ip) AS devices {_HOURS} AND verdict IN ('OUT', 'OWN') "
          "GROUP BY 1, 2, 3 ORDER BY 4 DESC LIMIT 25", unit="bytes"),
    Panel("Countries", "SELECT coalesce(country, 'cannot tell') AS country, location_status AS sure, sum(bytes_out) AS "
          f"bytes_out, sum(flows) AS flows {_HOURS} GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 25", unit="bytes"),
    Panel("Devices", "SELECT device_ip, max(segment) AS segment, sum(bytes_out) AS bytes_out, "
          "sum(CASE WHEN verdict = 'OUT' THEN bytes_out ELSE 0 END) AS bytes_out_of_zone, "
          f"sum(CASE WHEN verdict = 'UNKNOWN' THEN bytes_out ELSE 0 END) AS bytes_unknown {_HOURS} "
          "GROUP BY 1 ORDER BY 3 DESC LIMIT 25", unit="bytes"),
    Panel("Why it could not be told", f"SELECT location_status AS status, {_WHO}, sum(flows) AS flows, "
          f"sum(bytes_out) AS bytes_out {_HOURS} AND verdict = 'UNKNOWN' GROUP BY 1, 2 ORDER BY 4 DESC LIMIT 25",
          unit="bytes"),
    Panel("Recordings: frames, and what was lost", "SELECT id AS recording, state, zone, zone_as_of, frames, packets, "
          "frames - packets AS skipped, lost, evicted FROM recording ORDER BY id DESC LIMIT 25", width=24),
)  # fmt: skip

METRIC_PANELS = (
    Panel("Packets a second", "sum(rate(egress_watch_packets_total[$__rate_interval]))", "timeseries", "pps",
          legend="packets"),
    Panel("Frames lost a second", "sum(rate(egress_watch_lost_total[$__rate_interval]))", "timeseries", "pps",
          legend="lost", about="Drops of the kernel or the capture; above 0 the picture has holes."),
    Panel("Bytes a second by verdict", "sum by (verdict) (rate(egress_watch_flows_bytes[$__rate_interval]))",
          "timeseries", "Bps", legend="{{verdict}}"),
    Panel("Frames that are no IP packet, by reason",
          "sum by (reason) (rate(egress_watch_skipped_total[$__rate_interval]))", "timeseries", "pps",
          legend="{{reason}}"),
    Panel("New alerts by level", "sum by (level) (increase(egress_watch_alerts_total[1h]))", "timeseries",
          legend="{{level}}"),
    Panel("Open alerts", "egress_watch_open_alerts", "stat", width=6),
    Panel("Seconds since the last packet", "time() - egress_watch_last_packet_timestamp_seconds", "stat", "s", 6),
    Panel("Records that wait for a sink", "egress_watch_sink_lag_records", "timeseries", legend="{{sink}}"),
    Panel("Sinks that are up", "egress_watch_sink_up", "stat", width=6, legend="{{sink}}"),
    Panel("Oldest data file", "max(egress_watch_data_age_days)", "stat", "d", 6),
    Panel("Room on the disk", "egress_watch_disk_free_bytes", "timeseries", "bytes", legend="free"),
    Panel("Database can be read", "egress_watch_up", "stat", width=6),
)  # fmt: skip


def sqlite_board() -> dict[str, Any]:
    """Return the dashboard over the database."""
    panels = [
        _panel(panel, SQLITE, {
            "queryText": panel.query, "rawQueryText": panel.query, "timeColumns": ["time", "last_seen"],
            "queryType": "time series" if panel.form == "timeseries" else "table",
        })
        for panel in SQL_PANELS
    ]  # fmt: skip
    return _board("egress-watch: database", "egress-watch-sqlite", SQLITE["type"], panels)


def metrics_board() -> dict[str, Any]:
    """Return the dashboard over metrics."""
    panels = [
        _panel(panel, PROMETHEUS, {"expr": panel.query, "legendFormat": panel.legend or "__auto", "range": True})
        for panel in METRIC_PANELS
    ]
    return _board("egress-watch: metrics", "egress-watch-prometheus", PROMETHEUS["type"], panels)


def _panel(panel: Panel, source: dict[str, str], query: dict[str, Any]) -> dict[str, Any]:
    unit = "none" if panel.form == "table" else panel.unit
    return {
        "type": panel.form, "title": panel.title, "description": panel.about, "datasource": source,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": _units(panel)},
        "gridPos": {"w": panel.width, "h": 9, "x": 0, "y": 0}, "options": {},
        "targets": [{"refId": "A", "datasource": source, **query}],
    }  # fmt: skip


def _units(panel: Panel) -> list[dict[str, Any]]:
    """Return what gives the columns of a table that hold bytes their unit."""
    if panel.form != "table" or panel.unit != "bytes":
        return []
    shown = {"id": "unit", "value": "bytes"}
    return [{"matcher": {"id": "byRegexp", "options": "/^bytes/"}, "properties": [shown]}]


def _board(title: str, uid: str, plugin: str, panels: list[dict[str, Any]]) -> dict[str, Any]:
    x, y = 0, 0
    for number, panel in enumerate(panels, 1):
        grid = panel["gridPos"]
        x, y = (x, y) if x + grid["w"] <= 24 else (0, y + 9)
        panel["id"], grid["x"], grid["y"] = number, x, y
        x += grid["w"]
    choice = {"name": "source", "label": "Data source", "type": "datasource", "query": plugin}
    return {
        "title": title, "uid": uid, "schemaVersion": 39, "version": 1, "editable": True, "tags": ["egress-watch"],
        "time": {"from": "now-24h", "to": "now"}, "refresh": "1m", "timezone": "utc",
        "templating": {"list": [choice]}, "panels": panels,
    }  # fmt: skip
