"""The keys that work right now, and what the words mean.

In: the keys of the screen that is open. Out: an overlay. Never: a key that does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from egress_watch.model import VERDICTS
from egress_watch.store.fields import FIELDS, Field
from egress_watch_tui.words import MEANING, STATUS, verdict


class Help(ModalScreen[None]):
    """The overlay."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Close"),
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, known: Sequence[tuple[str, ...]], name: str = "", about: str = "") -> None:
        super().__init__()
        self._known = known
        self._title, self._about = name, about

    def compose(self) -> ComposeResult:
        """Hold the keys and the glossary."""
        with VerticalScroll(id="help") as frame:
            frame.border_subtitle = "j/k scroll, esc close"
            yield Static(content(self._known, self._title, self._about), markup=False)

    def action_scroll(self, by: int) -> None:
        """Scroll by a line."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)


def content(known: Sequence[tuple[str, ...]], name: str = "", about: str = "") -> RenderableType:
    """Return what the screen shows, the keys, the filter's words, verdicts, and how a location can be known."""
    head = [Text(name, style="bold"), Text(about), Text()] if about else []
    return Group(
        *head,
        _keys(known), Text(),
        _grid("Verdicts", [(verdict(one), MEANING[one]) for one in VERDICTS]), Text(),
        _grid("Filter: terms side by side must all hold; a,b is either; ! turns round; * is anything",
              [(Text(_written(field)), field.about) for field in FIELDS]), Text(),
        _grid("How a location is known", [(Text(one), words) for one, words in STATUS.items()]),
    )  # fmt: skip


def _keys(known: Sequence[tuple[str, ...]]) -> RenderableType:
    """Return the keys in two columns."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for width in (17, 18, 17, 18):
        grid.add_column(width=width)
    half = -(-len(known) // 2)
    for at in range(half):
        pairs = [known[n] for n in (at, at + half) if n < len(known)]
        grid.add_row(*(Text(word) for names, words, *_ in pairs for word in (names, words)))
    return Group(Text("Keys", style="bold"), grid)


def _written(field: Field) -> str:
    return f"{field.name}{'>' if field.kind == 'size' else ':'}"


def _grid(title: str, lines: Iterable[tuple[Text, str]]) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=18)
    grid.add_column()
    for name, words in lines:
        grid.add_row(name, Text(words))
    return Group(Text(title, style="bold"), grid)
