"""Frames through scapy's sockets, one by one: for where the kernel gives no ring.

In: the name of an interface. Out: the same as from a ring, far slower. Never: loaded where a ring can be had.

scapy is GPL-2.0 and not installed with this program; the extra ``egress-watch[scapy]`` brings it.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import numpy as np

from egress_watch.errors import UsageError
from egress_watch.fast import Drained
from egress_watch.model import Bytes

MOST_BYTES = 65_535
BUFFER_BYTES = 1 << 23
SOL_PACKET, STATISTICS = 263, 6
"""From linux/if_packet.h; other systems refuse the question."""


class Sniffed:
    """An interface that is listened to through ``conf.L2listen``."""

    def __init__(self, interface: str, *, expression: str = "") -> None:
        self.interface = interface
        try:
            import scapy.arch  # sets conf.L2listen
            import scapy.layers.l2  # noqa: F401 - it knows what an interface's frames are
            from scapy.config import conf
        except ImportError as error:
            remedy = "pip install 'egress-watch[scapy]', or give it memory for a ring (watch.ring_bytes)"
            raise UsageError("there is no ring here, and no scapy to stand in for it", where=interface,
                             remedy=remedy) from error  # fmt: skip
        conf.bufsize = BUFFER_BYTES
        self._conf, self._expression = conf, expression
        self._socket: Any = None
        self._more = False
        self.listen()

    def fileno(self) -> int:
        """Return the descriptor, for poll."""
        return int(self._socket.ins.fileno())

    def take(self, data: Bytes, used: int, most: int) -> Drained:
        """Copy up to ``most`` frames to ``data[used:]``; see `Ring.take`."""
        rows: list[tuple[int, int, int]] = []
        with suppress(BlockingIOError, OSError):
            while len(rows) < most and len(data) - used >= MOST_BYTES:
                _, frame, time_s = self._socket.recv_raw(MOST_BYTES)
                if frame is None:
                    continue
                data[used : used + len(frame)] = np.frombuffer(frame, np.uint8)
                rows.append((used, len(frame), int(time_s * 1_000_000_000)))
                used += len(frame)
        self._more = len(rows) == most or len(data) - used < MOST_BYTES
        start, caught, time_ns = np.array(rows, np.int64).reshape(-1, 3).T.copy()
        return Drained(start, caught, caught, time_ns, used, 0, 0)

    def waiting(self, ahead: int = 0) -> bool:
        """Return whether more than ``ahead`` frames may be there that were not taken yet."""
        return self._more or ahead > 0

    def lost(self) -> int:
        """Return the frames for which the socket had no room since this was last asked, 0 where nobody counts them."""
        with suppress(OSError):
            _, drops = struct.unpack("II", self._socket.ins.getsockopt(SOL_PACKET, STATISTICS, 8))
            return int(drops)
        return 0

    def trouble(self) -> str:
        """Return nothing: what is wrong with the interface shows in its state."""
        return ""

    def listen(self) -> None:
        """Begin to listen, or go on with a new interface of the same name; raises OSError while there is none."""
        if self._socket:
            self._socket.close()
        try:
            self._socket = self._conf.L2listen(iface=self.interface, filter=self._expression or None, promisc=True)
        except ValueError as error:  # scapy asks select(), which knows no descriptor beyond 1,023
            raise UsageError(f"scapy cannot listen: {error}", where=self.interface,
                             remedy="open fewer files before, or give it memory for a ring") from error  # fmt: skip
        self._socket.ins.setblocking(False)

    def close(self) -> None:
        """Let go."""
        self._socket.close()
