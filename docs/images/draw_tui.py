"""Draw the README's picture of the terminal UI from a database: a real run, in 120 by 40 cells.

In: a database. Out: tui.svg beside this file. Never: a font or a script fetched from elsewhere by who looks at it.

    egress-watch replay captures/city.pcapng --db city.db
    python docs/images/draw_tui.py city.db
    rsvg-convert docs/images/tui.svg -o docs/images/tui.png
"""

# ruff: noqa: INP001 - a script beside its picture, no package
from __future__ import annotations

import asyncio
import re
import sys
from html import escape, unescape
from pathlib import Path

from egress_watch_tui.app import EgressWatch

CELLS = (120, 40)
CELL_WIDTH = 12.2
"""Width of one cell in the units of the pictures that Rich draws (its Fira Code at 20 px)."""
FONTS = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"


def main(db: str) -> None:
    """Draw the picture."""
    svg = asyncio.run(_drawn(db))
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code, monospace", FONTS)
    svg = re.sub(r'<text ([^>]*?) x="([\d.]+)"([^>]*?) textLength="[\d.]+"([^>]*)>([^<]*)</text>', _words, svg)
    svg = re.sub(r"terminal-\d+", "terminal", svg)
    Path(__file__).with_name("tui.svg").write_text(svg + "\n", encoding="utf-8")


async def _drawn(db: str) -> str:
    app = EgressWatch(db)
    async with app.run_test(size=CELLS) as pilot:
        await pilot.pause()
        await app.workers.wait_for_complete()
        await pilot.pause()
        return app.export_screenshot()


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
