"""Headers as columns: read one wire layout at many offsets at once.

In: a buffer and offsets. Out: structured columns. Never: a loop per frame, or a read past the buffer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egress_watch.model import Bytes, Flags, Frames, Ints, Ports, Words

Rows = NDArray[np.intp]
Header = NDArray[Any]

DONE = -1
"""In `Walk.next`: the frame is finished with, as a packet or with a reason."""


def gather(data: Bytes, at: Ints, layout: np.dtype[Any]) -> Header:
    """Return the header ``layout`` at each offset, as a structured column of shape (n,).

    The buffer is seen as overlapping records one byte apart, so that one fancy index copies every header
    (about 5 ns each). Offsets must lie at least ``layout.itemsize`` before the end: PAD_BYTES is for that.
    """
    size = layout.itemsize
    overlapping = np.ndarray((len(data) - size + 1,), f"V{size}", data, strides=(1,))
    return overlapping[at].view(layout)


def words(header: Header, high: str, low: str) -> Words:
    """Return the MAC whose upper 16 and lower 32 bits are the fields ``high`` and ``low``."""
    mac: Words = header[high].astype(np.uint64) << np.uint64(32) | header[low]
    return mac


@dataclass(slots=True)
class Walk:
    """Where each frame of a batch has been read to, and what was found on the way; columns of shape (n,)."""

    data: Bytes
    start: Ints
    wire: Ints
    end: Ints
    """Offset behind the captured bytes."""
    at: Ints
    """Offset of the header to read next; never beyond ``end``."""
    next: NDArray[np.int32]
    """EtherType of that header, `reasons.LLC` where there is a length instead, or DONE."""
    reason: NDArray[np.int32]
    """0, or why the frame is no packet (see `decode.reasons`)."""
    src_mac: Words
    dst_mac: Words
    vlan: Ports
    version: Flags
    src: Words
    dst: Words
    src_port: Ports
    dst_port: Ports
    protocol: Flags
    tcp_flags: Flags
    size: Ints
    fragment: Flags
    fragment_id: NDArray[np.uint32]
    payload_bytes: Ints
    ident: NDArray[np.uint32]
    """IPv4 identification and, above it, the offset of a later fragment; 0 elsewhere."""
    print: Words
    """See `prints`; 0 where nobody asked."""

    @classmethod
    def over(cls, frames: Frames) -> Walk:
        """Return a walk that stands at the first byte of every frame."""
        n = len(frames)

        def column(kind: type[np.generic]) -> Any:
            return np.zeros(n, kind)

        start = frames.start.astype(np.int64)
        return cls(
            data=frames.data, start=start, wire=frames.wire, end=start + frames.caught, at=start.copy(),
            next=column(np.int32), reason=column(np.int32), src_mac=column(np.uint64), dst_mac=column(np.uint64),
            vlan=column(np.uint16), version=column(np.uint8), src=np.zeros((n, 2), np.uint64),
            dst=np.zeros((n, 2), np.uint64), src_port=column(np.uint16), dst_port=column(np.uint16),
            protocol=column(np.uint8), tcp_flags=column(np.uint8), size=column(np.int64), fragment=column(np.uint8),
            fragment_id=column(np.uint32), payload_bytes=column(np.int64),
            ident=column(np.uint32), print=column(np.uint64),
        )  # fmt: skip

    def whole(self, rows: Rows, need: int, reason: int) -> Rows:
        """Return the rows that hold ``need`` more captured bytes; the others are skipped for ``reason``."""
        fits = self.at[rows] + need <= self.end[rows]
        if fits.all():
            return rows
        self.skip(rows[~fits], reason)
        return rows[fits]

    def skip(self, rows: Rows, reason: int) -> None:
        """Give up on these frames for a named reason."""
        self.reason[rows] = reason
        self.next[rows] = DONE

    def read(self, rows: Rows, layout: np.dtype[Any]) -> Header:
        """Return the header at which these rows stand."""
        return gather(self.data, self.at[rows], layout)
