"""The colours of the screen: dark, light, high contrast, for the colour-blind, and none.

In: nothing. Out: themes. Never: a theme in which the row under the cursor is told by colour alone: it has a mark.
"""

from __future__ import annotations

from textual.theme import Theme

THEMES = (
    Theme("dark", primary="#2c5f8a", accent="#56b4e9", secondary="#3f6f8f", foreground="#e0e4e8",
          background="#101418", surface="#151a20", panel="#232b34"),
    Theme("light", primary="#a9c7e0", accent="#00557f", secondary="#8fb0c8", foreground="#15191d", background="#ffffff",
          surface="#f6f7f8", panel="#dde3e8", dark=False),
    Theme("high-contrast", primary="#0000c8", accent="#ffff00", secondary="#00a0a0", foreground="#ffffff",
          background="#000000", surface="#000000", panel="#303030"),
    Theme("colour-blind", primary="#44617b", accent="#88ccee", secondary="#557799", foreground="#e0e4e8",
          background="#101418", surface="#151a20", panel="#232b34"),
    Theme("no-colour", primary="#505050", accent="#ffffff", secondary="#707070", foreground="#e4e4e4",
          background="#000000", surface="#101010", panel="#303030"),
)  # fmt: skip
