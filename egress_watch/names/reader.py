"""The contract between the readers of names and the book that keeps what they read.

In: nothing. Out: the row and protocol types, and masks over the first bytes of payloads. Never: state.

A reader is a module with the members of `Reader`. `egress_watch.names` lists them in three lists, by what they need:
`MESSAGES` read one datagram, `STREAMS` the beginning of a TCP stream, `DIALOGUES` several datagrams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from egress_watch.model import Ints, Words

Mask = NDArray[np.bool_]

TCP, UDP = 6, 17
HEAD_BYTES = 8
CUT = "cut"
"""The reason of a stream reader that would read on if it had more bytes."""


class Said(NamedTuple):
    """One name a packet gives."""

    name: str
    address: bytes | None = None
    """The address it names, 16 bytes as in `model`; None where it names the server of the packet's own connection."""
    ttl_s: int = 0
    """How long the packet says it holds, where it says so."""
    outer: bool = False
    """Whether the hello carries Encrypted Client Hello, so that the name may be the outer one."""


Reading = tuple[list[Said], str]
"""What was read, and why more was refused: "" where nothing was."""


class Refusal(Exception):  # noqa: N818 - a refusal is no error: it is counted, and never leaves a reader
    """Bytes a reader will not read on; the message is the reason that is counted."""


class Candidates(NamedTuple):
    """Columns of the packets that a reader may want, by protocol and by its port or its first two bytes."""

    payload_bytes: Ints
    head: Words
    """(n,) The first eight payload bytes as they lie in memory; other bytes follow a shorter payload."""


class Bearer(NamedTuple):
    """A packet that carries names, or a part of one."""

    row: int
    """Its number among all packets heard."""
    time_ns: int
    connection: bytes
    """Client, server (16 bytes each), their ports (2 bytes each) and the protocol, as the packet goes."""
    payload: bytes
    sequence: int
    """TCP sequence number of the first payload byte, -1 where there is none."""


class Reader(Protocol):
    """What every module that reads names has."""

    @property
    def SOURCE(self) -> str:  # noqa: N802 - a constant of the module
        """Return the word for `Flows.name_source`."""

    @property
    def PROTOCOL(self) -> int:  # noqa: N802 - a constant of the module
        """Return the protocol that carries it, TCP or UDP."""

    @property
    def PORTS(self) -> tuple[int, ...]:  # noqa: N802 - a constant of the module
        """Return the source ports whose packets are candidates; none where the beginnings tell."""

    @property
    def BEGINNINGS(self) -> tuple[bytes, ...]:  # noqa: N802 - a constant of the module
        """Return the first two bytes that make a packet a candidate, on any port; none where the ports tell."""

    def wanted(self, candidates: Candidates) -> Mask:
        """Return (n,) the candidates worth a `read`."""


class MessageReader(Reader, Protocol):
    """A reader of single datagrams."""

    def read(self, payload: bytes) -> Reading:
        """Return the names in one payload; never raises."""


class StreamReader(MessageReader, Protocol):
    """A reader of TCP streams: it reads again, with more bytes, what it called `CUT`."""

    def rest(self, payload: bytes) -> tuple[int, int]:
        """Return how many bytes of a cut payload are done with, and how many there must be for a new attempt."""


class Dialogue(Protocol):
    """The memory of a reader that needs several datagrams; bounded, and counted in packet time."""

    def read(self, bearer: Bearer) -> Reading:
        """Return the names that are complete with this datagram; never raises."""


class Heard(NamedTuple):
    """What a reader found in a packet."""

    reader: Reader
    bearer: Bearer
    reading: Reading


class DialogueReader(Reader, Protocol):
    """A reader of several datagrams."""

    def open(self, limit: int) -> Dialogue:
        """Return an empty memory of at most ``limit`` connections."""


def word(eight: bytes) -> np.uint64:
    """Return eight bytes as one element of `Candidates.head`, so that no byte order is involved."""
    return np.uint64(np.frombuffer(eight, np.uint64)[0])
