"""Every test starts without updated data, whatever the developer keeps under ~/.local/share."""

from __future__ import annotations

import os
import tempfile

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_updated_data():
    """Point XDG_DATA_HOME, here and in every child, to an empty folder."""
    with tempfile.TemporaryDirectory(prefix="egress-watch-data-") as folder:
        os.environ["XDG_DATA_HOME"] = folder
        yield
