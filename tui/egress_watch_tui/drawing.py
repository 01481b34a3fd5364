"""Pictures in characters: a map of the world, lines over time, bars.

In: sums. Out: lines of exactly so many cells. Never: a picture that only colour explains.

The map is `world.txt`, made from Natural Earth (public domain) by `docs/images/draw_world.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from rich.text import Text

from egress_watch.model import GLYPHS, IN, OUT, OWN, UNKNOWN, VERDICTS
from egress_watch_tui.taste import colour

SEA = ".."
GRAVITY = (OUT, UNKNOWN, OWN, IN)
LEVELS = " ▁▂▃▄▅▆▇█"
WIDE_AS = 3
"""The map is at most a row high for so many columns: wider looks like the world, higher does not."""
NORTH_ROWS = 48
"""Rows of the map that are drawn: the far south holds no traffic."""


@lru_cache(1)
def world() -> tuple[tuple[str, ...], ...]:
    """Return the grid of country codes, north on top."""
    text = files("egress_watch_tui").joinpath("world.txt").read_text(encoding="ascii")
    return tuple(tuple(line[at : at + 2] for at in range(0, len(line), 2)) for line in text.splitlines()[:NORTH_ROWS])


def shades(countries: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, float]]:
    """Return for each country the gravest verdict of what goes there, and its share of all bytes out."""
    total = sum(row["bytes_out"] for row in countries) or 1
    found: dict[str, tuple[str, float]] = {}
    for row in countries:
        code = row["country"] or next(
            iter(row["countries"] or ()), ""
        )  # in dispute: where the more trusted source says
        verdict, share = found.get(code, (row["verdict"], 0.0))
        gravest = min(verdict, row["verdict"], key=lambda name: GRAVITY.index(name) if name in GRAVITY else 1)
        found[code] = gravest, share + row["bytes_out"] / total
    return found


def map_lines(countries: Sequence[Mapping[str, Any]], width: int, height: int) -> list[Text]:
    """Return the world in so many cells: land as dots, countries that are sent to filled with the verdict's glyph."""
    shaded = shades(countries)
    grid = world()
    across, down = min(width, len(grid[0])), min(height, len(grid), max(1, width // WIDE_AS))
    lines = []
    for top, bottom in _cuts(len(grid), down):
        line = Text(no_wrap=True)
        for left, right in _cuts(len(grid[0]), across):
            line.append_text(_cell(Counter(code for row in grid[top:bottom] for code in row[left:right]), shaded))
        line.pad_right(width - line.cell_len)
        lines.append(line)
    return lines


def _cuts(whole: int, parts: int) -> list[tuple[int, int]]:
    """Return where to cut a line into parts that are as equal as can be."""
    return [(whole * n // parts, whole * (n + 1) // parts) for n in range(parts)]


def _cell(codes: Counter[str], shaded: Mapping[str, tuple[str, float]]) -> Text:
    """Return one cell: of the countries in it the one with the most traffic, so that small ones are seen."""
    land = codes.total() - codes.pop(SEA, 0)
    busy = max((code for code in codes if code in shaded), key=lambda code: shaded[code][1], default=None)
    if busy is None:
        return Text("·" if land else " ", style="dim")
    verdict, _ = shaded[busy]
    return Text(GLYPHS.get(verdict, "?"), style=colour(verdict))


def spark(series: Sequence[Mapping[str, Any]], verdict: str, width: int) -> Text:
    """Return bytes out of one verdict over time, a column for each stretch, the highest full."""
    sums = [0] * width
    slots = 1 + max((row["slot"] for row in series), default=0)
    for row in series:
        if row["verdict"] == verdict:
            sums[min(width - 1, row["slot"] * width // max(slots, width) if slots > width else row["slot"])] += row[
                "bytes_out"
            ]
    most = max(sums) or 1
    drawn = "".join(LEVELS[-(-amount * (len(LEVELS) - 1) // most)] for amount in sums)
    return Text(drawn, style=colour(verdict), no_wrap=True)


def shares(row: Mapping[str, Any], width: int) -> Text:
    """Return the bytes out of a row of sums as one bar, each verdict's part with its own glyph."""
    amounts = [row[f"out_{n}"] or 0 for n in range(len(VERDICTS))]
    total = sum(amounts)
    text = Text(no_wrap=True)
    for name, amount in zip(VERDICTS, amounts, strict=True):
        cells = max(1, round(width * amount / total)) if amount else 0
        text.append(GLYPHS[name] * cells, style=colour(name))
    text.truncate(width)
    text.pad_right(width - text.cell_len)
    return text
