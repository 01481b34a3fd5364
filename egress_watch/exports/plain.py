"""Text from the wire, made harmless for a terminal.

In: any string. Out: one line without controls, escapes or direction marks. Never: a change that hides what was there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from unicodedata import category

UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that move the cursor, reorder or hide text: controls, format and direction marks, surrogates,
private and unassigned code points, line and paragraph separators (Unicode Standard, chapter 4.5)."""


def printable(text: str) -> str:
    r"""Return the text with every unsafe character written as ``\xNN`` or ``\uNNNN``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(char) if category(char) in UNSAFE else char for char in text)


def joined(values: Iterable[Any]) -> str:
    """Return a list in one cell; an object in it, such as a data file, as ``key=value`` in the order of the keys."""
    return "; ".join(map(_item, values))


def _item(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={value[key]}" for key in sorted(value))
    return str(value)


def _escaped(char: str) -> str:
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
