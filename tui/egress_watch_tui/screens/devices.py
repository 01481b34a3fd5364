"""Devices: who sends, how much of it where, the one that sends most first.

In: pages of sums. Out: a list; Enter leads to the device's destinations. Never: a verdict told by colour alone.
"""

from __future__ import annotations

from typing import ClassVar

from rich.console import RenderableType

from egress_watch.model import VERDICTS
from egress_watch_tui import detail
from egress_watch_tui.feed import Row
from egress_watch_tui.lines import Column, sent
from egress_watch_tui.paged import Paged
from egress_watch_tui.words import count, device, size, verdict, when, worst

COLUMNS = (
    Column("worst", lambda row: verdict(worst(row)), 9, order="verdict"),
    Column("device", device, 15, grow=2, most=39, order="name"),
    Column("address", lambda row: row["device_ip"], 15, grow=1, most=39, from_width=150),
    Column("segment", lambda row: row["segment"] or "-", 10, grow=1, most=24, from_width=120),
    *(sent(number) for number in range(len(VERDICTS))),
    Column("out", lambda row: size(row["bytes_out"]), 9, right=True, order="out", from_width=90),
    Column("in", lambda row: size(row["bytes_in"]), 9, right=True, order="in", from_width=105),
    Column("flows", lambda row: count(row["flows"], 9), 9, right=True, order="flows"),
    Column("last seen", lambda row: when(row["last_ns"]), 19, order="last seen", from_width=130),
)


class Devices(Paged):
    """The third screen."""

    NAME: ClassVar[str] = "Devices"
    KIND: ClassVar[str] = "devices"
    HELP: ClassVar[str] = "Who sends: bytes out by verdict. `worst` is the gravest verdict of anything it sent."
    COLUMNS: ClassVar[tuple[Column, ...]] = COLUMNS
    ORDERS: ClassVar[tuple[str, ...]] = ("out", "verdict", "flows", "in", "last seen", "name")
    DEEPER: ClassVar[str] = "Destinations"
    NOTHING: ClassVar[str] = "No devices"

    def reveal(self, row: Row, evidence: object) -> RenderableType:  # noqa: ARG002 - Enter leads on
        """Return the row."""
        return detail.sums(row)
