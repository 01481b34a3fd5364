"""The keys that work right now: as a line at the foot, and as a list for the help.

In: the bindings of the screen in front. Out: keys and words. Never: a key that does nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text
from textual.binding import Binding
from textual.screen import Screen
from textual.widget import Widget

NAMES = {"question_mark": "?", "slash": "/", "colon": ":", "left_square_bracket": "[", "right_square_bracket": "]",
         "enter": "⏎", "escape": "esc", "pagedown": "page down", "pageup": "page up"}  # fmt: skip
ALWAYS = ("help", "quit")
"""Actions at the right end of the line, which stay whatever else has to go."""


def working(screen: Screen[object], *, with_actions: bool = False) -> list[tuple[str, ...]]:
    """Return each thing that can be done now, once: all its keys, words, and with ``with_actions`` the action."""
    found: dict[str, tuple[str, list[str]]] = {}
    for binding in sorted(_bindings(screen), key=lambda binding: binding.priority):
        doing = found.setdefault(binding.action, (binding.description, []))
        doing[1].append(NAMES.get(binding.key, binding.key))
    return [(", ".join(names), words, *((action,) if with_actions else ())) for action, (words, names) in found.items()]


def _bindings(screen: Screen[object]) -> Iterator[Binding]:
    """Yield our own bindings that are enabled; Textual's Screen brings some that nobody needs to be told of."""
    for active in screen.active_bindings.values():
        if active.enabled and active.binding.description and not isinstance(active.node, Screen):
            yield active.binding


class Keys(Widget):
    """The line at the foot; where it is too narrow, the last of the screen's own keys are left to the help."""

    def on_mount(self) -> None:
        """Follow what has the keys."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def render(self) -> Text:
        """Return the line."""
        shown = [binding for binding in _bindings(self.screen) if binding.show]
        fixed = Text("  ").join(_hint(binding) for binding in shown if binding.action in ALWAYS)
        line = Text(" ", no_wrap=True)
        room = self.size.width - fixed.cell_len - 3
        for hint in (_hint(binding) for binding in shown if binding.action not in ALWAYS):
            if line.cell_len + hint.cell_len > room:
                break
            line += hint + Text("  ")
        line.pad_right(max(0, self.size.width - 1 - line.cell_len - fixed.cell_len))
        return line + fixed


def _hint(binding: Binding) -> Text:
    key = binding.key_display or NAMES.get(binding.key, binding.key)
    return Text.assemble((key, "bold"), (f" {binding.description}", "dim"))
