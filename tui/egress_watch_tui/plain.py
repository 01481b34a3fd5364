"""Text from the wire, made harmless for a screen.

In: any string. Out: one line that fills the cells it seems to fill.
Never: a change that hides what was there.
"""

from __future__ import annotations

from unicodedata import category

from egress_watch_tui.taste import masked

UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Me", "Zl", "Zp"}
"""Unicode categories that move the cursor, reorder, enclose or hide text (Unicode Standard, chapter 4.5)."""
SELECTORS = range(0xFE00, 0xFE10)
"""Variation selectors: they change how wide a terminal draws the character before them (UAX 51, section 2.2)."""


def harmless(text: str) -> str:
    r"""Return the text with every unsafe character written as ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``.

    Where the user hides addresses, they are hidden here.
    """
    text = masked(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(char) if _unsafe(char) else char for char in text)


def _unsafe(char: str) -> bool:
    return category(char) in UNSAFE or ord(char) in SELECTORS


def _escaped(char: str) -> str:
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
