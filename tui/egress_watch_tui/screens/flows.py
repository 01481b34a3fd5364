"""Flows, the newest first, read page by page as they come into sight.

In: pages of flows. Out: a list, and a pane of evidence. Never: a flow read that nobody scrolled to.
"""

from __future__ import annotations

from typing import Any, ClassVar

from rich.console import RenderableType

from egress_watch_tui import detail
from egress_watch_tui.feed import STORED, Row
from egress_watch_tui.lines import Column
from egress_watch_tui.paged import Paged
from egress_watch_tui.words import device, owner, protocol, remote, size, verdict, when

COLUMNS = (
    Column("time", lambda row: when(row["last_ns"], "%H:%M:%S"), 8, order="ended"),
    Column("date", lambda row: when(row["last_ns"], "%Y-%m-%d"), 10, from_width=120),
    Column("verdict", lambda row: verdict(row["verdict"]), 9),
    Column("device", device, 15, grow=1, most=39),
    Column("to", remote, 18, grow=4),
    Column("cc", lambda row: row["country"] or "-", 2),
    Column("service", protocol, 9, from_width=90),
    Column("owner", owner, 12, grow=2, from_width=108),
    Column("run by", lambda row: row["provider"] or row["as_name"] or "-", 10, grow=2, from_width=136),
    Column("out", lambda row: size(row["bytes_out"]), 8, right=True, order="out"),
    Column("in", lambda row: size(row["bytes_in"]), 8, right=True, from_width=90, order="in"),
    Column("ended", lambda row: row["end_reason"], 7, from_width=160),
)


class Flows(Paged):
    """The sixth screen."""

    NAME: ClassVar[str] = "Flows"
    KIND: ClassVar[str] = "flows"
    HELP: ClassVar[str] = (
        "Single flows, as they were stored, the newest first; s orders by when they ended or by bytes, for which each "
        "is looked at: choose a time in a large database. Enter shows the whole row."
    )
    COLUMNS: ClassVar[tuple[Column, ...]] = COLUMNS
    ORDERS: ClassVar[tuple[str, ...]] = (STORED, "ended", "out", "in")
    NOTHING: ClassVar[str] = "No flows"

    def reveal(self, row: Row, evidence: dict[str, Any] | None) -> RenderableType:  # noqa: ARG002 - the row has it all
        """Return the flow."""
        return detail.flow(row)
