"""A file, whole or not at all.

In: lines, or pieces of bytes. Out: a file readable by its owner only.
Never: a half-written file under the name that was asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from errno import EISDIR
from pathlib import Path
from tempfile import mkstemp

from egress_watch.errors import StoreError


def write(target: str, lines: Iterable[str] | Iterable[bytes]) -> None:
    """Write beside the target, then put it in place at once; raises StoreError.

    A device or a FIFO is written to as it is: /dev/stdout must not become a file. A symbolic link stays one.
    """
    try:
        path = Path(target).resolve()
        if path.is_dir():
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
        if path.exists() and not path.is_file():
            _fill(os.open(path, os.O_WRONLY), lines)
        else:
            _replace(path, lines)
    except BrokenPipeError:
        return  # the reader of the FIFO has seen enough
    except (OSError, RuntimeError) as error:  # a circle of links is a RuntimeError before Python 3.13
        what = getattr(error, "strerror", None) or str(error)
        raise StoreError(what, where=target, remedy="name a file in a folder you can write, with room in it") from error


def _replace(path: Path, lines: Iterable[str] | Iterable[bytes]) -> None:
    descriptor, part = mkstemp(prefix=f"{path.name[:100]}.", suffix=".part", dir=path.parent)  # of mode 0600
    try:
        _fill(descriptor, lines, lasting=True)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _fill(descriptor: int, lines: Iterable[str] | Iterable[bytes], *, lasting: bool = False) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(line if isinstance(line, bytes) else f"{line}\n".encode() for line in lines)
        file.flush()
        if lasting:
            os.fsync(descriptor)
