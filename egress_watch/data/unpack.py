"""Unpack the databases: ``NAME.mmdb.xz`` as git keeps it becomes ``NAME.mmdb`` as the program maps it.

In: ``*.xz`` and ``manifest.json`` beside this script. Out: ``*.mmdb`` and ``makers.bin`` beside them.
Never: a file that is not the one the manifest names, or half a file under its final name.

Hatchling runs it for every build, wheel and editable alike; in a bare checkout run it as a script. There is
room for one hook only, so this one also has the accelerator compiled (egress_watch/fast/compile.py).
"""

# mypy: disable-error-code="import-untyped,import-not-found"
# hatchling is there while a package is built, and not when types are checked.

from __future__ import annotations

import hashlib
import json
import lzma
import re
import runpy
import sysconfig
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a script
    BuildHookInterface = object

DATA = Path("egress_watch", "data")
COMPILE = Path("egress_watch", "fast", "compile.py")
OLDEST_GLIBC = (2, 17)
"""Of 2012: installers know no wheels for older ones on every architecture (PEP 599)."""


class BuildHook(BuildHookInterface):  # type: ignore[misc] # its type is not known, see above
    """Hatchling's custom build hook (hatch.pypa.io, "Custom build hook")."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Unpack and compile what is missing before files are collected.

        A wheel with a compiled library is named after its platform (packaging.python.org, "Platform compatibility
        tags"); it is loaded by ctypes, so any Python 3 will do.
        """
        if self.target_name == "sdist":  # an sdist carries the packed files and the sources
            return
        root = Path(self.root)
        unpack(root / DATA)
        library = runpy.run_path(str(root / COMPILE))["compile_library"]()
        if library and version == "standard":
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform_tag(library)}"


def platform_tag(library: Path) -> str:
    """Return where the library runs, as wheels write it.

    It is linked to nothing but the C library. With the GNU one, the versions its symbols need stand in it by name, and
    the wheel is good for every Linux with that version or a later one (PEP 600); else for this platform alone.
    """
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    needs = {(int(major), int(minor)) for major, minor in re.findall(rb"\0GLIBC_(\d+)\.(\d+)", library.read_bytes())}
    if not needs or not platform.startswith("linux_"):
        return platform
    return platform.replace("linux", "manylinux_{}_{}".format(*max(*needs, OLDEST_GLIBC)), 1)


def unpack(folder: Path) -> list[Path]:
    """Unpack each database of the manifest that is missing or other than it should be; return what was written.

    Raises ValueError where a packed file does not hold what the manifest names.
    """
    entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    stale = [entry for entry in entries if digest(folder / entry["file"]) != entry["sha256"]]
    return [unpack_one(folder / entry["file"], entry["sha256"]) for entry in stale]


def unpack_one(database: Path, sha256: str) -> Path:
    """Unpack one database beside its packed file, under its final name only when whole and right."""
    packed = database.with_name(database.name + ".xz")
    fresh = database.with_name(database.name + ".part")
    fresh.write_bytes(lzma.decompress(packed.read_bytes()))
    if digest(fresh) != sha256:
        fresh.unlink()
        raise ValueError(f"{packed}: does not hold what manifest.json names; take it from git again")
    return fresh.replace(database)


def digest(file: Path) -> str:
    """Return the file's sha256, "" where there is no file."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""


if __name__ == "__main__":
    for written in unpack(Path(__file__).parent):
        print(written)
