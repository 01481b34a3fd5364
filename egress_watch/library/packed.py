"""Unpack a file that came from elsewhere, told apart by its content, and no further than a limit.

In: a file, plain, gzip (RFC 1952) or xz. Out: a plain file. Never: more bytes on the disk than allowed, whatever a
small file claims to hold.
"""

from __future__ import annotations

import gzip
import lzma
import shutil
import zlib
from pathlib import Path
from typing import IO, Any

from egress_watch.errors import UpdateError

CHUNK_BYTES = 1 << 20
FORMS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\x00": lzma.open}
"""The first bytes of a packed file: what reads it."""


def unpack(packed: Path, target: Path, most_bytes: int, where: str) -> None:
    """Write the content of ``packed`` to ``target``; raises UpdateError naming ``where`` the file came from."""
    with packed.open("rb") as file:
        head = file.read(6)
    read = next((form for magic, form in FORMS.items() if head.startswith(magic)), open)
    try:
        with read(packed, "rb") as source, target.open("wb") as out:
            _copy(source, out, most_bytes, where)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise UpdateError("is packed, and damaged or cut short", where=where, remedy="fetch it anew") from error


def _copy(source: IO[bytes], out: IO[bytes], most_bytes: int, where: str) -> None:
    taken = 0
    while chunk := source.read(CHUNK_BYTES):
        taken += len(chunk)
        if taken > most_bytes:
            what = f"holds more than {most_bytes:,} bytes when unpacked"
            raise UpdateError(what, where=where, remedy="see that it is the right file")
        out.write(chunk)


def copy(source: Path, target: Path, most_bytes: int) -> None:
    """Copy a file of the user's, which may be a device without an end; raises UpdateError."""
    try:
        if not source.is_file():
            raise UpdateError("is no file", where=str(source), remedy="name a .mmdb file")
        if source.stat().st_size > most_bytes:
            what = f"holds more than {most_bytes:,} bytes"
            raise UpdateError(what, where=str(source), remedy="see that it is the right file")
        with source.open("rb") as file, target.open("wb") as out:
            shutil.copyfileobj(file, out)
    except PermissionError as error:
        raise UpdateError(str(error.strerror), where=str(source), remedy="make it readable") from error
