"""The contract between the readers of names and the book that keeps what they read.

In: nothing. Out: the row and protocol types, and masks over the first bytes of payloads. Never: state.

A reader is a module with the three members of `Reader`; `egress_watch.names.READERS` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from egress_watch.model import Packets, Words

Mask = NDArray[np.bool_]

TCP, UDP = 6, 17
HEAD_BYTES = 8


class Said(NamedTuple):
    """One name a packet gives."""

    name: str
    address: tuple[int, int] | None = None
    """The address it names, as two words; None where it names the server of the packet's own connection."""
    ttl_s: int = 0
    """How long the packet says it holds, where it says so."""


Reading = tuple[list[Said], str]
"""What was read, and why more was refused: "" where nothing was."""


class Refusal(Exception):  # noqa: N818 - a refusal is no error: it is counted, and never leaves a reader
    """Bytes a reader will not read on; the message is the reason that is counted."""


class Reader(Protocol):
    """What the book asks of a module that reads names."""

    @property
    def SOURCE(self) -> str:  # noqa: N802 - a constant of the module
        """Return the word for `Flows.name_source`."""

    def wanted(self, packets: Packets, head: Words) -> Mask:
        """Return (n,) the packets worth a `read`; ``head`` is as in `heads`."""

    def read(self, payload: bytes) -> Reading:
        """Return the names in one payload; never raises."""


def heads(packets: Packets) -> Words:
    """Return (n,) the first eight payload bytes of each packet, as they lie in memory.

    Where a payload is shorter, other bytes of the buffer follow; `model.PAD_BYTES` keeps the last in bounds.
    """
    if not len(packets):
        return np.empty(0, np.uint64)
    spans = max(len(packets.data) - HEAD_BYTES + 1, 0)
    windows: NDArray[np.void] = np.ndarray((spans,), f"V{HEAD_BYTES}", buffer=packets.data, strides=(1,))
    return windows[packets.payload].view(np.uint64)


def word(eight: bytes) -> np.uint64:
    """Return eight bytes as one element of `heads`, so that no byte order is involved."""
    return np.uint64(np.frombuffer(eight, np.uint64)[0])
