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
from egress_watch_tui.words import MEANING, STATUS, verdict


class Help(ModalScreen[None]):
    """The overlay."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Close"),
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, known: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._known = known

    def compose(self) -> ComposeResult:
        """Hold the keys and the glossary."""
        with VerticalScroll(id="help"):
            yield Static(content(self._known), markup=False)

    def action_scroll(self, by: int) -> None:
        """Scroll by a line."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)


def content(known: Sequence[tuple[str, str]]) -> RenderableType:
    """Return keys, verdicts and the ways a location can be known."""
    return Group(
        _grid("Keys", [(Text(names), words) for names, words in known]), Text(),
        _grid("Verdicts", [(verdict(name), MEANING[name]) for name in VERDICTS]), Text(),
        _grid("How a location is known", [(Text(name), words) for name, words in STATUS.items()]),
    )  # fmt: skip


def _grid(title: str, lines: Iterable[tuple[Text, str]]) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=18)
    grid.add_column()
    for name, words in lines:
        grid.add_row(name, Text(words))
    return Group(Text(title, style="bold"), grid)
