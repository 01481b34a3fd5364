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
from textual import events
from textual.message import Message
from textual.message_pump import MessagePump
from textual.pilot import Pilot

from egress_watch.cli import main
from egress_watch.store import Store
from egress_watch_tui.app import EgressWatch

CAPTURE = Path(__file__).parent.parent / "captures" / "city.pcapng"
DAY = datetime(2026, 11, 23, 12, tzinfo=UTC)
SMALL, LARGE = (80, 24), (160, 48)
NEVER_S = 100_000.0
"""The screens look at the database once; a test that wants a second look asks for it."""
QUIET_ROUNDS = 3
"""So many rounds without a message mean rest: what a round sets going without one is a message in the next."""
heard = [0]
"""How many messages have been handled so far, but for those of clocks; only one application runs at a time."""


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
        app.animation_level = "none"
        async with app.run_test(size=size, message_hook=_hear) as pilot:
            await settle(pilot)
            return await script(app, pilot)

    return asyncio.run(session())


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys, each after what the one before it set going has come to rest."""
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


async def settle(pilot: Pilot[None]) -> None:
    """Wait until nothing is being read, no message is on its way and everything is drawn, however slow the machine.

    Textual's own pause takes a process that is given no processor for one that is idle.
    """
    quiet = 0
    while quiet < QUIET_ROUNDS:
        before = heard[0]
        asked = await _round(pilot)
        reading = [worker for worker in pilot.app.workers if not worker.is_finished]
        if reading:
            await pilot.app.workers.wait_for_complete(reading)
        quiet = 0 if reading or heard[0] - before > asked else quiet + 1


async def _round(pilot: Pilot[None]) -> int:
    """Have every part of the screens answer, so that all it was sent before is done; return how many were asked."""
    app = pilot.app
    parts: list[MessagePump] = [app, *(part for one in app.screen_stack for part in one.walk_children(with_self=True))]
    answers = [asyncio.Event() for _ in parts]
    asked = [answer for part, answer in zip(parts, answers, strict=True) if part.call_later(answer.set)]
    broken: asyncio.Future[bool] = asyncio.ensure_future(app._exception_event.wait())
    waiting = asyncio.gather(*(answer.wait() for answer in asked))
    await asyncio.wait((waiting, broken), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    broken.cancel()
    app.screen._on_timer_update()
    return len(asked)


def _hear(message: Message) -> None:
    """Count a message that says that something happens."""
    heard[0] += not isinstance(message, events.Timer)


def picture(app: EgressWatch) -> list[str]:
    """Return what stands on the screen, line by line."""
    return ["".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()]
