"""Build what of contrib/ follows from the program's own tables: index template, Kibana and Grafana dashboards.

In: the field tables of `egress_watch.exports`, and the panels listed beside this script. Out: JSON files, same place.
Never: a field or column of which the program knows nothing; tests/test_contrib.py runs every query.

    python contrib/build_contrib.py            write the files
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from grafana_panels import metrics_board, sqlite_board
from kibana_panels import saved_objects

from egress_watch.exports.ecs import ECS_VERSION, FIELDS, FIXED
from egress_watch.exports.record import KEYS

TYPES = {
    "@timestamp": "date", "message": "match_only_text", "event.start": "date", "event.end": "date",
    "event.duration": "long", "event.severity": "long", "event.risk_score": "float", "source.ip": "ip",
    "source.port": "long", "source.bytes": "long", "source.packets": "long", "destination.ip": "ip",
    "destination.port": "long", "destination.bytes": "long", "destination.packets": "long",
    "destination.as.number": "long", "network.bytes": "long", "network.packets": "long", "related.ip": "ip",
}  # fmt: skip
"""Types of the ECS reference, 9.4; a field that is not listed is a keyword."""
_NUMBERS = {key.name for key in KEYS if key.form == "number"}
PATTERN = "logs-egress_watch.*-*"


def template() -> dict[str, object]:
    """Return a composable index template for data streams of alerts and flows."""
    ours = {field.theirs: field.ours for field in FIELDS}
    paths = list(dict.fromkeys([*(path for fixed in FIXED.values() for path in fixed), *ours]))
    grown: dict[str, object] = {}
    for path in sorted(paths):
        _put(grown, path.split("."), {"type": _type(path, ours.get(path, ""))})
    return {
        "index_patterns": [PATTERN],
        "priority": 500,
        "data_stream": {},
        "template": {
            "settings": {"index": {"codec": "best_compression", "query": {"default_field": ["message"]}}},
            "mappings": {"date_detection": False, "dynamic_templates": [_TEXTS], "properties": grown},
        },
        "_meta": {"description": f"egress-watch alerts and flows, ECS {ECS_VERSION}"},
    }


_TEXTS = {"texts": {"match_mapping_type": "string", "mapping": {"type": "keyword", "ignore_above": 8191}}}
"""A field of a newer version of the program is a keyword too; 8191 characters stay below what Lucene takes."""


def _type(path: str, ours: str) -> str:
    if path.startswith("egress_watch."):
        return "long" if ours in _NUMBERS else "keyword"
    return TYPES.get(path, "keyword")


def _put(grown: dict[str, object], path: list[str], leaf: dict[str, str]) -> None:
    for step in path[:-1]:
        inner = grown.setdefault(step, {"properties": {}})
        assert isinstance(inner, dict)
        grown = inner["properties"]
    grown[path[-1]] = leaf


def files() -> dict[str, str]:
    """Return every built file by its path in this folder."""
    shown = {
        "elastic/index-template.json": template(), "grafana/sqlite.json": sqlite_board(),
        "grafana/prometheus.json": metrics_board(),
    }  # fmt: skip
    kibana = "".join(f"{json.dumps(one)}\n" for one in saved_objects(PATTERN))
    return {name: json.dumps(tree, indent=1) + "\n" for name, tree in shown.items()} | {
        "elastic/dashboard.ndjson": kibana
    }


def main() -> None:
    """Write them."""
    for name, text in files().items():
        (Path(__file__).parent / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
