"""The evidence sheet: where, whose hands, how sure, each source with its date, ties, and what would change the answer.

In: a row, and what is stored that bears on it. Out: an overlay. Never: evidence that was not stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static

from egress_watch.errors import EgressWatchError
from egress_watch_tui.ask import Ask
from egress_watch_tui.feed import Feed, Row
from egress_watch_tui.plain import harmless
from egress_watch_tui.taste import OF_PEOPLE, masked_name, masked_row
from egress_watch_tui.words import RESTS_ON, STATUS, changes, operator, owner, verdict, when

SURE = {
    "declared": "sure", "override": "as sure as you are", "local": "sure", "agreed": "fairly sure",
    "single": "not very sure", "disputed": "not sure", "anycast": "cannot be told",
    "edge": "cannot be told", "unknown": "cannot be told",
}  # fmt: skip
NEWEST = "Of all behind this row, the newest flow with the gravest verdict:"
Lines = Iterator[tuple[str, str | Text]]


class Sheet(ModalScreen[None]):
    """The overlay."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,w,q", "dismiss", "Close", key_display="esc"),
        Binding("j,down", "scroll(1)", "Down", show=False),
        Binding("k,up", "scroll(-1)", "Up", show=False),
        Binding("pagedown,space", "scroll(15)", "Page down", show=False),
        Binding("pageup", "scroll(-15)", "Page up", show=False),
    ]

    class Read(Message):
        """What is stored has been read."""

        def __init__(self, found: dict[str, Any], trouble: str) -> None:
            super().__init__()
            self.found, self.trouble = found, trouble

    def __init__(self, feed: Feed, kind: str, row: Row, behind: Ask | None = None) -> None:
        super().__init__()
        self._feed, self._kind, self._row, self._behind = feed, kind, row, behind

    def compose(self) -> ComposeResult:
        """Hold the sheet."""
        with VerticalScroll(id="sheet", can_focus=False) as frame:
            frame.border_subtitle = "j/k scroll, esc close"
            yield Static("Reading ...", markup=False)

    def on_mount(self) -> None:
        """Read what is stored."""
        self._read()

    @work(thread=True)
    def _read(self) -> None:
        try:
            self.post_message(self.Read(self._feed.evidence(self._kind.lower(), self._row, self._behind), ""))
        except EgressWatchError as error:
            self.post_message(self.Read({}, str(error)))

    def on_sheet_read(self, event: Read) -> None:
        """Show it."""
        shown = Text(harmless(event.trouble)) if event.trouble else sheet(self._row, event.found)
        self.query_one(Static).update(shown)

    def action_scroll(self, by: int) -> None:
        """Scroll by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)


def sheet(row: Row, found: Mapping[str, Any]) -> RenderableType:
    """Return everything that is stored of the answer behind a row, and of its device."""
    row, answer = masked_row(row), masked_row(found.get("flow") or found.get("place") or {})
    blocks: list[RenderableType] = []
    if answer:
        head = Text.assemble(
            verdict(answer["verdict"]), f"  under {harmless(answer['zone'])}  ", (harmless(_what(row, answer)), "bold")
        )
        blocks += [Text(NEWEST, style="italic")] if found.get("flow") and "worst" in row else []
        blocks += [head, Text(harmless(answer["why"])), Text(), _table(_place(answer)), Text()]
        blocks += [Text("Ties", "bold"), graph(answer), Text()]
        blocks += [Text("What would change it", "bold"), *(Text(f" • {line}") for line in changes(answer)), Text()]
        blocks += [Text("Judged by", "bold"), _table(_sources(answer, found)), Text()]
        blocks += [_table(_earlier(found))] if found.get("earlier") else []
    if found.get("facts") or found.get("listed"):
        blocks += [Text("The device", "bold"), _table(_device(found))]
    return Group(*blocks) if blocks else Text("Nothing is stored that bears on this row: open it, and ask there.")


def graph(answer: Mapping[str, Any]) -> RenderableType:
    """Return owner, network, ties and laws as a small tree.

    What is stored does not tell which of the laws reach the owner and which the network: so the tree does not either.
    """
    limbs = [f"seated in {answer['owner_seat']}"] if answer.get("owner_seat") else []
    if carried := operator(answer) not in {answer.get("owner"), "not listed", "stays local"}:
        limbs.append(f"runs on the network of {operator(answer)}")
    limbs += [f"tied to {tie}" for tie in answer["ties"]]
    limbs += ["reached, itself or by way of that network, by" if carried else "reached by"] if answer["laws"] else []
    lines: list[RenderableType] = [Text(f" ● {harmless(owner(answer))}"), _limbs(limbs or ["no tie is known"], 5)]
    return Group(*lines, *([_limbs(answer["laws"], 9)] if answer["laws"] else []))


def _limbs(limbs: Sequence[str], width: int) -> Table:
    """Return one level of the tree, so many cells in."""
    grid = Table.grid()
    grid.add_column(width=width)
    grid.add_column(overflow="fold")
    for number, limb in enumerate(limbs, 1):
        grid.add_row(Text(f"{'└' if number == len(limbs) else '├'}── ".rjust(width)), Text(harmless(limb)))
    return grid


def _what(row: Row, answer: Mapping[str, Any]) -> str:
    named = answer.get("name") or answer.get("remote_ip") or row.get("name") or row.get("remote_ip") or row.get("id")
    return str(named)


def _place(answer: Mapping[str, Any]) -> Lines:
    status = answer["location_status"]
    where = " or ".join(answer["countries"]) or "no country"
    yield "where", f"{where}{', ' + answer['region'] if answer['region'] else ''}"
    yield "how known", f"{status}: {STATUS.get(status, status)}"
    yield "how sure", SURE.get(status, "cannot be told")
    yield (
        "in hands of",
        owner(answer) + (f", by {RESTS_ON.get(answer['evidence'], answer['evidence'])}" if answer["evidence"] else ""),
    )
    network = f"AS{answer['asn']} {answer['as_name'] or ''}".strip() if answer["asn"] else "-"
    yield "network", f"{network}, run by {operator(answer)}"
    if answer.get("name"):
        yield "name", f"{answer['name']}, heard in {answer['name_source']}"
    if answer["note"]:
        yield "your note", answer["note"]


def _sources(answer: Mapping[str, Any], found: Mapping[str, Any]) -> Lines:
    kinds = {row.get("name"): row for row in found.get("files", ())}
    for row in answer["data"]:
        full = kinds.get(row.get("name"), {})
        yield (
            str(row.get("built") or "no date"),
            f"{row.get('name')}{', ' + str(full['licence']) if full.get('licence') else ''}",
        )


def _earlier(found: Mapping[str, Any]) -> Lines:
    for row in found["earlier"]:
        yield f"until {when(row['made_ns'], '%F')}", f"{row['verdict']}: {row['why']}"


def _device(found: Mapping[str, Any]) -> Lines:
    for row in found["listed"]:
        for name in ("device_name", "site", "segment", "role", "supplier", "contact", "notes"):
            if row.get(name):
                known = masked_name(str(row[name])) if name in OF_PEOPLE else row[name]
                yield name.replace("_", " "), f"{known} (your inventory)"
    for row in found["facts"]:
        value = masked_name(row["value"]) if row["kind"] == "host_name" else row["value"]
        yield row["kind"].replace("_", " "), f"{value} ({row['source']}, {when(row['last_ns'], '%F %H:%M')})"


def _table(lines: Lines) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 1), expand=True)
    grid.add_column(width=12, style="dim", no_wrap=True)
    grid.add_column(ratio=1, overflow="fold")
    for label, value in lines:
        grid.add_row(Text(harmless(label)), value if isinstance(value, Text) else Text(harmless(value)))
    return grid
