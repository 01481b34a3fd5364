"""Runs the terminal UI without a terminal, on a fixed day, over databases made for the purpose."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from running import environment
from textual.pilot import Pilot

from egress_watch.cli import main
from egress_watch.store import Store
from egress_watch_tui.app import EgressWatch

CAPTURE = Path(__file__).parent.parent / "captures" / "city.pcapng"
DAY = datetime(2026, 11, 23, 12, tzinfo=UTC)
SMALL, LARGE = (80, 24), (160, 48)
NEVER_S = 100_000.0
"""The screens look at the database once; a test that wants a second look asks for it."""


def city(folder: Path) -> Path:
    """Return a database of the shipped city capture."""
    path = folder / "city.db"
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["replay", str(CAPTURE), "--db", str(path)]) == 0
    return path


def empty(folder: Path) -> Path:
    """Return a database in which nothing is recorded yet."""
    path = folder / "empty.db"
    Store(str(path)).close()
    return path


def crowd(folder: Path) -> Path:
    """Return a database of thousands of devices, destinations and alerts, whose recorder was killed and lost frames."""
    path = folder / "crowd.db"
    script = Path(__file__).parent.parent / "benchmarks" / "screens.py"
    subprocess.run(
        [sys.executable, str(script), "make", str(path), "--flows", "30000"], check=True, capture_output=True,
        env=environment(),
    )  # fmt: skip
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE recording SET state = 'running', writer = '1:0', lost = 123456")
        db.execute("INSERT INTO damage VALUES (1, 'a-very-long-name-of.pcapng', 123456789, 'cut short', 4711)")
        db.execute("UPDATE name SET name = 'a-very-long-label-' || name || '.' || name WHERE id % 7 = 0")
        db.execute("UPDATE device SET ip = '2001:db8:85a3:8d3:1319:8a2e:370:' || printf('%x', id) WHERE id % 5 = 0")
    return path


T = TypeVar("T")


def run(path: Path, script: Callable[[EgressWatch, Pilot[None]], Awaitable[T]], size: tuple[int, int] = SMALL) -> T:
    """Return what the script returns; it begins when the first look has been drawn."""

    async def session() -> T:
        app = EgressWatch(str(path), clock=lambda: DAY, period_s=NEVER_S)
        async with app.run_test(size=size) as pilot:
            await settle(pilot)
            return await script(app, pilot)

    return asyncio.run(session())


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys, each after what the one before it set going has come to rest."""
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


async def settle(pilot: Pilot[None]) -> None:
    """Wait until nothing is being read and everything is drawn."""
    await pilot.pause()
    while any(not worker.is_finished for worker in pilot.app.workers):
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()


def picture(app: EgressWatch) -> list[str]:
    """Return what stands on the screen, line by line."""
    return ["".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()]
