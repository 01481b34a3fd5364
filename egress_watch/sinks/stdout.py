"""Standard output.

In: lines, or pieces of bytes. Out: the same. Never: a complaint when the reader (`head`, `less`) has seen enough.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from egress_watch.errors import StoreError

WHERE = "standard output"


def write(_: str, lines: Iterable[str] | Iterable[bytes]) -> None:
    """Write the lines; a closed pipe ends the writing, not the program. Raises StoreError where nobody can listen."""
    if sys.stdout is None:  # what Python makes of a descriptor that the caller closed
        raise StoreError("is closed", where=WHERE, remedy="write to a file with -o, or to /dev/null")
    try:
        for line in lines:
            if isinstance(line, bytes):
                sys.stdout.buffer.write(line)
            else:
                sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _leave()
    except OSError as error:
        _leave()
        raise StoreError(error.strerror or str(error), where=WHERE, remedy="make room, or write elsewhere") from error


def _leave() -> None:
    """Send what is still buffered nowhere, else Python complains again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
