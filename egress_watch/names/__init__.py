"""What the packets themselves say about who is behind an address.

In: packets, then the flows made of them. Out: the flows with their names. Never: a name from later than the flow.

To add a protocol: a module with `SOURCE`, `wanted` and `read` (see `reader.Reader`), and its name in `READERS`.

Everything is decided by packet times, so it does not matter how packets were cut into batches, given two things: a
batch is heard before its flows are named, and nothing had to be forgotten (`Names.forgotten` is 0).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from egress_watch.model import END_REASONS, Flows, Packets
from egress_watch.names import dns, dns_tcp, http, tls
from egress_watch.names.book import Book, Key
from egress_watch.names.reader import Reader, Said, heads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

READERS: list[Reader] = [dns, dns_tcp, tls, http]

SECOND_NS = 1_000_000_000
CONNECTION_NS = 600 * SECOND_NS
"""How far before a flow record the name of its connection may lie, where the record does not show a SYN."""
LEAST_TTL_S = 300
"""Programs keep an address for longer than a short TTL says."""
MOST_TTL_S = 86_400

_SYN = 2
_CONTINUED = [END_REASONS.index("active"), END_REASONS.index("evicted")]


class _Bearer(NamedTuple):
    """A packet that may carry names."""

    reader: Reader
    time_ns: int
    connection: Key
    """(client high, low, port, server high, low, port, protocol), as the packet goes"""
    payload: bytes


class _Flow(NamedTuple):
    """What of a flow record matters here."""

    connection: Key
    """As in `_Bearer`, the device as client: so no remote gets the name by which it called a device."""
    first_ns: int
    last_ns: int
    since_ns: int
    """The connection's name may be as old as this."""
    continued: bool
    """More records of the same connection will follow."""


class Names:
    """All names heard so far; each of its books keeps at most ``limit`` names."""

    def __init__(self, limit: int = 200_000) -> None:
        self.heard: dict[str, int] = {}
        """Names heard, by source."""
        self.refused: dict[str, int] = {}
        """Packets whose names could not be read or not be read to the end, by ``source: reason``."""
        # In order of trust. The last book holds only what flow records that were cut hand on to the next record.
        self._connections = {source: Book(limit) for source in (tls.SOURCE, http.SOURCE, dns.SOURCE)}
        self._asked = Book(limit)
        self._known = Book(limit)

    @property
    def forgotten(self) -> int:
        """Names dropped because a book was full."""
        return sum(book.forgotten for book in (*self._connections.values(), self._asked, self._known))

    def hear(self, packets: Packets) -> None:
        """Take in the names in a batch of packets."""
        for bearer in _bearers(packets):
            said, reason = bearer.reader.read(bearer.payload)
            source = bearer.reader.SOURCE
            if reason:
                _count(self.refused, f"{source}: {reason}")
            for one in said:
                _count(self.heard, source)
                self._learn(source, bearer, one)

    def name(self, flows: Flows) -> Flows:
        """Return the flows with ``name`` and ``name_source``, from the first of these that is there.

        1. tls, 2. http: the newest name of the flow's own connection up to its last packet. A record that shows a SYN
           takes none from before its first packet, since ports are used again; any other may go back CONNECTION_NS.
        3. dns: the newest answer up to the flow's first packet that has not run out, to the flow's own device first,
           to anyone second. A TTL counts as at least LEAST_TTL_S and at most MOST_TTL_S.

        A record cut while its connection went on hands its name to the next record.
        """
        found = [("", "")] * len(flows)
        rows = list(_rows(flows))
        # By time, so that a record comes before the one it continues in.
        for at in np.argsort(flows.first_ns, kind="stable").tolist():
            found[at] = self._name(rows[at])
        return replace(flows, name=tuple(one[0] for one in found), name_source=tuple(one[1] for one in found))

    def _learn(self, source: str, bearer: _Bearer, said: Said) -> None:
        """Note a name under its connection, or under the address it names and who asked."""
        start_ns = bearer.time_ns
        if said.address is None:
            self._connections[source].note(bearer.connection, said.name, start_ns, start_ns)
            return
        until_ns = start_ns + min(max(said.ttl_s, LEAST_TTL_S), MOST_TTL_S) * SECOND_NS
        client = bearer.connection[3:5]  # an answer goes to the one who asked
        self._asked.note(client + said.address, said.name, start_ns, until_ns)
        self._known.note(said.address, said.name, start_ns, until_ns)

    def _name(self, flow: _Flow) -> tuple[str, str]:
        """Return name and source of one flow record, and hand them on where another record will follow."""
        name, source = self._find(flow)
        if name and flow.continued:
            self._connections[source].note(flow.connection, name, flow.last_ns, flow.last_ns)
        return name, source

    def _find(self, flow: _Flow) -> tuple[str, str]:
        """Return the best name and its source, "" and "" where none was heard."""
        for source, book in self._connections.items():
            if book and (name := book.find(flow.connection, flow.since_ns, flow.last_ns)):
                return name, source
        device, remote = flow.connection[0:2], flow.connection[3:5]
        asked = self._asked.find(device + remote, flow.first_ns, flow.first_ns)
        name = asked or self._known.find(remote, flow.first_ns, flow.first_ns)
        return name, dns.SOURCE if name else ""


def _bearers(packets: Packets) -> Iterator[_Bearer]:
    """Yield the packets that readers want, in the order of the packets: so a full book drops the same ones always."""
    head = heads(packets)
    masks = [reader.wanted(packets, head) for reader in READERS]
    rows = np.concatenate([np.flatnonzero(mask) for mask in masks])
    readers = [reader for reader, mask in zip(READERS, masks, strict=True) for _ in range(np.count_nonzero(mask))]
    columns = (*packets.src.T, packets.src_port, *packets.dst.T, packets.dst_port, packets.protocol)
    keys = list(_tuples(*(column[rows] for column in columns)))
    time_ns, start = packets.time_ns[rows].tolist(), packets.payload[rows].tolist()
    end = (packets.payload[rows] + packets.payload_bytes[rows]).tolist()
    for at in np.argsort(rows, kind="stable").tolist():
        yield _Bearer(readers[at], time_ns[at], keys[at], packets.data[start[at] : end[at]].tobytes())


def _rows(flows: Flows) -> Iterator[_Flow]:
    """Yield the flows as rows."""
    shown = (flows.flags_out | flows.flags_in) & _SYN != 0
    since_ns = np.where(shown, flows.first_ns, flows.first_ns - CONNECTION_NS)
    continued = np.isin(flows.end_reason, _CONTINUED)
    columns = (*flows.device.T, flows.device_port, *flows.remote.T, flows.remote_port, flows.protocol)
    rest = (flows.first_ns, flows.last_ns, since_ns, continued)
    return map(_Flow, _tuples(*columns), *(column.tolist() for column in rest))


def _tuples(*columns: NDArray[Any]) -> Iterator[Key]:
    """Yield the rows of these columns as tuples of Python numbers, to be keys of a book."""
    return zip(*(column.tolist() for column in columns), strict=True)


def _count(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1
