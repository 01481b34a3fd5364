"""Judged flows made by hand, for tests of the store."""

from __future__ import annotations

import numpy as np

from egress_watch.model import IN, OUT, Flows, Judged, Place, Tally, Verdict, address_words

HOME = Place("NL", "agreed", ("NL",), 1103, "SURF B.V.", "SURF", "", "SURF", "NL", (), "asn")
AWAY = Place("CN", "agreed", ("CN",), 0, "", "Baidu", "", "Baidu", "CN", ("CN Data Security Law",), "name", ("a tie",))
PLACES = [HOME, AWAY]
VERDICTS = [Verdict(IN, "in NL"), Verdict(OUT, "in CN")]
SECOND_NS = 1_000_000_000
START_S = 1_700_000_000


def flows(count: int, first_s: float = START_S, names: tuple[str, ...] = ("",)) -> Flows:
    """Return flows one millisecond apart, from a few devices to a few remotes."""
    steps = np.arange(count)
    first = np.int64(first_s * 1000) * 1_000_000 + steps * 1_000_000
    name = tuple(names[n % len(names)] for n in range(count))
    return Flows(
        first_ns=first, last_ns=first + 500_000, device=_addresses("10.0.0.{}", steps % 3),
        remote=_addresses("203.0.113.{}", steps % 5), device_port=(40000 + steps % 9).astype(np.uint16),
        remote_port=np.full(count, 443, np.uint16), protocol=np.full(count, 6, np.uint8),
        device_mac=(steps % 3 + 0x020000000000).astype(np.uint64), vlan=(steps % 2).astype(np.uint16),
        packets_out=steps + 1, bytes_out=steps * 10 + 60, packets_in=steps, bytes_in=steps * 20,
        flags_out=np.full(count, 18, np.uint8), flags_in=np.full(count, 16, np.uint8),
        end_reason=(steps % 6).astype(np.uint8), name=name, name_source=tuple("dns" if one else "" for one in name),
    )  # fmt: skip


def judged(count: int, first_s: float = START_S, names: tuple[str, ...] = ("",)) -> Judged:
    """Return such flows, judged in turn as staying and as leaving."""
    return Judged(flows(count, first_s, names), np.arange(count) % 2, PLACES, VERDICTS)


def tally(flows: int) -> Tally:
    """Return counters that fit so many flows."""
    start = START_S * SECOND_NS
    return Tally(flows * 3, flows * 2, flows * 200, 0, flows, 0, 0, start, start + SECOND_NS, {"arp": flows})


def _addresses(pattern: str, numbers: np.ndarray) -> np.ndarray:
    return np.array([address_words(pattern.format(n + 1)) for n in numbers.tolist()], np.uint64).reshape(-1, 2)
