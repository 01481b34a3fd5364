"""Draw the map of the world that the terminal UI shades: a grid of country codes, made from borders.

In: a shapefile of countries with the fields iso_a3 and name (Natural Earth 1:110m, public domain), by pyshp and
pycountry. Out: world.txt of the TUI: lines from north to south, two letters a cell, dots for sea.
Never: a border in dispute drawn by us: the grid is as coarse as the source.

    python docs/images/draw_world.py naturalearth_lowres.shp
"""

# ruff: noqa: INP001 - a script beside what it draws, no package
from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pycountry
import shapefile

ROOT = Path(__file__).parent.parent.parent
OUT = ROOT / "tui" / "egress_watch_tui" / "world.txt"
WEST, EAST, NORTH, SOUTH = -170.0, 190.0, 78.0, -56.0
COLUMNS, ROWS = 144, 56
SMALL = {
    "SG": (103.8, 1.3), "HK": (114.2, 22.3), "MT": (14.4, 35.9), "LU": (6.1, 49.8), "BH": (50.6, 26.0),
    "MU": (57.6, -20.3), "MV": (73.5, 4.2), "CY": (33.2, 35.0), "IE": (-8.0, 53.2), "NL": (5.3, 52.2),
    "BE": (4.5, 50.6), "DK": (9.5, 56.0), "CH": (8.2, 46.8), "AT": (14.1, 47.6), "EE": (25.5, 58.7),
    "LV": (24.9, 56.9), "LT": (23.9, 55.3), "SI": (14.8, 46.1), "HR": (16.4, 45.5), "SK": (19.5, 48.7),
    "IL": (34.9, 31.4), "QA": (51.2, 25.3), "KW": (47.6, 29.3), "TW": (121.0, 23.7), "LB": (35.9, 33.9),
    "AM": (45.0, 40.2), "AL": (20.1, 41.1), "MK": (21.7, 41.6), "ME": (19.3, 42.8), "XK": (20.9, 42.6),
    "PR": (-66.4, 18.2), "JM": (-77.3, 18.1), "MO": (113.5, 22.2), "IS": (-18.6, 65.0), "LI": (9.5, 47.1),
    "AD": (1.5, 42.5), "MC": (7.4, 43.7), "SM": (12.5, 43.9), "GI": (-5.4, 36.1), "BZ": (-88.7, 17.2),
    "RW": (29.9, -2.0), "BN": (114.7, 4.5),
}  # fmt: skip
"""Countries smaller than a cell, or nearly, with a place within (longitude, latitude, degrees): each gets one."""


def main(source: str) -> None:
    """Write the map."""
    columns = WEST + (np.arange(COLUMNS) + 0.5) * (EAST - WEST) / COLUMNS
    rows = NORTH - (np.arange(ROWS) + 0.5) * (NORTH - SOUTH) / ROWS
    x, y = np.meshgrid(np.where(columns > 180, columns - 360, columns), rows)
    grid = np.full(x.shape, "..", dtype="<U2")
    for item in shapefile.Reader(source).iterShapeRecords():
        if code := _code(item.record.as_dict()):
            grid[_inside(item.shape, x, y)] = code
    for code, (longitude, latitude) in SMALL.items():
        if code not in grid:
            grid[
                int((NORTH - latitude) * ROWS / (NORTH - SOUTH)), int((longitude - WEST) * COLUMNS / (EAST - WEST))
            ] = code
    OUT.write_text("".join("".join(line) + "\n" for line in grid), encoding="ascii")


def _code(record: dict[str, str]) -> str:
    named = {"Kosovo": "XK", "N. Cyprus": "CY", "Somaliland": "SO", "France": "FR", "Norway": "NO"}
    found = pycountry.countries.get(alpha_3=record["iso_a3"])
    return named.get(record["name"], found.alpha_2 if found else "")


def _inside(shape: shapefile.Shape, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return which points lie within the rings of a shape: an odd number of edges lies to the east of them."""
    inside = np.zeros(x.shape, bool)
    starts = [*shape.parts, len(shape.points)]
    for first, last in pairwise(starts):
        ring = np.array(shape.points[first:last])
        for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if y1 != y2:
                inside ^= ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside


if __name__ == "__main__":
    main(sys.argv[1])
