"""From our keys to the fields of another format, as a list that can be read, documented and tested.

In: a record and a list of fields. Out: a tree or pairs. Never: an empty value, which most receivers refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from egress_watch.exports.record import KINDS, Record

Turn = Callable[[Any, Record], Any]
"""From our value, and the record where more is needed, to theirs; None leaves the field out."""


class Field(NamedTuple):
    """One line of a mapping table."""

    ours: str
    theirs: str
    """Dots go down a tree; ``[]`` behind a name is a list of one object."""
    turn: Turn | None = None
    kinds: Sequence[str] = KINDS


class Shape(NamedTuple):
    """What a kind of record becomes: fixed values, and fields with the steps of their paths."""

    fixed: Sequence[tuple[Sequence[str], Any]]
    fields: Sequence[tuple[str, Sequence[str], Turn | None]]


Shapes = Mapping[str, Shape]


def shapes(fields: Iterable[Field], fixed: Mapping[str, Mapping[str, Any]]) -> Shapes:
    """Return the fields and fixed values of each kind, with their paths taken apart once."""
    listed = list(fields)
    return {
        kind: Shape(
            [(path.split("."), value) for path, value in fixed.get(kind, {}).items()],
            [(field.ours, field.theirs.split("."), field.turn) for field in listed if kind in field.kinds],
        )
        for kind in KINDS
    }


def tree(record: Record, by_kind: Shapes) -> dict[str, Any]:
    """Return the record as a tree of objects."""
    grown: dict[str, Any] = {}
    shape = by_kind[record["kind"]]
    for path, value in shape.fixed:
        _put(grown, path, value)
    for ours, path, turn in shape.fields:
        value = _turned(record, ours, turn)
        if value is not None:
            _put(grown, path, value)
    return grown


def pairs(record: Record, fields: Iterable[Field]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a flat format in their order."""
    for field in fields:
        if record["kind"] in field.kinds:
            value = _turned(record, field.ours, field.turn)
            if value is not None:
                yield field.theirs, value


def _turned(record: Record, ours: str, turn: Turn | None) -> Any:
    value = record.get(ours)
    if value is None or value == []:
        return None
    return turn(value, record) if turn else value


def _put(grown: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for step in path[:-1]:
        grown = grown.setdefault(step[:-2], [{}])[0] if step.endswith("[]") else grown.setdefault(step, {})
    grown[path[-1]] = value


def is_v4(address: str) -> bool:
    """Return whether an address in text form is IPv4."""
    return ":" not in address


def heard_by(source: str) -> Turn:
    """Return a turn that keeps a name only where it was heard in that protocol."""
    return lambda value, record: value if record.get("name_source") == source else None
