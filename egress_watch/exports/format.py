"""What a format is: a name, the kinds of record it can hold, and how it writes them.

In: records. Out: lines of text, or pieces of bytes. Never: a record that is changed or left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from egress_watch.exports.record import EXPORTED, KINDS, Record

Pieces = Iterator[str] | Iterator[bytes]


class Format(NamedTuple):
    """One way to write records; a line of its own for each record where ``line`` is there."""

    name: str
    about: str
    encode: Callable[[Iterable[Record], str], Pieces]
    """From records of one kind to lines without line breaks, or to bytes where ``binary``."""
    line: Callable[[Record], str] | None = None
    """One record on one line: what a sink that sends events one by one needs."""
    kinds: tuple[str, ...] = EXPORTED
    binary: bool = False


def lined(name: str, about: str, line: Callable[[Record], str], kinds: tuple[str, ...] = KINDS) -> Format:
    """Return a format that writes each record on a line of its own, without header or end."""
    return Format(name, about, lambda records, _: map(line, records), line, kinds)


def json_line(value: Any) -> str:
    """Return JSON on one line, all of it in ASCII."""
    return json.dumps(value, separators=(",", ":"))
