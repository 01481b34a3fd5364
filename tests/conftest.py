"""What all tests share: no updated data, no proxy, both ways of the work on every packet, laws without a clock."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import hypothesis
import pytest

from egress_watch import fast

hypothesis.settings.register_profile("law", deadline=None)  # a law is not broken by a machine that is busy
hypothesis.settings.load_profile("law")


@pytest.fixture(scope="module", params=["accelerated", "columns"])
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run the tests of a module twice: with the accelerator where it is built, and with NumPy alone."""
    if request.param == "accelerated" and fast.accelerator() is None:
        pytest.skip("the accelerator is not built or turned off")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "columns":
            patch.setattr(fast, "_loaded", None)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_updated_data():
    """Point XDG_DATA_HOME, here and in every child, to an empty folder."""
    with tempfile.TemporaryDirectory(prefix="egress-watch-data-") as folder:
        os.environ |= {"XDG_DATA_HOME": folder, "no_proxy": "*", "NO_PROXY": "*"}
        yield
