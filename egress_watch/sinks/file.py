"""A file, whole or not at all.

In: lines. Out: a file readable by its owner only. Never: a half-written file under the name that was asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from egress_watch.errors import StoreError

OWNER_ONLY = 0o600


def write(target: str, lines: Iterable[str]) -> None:
    """Write beside the target, then put it in place at once; raises StoreError."""
    part = Path(f"{target}.part")
    try:
        with os.fdopen(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, OWNER_ONLY), "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(
            error.strerror or str(error), where=target, remedy="name a file in a folder you can write"
        ) from error
