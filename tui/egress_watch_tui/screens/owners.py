"""Owners: whose hands it is in, or which network where no owner is listed.

In: pages of sums. Out: a list; Enter leads to the owner's destinations. Never: an owner that is guessed.
"""

from __future__ import annotations

from typing import ClassVar

from rich.console import RenderableType

from egress_watch.model import VERDICTS
from egress_watch_tui import detail
from egress_watch_tui.feed import Row
from egress_watch_tui.lines import Column, sent
from egress_watch_tui.paged import Paged
from egress_watch_tui.words import count, listed, size, verdict, when, worst

COLUMNS = (
    Column("worst", lambda row: verdict(worst(row)), 9, order="verdict"),
    Column("owner", lambda row: row["owner"] or row["network"], 16, grow=3, most=44, order="name"),
    Column("seat", lambda row: row["owner_seat"] or ("-" if row["owner"] else "not listed"), 10, grow=1, most=12),
    Column("in countries", lambda row: listed(row["countries_of"]), 12, grow=2, most=40, from_width=100),
    *(sent(number, 120) for number in range(len(VERDICTS))),
    Column("out", lambda row: size(row["bytes_out"]), 9, right=True, order="out"),
    Column("in", lambda row: size(row["bytes_in"]), 9, right=True, order="in"),
    Column("flows", lambda row: count(row["flows"], 9), 9, right=True, order="flows"),
    Column("last seen", lambda row: when(row["last_ns"]), 19, order="last seen", from_width=150),
)


class Owners(Paged):
    """The fifth screen."""

    NAME: ClassVar[str] = "Owners"
    KIND: ClassVar[str] = "owners"
    HELP: ClassVar[str] = "Whose hands it is in: group and the country it is run from; a network where none is listed."
    COLUMNS: ClassVar[tuple[Column, ...]] = COLUMNS
    ORDERS: ClassVar[tuple[str, ...]] = ("out", "verdict", "flows", "in", "last seen", "name")
    DEEPER: ClassVar[str] = "Destinations"
    NOTHING: ClassVar[str] = "No owners"

    def reveal(self, row: Row, evidence: object) -> RenderableType:  # noqa: ARG002 - Enter leads on
        """Return the row."""
        return detail.sums(row)
