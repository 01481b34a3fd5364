"""Where records go: once and whole, to a file or standard output; or on and on, to the receivers of `kinds.SINKS`.

In: lines, or pieces of bytes. Out: lines in UTF-8, each ended by a line break; bytes as they are.
Never: a half-written file under its final name.

To add a sink: see `kinds`.
"""

from __future__ import annotations

from collections.abc import Iterable

from egress_watch.sinks import file, stdout


def write(target: str, lines: Iterable[str] | Iterable[bytes]) -> None:
    """Write the lines to ``target``: ``-`` is standard output, anything else a file. Raises StoreError."""
    (stdout.write if target == "-" else file.write)(target, lines)
