"""Which packets carry others, and whether they are opened.

In: a walk whose rows stand behind their transport headers, and a policy. Out: rows that stand at what is inside.
Never: a packet lost: where nothing inside can be read, the packet outside counts.

A **mirror** wraps what it copies so that it can travel: what counts is inside. A **tunnel** between devices is traffic
of its own: it goes where its outer address says. ERSPAN and TZSP are always mirrors. VXLAN, Geneve and Ethernet in GRE
are used for both, and nothing in the packet tells: here they are mirrors where a private address sends
them to a collector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import ip_network
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.decode.columns import DONE, Rows, Walk
from egress_watch.decode.gre import GRE as GRE_HEADER
from egress_watch.decode.gre import erspan, erspan3, gre, wccp
from egress_watch.decode.link import Step
from egress_watch.decode.network import LATER
from egress_watch.decode.tunnels import (
    ayiya,
    capwap,
    ether_ip,
    frame,
    geneve,
    gtp,
    gtp0,
    ipv4,
    ipv6,
    l2tp,
    l2tp3,
    lisp,
    mpls,
    teredo,
    tzsp,
    vxlan,
    vxlan_gpe,
)  # fmt: skip
from egress_watch.model import COLLECTORS, MIRRORS, NONE, MarkTables, Words

UDP, GRE = 17, 47


class Mirror(IntEnum):
    """Whether a carrier is a mirror's."""

    NEVER = 0
    TO_COLLECTOR = 1
    ALWAYS = 2


class Carrier(NamedTuple):
    """A way to wrap packets."""

    name: str
    read: Step
    mirror: Mirror = Mirror.NEVER
    answers: bool = False
    """Whether its port may be the sender's as well."""


NOTHING = Carrier("", lambda _walk, _rows: None)
PLAIN_GRE = Carrier("gre", gre)

PROTOCOLS: dict[int, Carrier] = {
    4: Carrier("ip in ip", ipv4),
    41: Carrier("ipv6 in ip", ipv6),
    GRE: PLAIN_GRE,
    97: Carrier("ethernet in ip", ether_ip),
    115: Carrier("l2tpv3", l2tp3),
    137: Carrier("mpls in ip", mpls),
    143: Carrier("ethernet in srv6", frame),
}
"""IP protocol number (IANA) to what it carries."""

GRE_TYPES: dict[int, Carrier] = {
    0x22EB: Carrier("erspan iii", erspan3, Mirror.ALWAYS),
    0x6558: Carrier("ethernet in gre", gre, Mirror.TO_COLLECTOR),  # NVGRE as well (RFC 7637)
    0x883E: Carrier("wccp", wccp),
    0x88BE: Carrier("erspan", erspan, Mirror.ALWAYS),
}
"""EtherType in a GRE header, where it is more than a plain tunnel."""

PORTS: dict[int, Carrier] = {
    1701: Carrier("l2tp", l2tp, answers=True),
    2152: Carrier("gtp-u", gtp, answers=True),
    3544: Carrier("teredo", teredo, answers=True),
    3386: Carrier("gtp version 0", gtp0, answers=True),
    4341: Carrier("lisp", lisp),
    4754: Carrier("gre in udp", gre),
    4789: Carrier("vxlan", vxlan, Mirror.TO_COLLECTOR),
    4790: Carrier("vxlan-gpe", vxlan_gpe, Mirror.TO_COLLECTOR),
    5072: Carrier("ayiya", ayiya, answers=True),
    5247: Carrier("capwap", capwap, answers=True),
    6081: Carrier("geneve", geneve, Mirror.TO_COLLECTOR),
    6635: Carrier("mpls in udp", mpls),
    8472: Carrier("vxlan", vxlan, Mirror.TO_COLLECTOR),  # what Linux used before there was a number
    37008: Carrier("tzsp", tzsp, Mirror.ALWAYS),
}
"""UDP port to what it carries (IANA where not said otherwise)."""

CARRIERS = (NOTHING, *PROTOCOLS.values(), *GRE_TYPES.values(), *PORTS.values())
NUMBER = {carrier: number for number, carrier in enumerate(CARRIERS)}
NAMES = tuple(dict.fromkeys(carrier.name for carrier in CARRIERS[1:]))


def _table(size: int, known: dict[int, Carrier], wanted: set[Carrier]) -> NDArray[np.uint8]:
    table = np.zeros(size, np.uint8)
    for key, carrier in known.items():
        table[key] = NUMBER[carrier] if carrier in wanted else 0
    return table


@dataclass(frozen=True, slots=True)
class Policy:
    """What is opened: ``unwrap`` is one of UNWRAP, ``collectors`` are networks in CIDR notation; raises ValueError."""

    unwrap: str = MIRRORS
    collectors: tuple[str, ...] = COLLECTORS
    prints: bool = False
    """Whether packets get fingerprints, by which copies are known."""


class Tables:
    """A policy as look-up tables: what a packet carries, by protocol and by either port."""

    def __init__(self, policy: Policy, marks: MarkTables | None = None) -> None:
        self.opens = policy.unwrap != NONE
        self.prints = policy.prints
        self.marks = marks
        """Which payloads somebody wants to look at, None where nobody said."""
        self.mirrors_only = policy.unwrap == MIRRORS
        wanted = {one for one in CARRIERS[1:] if one.mirror or not self.mirrors_only} | {PLAIN_GRE}
        self.protocol = _table(256, PROTOCOLS, wanted)
        self.to_port = _table(1 << 16, PORTS, wanted)
        self.from_port = _table(1 << 16, {port: one for port, one in PORTS.items() if one.answers}, wanted)
        self.protocols, self.ports, self.answers = (
            np.flatnonzero(table).astype(kind) for table, kind in
            ((self.protocol, np.uint8), (self.to_port, np.uint16), (self.from_port, np.uint16))
        )  # fmt: skip
        self.busy = (((self.to_port > 0) | (self.from_port > 0)) & self.opens).astype(np.uint8)
        """(65536,) 1 for UDP ports whose packets may carry what is opened."""
        self.collectors = [_block(network) for network in policy.collectors]


def _block(network: str) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return a network's mask and address, two words each."""
    block = ip_network(network)
    shift = 96 if block.version == 4 else 0
    first = int(block.network_address) | (0xFFFF << 32 if shift else 0)
    mask = ((1 << block.prefixlen + shift) - 1) << 128 - block.prefixlen - shift
    return _two(mask), _two(first)


def _two(number: int) -> NDArray[np.uint64]:
    return np.array([number >> 64, number & 0xFFFFFFFFFFFFFFFF], np.uint64)


def _collected(walk: Walk, rows: Rows, tables: Tables) -> NDArray[np.bool_]:
    """Return what a private address sends to a collector: both ends, so that no tunnel is opened in one direction."""
    src, dst = walk.src[rows], walk.dst[rows]
    return within(dst, tables.collectors) & (within(src, tables.collectors) | within(src, PRIVATE))


def within(address: Words, networks: Sequence[tuple[NDArray[np.uint64], NDArray[np.uint64]]]) -> NDArray[np.bool_]:
    """Return which addresses (n, 2) lie in any of these networks."""
    found = np.zeros(len(address), np.bool_)
    for mask, first in networks:
        found |= (address & mask == first).all(axis=1)
    return found


PRIVATE = [_block(network) for network in COLLECTORS]


class Opened(NamedTuple):
    """Packets whose inside is read next, and what they looked like from outside."""

    rows: Rows
    carrier: NDArray[np.uint8]
    before: dict[str, NDArray[Any]]


_KEPT = ("at", "end", "src_mac", "dst_mac", "vlan", "version", "src", "dst", "src_port", "dst_port", "protocol",
         "tcp_flags", "size", "fragment", "fragment_id", "payload_bytes", "ident", "print")  # fmt: skip
_CLEARED = ("src", "dst", "src_port", "dst_port", "tcp_flags", "fragment", "fragment_id", "ident", "print")
_MIRROR = np.array([carrier.mirror for carrier in CARRIERS])


def enter(walk: Walk, rows: Rows, carrier: NDArray[np.uint8]) -> Opened:
    """Stand at what is inside of these rows; a tunnel whose header cannot be read stays closed."""
    opened = Opened(rows, carrier, {name: getattr(walk, name)[rows] for name in _KEPT})
    walk.next[:] = DONE
    for number in np.unique(carrier).tolist():
        CARRIERS[number].read(walk, rows[carrier == number])
    opened = close(walk, opened, walk.reason[rows] != 0)
    for name in _CLEARED:
        getattr(walk, name)[opened.rows] = 0
    return opened


def close(walk: Walk, opened: Opened, shut: NDArray[np.bool_]) -> Opened:
    """Give the packets where ``shut`` their outside back; return the others."""
    rows = opened.rows[shut]
    walk.reason[rows] = 0
    walk.next[rows] = DONE
    for name, column in opened.before.items():
        getattr(walk, name)[rows] = column[shut]
    before = {name: column[~shut] for name, column in opened.before.items()}
    return Opened(opened.rows[~shut], opened.carrier[~shut], before)


def unread(walk: Walk, opened: Opened, tables: Tables) -> NDArray[np.bool_]:
    """Return which opened packets hold no IP packet and are to be closed again.

    Not those of mirrors: a mirrored ARP frame is an ARP frame, and no packet from a switch to a collector.
    """
    mirror = tables.mirrors_only | (_MIRROR[opened.carrier] == Mirror.ALWAYS)
    shut: NDArray[np.bool_] = (walk.reason[opened.rows] != 0) & ~mirror
    return shut


def carried(walk: Walk, tables: Tables) -> tuple[Rows, NDArray[np.uint8]]:
    """Return the rows just read that carry something the policy opens, and the number of the carrier."""
    rows = _candidates(walk, tables)
    if not len(rows):
        return rows, np.zeros(0, np.uint8)
    there, back = tables.to_port[walk.dst_port[rows]], tables.from_port[walk.src_port[rows]]
    carrier = np.where(walk.protocol[rows] == UDP, np.where(there, there, back), tables.protocol[walk.protocol[rows]])
    wanted = (carrier > 0) & (walk.next[rows] != DONE) & (walk.fragment[rows] != LATER)
    rows, carrier = rows[wanted], carrier[wanted]
    return _mirrored(walk, rows, _gre_kinds(walk, rows, carrier), tables)


def _candidates(walk: Walk, tables: Tables) -> Rows:
    """Return rows that may carry something: comparing whole columns with few numbers is far quicker than a look-up."""
    hit = np.zeros(len(walk.protocol), np.bool_)
    for number in tables.protocols:
        hit |= walk.protocol == number
    for port in tables.ports:
        hit |= walk.dst_port == port
    for port in tables.answers:
        hit |= walk.src_port == port
    return np.flatnonzero(hit)


def _gre_kinds(walk: Walk, rows: Rows, carrier: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the carriers, those of GRE by what it says it holds."""
    inside = carrier == NUMBER[PLAIN_GRE]
    inside &= walk.at[rows] + GRE_HEADER.itemsize <= walk.end[rows]
    kind = walk.read(rows[inside], GRE_HEADER)["type"]
    found = carrier[inside]
    for number, one in GRE_TYPES.items():
        found[kind == number] = NUMBER[one]
    carrier[inside] = found
    return carrier


def _mirrored(walk: Walk, rows: Rows, carrier: NDArray[np.uint8], tables: Tables) -> tuple[Rows, NDArray[np.uint8]]:
    """Leave out, where only mirrors are opened, what is none."""
    if not tables.mirrors_only:
        return rows, carrier
    mirror = _MIRROR[carrier]
    wanted = mirror == Mirror.ALWAYS
    wanted |= (mirror == Mirror.TO_COLLECTOR) & _collected(walk, rows, tables)
    return rows[wanted], carrier[wanted]
