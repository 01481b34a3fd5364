"""A row as text for the clipboard.

In: a row. Out: a line for each thing it says. Never: a control character.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from egress_watch_tui.plain import harmless
from egress_watch_tui.words import when


def as_text(row: Mapping[str, Any]) -> str:
    """Return the row as ``name: value`` lines; times in words, what is not known left out."""
    return "\n".join(
        f"{name}: {harmless(_said(name, value))}" for name, value in row.items() if value not in (None, "", [])
    )


def _said(name: str, value: Any) -> str:
    if name.endswith("_ns") and isinstance(value, int):
        return when(value, "%Y-%m-%d %H:%M:%S %Z")
    if isinstance(value, list):
        return "; ".join(str(one if not isinstance(one, dict) else one.get("name", one)) for one in value)
    return str(value)
