"""Standard output.

In: lines. Out: the same. Never: a complaint when the reader (`head`, `less`) has seen enough.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable


def write(_: str, lines: Iterable[str]) -> None:
    """Write the lines; a closed pipe ends the writing, not the program."""
    try:
        for line in lines:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains again at exit
