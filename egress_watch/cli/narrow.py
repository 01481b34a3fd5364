"""What part of the captures a run is asked for, and how that is told.

In: parsed options. Out: a `Narrowing`, its words, and fingerprints that know of it. Never: a span without a newest.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b

from egress_watch.errors import UsageError
from egress_watch.moments import EPOCH, SPAN, moment_ns_of
from egress_watch.sources.filter import Filter
from egress_watch.sources.narrowing import Narrowing

DIGEST_BYTES = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """A narrowing, and the words for it."""

    narrowing: Narrowing
    words: str
    """As options of a command line, times in one form; "" where all is asked for."""

    def marks(self, fingerprints: Mapping[str, str]) -> dict[str, str]:
        """Return the fingerprints by path; of narrowed inputs they are others than of whole ones."""
        if not self.words:
            return dict(fingerprints)
        digest = blake2b(self.words.encode(errors="surrogateescape"), digest_size=DIGEST_BYTES).hexdigest()
        return {path: f"{mark}-{digest}" for path, mark in fingerprints.items()}


def asked(options: argparse.Namespace) -> Asked:
    """Return what the options ask for; UsageError for a wrong time, a wrong filter, or where there is no libpcap."""
    from_ns, to_ns = _bound(options.from_time, "--from"), _bound(options.to_time, "--to")
    if from_ns is not None and to_ns is not None and from_ns > to_ns:
        raise UsageError(f"--from {options.from_time} is later than --to {options.to_time}", remedy="swap them")
    expression = " ".join(options.filter.split())
    words = [
        *([f"--from {_iso(from_ns)}"] if from_ns is not None else []),
        *([f"--to {_iso(to_ns)}"] if to_ns is not None else []),
        *([f"--filter {shlex.quote(expression)}"] if expression else []),
    ]
    by = Filter(expression) if expression else None
    return Asked(Narrowing(from_ns, to_ns, by), " ".join(words))


def _bound(text: str, option: str) -> int | None:
    if not text:
        return None
    if SPAN.fullmatch(text):
        what = f"{text!r} is a span, which counts back from the newest flow, and here nothing is read yet"
        raise UsageError(what, where=option, remedy="write the time itself: 2026-11-02, 2026-11-02T08:30Z")
    return moment_ns_of(text)


def _iso(time_ns: int) -> str:
    return (EPOCH + timedelta(microseconds=time_ns // 1000)).isoformat().replace("+00:00", "Z")
