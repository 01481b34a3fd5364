"""Moments as each format writes them.

In: nanoseconds since 1970 UTC. Out: text or numbers. Never: a moment after the one that was
meant, or in the machine's own zone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

SECOND_NS = 1_000_000_000
EARLIEST_NS, LATEST_NS = -(2**63), 2**63 - 1
"""What 64 bits hold: the years 1677 to 2262."""
NTP_EPOCH_S = 2_208_988_800
"""Seconds from 1900 to 1970 (RFC 5905, section 6)."""


def within_reach(number: int) -> int:
    """Return a time, or any other number, or the bound of 64 bits that it lies beyond."""
    return min(max(int(number), EARLIEST_NS), LATEST_NS)


def iso(time_ns: int) -> str:
    """Return a time as ``2026-11-02T08:00:21.190776664Z`` (RFC 3339), with all its nanoseconds."""
    second, rest_ns = divmod(time_ns, SECOND_NS)
    return f"{_second(second)}.{rest_ns:09d}Z"


def iso_micro(time_ns: int) -> str:
    """Return a time as Suricata writes it: ``2026-11-02T08:00:21.190776+0000``."""
    second, rest_ns = divmod(time_ns, SECOND_NS)
    return f"{_second(second)}.{rest_ns // 1000:06d}+0000"


def epoch_ms(time_ns: int) -> int:
    """Return milliseconds since 1970."""
    return time_ns // 1_000_000


def epoch_s(time_ns: int) -> str:
    """Return seconds with six decimals, as Zeek writes a time or an interval."""
    micro = time_ns // 1000
    whole, rest = divmod(abs(micro), 1_000_000)
    return f"{'-' if micro < 0 else ''}{whole}.{rest:06d}"


def ntp(time_ns: int) -> int:
    """Return the 64 bits of a dateTimeNanoseconds (RFC 7011, section 6.1.9): seconds since 1900, and a fraction.

    The fraction is the next above, so that whoever cuts it back to nanoseconds finds the same ones.
    """
    second, rest_ns = divmod(time_ns, SECOND_NS)
    return (second + NTP_EPOCH_S & 0xFFFFFFFF) << 32 | -(-(rest_ns << 32) // SECOND_NS)


@lru_cache(4096)
def _second(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
