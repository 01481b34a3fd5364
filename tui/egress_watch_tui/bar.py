"""The line where a filter is typed, with what can follow and what is wrong while it is typed.

In: keys. Out: a filter that stands, or none. Never: a filter in use that cannot be understood.
"""

from __future__ import annotations

import re
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Static

from egress_watch.errors import EgressWatchError
from egress_watch.store.fields import FIELDS
from egress_watch.store.terms import quoted
from egress_watch_tui.choice import steady
from egress_watch_tui.feed import Feed
from egress_watch_tui.plain import harmless

LAST_WORD = re.compile(r"!?(?:([A-Za-z_]+)(?::|>=?|<=?|=))?((?:\"[^\"]*|[^\s\",])*)$")


class Bar(Vertical):
    """Two lines at the foot, seen only while a filter is typed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Complete"),
        Binding("escape", "leave", "Cancel"),
    ]

    class Applied(Message):
        """The user wants this filter."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The user goes on without a change."""

    class Known(Message):
        """What can follow has been looked up, and what is wrong so far."""

        def __init__(self, text: str, choices: list[str], trouble: str) -> None:
            super().__init__()
            self.text, self.choices, self.trouble = text, choices, trouble

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.feed = feed
        self._choices: list[str] = []
        self._at = -1

    def compose(self) -> ComposeResult:
        """Hold the line and its hint."""
        yield Static("", id="hint", markup=False)
        yield steady(
            Input(compact=True, select_on_focus=False, placeholder="country:CN owner:hikvision verdict:out ...")
        )

    def open(self, text: str) -> None:
        """Begin with the filter in use."""
        self.display = True
        line = self.query_one(Input)
        line.value = f"{text} " if text else ""
        line.cursor_position = len(line.value)
        line.focus()
        self._look_up(line.value)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Look up what can follow, and check what stands."""
        event.stop()
        if self._at < 0 or event.value != self._filled:
            self._at = -1
            self._look_up(event.value)

    _filled = ""

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Use the filter, if it can be understood."""
        event.stop()
        try:
            self.feed.check(event.value)
        except EgressWatchError as error:
            self._hint(Text(_one_line(error), style="bold"))
            return
        self.post_message(self.Applied(event.value))

    def action_leave(self) -> None:
        """Go on without a change."""
        self.post_message(self.Left())

    def action_complete(self) -> None:
        """Put in the next of what can follow."""
        line = self.query_one(Input)
        if not self._choices:
            return
        if self._at < 0:
            self._begun = line.value
        self._at = (self._at + 1) % len(self._choices)
        self._filled = completed(self._begun, self._choices[self._at])
        line.value = self._filled
        line.cursor_position = len(line.value)

    _begun = ""

    @work(thread=True, group="hint", exclusive=True)
    def _look_up(self, text: str) -> None:
        choices, trouble = [], ""
        try:
            found = LAST_WORD.search(text)
            field, start = (found[1] or "", found[2].lstrip('"')) if found else ("", "")
            choices = self.feed.complete(field.lower(), start)
            self.feed.check(text)
        except EgressWatchError as error:
            trouble = _one_line(error)
        self.post_message(self.Known(text, choices, trouble))

    def on_bar_known(self, event: Known) -> None:
        """Show what can follow, or else what is wrong."""
        if event.text != self.query_one(Input).value:
            return
        self._choices = event.choices
        word = LAST_WORD.search(event.text)
        half = bool(word and (word[2] or word[1]) and event.choices and event.choices != [word[2]])
        if event.trouble and not half:
            self._hint(Text(f"! {event.trouble}", style="bold"))
        elif event.choices:
            self._hint(Text.assemble(("tab ", "bold"), "  ".join(harmless(choice) for choice in event.choices)))
        else:
            self._hint(Text("enter applies, esc cancels", style="dim"))

    def _hint(self, text: Text) -> None:
        text.truncate(max(1, self.size.width - 2), overflow="ellipsis")
        self.query_one("#hint", Static).update(text)


def completed(text: str, choice: str) -> str:
    """Return the line with its last word completed: a field gets its colon, a value is quoted where it must be."""
    found = LAST_WORD.search(text)
    if found is None:
        return text + choice
    if found[1]:
        return text[: found.start(2)] + quoted(choice)
    colon = next((">" if field.kind == "size" else ":" for field in FIELDS if field.name == choice), "")
    return text[: found.start(2)] + choice + colon


def _one_line(error: EgressWatchError) -> str:
    return harmless("; ".join(part.strip() for part in str(error).split("\n")))
