"""The whole of one alert or flow: the reason, and what it rests on.

In: a row of the store. Out: a grid of labels and wrapped words. Never: markup, or a word cut short.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from egress_watch_tui.feed import Row
from egress_watch_tui.plain import harmless
from egress_watch_tui.taste import masked_row
from egress_watch_tui.words import RESTS_ON, STATUS, dated, level, owner, protocol, size, verdict, when

Line = tuple[str, str | Text]


class Detail(VerticalScroll, can_focus=True, inherit_bindings=False):
    """A pane beside or below a list; hidden until a row is opened."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Scroll", key_display="j/k"),
        Binding("down", "scroll_down", "Scroll", show=False),
        Binding("up,k", "scroll_up", "Scroll up", show=False),
        Binding("pagedown,ctrl+f", "page_down", "Page down", show=False),
        Binding("pageup,ctrl+b", "page_up", "Page up", show=False),
        Binding("home,g", "scroll_home", "First line", show=False),
        Binding("end,G", "scroll_end", "Last line", show=False),
    ]

    def compose(self) -> ComposeResult:
        """Hold one block of text."""
        yield Static(markup=False)

    def show(self, content: RenderableType) -> None:
        """Show this and begin at its top."""
        self.query_one(Static).update(content)
        self.scroll_home(animate=False)


def alert(row: Row, flow: Row | None, history: Sequence[Row] = ()) -> RenderableType:
    """Return an alert with the evidence of its newest flow, None where that is not read yet or gone."""
    row, flow = masked_row(row), flow and masked_row(flow)
    head = Text.assemble(level(row["level"]), "  ", (harmless(row["title"]), "bold"))
    lines: list[Line] = [
        ("verdict", verdict(row["verdict"])),
        ("why", row["why"]),
        ("device", _with(row["device_ip"], row["device_mac"])),
        ("seen", f"{when(row['first_ns'])} to {when(row['last_ns'])}, {row['hits']:,} flows"),
        ("bytes", f"{size(row['bytes_out'])} out, {size(row['bytes_in'])} in"),
        ("state", _state(row)),
        *(("" if at else "done", _act(act)) for at, act in enumerate(history)),
    ]
    if flow:
        lines += [("", ""), ("evidence", Text("of its newest flow", style="italic")), *_evidence(flow)]
    lines += [("", ""), *_judges(row), ("rule", row["rule"])]
    lines += [("packets", f"egress-watch inspect DB --alert {row['id']}, from the capture or from kept evidence")]
    return Group(head, _grid(lines))


def sums(row: Row) -> RenderableType:
    """Return a row of sums."""
    seen = f"{row['flows']:,} flows, the last {when(row['last_ns'])}"
    return _grid([("bytes", f"{size(row['bytes_out'])} out, {size(row['bytes_in'])} in"), ("seen", seen)])


def _act(act: Row) -> str:
    reason = f": {act['reason']}" if act["reason"] else ""
    return f"{act['kind']} by {act['who']}, {when(act['made_ns'], '%Y-%m-%d %H:%M')}{reason}"


def _state(row: Row) -> str:
    """Return how an alert stands: until when it was silent, who has seen it, how many devices a storm has."""
    told = [f"closed {when(row['closed_ns'])}" if row["closed_ns"] is not None else "open"]
    told += [f"seen by {row['acked_by']}"] if row["acked_by"] else []
    told += [f"a storm's summary: {row['devices']:,} devices"] if row["kind"] == "storm" else []
    return ", ".join(told)


def flow(row: Row) -> RenderableType:
    """Return a flow with its evidence."""
    row = masked_row(row)
    head = Text.assemble(verdict(row["verdict"]), "  ", (harmless(row["name"] or row["remote_ip"]), "bold"))
    span = f"{when(row['first_ns'])} to {when(row['last_ns'])}, ended: {row['end_reason']}"
    out = f"{size(row['bytes_out'])} in {row['packets_out']:,} packets out"
    lines: list[Line] = [
        ("why", row["why"]),
        ("device", _with(f"{row['device_ip']} port {row['device_port']}", row["device_mac"])),
        ("seen", span),
        ("bytes", f"{out}, {size(row['bytes_in'])} in {row['packets_in']:,} packets in"),
        *_evidence(row),
        ("zone", row["zone"]),
        ("data", dated(row["data"]) or "-"),
    ]
    return Group(head, _grid(lines))


def _evidence(row: Row) -> Iterator[Line]:
    """Yield who the remote is, by each kind of evidence; what nobody said is a dash."""
    heard = f"{row['name']} (heard in {row['name_source']})" if row["name"] else "-"
    status = row["location_status"]
    where = " ".join(filter(None, (" or ".join(row["countries"]), row["region"]))) or "-"
    yield "remote", f"{row['remote_ip']} {protocol(row)}"
    yield "name", heard
    yield "location", f"{where}, {status}: {STATUS.get(status, status)}"
    yield "network", f"AS{row['asn']} {row['as_name'] or ''}, run by {row['provider'] or '-'}" if row["asn"] else "-"
    yield "owner", owner(row) + (f", by {RESTS_ON.get(row['evidence'], row['evidence'])}" if row["evidence"] else "")
    yield "laws", ", ".join(row["laws"]) or "-"
    yield "ties", "; ".join(row["ties"]) or "-"
    if row["note"]:
        yield "note", row["note"]


def _judges(row: Row) -> Iterator[Line]:
    """Yield the data files that judged, with the words their licences ask for."""
    for at, data in enumerate(row["data"]):
        words = f"{data.get('name')} of {data.get('built')} ({data.get('licence')}) {data.get('attribution')}"
        yield "judged by" if at == 0 else "", words


def _with(first: str, more: str | None) -> str:
    return f"{first} ({more})" if more else first


def _grid(lines: Iterable[Line]) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
    grid.add_column(width=9, style="dim", no_wrap=True)
    grid.add_column(ratio=1, overflow="fold")
    for label, value in lines:
        grid.add_row(Text(label), value if isinstance(value, Text) else Text(harmless(value)))
    return grid
