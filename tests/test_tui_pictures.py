"""The pictures: what every screen shows, empty and full, small and large, held to stored ones.

EGRESS_WATCH_PICTURES=write draws them anew; look at them before you keep them.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest
from textual.pilot import Pilot
from tui_run import city, crowd, empty, press, run, settle

from egress_watch_tui.app import EgressWatch

FOLDER = Path(__file__).parent / "snapshots"
DRAWN_BY = f"<!-- drawn by textual {version('textual')} and rich {version('rich')} -->"
SCENES = {
    "overview": ("1",),
    "alerts": ("2", "j", "enter"),
    "devices": ("3", "j"),
    "destinations": ("4", "s"),
    "owners": ("5", "j"),
    "flows": ("6", "enter"),
}
"""The keys that lead from one scene to the next, in this order."""
EXTRA = {
    "evidence": ("w",),
    "help": ("escape", "question_mark"),
    "filter": ("escape", "4", "slash", *"country:C"),
    "trouble": ("escape", "slash", *"cuntry:CN"),
    "time": ("escape", "r"),
    "drilled": ("escape", "5", "j", "enter"),
    "map": ("1", "m"),
}
"""What else there is to see, at the smallest size."""
SIZES = {"80x24": (80, 24), "120x40": (120, 40), "160x48": (160, 48)}
CONTENTS = ("empty", "city", "crowd")
LOOKS = ("light", "dark")
"""The last one is in use while keys are pressed: what lies over a screen is not drawn anew in another."""
DATA = [
    {"name": name, "built": built, "kind": "country", "licence": licence, "attribution": credit, "sha256": ""}
    for name, built, licence, credit in (
        ("countries", "2026-09-01", "CC-BY-4.0", "Countries by Someone (https://example.org)"),
        ("cloud", "2026-10-26", "MIT", "Ranges published by the providers"),
    )
]
RUNS = [(content, size) for content in CONTENTS for size in SIZES]


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return an empty database, a typical one, and one in trouble with thousands of everything."""
    folder = tmp_path_factory.mktemp("pictures")
    return {"city": _fixed(city(folder)), "empty": empty(folder), "crowd": crowd(folder)}


def _fixed(path: Path) -> Path:
    """Put fixed words where the shipped data files speak, so that newer data does not make the pictures old.

    Verdicts, countries and owners stay: the capture's own expectations hold them.
    """
    why = "because of this and of that, in words enough to need a second line where room is short"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE dataset SET files = ?1, dates = ?1", (json.dumps(DATA),))
        db.execute(
            "UPDATE place SET why = ?, laws = ?, ties = ?", (why, '["A Law", "Another Law"]', '["a tie (2025)"]')
        )
        db.execute("UPDATE alert SET why = ?", (why,))
    return path


@pytest.mark.parametrize(("content", "size"), RUNS)
def test_every_screen_looks_as_stored(databases: dict[str, Path], content: str, size: str) -> None:
    """The same database on the same day gives the same pictures, to the last cell and colour."""
    more = EXTRA if (content, size) == ("city", "80x24") else {}
    for scene, drawn in _drawn(databases[content], SIZES[size], more).items():
        stored = FOLDER / f"{scene.format(f'{content}_{size}')}.svg"
        if os.environ.get("EGRESS_WATCH_PICTURES") == "write":
            stored.write_text(drawn, encoding="utf-8")
        wanted = stored.read_text(encoding="utf-8")
        assert _words(wanted)
        assert _words(drawn) == _words(wanted), stored.name
        if wanted.startswith(DRAWN_BY):  # another Textual may paint another shade: then the words and their places hold
            assert drawn == wanted, stored.name


def test_the_stored_pictures_are_those_of_the_list() -> None:
    """No picture is left over from a scene that is gone."""
    wanted = {f"{scene}_{'_'.join(run)}_{theme}" for scene in SCENES for run in RUNS for theme in LOOKS}
    assert {path.stem for path in FOLDER.glob("*.svg")} == wanted | {f"{scene}_city_80x24_dark" for scene in EXTRA}


def _drawn(path: Path, size: tuple[int, int], more: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the pictures of one run through the scenes, by name with a gap; those of ``more`` in one theme only."""

    async def script(app: EgressWatch, pilot: Pilot[None]) -> dict[str, str]:
        pictures = {}
        for scene, keys in {**SCENES, **more}.items():
            await press(pilot, *keys)
            for theme in LOOKS[-1:] if scene in more else LOOKS:
                app.action_colours(theme)
                await settle(pilot)
                pictures[f"{scene}_{{}}_{theme}"] = f"{DRAWN_BY}\n{_settled(app.export_screenshot())}\n"
        return pictures

    return run(path, script, size)


def _settled(svg: str) -> str:
    """Return the picture without the ids that Rich makes up, and without fonts from elsewhere."""
    svg = re.sub(r"@font-face \{.*?\}\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<clipPath id=\"[^\"]*line[^\"]*\">.*?</clipPath>\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r' clip-path="url\(#[^)]*-line-\d+\)"', "", svg)
    return "\n".join(line.strip() for line in re.sub(r"terminal-\d+", "terminal", svg).splitlines() if line.strip())


def _words(svg: str) -> list[tuple[str, str]]:
    """Return every text with its line; its column follows from what stands before it."""
    return re.findall(r'<text [^>]*y="([\d.]+)"[^>]*>([^<]*)</text>', svg)
