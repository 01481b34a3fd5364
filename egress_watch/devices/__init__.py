"""What the devices say of themselves, as the wire carries it: names, models, makers, software.

In: packets, and LLDP frames beside them. Out: `Fact` rows, each once until it is heard again. Never: a word of a remote
taken for one of ours, or a memory without bounds.

Everything is decided by the order of packets and their times, so it does not matter how they were cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from egress_watch.devices import dhcp, dhcp6, lldp, mdns, web
from egress_watch.devices.facts import Reading
from egress_watch.fast import DeviceTables, Said, accelerator
from egress_watch.model import DEVICES, Beacons, Bytes, Fact, Flags, Packets, Wish, Words

__all__ = ["Devices"]

Ours = Callable[[Words], NDArray[np.bool_]]
"""For addresses of shape (n, 2): which are ours."""

MOST_VALUES = 8
"""Different values kept of one kind from one source for one sender: a device has one name, a hostile one a million."""
MOST_READ = 64
"""Packets of one sender looked into by one reader in an hour of packet time."""
HOUR_NS = 3600 * 1_000_000_000
MOST_PAYLOAD_BYTES = 4096

_TCP, _UDP = 6, 17
_UDP_READERS = ((dhcp.SOURCE, dhcp.PORTS, dhcp.read), (dhcp6.SOURCE, dhcp6.PORTS, dhcp6.read),
                (mdns.SOURCE, mdns.PORTS, mdns.read), (web.SSDP, web.PORTS, web.read_ssdp))  # fmt: skip
_FROM_ANYWHERE = (dhcp.SOURCE, dhcp6.SOURCE)
_BY_PORT = np.zeros(1 << 16, np.uint8)
for _number, _reader in enumerate(_UDP_READERS, 1):
    _BY_PORT[list(_reader[1])] = _number
_STARTS = np.frombuffer(b"".join(web.STARTS), np.uint32)
_FIRST_BYTES = np.zeros(256, np.uint8)
_FIRST_BYTES[[start[0] for start in web.STARTS]] = 1
_LEAST_BYTES = 8
_TCP_KINDS = 128
"""Kinds of what may say something: the number of a reader of UDP, or from here on of one of web.STARTS."""
_WANTED = DeviceTables(_BY_PORT, _FIRST_BYTES, _STARTS, MOST_PAYLOAD_BYTES)
WISHES = [
    Wish(_UDP, ports=tuple(np.flatnonzero(_BY_PORT).tolist())),
    Wish(_TCP, first_bytes=tuple(np.flatnonzero(_FIRST_BYTES).tolist())),
]
"""Which payloads may say what a device is."""
_SOURCES = dict(enumerate([reader[0] for reader in _UDP_READERS], 1))
_SOURCES |= dict(enumerate(map(web.source_of, web.STARTS), _TCP_KINDS))
_READ = {kind: web.read_tcp if kind >= _TCP_KINDS else _UDP_READERS[kind - 1][2] for kind in _SOURCES}

_Sender = tuple[int, int, int, int]
"""MAC, address as two words, VLAN."""


class Devices:
    """All facts heard so far, at most ``limit``; ``ours`` tells our addresses, those of others are not listened to."""

    def __init__(self, ours: Ours, limit: int = 100_000) -> None:
        self._ours = ours
        self._limit = limit
        self._times: dict[tuple[int, tuple[int, int], int, str, str, str], list[int]] = {}
        self._fresh: dict[tuple[int, tuple[int, int], int, str, str, str], None] = {}
        self._values: dict[tuple[int, tuple[int, int], int, str, str], int] = {}
        self._reads: dict[tuple[_Sender, str], list[int]] = {}
        self._refused = 0
        fast = accelerator()
        self._finder = fast.devices(_WANTED) if fast else None

    @property
    def refused(self) -> int:
        """Facts not kept, since there were too many, and packets not looked into, since their sender sent too many."""
        self._catch_up()
        return self._refused

    def hear(self, packets: Packets) -> None:
        """Take in what a batch of packets, and the LLDP frames among them, say; it may not be learned before `take`."""
        if self._finder:
            at = 0
            while (at := self._finder.find(packets, at)) < len(packets):
                self._catch_up()
        elif len(rows := packets.marked(DEVICES)):
            self._read(_by_columns(packets, rows))
        if len(packets.beacons.start):
            self._catch_up()  # what was said before is learned before
            self._read_beacons(packets.data, packets.beacons)

    def take(self) -> list[Fact]:
        """Return the facts heard since the last call, each with the first and last time it was heard at all."""
        self._catch_up()
        fresh, self._fresh = self._fresh, {}
        return [Fact(*key, *self._times[key]) for key in fresh]

    def _catch_up(self) -> None:
        """Read what was found and waits: many packets at once cost a third of those of one batch."""
        if self._finder:
            self._read(self._finder.take())

    def _read(self, said: Said) -> None:
        """Read the packets in their order, but not those of strangers."""
        told = (self._ours(said.src) | _ANYWHERE[said.kind]).tolist()
        senders = zip(said.mac.tolist(), *said.src.T.tolist(), said.vlan.tolist(), strict=True)
        rows = zip(told, said.kind.tolist(), senders, said.time_ns.tolist(), said.payload, strict=True)
        for listened, kind, sender, time_ns, payload in rows:
            if listened and self._may(sender, _SOURCES[kind], time_ns):
                self._learn(_SOURCES[kind], sender, time_ns, _READ[kind](payload))

    def _read_beacons(self, data: Bytes, beacons: Beacons) -> None:
        for time_ns, mac, vlan, start, end in zip(*(column.tolist() for column in beacons), strict=True):
            sender = (mac, 0, 0, vlan)
            if self._may(sender, lldp.SOURCE, time_ns):
                self._learn(lldp.SOURCE, sender, time_ns, lldp.read(data[start:end].tobytes()))

    def _may(self, sender: _Sender, source: str, time_ns: int) -> bool:
        """Return whether one more packet of this sender is read, and count it."""
        if len(self._reads) > self._limit:
            self._reads.clear()
        hour = time_ns // HOUR_NS
        count = self._reads.get((sender, source))
        if count is None or count[0] != hour:
            count = self._reads[sender, source] = [hour, 0]
        count[1] += 1
        self._refused += count[1] > MOST_READ
        return count[1] <= MOST_READ

    def _learn(self, source: str, sender: _Sender, time_ns: int, said: Reading) -> None:
        mac, high, low, vlan = sender
        of = (said.mac or mac, (high, low) if said.address is None else said.address, vlan, source)
        for kind, value in said.traits:
            key = (*of, kind, value)
            if key not in self._times and not self._room((*of, kind)):
                self._refused += 1
                continue
            times = self._times.setdefault(key, [time_ns, time_ns])
            times[:] = min(times[0], time_ns), max(times[1], time_ns)
            self._fresh[key] = None

    def _room(self, group: tuple[int, tuple[int, int], int, str, str]) -> bool:
        """Return whether one more value of a kind may be kept for a sender, and count it."""
        if len(self._times) >= self._limit or self._values.get(group, 0) >= MOST_VALUES:
            return False
        self._values[group] = self._values.get(group, 0) + 1
        return True


_ANYWHERE = np.array([_SOURCES.get(kind) in _FROM_ANYWHERE for kind in range(256)])
"""By kind: whether its reader listens to addresses that are not ours."""


def _by_columns(packets: Packets, rows: NDArray[np.intp]) -> Said:
    """Return those of these rows that are worth a look."""
    rows = rows[(packets.fragment[rows] == 0) & (packets.payload_bytes[rows] >= _LEAST_BYTES)]
    kind = np.maximum(_BY_PORT[packets.dst_port[rows]], _BY_PORT[packets.src_port[rows]])
    kind[packets.protocol[rows] != _UDP] = 0
    tcp = np.flatnonzero(packets.protocol[rows] == _TCP)
    kind[tcp] = _greeting(packets, rows[tcp])
    rows, kind = rows[kind > 0], kind[kind > 0]
    start = packets.payload[rows]
    end = start + np.minimum(packets.payload_bytes[rows], MOST_PAYLOAD_BYTES)
    payload = [packets.data[one:two].tobytes() for one, two in zip(start.tolist(), end.tolist(), strict=True)]
    return Said(kind, packets.time_ns[rows], packets.src_mac[rows], packets.src[rows], packets.vlan[rows], payload)


def _greeting(packets: Packets, rows: NDArray[np.intp]) -> Flags:
    """Return the kinds of these TCP rows, 0 where the payload begins with none of web.STARTS."""
    windows: NDArray[np.void] = np.ndarray((len(packets.data) - 3,), "V4", buffer=packets.data, strides=(1,))
    same = windows[packets.payload[rows]].view(np.uint32)[:, None] == _STARTS
    return np.where(same.any(axis=1), same.argmax(axis=1) + _TCP_KINDS, 0).astype(np.uint8)
