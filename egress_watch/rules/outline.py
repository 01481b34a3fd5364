"""What a rule file may hold, as JSON Schema (draft 2020-12), so that an editor can complete and warn.

In: the fields, levels and modifiers. Out: a schema. Never: more than an outline; `rules check` knows the rest.
"""

from __future__ import annotations

from typing import Any

from egress_watch.rules.correlation import KINDS, NEEDED
from egress_watch.rules.fields import FIELDS, Field
from egress_watch.rules.lint import LEVELS, LOGSOURCE, REQUIRED, SHAPES, STATUSES
from egress_watch.rules.values import MODIFIERS

LISTS = ("references", "falsepositives", "tags", "fields", "scope")
WORDS = {"type": "string"}


def outline() -> dict[str, Any]:
    """Return the schema of one document of a rule file."""
    bodies = {"detection": _searches({}), "correlation": _correlation(), "filter": _searches({"rules": _some(WORDS)})}
    closed = {"level": {"enum": list(LEVELS)}, "status": {"enum": list(STATUSES)}, "logsource": _logsource()}
    free = {name: {"type": "array", "items": WORDS} if name in LISTS else {} for name in SHAPES}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "egress-watch rule",
        "type": "object",
        "properties": {**free, "title": {**WORDS, "maxLength": 256}, **closed, **bodies},
        "additionalProperties": False,
        "oneOf": [{"required": list(keys)} for keys in REQUIRED.values()],
    }


def _logsource() -> dict[str, Any]:
    constants = {key: {"const": value} for key, value in LOGSOURCE.items()}
    return {"type": "object", "properties": constants, "required": list(LOGSOURCE), "additionalProperties": False}


def _searches(beside: dict[str, Any]) -> dict[str, Any]:
    search = {
        "type": "object",
        "patternProperties": {_pattern(field): _some(_value(field)) for field in FIELDS},
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"condition": WORDS, **beside},
        "required": ["condition", *beside],
        "additionalProperties": _some(search),
    }


def _pattern(field: Field) -> str:
    return f"^{field.name}(\\|({'|'.join(MODIFIERS[field.kind])}))*$"


def _value(field: Field) -> dict[str, Any]:
    """Return what one value may be: the exact lists are left to the check, since a modifier may change them."""
    kinds = {"number": ["integer"], "flag": ["boolean"]}.get(field.kind, ["string"])
    words: dict[str, Any] = {"type": [*kinds, "null", *(["string"] if kinds == ["integer"] else [])]}
    if "exists" in MODIFIERS[field.kind] and "boolean" not in kinds:
        words["type"].append("boolean")
    return {**words, "description": field.meaning, **({"examples": list(field.values)} if field.values else {})}


def _some(one: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}


def _correlation() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "type": {"enum": list(KINDS)}, "rules": _some(WORDS), "group-by": _some(WORDS),
            "timespan": {"type": "string", "pattern": "^[1-9][0-9]*[smhd]$"}, "condition": {"type": "object"},
            "generate": {"type": "boolean"},
        },
        "required": list(NEEDED),
        "additionalProperties": False,
    }  # fmt: skip
