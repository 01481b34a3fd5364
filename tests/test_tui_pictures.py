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
from tui_run import LARGE, SMALL, city, empty, press, run

from egress_watch_tui.app import EgressWatch

FOLDER = Path(__file__).parent / "snapshots"
DRAWN_BY = f"<!-- drawn by textual {version('textual')} and rich {version('rich')} -->"
SCENES = {
    "overview": (),
    "alerts": ("2", "j", "enter"),
    "flows": ("3", "o", "j"),
    "flow": ("3", "enter"),
    "help": ("question_mark",),
}
SIZES = {"80x24": SMALL, "160x48": LARGE}
DATA = [
    {"name": name, "built": built, "kind": "country", "licence": licence, "attribution": credit, "sha256": ""}
    for name, built, licence, credit in (
        ("countries", "2026-09-01", "CC-BY-4.0", "Countries by Someone (https://example.org)"),
        ("cloud", "2026-10-26", "MIT", "Ranges published by the providers"),
    )
]
PICTURES = [
    *((scene, "city", size) for scene in ("overview", "alerts", "flows") for size in SIZES),
    *((scene, "city", "80x24") for scene in ("flow", "help")),
    *(("overview", "empty", size) for size in SIZES),
    *((scene, "empty", "80x24") for scene in ("alerts", "flows")),
]


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a full and an empty database."""
    folder = tmp_path_factory.mktemp("pictures")
    return {"city": _fixed(city(folder)), "empty": empty(folder)}


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


@pytest.mark.parametrize(("scene", "content", "size"), PICTURES)
def test_a_screen_looks_as_stored(databases: dict[str, Path], scene: str, content: str, size: str) -> None:
    """The same database on the same day gives the same picture, to the last cell and colour."""
    drawn = _draw(databases[content], scene, SIZES[size])
    stored = FOLDER / f"{scene}_{content}_{size}.svg"
    if os.environ.get("EGRESS_WATCH_PICTURES") == "write":
        stored.write_text(drawn, encoding="utf-8")
    wanted = stored.read_text(encoding="utf-8")
    assert _words(wanted)
    assert _words(drawn) == _words(wanted)
    if wanted.startswith(DRAWN_BY):  # another Textual may paint another shade: then the words and their places hold
        assert drawn == wanted


def test_the_stored_pictures_are_those_of_the_list() -> None:
    """No picture is left over from a scene that is gone."""
    assert {path.stem for path in FOLDER.glob("*.svg")} == {"_".join(names) for names in PICTURES}


def _draw(path: Path, scene: str, size: tuple[int, int]) -> str:
    async def script(app: EgressWatch, pilot: Pilot[None]) -> str:
        await press(pilot, *SCENES[scene])
        return app.export_screenshot()

    return f"{DRAWN_BY}\n{_settled(run(path, script, size))}\n"


def _settled(svg: str) -> str:
    """Return the picture without the ids that Rich makes up, and without fonts from elsewhere."""
    svg = re.sub(r"@font-face \{.*?\}\n?", "", svg, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in re.sub(r"terminal-\d+", "terminal", svg).splitlines())


def _words(svg: str) -> list[tuple[str, str]]:
    """Return every text with its line; its column follows from what stands before it."""
    return re.findall(r'<text [^>]*y="([\d.]+)"[^>]*>([^<]*)</text>', svg)
