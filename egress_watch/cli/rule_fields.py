"""List the fields that a rule can ask, as a table or as JSON Schema for editors.

In: nothing. Out: text. Never: a second list of fields; `rules.fields` has the one.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from egress_watch import sinks

VERB = "fields"
HELP = "list the fields that a rule can ask"


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("--json-schema", action="store_true", help="a JSON Schema of rule files, for editors")


def run(options: argparse.Namespace) -> int:
    """Print the fields."""
    from egress_watch.rules.fields import FIELDS

    if options.json_schema:
        from egress_watch.rules.outline import outline

        sinks.write("-", [json.dumps(outline(), indent=2)])
        return 0
    rows: list[dict[str, Any]] = [
        {"field": field.name, "kind": field.kind, "meaning": field.meaning, "values": " ".join(field.values)}
        for field in FIELDS
    ]
    widths = {name: max(len(str(row[name])) for row in rows) for name in ("field", "kind")}
    sinks.write("-", [_line(row, widths) for row in rows])
    return 0


def _line(row: dict[str, Any], widths: dict[str, int]) -> str:
    values = f" ({row['values']})" if row["values"] else ""
    return f"{row['field']:{widths['field']}}  {row['kind']:{widths['kind']}}  {row['meaning']}{values}"
