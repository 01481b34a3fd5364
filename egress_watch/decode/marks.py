"""Which payloads somebody may want to look at: told while the headers are at hand, so that nobody looks at the others.

In: what is wished for, and packets. Out: a bit for each who wishes. Never: a payload left out that one of them wants.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from egress_watch.model import LEAST_WISHED_BYTES, Bytes, Flags, Ints, MarkTables, Ports, Wish

TCP, UDP = 6, 17
MASK = 3
"""Two may wish: their bits."""
TO = 2
"""In the table of ports, so far above the bits for a source port stand those for a destination port."""
SHIFT = np.full(256, 8, np.uint8)
"""By protocol: so far above those bits of TCP stand those of UDP; nothing is known of others."""
SHIFT[[TCP, UDP]] = 0, 4


def mark_tables(wishes: Mapping[int, Iterable[Wish]]) -> MarkTables:
    """Return what is wished for as tables; the keys are bits."""
    ports, first = np.zeros(1 << 16, np.uint8), np.zeros(1 << 8, np.uint8)
    for bit, some in wishes.items():
        for wish in some:
            mark = np.uint8(bit << int(SHIFT[wish.protocol]))
            ports[list(wish.from_ports + wish.ports)] |= mark
            ports[list(wish.ports)] |= mark << np.uint8(TO)
            first[list(wish.first_bytes)] |= mark
    return MarkTables(ports, first)


def marks(
    wanted: MarkTables, data: Bytes, protocol: Flags, ports: tuple[Ports, Ports], payload: Ints, payload_bytes: Ints
) -> Flags:
    """Return (n,) the marks of some packets, of these source and destination ports; `packets.c` does the same."""
    src, dst = ports
    found: NDArray[np.uint8] = wanted.ports.take(dst)
    found >>= np.uint8(TO)
    found |= wanted.ports.take(src)
    found |= wanted.first.take(data.take(payload))
    found >>= SHIFT.take(protocol)
    found &= np.uint8(MASK)
    found *= payload_bytes >= LEAST_WISHED_BYTES
    return found
