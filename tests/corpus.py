"""Where the shared captures with truth lie: beside the project, and never inside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"


def corpus() -> Path:
    """Return the folder of the corpus; without it skip, or fail where EGRESS_WATCH_STRICT=1 asks for it."""
    if not (CORPUS / "manifest.tsv").is_file():
        if os.environ.get("EGRESS_WATCH_STRICT") == "1":
            pytest.fail(f"no corpus at {CORPUS}")
        pytest.skip("the shared corpus is not here")
    return CORPUS


def captures(folder: Path) -> list[Path]:
    """Return all captures of the corpus."""
    rows = (folder / "manifest.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return [folder / "pcaps" / row.partition("\t")[0] for row in rows]
