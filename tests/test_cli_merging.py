"""Batches of several readers become one: nothing is lost, nothing comes twice, all is in order of time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from build import frames
from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws import any_frames

from egress_watch.cli.merging import Batch, cut, together
from egress_watch.decode import decode


def batch(wires: list, number: int) -> Batch:
    """Return frames and packets of a reader, in order of time, each frame with the reader's number."""
    found = frames(*wires, between=b"\0" * number)
    order = np.argsort(found.time_ns, kind="stable")
    names = ("start", "caught", "wire", "time_ns", "link", "interface")
    sorted_ = replace(found, **{name: getattr(found, name)[order] for name in names}, lost=number + 1,
                      left_out={"why": number})  # fmt: skip
    return Batch(sorted_, decode(sorted_))


def spans(one, starts, counts) -> list[bytes]:
    """Return what the pointers point at."""
    return [one.data[at : at + count].tobytes() for at, count in zip(starts.tolist(), counts.tolist(), strict=True)]


def said(batches: list[Batch]) -> Counter:
    """Return all that batches hold, as a bag."""
    bag: Counter = Counter()
    for found, packets in batches:
        bag.update(
            zip(found.time_ns.tolist(), found.wire.tolist(), spans(found, found.start, found.caught), strict=True)
        )
        rows = (packets.time_ns.tolist(), packets.size.tolist(), packets.src.tolist(), packets.src_port.tolist())
        payloads = spans(packets, packets.payload, packets.payload_bytes)
        bag.update(map(repr, zip(*rows, payloads, strict=True)))
        beacons = packets.beacons
        bag.update(map(repr, zip(beacons.time_ns.tolist(), spans(packets, beacons.start, beacons.end - beacons.start),
                                 strict=True)))  # fmt: skip
        bag.update(packets.skipped)
        bag.update({f"unwrapped {kind}": count for kind, count in packets.unwrapped.items()})
        bag.update({"lost": found.lost, **found.left_out})
    return +bag


@given(st.lists(any_frames, min_size=1, max_size=3), st.lists(st.floats(0, 1), max_size=4))
@settings(max_examples=25)
def test_cut_and_put_together_is_what_was_there(wires, moments):
    """Frames, packets, payloads, beacons and counts of all readers come out once, however they are cut."""
    left = [batch(some, number) for number, some in enumerate(wires)]
    before = said(left)
    times = np.concatenate([one.frames.time_ns for one in left])
    first, last = int(times.min(initial=0)), int(times.max(initial=0))
    out = []
    for moment in [*sorted(moments), 1.0]:
        pairs = [cut(one, first + int((last - first) * moment) if moment < 1 else last) for one in left]
        out.append(together([pair[0] for pair in pairs]))
        left = [pair[1] for pair in pairs]
    assert said(out) == before
    assert not any(len(one.frames) or len(one.packets) for one in left)
    for column in ("frames", "packets"):
        told = np.concatenate([getattr(one, column).time_ns for one in out])
        assert (np.diff(told) >= 0).all()
