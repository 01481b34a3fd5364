"""The house stands: imports go downwards, the middle is pure, and every module has its words and its test."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"egress_watch": ROOT / "egress_watch", "egress_watch_tui": ROOT / "tui" / "egress_watch_tui"}

FLOORS = (
    {"countries", "errors", "model", "moments", "texts", "fast"},
    {"decode", "names", "devices", "inventory", "flows", "places", "rules", "exports"},
    {"sources", "library", "config", "store", "sinks", "dissection", "evidence"},
    {"watch", "forward"},
    {"cli"},
    {"__main__"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
IMPURE = {"socket", "os", "time", "pathlib", "sqlite3", "threading", "random", "subprocess", "asyncio", "secrets"}
DOORS = {
    ("library", "config"),  # the shelf is filled as configured
    ("library", "rules"),
    ("library", "places"),
    ("fast", "model"),  # the same work on the same columns, compiled
    ("texts", "model"),  # columns of texts beside those of numbers
    ("moments", "errors"),  # what is no time is told like every mistake of usage
    ("library", "devices"),  # the registry of makers
    ("library", "inventory"),
    ("sinks", "config"),  # a sink is opened from its settings
}
"""Imports within one floor, or of a pure room by a door, that DESIGN.md allows."""
TUI_MAY_SEE = {"errors", "model", "moments", "store"}


def modules() -> list[Path]:
    """Return every module of both packages, the data folder's build scripts left out: they are no room."""
    return [path for top in PACKAGES.values() for path in sorted(top.rglob("*.py")) if path.parent.name != "data"]


def room(path: Path) -> str:
    """Return the room a module belongs to, "" for the packages' own first modules."""
    parts = path.relative_to(ROOT / "egress_watch").parts
    return "" if parts == ("__init__.py",) else parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Return the dotted names a module imports, at the top or within a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms_imported(path: Path) -> set[str]:
    """Return the rooms of egress_watch that a module imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("egress_watch.")} & FLOOR.keys()


@pytest.mark.parametrize("path", [p for p in modules() if p.is_relative_to(ROOT / "egress_watch")], ids=str)
def test_imports_go_downwards(path: Path) -> None:
    """A room imports only rooms of lower floors; rooms on one floor do not know each other."""
    here = room(path)
    for there in rooms_imported(path) - {here}:
        allowed = FLOOR[there] < FLOOR.get(here, -1) or (here, there) in DOORS
        assert allowed, f"{here or 'the package'} (floor {FLOOR.get(here)}) imports {there} (floor {FLOOR[there]})"


def test_doors_know_only_the_types() -> None:
    """Floor 2 imports floor 0 only, but for the shelf, which also parses what it reads."""
    for path in modules():
        if path.is_relative_to(ROOT / "egress_watch") and FLOOR.get(room(path)) == 2:
            upper = {there for there in rooms_imported(path) if FLOOR[there] == 1 and (room(path), there) not in DOORS}
            assert not upper, f"{path}: {upper}"


@pytest.mark.parametrize("path", [p for p in modules() if "tui" in p.parts], ids=str)
def test_the_tui_sees_types_and_store_only(path: Path) -> None:
    """The terminal UI reads the database and knows nothing of how it came about."""
    assert rooms_imported(path) <= TUI_MAY_SEE


@pytest.mark.parametrize(
    "path", [p for p in modules() if p.is_relative_to(ROOT / "egress_watch") and FLOOR.get(room(p)) == 1], ids=str
)
def test_the_middle_is_pure(path: Path) -> None:
    """Floor 1 has no clock, file, socket, thread or database."""
    tops = {name.split(".")[0] for name in imports(path)}
    assert not tops & IMPURE


@pytest.mark.parametrize("path", modules(), ids=str)
def test_every_module_says_what_goes_in_and_out(path: Path) -> None:
    """Each module opens with its purpose, and In, Out and Never."""
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    missing = [word for word in ("In:", "Out:", "Never:") if word not in words]
    assert not missing, f"{path}: {missing}"


def test_every_room_has_its_tests() -> None:
    """There is a test module for each room."""
    missing = [name for name in FLOOR if name != "__main__" and not list((ROOT / "tests").glob(f"test_{name}*.py"))]
    assert not missing
