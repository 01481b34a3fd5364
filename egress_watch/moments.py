"""Times as people write them: a day, a moment, or a span back from the newest packet.

In: a text. Out: nanoseconds since 1970 (UTC). Never: the clock; what a span counts back from is given.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from egress_watch.errors import UsageError

SPAN = re.compile(r"([0-9]{1,9})([smhdw])")
SPAN_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
EARLIEST_NS, LATEST_NS = -(2**63), 2**63 - 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_ns(text: str, newest_ns: int) -> int:
    """Return the moment a person means, in nanoseconds; raises UsageError."""
    if span := SPAN.fullmatch(text):
        moment_ns = newest_ns - int(span[1]) * SPAN_S[span[2]] * 1_000_000_000
        return min(max(moment_ns, EARLIEST_NS), LATEST_NS)
    return moment_ns_of(text, ", or a span: 15m, 2h, 7d")


def moment_ns_of(text: str, other_forms: str = "") -> int:
    """Return a time that is written out, in nanoseconds; UTC where it names no zone of its own. Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        remedy = f"write 2026-11-02, 2026-11-02T08:30Z{other_forms}"
        raise UsageError(f"{text!r} is no time", remedy=remedy) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    moment_ns = (moment - EPOCH) // timedelta(microseconds=1) * 1000
    return min(max(moment_ns, EARLIEST_NS), LATEST_NS)
