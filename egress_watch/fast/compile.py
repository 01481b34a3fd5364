"""Compile the accelerator: the C files beside this script become one shared library beside them.

In: ``*.c`` beside this script, and a C compiler. Out: the library, or nothing where no compiler is there. Never: a
failed build of the package; without the library NumPy does the same work.

Every build of the package runs it, wheel and editable alike; in a bare checkout run it as a script. ``CC`` names
another compiler, as everywhere.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
LIBRARY = "libfast.so"
FLAGS = ("-std=c99", "-O2", "-shared", "-fPIC")
SLOW_S = 120


def sources(folder: Path = HERE) -> list[Path]:
    """Return the C files, in a fixed order."""
    return sorted(folder.glob("*.c"))


def checksum(folder: Path = HERE) -> int:
    """Return the CRC-32 of all C files: the library carries it, so that one of other sources is told and not used."""
    crc = 0
    for source in sources(folder):
        crc = zlib.crc32(source.read_bytes(), crc)
    return crc


def compile_library(folder: Path = HERE, flags: Sequence[str] = FLAGS) -> Path | None:
    """Compile and return the library; None, and no library left from before, where that cannot be done."""
    library = folder / LIBRARY
    fresh = library.with_name(LIBRARY + ".part")
    command = [*shlex.split(os.environ.get("CC") or "cc"), *flags, f"-DEW_SOURCE={checksum(folder)}u", "-o", str(fresh)]
    library.unlink(missing_ok=True)
    try:
        subprocess.run([*command, *map(str, sources(folder))], check=True, capture_output=True, timeout=SLOW_S)  # noqa: S603 # the compiler the user named
    except (OSError, subprocess.SubprocessError):
        fresh.unlink(missing_ok=True)
        return None
    return fresh.replace(library)


if __name__ == "__main__":
    print(compile_library() or "no compiler: NumPy does the work")
    sys.exit(0)
