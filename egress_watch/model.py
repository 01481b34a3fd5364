"""The types that travel between the rooms.

In: nothing. Out: plain values. Never: behaviour, input or output.

A plural type is columns (NumPy arrays of one length n), a singular type is one row.

An **address** is two ``uint64`` words, high word first, in host order: the 128 bits of an IPv6 address, with IPv4 as
``::ffff:a.b.c.d`` (RFC 4291, section 2.5.5.2). A column of addresses has shape (n, 2). So there is one path for both.
A **MAC** is 48 bits in a ``uint64``, 0 where the link shows none.
Times are ``int64`` nanoseconds since 1970-01-01 UTC, always the packet's own time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Flags = NDArray[np.uint8]
Ints = NDArray[np.int64]
Ports = NDArray[np.uint16]
Words = NDArray[np.uint64]

PAD_BYTES = 128
"""Spare bytes that a source lays behind the last frame in `Frames.data`, so a header can be read without a check."""

MIRRORS, ALL, NONE = "mirrors", "all", "none"
ONCE = "once"
COPIES = (ONCE, ALL)
"""What becomes of a packet that a port mirrored twice."""
UNWRAP = (MIRRORS, ALL, NONE)
"""What `decode` may open: what mirrors wrapped, tunnels between devices too, or nothing."""

COLLECTORS = (
    "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10",
)  # fmt: skip
"""Where mirrors are sent to, unless told otherwise: private networks. What is sent there stays, so only what is inside
can leave."""

DUPLICATE = "duplicate"
"""The reason for which a packet's second copy is skipped."""

IN, OWN, OUT, UNKNOWN = "IN", "OWN", "OUT", "UNKNOWN"
VERDICTS = (IN, OWN, OUT, UNKNOWN)
GLYPHS = {IN: "✓", OWN: "~", OUT: "✗", UNKNOWN: "?"}


PROMISES = {
    "best effort": "handed to the network or the terminal; nobody says whether it came",
    "connection-acknowledged": "the receiver's process read it all before it closed; its own queue may still lose it",
    "receiver-acknowledged": "the receiver said of each batch that it has it; as safe as what the receiver writes to",
    "written": "on this machine's disk (fsync) before it counts as delivered",
}
"""What it means that a sink has delivered, by the word for it."""
LEFT_OUT = ("before --from", "after --to", "filtered out")
"""Reasons, or how they begin, of frames that are left out because the user asked for it."""


class Damage(NamedTuple):
    """What a source could not read: the rest of the file is not guessed at."""

    origin: str
    """The file, as the user named it; ``-`` for standard input."""
    offset: int
    """Where reading stopped, in bytes from the start of the (unpacked) file."""
    reason: str
    lost_bytes: int
    """Bytes from there to the end; -1 where the end is not known."""


class EasyTables(NamedTuple):
    """How plain frames are read."""

    kinds: Flags
    """(65536,) Of each EtherType: 0 nobody reads it, 1 it is a VLAN tag, 2 it is left."""
    ports: Flags
    """(65536,) 1 for UDP ports whose packets are left."""
    prints: bool
    """Whether fingerprints are wanted."""
    marks: MarkTables | None
    """Who wishes to look at which payloads, None where nobody does."""


class Easy(NamedTuple):
    """What could be read of frames at once: the plain ones."""

    columns: dict[str, NDArray[Any]]
    """Columns of `Packets`; rows named by ``place`` are still empty."""
    left: Ints
    """(k,) Frames that are left to be read."""
    place: Ints
    """(k,) The row kept free for each."""
    reason: NDArray[np.int32]
    """EtherTypes of frames that are no packet."""
    start: Ints | None = None
    """The column of the frames: where they are others now, this says nothing of them."""
    by: EasyTables | None = None


class MarkTables(NamedTuple):
    """What tells who may want to look at a payload (see `decode.marks`)."""

    ports: Flags
    """(65536,)"""
    first: Flags
    """(256,)"""


@dataclass(frozen=True, slots=True)
class Frames:
    """Raw frames of one batch, end to end in one buffer."""

    data: Bytes
    """(bytes,) The buffer; at least PAD_BYTES lie behind the last frame."""
    start: Ints
    """(n,) Offset of each frame in ``data``."""
    caught: Ints
    """(n,) Bytes captured of each frame."""
    wire: Ints
    """(n,) Bytes the frame had on the wire."""
    time_ns: Ints
    """(n,) Capture time."""
    link: NDArray[np.int32]
    """(n,) LINKTYPE_ value of the frame's interface (tcpdump.org/linktypes.html)."""
    interface: NDArray[np.int32]
    """(n,) Number of the interface within its capture, 0 where the format has none."""
    origin: str = ""
    """The file or interface these frames come from."""
    read_bytes: int = 0
    """Bytes of input consumed so far, over all files (packed size), for progress."""
    lost: int = 0
    """Frames the capturing side says it dropped, newly reported with this batch."""
    damage: tuple[Damage, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    """Frames read beside these and left out because the user narrowed the work, by reason (see LEFT_OUT)."""
    clock_ns: int = 0
    """A time before which no further frame will be; 0 where only frames tell the time, as in a file."""
    easy: Easy | None = None
    """What was read of the frames on their way in, while the cache had them, where somebody asked for that."""

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.start)


NO_PRINTS: Words = np.zeros(0, np.uint64)
NO_MARKS: Flags = np.zeros(0, np.uint8)


class Wish(NamedTuple):
    """Payloads of one protocol that somebody wants to look at: told by a port or by the first byte."""

    protocol: int
    """TCP or UDP."""
    from_ports: tuple[int, ...] = ()
    ports: tuple[int, ...] = ()
    """To or from one of these."""
    first_bytes: tuple[int, ...] = ()


NAMES, DEVICES = 1, 2
"""Bits of `Packets.mark`: who wishes to look."""
LEAST_WISHED_BYTES = 2
"""A shorter payload says nothing to anybody."""


class Beacons(NamedTuple):
    """LLDP frames: no packets, but a device says in them what it is."""

    time_ns: Ints
    src_mac: Words
    vlan: Ports
    start: Ints
    """(k,) Offset in the buffer behind the EtherType."""
    end: Ints


NO_BEACONS = Beacons(
    np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.uint16), np.empty(0, np.int64), np.empty(0, np.int64)
)


@dataclass(frozen=True, slots=True)
class Packets:
    """IP packets decoded from one batch of frames, in the order of the frames."""

    data: Bytes
    """The buffer of the frames; payload spans point into it."""
    time_ns: Ints
    src_mac: Words
    dst_mac: Words
    vlan: Ports
    """(n,) Outermost 802.1Q VLAN id, 0 where untagged."""
    version: Flags
    """(n,) 4 or 6, as in the first nibble of the IP header."""
    src: Words
    """(n, 2) Source address."""
    dst: Words
    """(n, 2) Destination address."""
    src_port: Ports
    """(n,) TCP, UDP, UDP-Lite, DCCP or SCTP port; 0 elsewhere and in later fragments."""
    dst_port: Ports
    protocol: Flags
    """(n,) IANA protocol number behind any IPv6 extension headers."""
    tcp_flags: Flags
    """(n,) The low eight bits of the TCP flags (FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32), 0 elsewhere."""
    size: Ints
    """(n,) Layer-3 length in bytes from the IP header: what the wire carried, whatever the snaplen kept."""
    fragment: Flags
    """(n,) 0 whole, 1 first fragment, 2 later fragment."""
    fragment_id: NDArray[np.uint32]
    """(n,) The IP identification of a fragment, 0 elsewhere."""
    payload: Ints
    """(n,) Offset in ``data`` behind the transport header."""
    payload_bytes: Ints
    """(n,) Captured bytes there that belong to the IP packet (link padding excluded)."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Frames that are no packet, by reason. len(frames) == len(packets) + sum(skipped.values())."""
    unwrapped: dict[str, int] = field(default_factory=dict)
    """Packets taken out of a mirror or tunnel, by its kind; one within two counts for both."""
    print: Words = field(default_factory=lambda: NO_PRINTS)
    """(n,) By what a second copy is known (see `decode.prints`), 0 where none could be; empty where nobody asked."""
    mark: Flags = field(default_factory=lambda: NO_MARKS)
    """(n,) Who may want to look at the payload (see `decode.marks`); empty where nobody said what he wants."""
    beacons: Beacons = NO_BEACONS
    """The LLDP frames among those, (k,) and not (n,)."""

    def __len__(self) -> int:
        """Return the number of packets."""
        return len(self.time_ns)

    def marked(self, whose: int) -> NDArray[np.intp]:
        """Return the rows with this mark; all rows where there are no marks."""
        return np.flatnonzero(self.mark & np.uint8(whose)) if len(self.mark) else np.arange(len(self))


PROTOCOLS = {
    1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah",
    58: "ipv6-icmp", 88: "eigrp", 89: "ospf", 103: "pim", 112: "vrrp", 132: "sctp", 136: "udplite",
}  # fmt: skip
"""Names of protocol numbers (IANA); any other is shown as its number."""

NAME_SOURCES = ("", "tls", "http", "dns", "quic", "dtls", "ech", "mdns", "llmnr")
"""Where a name was heard; the position is the code in the store.

tls, quic, dtls: the server name of a ClientHello; ech: likewise, but the hello carries Encrypted Client Hello, so the
name may be only the outer one; http: a request; dns: an answer; mdns, llmnr: what a host of the link calls itself.
"""

END_REASONS = ("end", "fin", "rst", "idle", "active", "evicted")
"""Why a flow record was written; the position is the code in `Flows.end_reason` and in the store.

end: the input ended; fin, rst: TCP closed; idle: silent too long; active: cut while running, more records follow;
evicted: the table was full.
"""


@dataclass(frozen=True, slots=True)
class Flows:
    """Bidirectional flow records, one row each, seen from the device: out is device to remote."""

    first_ns: Ints
    last_ns: Ints
    device: Words
    """(n, 2) The side that is ours."""
    remote: Words
    """(n, 2) The other side."""
    device_port: Ports
    remote_port: Ports
    protocol: Flags
    device_mac: Words
    """(n,) MAC seen on the device's side of the link: the device's own, or that of the router before it."""
    vlan: Ports
    packets_out: Ints
    bytes_out: Ints
    packets_in: Ints
    bytes_in: Ints
    flags_out: Flags
    """(n,) TCP flags seen from the device, or-ed."""
    flags_in: Flags
    end_reason: Flags
    """(n,) Index into END_REASONS."""
    name: Sequence[str] = ()
    """(n,) Best name of the remote, "" where none was heard; empty before `names` has run."""
    name_source: Sequence[str] = ()
    """(n,) Where the name comes from, one of NAME_SOURCES."""
    name_ns: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """(n,) When the name was heard, 0 where none was; empty before `names` has run."""
    other_names: Sequence[str] = ()
    """(n,) Up to three other names that DNS gave the remote at that time, newest first, with a space between them."""

    def __len__(self) -> int:
        """Return the number of flow records."""
        return len(self.first_ns)


NAME_COLUMNS = ("name", "name_source", "name_ns", "other_names")
"""The columns of `Flows` that are empty before `names` has run."""


class Place(NamedTuple):
    """Where an address is and whose hands it is in, by evidence; one row serves every address with the same answer."""

    country: str
    """ISO 3166-1 alpha-2, "" where no single country can be told."""
    location_status: str
    """declared, agreed, single, disputed, anycast, edge, local, override or unknown."""
    countries: tuple[str, ...]
    """Every country any source named, most trusted first."""
    asn: int
    """Origin AS number, 0 where unknown."""
    as_name: str
    provider: str
    """Who runs the network: the cloud, else the group behind the AS, else ""."""
    region: str
    """The provider's own name of the region, "" where it declares none."""
    owner: str
    """The group whose service this is, by name before address; "" where unlisted."""
    owner_seat: str
    """Country of the group's ultimate parent."""
    laws: tuple[str, ...]
    """Laws that reach the owner."""
    evidence: str
    """What the owner rests on: override, name, prefix, cloud, asn or ""; registry where the address leads nowhere."""
    ties: tuple[str, ...] = ()
    """Known links of the owner to groups of other seats, in words with their date."""
    note: str = ""
    """The user's own words on the prefix, from the file of overrides."""


class Verdict(NamedTuple):
    """The answer for a place under a zone."""

    verdict: str
    """One of VERDICTS."""
    why: str
    """The reason in one line a person can read out."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Flows with their answers: ``judgement`` indexes ``places`` and ``verdicts``, which only ever grow."""

    flows: Flows
    judgement: Ints
    """(n,) Row of ``places`` and ``verdicts``."""
    places: list[Place]
    verdicts: list[Verdict]
    zones: list[str] = field(default_factory=list)
    """The zone of each, by id; "" or nothing at all stands for that of the recording."""


class Fact(NamedTuple):
    """Something a device says of itself, with when it was heard."""

    mac: int
    address: tuple[int, int]
    """(0, 0) where it is not known."""
    vlan: int
    source: str
    """Who said it: dhcp, lldp, mdns and so on."""
    kind: str
    value: str
    first_ns: int
    last_ns: int


class Health(NamedTuple):
    """What one minute of one watched interface was like; counts are of that minute alone."""

    minute_ns: int
    """When the minute began."""
    interface: str
    frames: int
    bytes: int
    """As on the wire."""
    lost: int
    """Frames for which the ring had no room."""
    overruns: int
    """Frames for which the interface had no room (rx_missed, rx_fifo and rx_over errors)."""
    dropped: int
    """Frames that the kernel dropped before anyone saw them (rx_dropped)."""
    errors: int
    """Frames that came in broken (rx_errors)."""
    lag_ns: int
    """The longest that a frame waited before it was read."""


class Happening(NamedTuple):
    """Something that became of a watched interface."""

    time_ns: int
    interface: str
    what: str
    """down, up, gone, back and so on, in words."""


class Alert(NamedTuple):
    """An episode: what one rule says of one device towards one owner (or unlisted network) and country."""

    rule: str
    """The rule's id (UUID)."""
    title: str
    level: str
    """informational, low, medium, high or critical, as in Sigma."""
    device: int
    """Row of the store's device table."""
    device_ip: str
    remote_ip: str
    """The remote of the newest flow in the episode."""
    owner: str
    country: str
    verdict: str
    first_ns: int
    last_ns: int
    hits: int
    bytes_out: int
    bytes_in: int
    first_flow: int
    last_flow: int
    why: str
    """The newest hit in words."""
    network: str
    """Name of the origin network where the owner is not listed, else "": strangers are not thrown together."""
    head_ns: int = 0
    """When the first hit's flow ended."""
    head_bytes: int = 0
    """What the first hit sent."""
    head_in: int = 0
    """What it received."""
    latest_ns: int = 0
    """The latest beginning of any hit's flow."""
    each: Callable[[], Iterable[Alert]] | None = None
    """Gives every hit as an Alert of its own, the oldest flow first; None where the sums stand for one hit."""


class Link(NamedTuple):
    """An alert and a flow that raised it."""

    alert: int
    """Row of the store's alert table."""
    flow: int
    title: str
    """The rule's title."""


class Kept(NamedTuple):
    """What is kept as evidence of one flow for one alert."""

    alert: int
    flow: int
    path: str
    """The file its packets are in, "" where none were left."""
    packets: int
    missing: int
    """Of the packets asked for, those that were gone already."""


class Pace(NamedTuple):
    """When an episode ends, is told again, or is folded into a summary; all by packet time."""

    silence_ns: int = 86_400_000_000_000
    """An episode without a hit for so long is closed; a later hit opens another."""
    jump: float = 10.0
    """Bytes out times so many are told at once."""
    jump_bytes: int = 1_000_000
    """The least bytes out that count as a jump."""
    storm: int = 200
    """New episodes of one rule in one hour; any further one is folded into the rule's summary."""


class Count(NamedTuple):
    """What a correlation rule counts: over a time, by group."""

    kind: str
    """value_sum, value_count (of distinct values) or event_count."""
    field: str
    """The field that is summed or whose values are counted; "" for event_count."""
    group_by: tuple[str, ...]
    timespan_s: int
    least: int
    """The rule holds for a group that reaches this."""


class Crossing(NamedTuple):
    """A group that a committed batch took to its limit, or further beyond it: only what is new is summed."""

    group: tuple[str | int | None, ...]
    """Values of the fields it was grouped by."""
    amount: int
    """The most it came to within one timespan, or at least so much (see ``more``)."""
    newest: dict[str, Any]
    """The newest of its flows, as a row of the view ``flows``."""
    first_ns: int
    last_ns: int
    hits: int
    bytes_out: int
    bytes_in: int
    first_flow: int
    last_flow: int
    more: bool = False
    """Whether there were too many values to tell all apart."""


@dataclass(slots=True)
class Tally:
    """What has gone through each stage so far: the counters behind "nothing is lost in silence"."""

    frames: int = 0
    packets: int = 0
    packet_bytes: int = 0
    lost: int = 0
    flows: int = 0
    late_fragments: int = 0
    """Later fragments whose first fragment never came: counted in a flow without ports."""
    evicted: int = 0
    first_ns: int = 0
    last_ns: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    unwrapped: dict[str, int] = field(default_factory=dict)
    """Packets taken out of mirrors and tunnels, by kind."""
    left_out: int = 0
    """Of the frames, those the user asked to leave out; ``skipped`` has them by reason too."""
    heard: dict[str, int] = field(default_factory=dict)
    """Names heard by source, refused by reason, forgotten, and what waits for its rest (see `names.Names.told`)."""
    unstored: int = 0
    """Flows that ended while the disk was full: neither stored nor in ``flows``."""
    unstored_packets: int = 0
    """Packets of these."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a screen or a report shows, frozen; EMPTY is a value."""

    recordings: tuple[dict[str, Any], ...] = ()
    verdicts: tuple[dict[str, Any], ...] = ()
    countries: tuple[dict[str, Any], ...] = ()
    owners: tuple[dict[str, Any], ...] = ()
    devices: tuple[dict[str, Any], ...] = ()
    """Those that send most; `device_count` is all of them."""
    device_count: int = 0
    alerts: tuple[dict[str, Any], ...] = ()
    """Those of the gravest destinations; `alert_count` and `destination_count` are of all."""
    alert_count: int = 0
    destination_count: int = 0
    skipped: tuple[dict[str, Any], ...] = ()
    damage: tuple[dict[str, Any], ...] = ()
    heard: tuple[dict[str, Any], ...] = ()
    """Names heard and not read, by counter."""
    evidence: tuple[dict[str, Any], ...] = ()
    """Packets kept of flows that raised an alert, by file."""
    data: tuple[dict[str, Any], ...] = ()
    set_aside: tuple[dict[str, Any], ...] = ()
    """Rules of the newest recording that do not run, with the reason."""
    muted: int = 0
    """Alerts left out because somebody muted them."""
    sinks: tuple[dict[str, Any], ...] = ()
    """Receivers that were ever served, with their state and what waits for each."""


EMPTY = Snapshot()


def address_text(high: int, low: int) -> str:
    """Return the address in its canonical text (RFC 5952); IPv4-mapped ones as IPv4."""
    if high == 0 and low >> 32 == 0xFFFF:
        return f"{low >> 24 & 255}.{low >> 16 & 255}.{low >> 8 & 255}.{low & 255}"
    if high >> 32:  # below, the C library writes some as IPv4
        from socket import AF_INET6, inet_ntop  # a seventh of what ipaddress takes

        return inet_ntop(AF_INET6, (high << 64 | low).to_bytes(16, "big"))
    from ipaddress import IPv6Address

    return str(IPv6Address(high << 64 | low))


def address_words(text: str) -> tuple[int, int]:
    """Return the two words of an address in text; raises ValueError where it is none."""
    from ipaddress import ip_address

    address = ip_address(text)
    number = int(address) | (0xFFFF << 32 if address.version == 4 else 0)
    return number >> 64, number & 0xFFFFFFFFFFFFFFFF


def mac_text(mac: int) -> str:
    """Return a MAC as ``aa:bb:cc:dd:ee:ff``, "" for 0."""
    return mac.to_bytes(6, "big").hex(":") if mac else ""
