"""Bounded evidence: the first packets of flows that raised an alert, in a ring of pcapng files.

In: frames and packets as they come, then the flows of alerts. Out: files, and how many packets are in which. Never:
payload kept where no folder was named, more memory or disk than configured, or a packet missed in silence.

Which flows raise an alert is known only when they end. So the first packets of every flow wait in memory, the oldest
going first when there are too many; those that were gone already are counted for each alert. Packets are told apart by
their ends, ports and protocol, so later IP fragments, which carry no ports, are not among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from egress_watch.evidence.firsts import Firsts, marks
from egress_watch.evidence.ring import Ring
from egress_watch.evidence.waiting import Waiting, Waits
from egress_watch.model import Flows, Frames, Ints, Kept, Link, Packets

__all__ = ["Evidence"]


class Evidence:
    """Packets that wait, and the files of those that were needed.

    ``folder`` holds at most ``files`` files of at most ``file_bytes``; ``packets`` of a flow wait, ``waiting_bytes`` of
    all flows together; ``flows`` of one alert are kept. ``active_s`` and the idle times say, as for the flow table,
    when a flow goes on in a new record; ``seed`` mixes the hash. Raises ConfigError where the folder is no good.
    """

    def __init__(
        self, folder: str, *, packets: int, flows: int, file_bytes: int, files: int, waiting_bytes: int,
        active_s: float, idle_s: float, tcp_idle_s: float, seed: int,
    ) -> None:  # fmt: skip
        self.flows = flows
        self._packets = packets
        self._seed = seed
        self._firsts = Firsts(packets, active_s, idle_s, tcp_idle_s)
        self._waiting = Waiting(waiting_bytes)
        self._ring = Ring(Path(folder), file_bytes, files)

    @property
    def trouble(self) -> str:
        """Why packets could not be written, "" while all is well."""
        return self._ring.trouble

    def hear(self, frames: Frames, packets: Packets) -> None:
        """Let the first packets of each flow wait; ``packets`` are those decoded from ``frames``."""
        if not len(packets):
            return
        told = marks(packets.src, packets.dst, (packets.src_port, packets.dst_port), packets.protocol, self._seed)
        rows = np.flatnonzero(self._firsts.choose(told, packets.time_ns, packets.tcp_flags, packets.protocol))
        self._waiting.add(frames, _frames_of(frames, packets.payload[rows]), told[rows])

    def keep(self, flows: Flows, ids: Ints, links: Sequence[Link]) -> list[Kept]:
        """Write what waits of the flows that links name, each flow once, and return what came of each link.

        ``ids`` (n,) are the flows' numbers, rising; a link to any other flow is left out.
        """
        wanted: dict[int, list[Link]] = {}
        for link in links:
            at = int(np.searchsorted(ids, link.flow))
            if at < len(ids) and ids[at] == link.flow:
                wanted.setdefault(at, []).append(link)
        rows = np.array(list(wanted), np.intp)
        ports = flows.device_port[rows], flows.remote_port[rows]
        told = marks(flows.device[rows], flows.remote[rows], ports, flows.protocol[rows], self._seed)
        times = zip(told.tolist(), flows.first_ns[rows].tolist(), flows.last_ns[rows].tolist(), strict=True)
        found = self._waiting.of(list(times))
        counts = (flows.packets_out[rows] + flows.packets_in[rows]).tolist()
        return [
            kept
            for of, some, count in zip(wanted.values(), found, counts, strict=True)
            for kept in self._write(of, some, count)
        ]

    def _write(self, links: Sequence[Link], waits: Sequence[Waits], count: int) -> list[Kept]:
        """Write the packets of one flow, under a comment that names its alerts."""
        alerts = "; ".join(f"alert {link.alert}: {link.title}" for link in links)
        some = waits[: self._packets]
        path, written = self._ring.write(some, f"egress-watch flow {links[0].flow}, {alerts}")
        missing = max(min(count, self._packets) - written, 0)
        return [Kept(link.alert, link.flow, path, written, missing) for link in links]


def _frames_of(frames: Frames, payload: Ints) -> Ints:
    """Return the frame that each packet came in: its payload begins behind a header of at least 20 bytes in there."""
    order = np.argsort(frames.start, kind="stable")
    found: Ints = order[np.searchsorted(frames.start[order], payload - 1, "right") - 1]
    return found
