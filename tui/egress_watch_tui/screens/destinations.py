"""Destinations: where it goes, by name and address, the one that is sent most first.

In: pages of sums. Out: a list; Enter leads to the flows. Never: a place without its owner.
"""

from __future__ import annotations

from typing import ClassVar

from rich.console import RenderableType

from egress_watch_tui import detail
from egress_watch_tui.feed import Row
from egress_watch_tui.lines import Column
from egress_watch_tui.paged import Paged
from egress_watch_tui.words import count, country, operator, owner, remote, size, verdict, when

COLUMNS = (
    Column("verdict", lambda row: verdict(row["verdict"]), 9, order="verdict"),
    Column("to", remote, 16, grow=4, order="name"),
    Column("address", lambda row: row["remote_ip"], 15, grow=1, most=39, from_width=140),
    Column("country", country, 9, grow=1, most=18),
    Column("owner (seat)", owner, 12, grow=2, most=32),
    Column("network run by", operator, 14, grow=1, most=26, from_width=110),
    Column("out", lambda row: size(row["bytes_out"]), 9, right=True, order="out"),
    Column("in", lambda row: size(row["bytes_in"]), 9, right=True, order="in", from_width=90),
    Column("flows", lambda row: count(row["flows"], 9), 9, right=True, order="flows"),
    Column("last seen", lambda row: when(row["last_ns"]), 19, order="last seen", from_width=150),
)


class Destinations(Paged):
    """The fourth screen."""

    NAME: ClassVar[str] = "Destinations"
    KIND: ClassVar[str] = "destinations"
    HELP: ClassVar[str] = "Where it goes: name or address, country with how it is known, and whose hands it is in."
    COLUMNS: ClassVar[tuple[Column, ...]] = COLUMNS
    ORDERS: ClassVar[tuple[str, ...]] = ("out", "verdict", "flows", "in", "last seen", "name")
    DEEPER: ClassVar[str] = "Flows"
    NOTHING: ClassVar[str] = "No destinations"

    def reveal(self, row: Row, evidence: object) -> RenderableType:  # noqa: ARG002 - Enter leads on
        """Return the row."""
        return detail.sums(row)
