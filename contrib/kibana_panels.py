"""The Kibana dashboard, as its saved objects: one data view, one Lens panel an entry, and the dashboard.

In: an index pattern. Out: saved objects, as an export of Kibana 8.11 or newer has them.
Never: a panel over a field that the index template does not map.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

VIEW = "egress-watch-view"
CORE = {"coreMigrationVersion": "8.8.0", "managed": False}
ALERTS = "event.kind : alert"
FLOWS = "event.kind : event"


class Panel(NamedTuple):
    """One panel: what is counted or summed, by which fields, of which documents."""

    id: str
    title: str
    query: str
    by: tuple[str, ...]
    """Fields, the outermost first; @timestamp makes a course of time."""
    total: str = ""
    """Field whose sum is shown; empty: how many documents."""
    size: int = 10
    wide: bool = False


PANELS = (
    Panel("alerts-time", "Alerts over time, by level", ALERTS, ("@timestamp", "egress_watch.level"), wide=True),
    Panel("alerts-rules", "Alerts by rule", ALERTS, ("rule.name", "egress_watch.level")),
    Panel("alerts-devices", "Devices with most alerts", ALERTS, ("source.ip", "egress_watch.owner")),
    Panel("verdicts-time", "Bytes out over time, by verdict (needs flows)", FLOWS,
          ("@timestamp", "egress_watch.verdict"), "source.bytes", wide=True),
    Panel("owners", "Owners outside the zone or under foreign law, by bytes out (needs flows)",
          f"{FLOWS} and egress_watch.verdict : (OUT or OWN)", ("egress_watch.owner", "egress_watch.owner_seat"),
          "source.bytes", 15),
    Panel("countries", "Countries by bytes out (needs flows)", FLOWS, ("destination.geo.country_iso_code",
          "egress_watch.location_status"), "source.bytes", 15),
    Panel("unknown", "What could not be told, by network and bytes out (needs flows)",
          f"{FLOWS} and egress_watch.verdict : UNKNOWN", ("destination.as.organization.name", "destination.domain"),
          "source.bytes", 15, wide=True),
)  # fmt: skip


def saved_objects(pattern: str) -> list[dict[str, Any]]:
    """Return the data view, the panels and the dashboard, in the order in which they refer to each other."""
    view = {
        "id": VIEW, "type": "index-pattern", **CORE, "typeMigrationVersion": "8.0.0", "references": [],
        "attributes": {"title": pattern, "name": "egress-watch", "timeFieldName": "@timestamp"},
    }  # fmt: skip
    return [view, *map(_lens, PANELS), _board()]


def _columns(panel: Panel) -> dict[str, Any]:
    total = {"label": "Bytes out", "operationType": "sum", "sourceField": panel.total}
    count = {"label": "Documents", "operationType": "count", "sourceField": "___records___"}
    metric = {**(total if panel.total else count), "dataType": "number", "isBucketed": False, "scale": "ratio"}
    return {f"by{n}": _bucket(panel, field) for n, field in enumerate(panel.by)} | {"metric": metric}


def _bucket(panel: Panel, field: str) -> dict[str, Any]:
    if field == "@timestamp":
        return {
            "label": field, "operationType": "date_histogram", "sourceField": field, "dataType": "date",
            "isBucketed": True, "scale": "interval", "params": {"interval": "auto"},
        }  # fmt: skip
    order = {"orderBy": {"type": "column", "columnId": "metric"}, "orderDirection": "desc"}
    return {
        "label": field, "operationType": "terms", "sourceField": field, "isBucketed": True, "scale": "ordinal",
        "dataType": "ip" if field.endswith(".ip") else "string",
        "params": {"size": panel.size, **order, "otherBucket": False, "missingBucket": True},
    }  # fmt: skip


def _lens(panel: Panel) -> dict[str, Any]:
    columns, timed = _columns(panel), panel.by[0] == "@timestamp"
    layer = {"columns": columns, "columnOrder": list(columns), "incompleteColumns": {}}
    state = {
        "datasourceStates": {"formBased": {"layers": {"layer": layer}}}, "filters": [],
        "query": {"language": "kuery", "query": panel.query}, "visualization": _drawn(columns, timed=timed),
    }  # fmt: skip
    refers = {"type": "index-pattern", "id": VIEW, "name": "indexpattern-datasource-layer-layer"}
    return {
        "id": f"egress-watch-{panel.id}", "type": "lens", **CORE, "typeMigrationVersion": "8.9.0",
        "references": [refers], "attributes": {
            "title": panel.title, "visualizationType": "lnsXY" if timed else "lnsDatatable", "state": state,
        },
    }  # fmt: skip


def _drawn(columns: dict[str, Any], *, timed: bool) -> dict[str, Any]:
    if not timed:
        return {"layerId": "layer", "layerType": "data", "columns": [{"columnId": name} for name in columns]}
    bars = {"layerId": "layer", "layerType": "data", "seriesType": "bar_stacked", "xAccessor": "by0"}
    return {
        "legend": {"isVisible": True, "position": "right"}, "preferredSeriesType": "bar_stacked",
        "layers": [{**bars, "splitAccessor": "by1", "accessors": ["metric"]}],
    }  # fmt: skip


def _board() -> dict[str, Any]:
    panels, refers, x, y = [], [], 0, 0
    for panel in PANELS:
        width = 48 if panel.wide else 24
        grid = {"x": x, "y": y, "w": width, "h": 12, "i": panel.id}
        panels.append({
            "type": "lens", "gridData": grid, "panelIndex": panel.id, "embeddableConfig": {"enhancements": {}},
            "panelRefName": f"panel_{panel.id}", "title": panel.title,
        })  # fmt: skip
        refers.append({"type": "lens", "id": f"egress-watch-{panel.id}", "name": f"{panel.id}:panel_{panel.id}"})
        x, y = (0, y + 12) if x + width >= 48 else (24, y)
    return {
        "id": "egress-watch-board", "type": "dashboard", **CORE, "typeMigrationVersion": "8.9.0", "references": refers,
        "attributes": {
            "title": "egress-watch", "description": "What leaves the legal zone, and whose hands it is in.",
            "panelsJSON": json.dumps(panels), "optionsJSON": json.dumps({"useMargins": True, "hidePanelTitles": False}),
            "timeRestore": True, "timeFrom": "now-7d", "timeTo": "now",
            "kibanaSavedObjectMeta": {
                "searchSourceJSON": json.dumps({"query": {"language": "kuery", "query": ""}, "filter": []})
            },
        },
    }  # fmt: skip
