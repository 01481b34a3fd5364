"""Where lines go: standard output or a file.

In: lines, or pieces of bytes. Out: lines in UTF-8, each ended by a line break; bytes as they are.
Never: a half-written file under its final name.

To add a sink: a module with ``write(target, lines)`` and one line in SINKS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from egress_watch.sinks import file, stdout

SINKS: dict[str, Callable[[str, Iterable[str] | Iterable[bytes]], None]] = {"-": stdout.write}
"""Targets that are no path."""


def write(target: str, lines: Iterable[str] | Iterable[bytes]) -> None:
    """Write the lines to ``target``: ``-`` is standard output, anything else a file. Raises StoreError."""
    SINKS.get(target, file.write)(target, lines)
