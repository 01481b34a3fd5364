"""Progress on standard error, while a person watches.

In: inputs, batches and counters. Out: one line that keeps changing. Never: a word where nobody watches.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from egress_watch.exports.plain import printable
from egress_watch.model import Frames, Tally
from egress_watch.sources import Inputs

Advance = Callable[[Frames | None, Tally], None]
"""Called after each batch, and with None at the end."""

ROOM_FOR_BAR = 110
"""Columns of a terminal that shows a bar beside the figures."""


@contextmanager
def progress(inputs: Inputs, *, quiet: bool) -> Iterator[Advance]:
    """Show how far the work is while a person watches; stay silent in a pipe, and where quiet is asked for."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield lambda _, __: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    console = Console(stderr=True)
    counts = TextColumn("{task.fields[counts]}", markup=False, table_column=Column(no_wrap=True))
    where = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
    drawn = (BarColumn(20),) if console.width >= ROOM_FOR_BAR else ()
    columns = (
        TextColumn("replay"),
        *drawn,
        DownloadColumn(table_column=Column(no_wrap=True)),
        counts,
        TimeRemainingColumn(compact=True),
        where,
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=inputs.total_bytes or None, counts="")
        begin_s = monotonic()

        def advance(frames: Frames | None, tally: Tally) -> None:
            told = said(tally, monotonic() - begin_s)
            if frames is None:
                bar.update(task, counts=told)
            else:
                bar.update(task, completed=frames.read_bytes, counts=told, description=at(inputs, frames.origin))

        yield advance


def said(tally: Tally, spent_s: float) -> str:
    """Return the counters in words: packets, their rate, and flows."""
    rate = f", {tally.packets / spent_s:,.0f}/s" if spent_s > 0 else ""
    return f"{tally.packets:,} packets{rate}, {tally.flows:,} flows"


def at(inputs: Inputs, origin: str) -> str:
    """Return which file is being read, and which of how many it is."""
    name = "standard input" if origin == "-" else printable(Path(origin).name)
    if len(inputs.files) < 2 or origin not in inputs.files:
        return name
    return f"{name} ({inputs.files.index(origin) + 1} of {len(inputs.files)})"
