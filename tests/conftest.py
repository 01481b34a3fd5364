"""What several test modules share: both ways of the work on every packet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from egress_watch import fast


@pytest.fixture(scope="module", params=["accelerated", "columns"])
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run the tests of a module twice: with the accelerator where it is built, and with NumPy alone."""
    if request.param == "accelerated" and fast.accelerator() is None:
        pytest.skip("the accelerator is not built or turned off")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "columns":
            patch.setattr(fast, "_loaded", None)
        yield
