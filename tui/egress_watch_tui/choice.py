"""Small questions over the screen: one of a list, a text, a day, two moments.

In: keys. Out: an answer, or None. Never: an answer that cannot be used: it is asked again with what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static

from egress_watch.errors import EgressWatchError, UsageError
from egress_watch.moments import time_ns
from egress_watch_tui.ask import Range
from egress_watch_tui.plain import harmless


class Choice(ModalScreen[str]):
    """One of a list; its number is its key."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Cancel", key_display="esc"),
        Binding("j", "move('down')", "Down", show=False),
        Binding("k", "move('up')", "Up", show=False),
        *(Binding(str(n), f"take({n})", f"Choice {n}", show=False) for n in range(1, 10)),
    ]

    def __init__(self, title: str, choices: Sequence[str], now: str) -> None:
        super().__init__()
        self._title, self._choices, self._now = title, choices, now

    def compose(self) -> ComposeResult:
        """Hold the list."""
        with Vertical(classes="question"):
            yield Static(Text(self._title, style="bold"), markup=False)
            yield OptionList(*(f"{n} {choice}" for n, choice in enumerate(self._choices, 1)), markup=False)
            yield Static(Text("enter chooses, esc cancels", style="dim"), markup=False)

    def on_mount(self) -> None:
        """Begin at the choice in use."""
        if self._now in self._choices:
            self.query_one(OptionList).highlighted = list(self._choices).index(self._now)

    def action_move(self, way: str) -> None:
        """Move the cursor."""
        getattr(self.query_one(OptionList), f"action_cursor_{way}")()

    def action_take(self, number: int) -> None:
        """Choose by number."""
        if number <= len(self._choices):
            self.dismiss(self._choices[number - 1])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Choose."""
        self.dismiss(self._choices[event.option_index])


class Form(ModalScreen[tuple[str, ...]]):
    """A few texts; ``check`` raises for those that cannot be used."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Cancel")]

    def __init__(
        self, title: str, fields: Sequence[tuple[str, str]], check: Callable[[tuple[str, ...]], object], about: str = ""
    ) -> None:
        super().__init__()
        self._title, self._fields, self._check, self._about = title, fields, check, about

    def compose(self) -> ComposeResult:
        """Hold the fields, each with its label."""
        with Vertical(classes="question"):
            yield Static(Text(self._title, style="bold"), markup=False)
            if self._about:
                yield Static(Text(self._about, style="dim"), markup=False)
            for label, value in self._fields:
                yield Static(label, markup=False)
                yield steady(Input(value, compact=True))
            yield Static(Text("enter goes on, esc cancels", style="dim"), id="wrong", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the next field, or answer after the last one."""
        fields = list(self.query(Input))
        if event.input is not fields[-1]:
            fields[fields.index(event.input) + 1].focus()
            return
        answer = tuple(field.value.strip() for field in fields)
        try:
            self._check(answer)
        except EgressWatchError as error:
            said = "; ".join(harmless(part.strip()) for part in str(error).split("\n"))
            self.query_one("#wrong", Static).update(Text(f"! {said}", style="bold"))
            return
        self.dismiss(answer)


def steady(line: Input) -> Input:
    """Return the line with a cursor that does not blink: where nothing changes, nothing is drawn."""
    line.cursor_blink = False
    return line


class Moments(Form):
    """A range of one's own."""

    def __init__(self, newest_ns: int) -> None:
        super().__init__(
            "Own range", (("from", "1d"), ("until (empty: follow the newest packet)", "")),
            lambda answer: between(answer, newest_ns), "2026-11-02, 2026-11-02T08:30Z, or a span back: 15m, 2h, 7d",
        )  # fmt: skip


def between(answer: tuple[str, ...], newest_ns: int) -> Range:
    """Return the range between two moments as they were written; raises UsageError."""
    since = time_ns(answer[0], newest_ns) if answer[0] else None
    until = time_ns(answer[1], newest_ns) if answer[1] else None
    if since is None and until is None:
        raise UsageError("a range without an end", remedy="give one of both moments, or choose all time")
    if since is not None and (newest_ns if until is None else until) <= since:
        raise UsageError("the range ends before it begins", remedy="give the earlier moment first")
    return Range("own range", 0, since, until)
