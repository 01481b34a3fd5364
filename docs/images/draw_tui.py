"""Draw the pictures of the terminal UI in README and docs from a database: a real run, in 120 by 40 cells.

In: a database. Out: tui.svg, tui-alerts.svg ... beside this file. Never: a font or a script fetched from elsewhere by
who looks at it.

    egress-watch replay captures/city.pcapng --db city.db
    python docs/images/draw_tui.py city.db
    for svg in docs/images/tui*.svg; do rsvg-convert -w 1100 "$svg" -o "${svg%.svg}.png"; done
"""

# ruff: noqa: INP001 - a script beside its picture, no package
from __future__ import annotations

import asyncio
import re
import sys
from html import escape, unescape
from pathlib import Path

from textual.pilot import Pilot

from egress_watch_tui.app import EgressWatch

CELLS = (120, 40)
CELL_WIDTH = 12.2
"""Width of one cell in the units of the pictures that Rich draws (its Fira Code at 20 px)."""
FONTS = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"


SCENES = {
    "tui": (),
    "tui-alerts": ("2", "j", "enter"),
    "tui-destinations": ("4",),
    "tui-evidence": ("w",),
    "tui-filter": ("escape", "6", "slash", *"country:S"),
}
"""The keys that lead from one picture to the next."""


def main(db: str) -> None:
    """Draw the pictures."""
    for name, svg in asyncio.run(_drawn(db)).items():
        text = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code, monospace", FONTS)
        text = re.sub(r'<text ([^>]*?) x="([\d.]+)"([^>]*?) textLength="[\d.]+"([^>]*)>([^<]*)</text>', _words, text)
        text = re.sub(r"terminal-\d+", "terminal", text)
        Path(__file__).with_name(f"{name}.svg").write_text(text + "\n", encoding="utf-8")


async def _drawn(db: str) -> dict[str, str]:
    app, drawn = EgressWatch(db), {}
    async with app.run_test(size=CELLS) as pilot:
        await _rest(pilot)
        for name, keys in SCENES.items():
            for key in keys:
                await pilot.press(key)
                await _rest(pilot)
            drawn[name] = app.export_screenshot()
    return drawn


async def _rest(pilot: Pilot[None]) -> None:
    """Wait until nothing is being read and everything is drawn."""
    await pilot.pause()
    while any(not worker.is_finished for worker in pilot.app.workers):
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()


def _words(text: re.Match[str]) -> str:
    """Place every word for itself: not every program heeds the length of a line, or the spaces before it."""
    before, x, between, after, content = text.groups()
    return "".join(
        f'<text {before} x="{float(x) + word.start() * CELL_WIDTH:g}"{between} '
        f'textLength="{len(word[0]) * CELL_WIDTH:g}"{after}>{escape(word[0])}</text>'
        for word in re.finditer(r"[^\xa0\s]+", unescape(content))
    )


if __name__ == "__main__":
    main(sys.argv[1])
