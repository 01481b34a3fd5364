"""Times as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egress_watch import moments
from egress_watch.errors import UsageError


def test_a_moment_is_exact() -> None:
    """A time is read to the microsecond, whatever floating point would make of it."""
    assert moments.time_ns("2026-11-02T08:00:21.190777Z", 0) == 1_793_606_421_190_777_000
    assert moments.time_ns("2026-11-02", 0) == moments.time_ns("2026-11-02T01:00+01:00", 0)
    assert moments.time_ns("90s", 100 * 10**9) == 10 * 10**9
    with pytest.raises(UsageError):
        moments.time_ns("s", 0)


@given(st.text())
def test_any_text_is_a_time_or_a_mistake_of_usage(text: str) -> None:
    """Nothing but a time that 64 bits hold, or an error with a remedy, comes of a text."""
    try:
        found = moments.time_ns(text, 0)
    except UsageError as error:
        remedy = error.remedy
        assert remedy
    else:
        assert moments.EARLIEST_NS <= found <= moments.LATEST_NS
