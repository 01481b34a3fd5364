"""Every test starts without updated data and without a proxy, whatever the developer has set up."""

from __future__ import annotations

import os
import tempfile

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_updated_data():
    """Point XDG_DATA_HOME, here and in every child, to an empty folder."""
    with tempfile.TemporaryDirectory(prefix="egress-watch-data-") as folder:
        os.environ |= {"XDG_DATA_HOME": folder, "no_proxy": "*", "NO_PROXY": "*"}
        yield
