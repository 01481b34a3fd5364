"""Where shipped files lie, in a wheel, an editable install and a bare checkout.

In: names. Out: paths and parsed tables. Never: a look-up; nothing big is opened here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from egress_watch.errors import DataError

PACKAGE = Path(__file__).parent.parent
DATA = PACKAGE / "data"


def shipped(folder: str) -> Path:
    """Return a folder of shipped files (``rules``, ``captures``): inside a wheel, or at the top of a checkout."""
    installed = PACKAGE / "_data" / folder
    return installed if installed.is_dir() else PACKAGE.parent / folder


def table(name: str) -> dict[str, Any]:
    """Return a curated table of ``data/``; raises DataError."""
    return _table(DATA / f"{name}.toml")


@cache
def _table(path: Path) -> dict[str, Any]:
    return dict(parsed(path, tomllib.loads))


def parsed(path: Path, loads: Callable[[str], Any]) -> Any:
    """Return what ``loads`` makes of a shipped file; raises DataError."""
    try:
        return loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise DataError(what, where=str(path), remedy="install egress-watch anew") from error
