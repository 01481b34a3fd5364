"""Build the capture that the benchmarks read: mixed city traffic, the same bytes on every machine.

In: a number of packets and a seed. Out: a pcap file, and what is in it. Never: a packet that anybody sent.

`python benchmarks/build.py --packets 1000000 big.pcap` takes a few seconds. A flow is a row of columns first, then its
packets are rows of columns, and only then are headers laid over a buffer of filler, a hundred thousand packets a time.
"""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from payloads import ANSWER, HELLO, QUERY, REQUEST, Payloads, quiet
from wire import packed

MIXED = 0.3
"""Share of flows that go anywhere in the mixed capture: nearly all of these alert, the others stay in the EEA."""
CASES: Mapping[str, tuple[float, bool]] = {"calm": (0.05, False), "mixed": (MIXED, False), "all abroad": (1, False),
                                           "hard": (1, True)}  # fmt: skip
"""What benchmarks are run on: ``abroad`` and ``hard`` of `build`."""
SCRATCH = Path(__file__).parent / "scratch"
PACKETS_PER_FLOW = 31
FLOWS_PER_DEVICE = 80
FLOWS_PER_REMOTE = 6
FRIENDS = 24
"""Remotes that a device of the hard case calls, with any of them for everything."""
FEWEST, MOST = 4, 12
"""Remotes that a device of habit calls: the first for names, the second for time, the others for its work."""
ALIEN_SHARE = 0.011
"""Frames that are no IP, for each packet."""
VLAN_DEVICES, IPV6_DEVICES = 10, 12
"""Every tenth device is behind a VLAN tag, every twelfth speaks IPv6."""
PERIOD_S = 7_200
LONGEST_S = {6: 200.0, 17: 40.0, 1: 40.0}
"""Shorter than every time-out of a flow table, so that a flow stays one record."""
CHUNK = 100_000

FIN, SYN, PUSH, ACK = 1, 2, 8, 16
Columns = NDArray[Any]


class Kind(NamedTuple):
    """A sort of conversation."""

    name: str
    share: float
    """Of all flows."""
    least: int
    """Packets that every flow of this kind has."""
    weight: float
    """Share of the packets beyond the least; 0 keeps flows short."""
    protocol: int
    port: int


KINDS = (
    Kind("dns", 0.25, 2, 0, 17, 53),
    Kind("ntp", 0.05, 2, 0, 17, 123),
    Kind("icmp", 0.05, 2, 0, 1, 0),
    Kind("tls", 0.35, 8, 6, 6, 443),
    Kind("http", 0.15, 8, 2, 6, 80),
    Kind("udp", 0.15, 1, 3, 17, 4500),
)
DNS, NTP, ICMP, TLS, HTTP, UDP = range(len(KINDS))


@dataclass(frozen=True, slots=True)
class Totals:
    """What a reader of the capture must find."""

    frames: int
    packets: int
    flows: int
    packet_bytes: int
    """IP bytes."""
    names: int
    """Packets that carry a name: ClientHello, HTTP request or DNS answer."""


def capture(packets: int, abroad: float = 1, *, hard: bool = False) -> Path:
    """Return where the capture of a benchmark lies."""
    return SCRATCH / f"mixed-{packets}{'-hard' if hard else ''}{f'-abroad-{abroad:g}' if abroad < 1 else ''}.pcap"


def build(
    path: Path, packets: int = 1_000_000, seed: int = 1, abroad: float = 1, flows_wanted: int | None = None, *,
    hard: bool = False,
) -> Totals:  # fmt: skip
    """Write a capture of this many IP packets, and frames of other kinds between them.

    ``abroad`` is the share of flows that go anywhere, nearly all of which raise alerts; the others stay in the EEA.
    ``flows_wanted`` is the number of flows, in place of one for every 31 packets. Devices have habits, as lamps and
    cameras do: each calls a few remotes, drawn once, and each of these for one purpose. In the ``hard`` case it calls
    any of `FRIENDS` for anything, clouds of every kind among them.
    """
    random = np.random.default_rng(seed)
    flows = _flows(random, packets, flows_wanted or packets // PACKETS_PER_FLOW)
    if not hard:
        _give_habits(np.random.default_rng(seed), flows)
    _keep_home(random, flows, abroad)
    payloads = Payloads(random, max(16, len(flows) // FLOWS_PER_REMOTE))
    rows = _packets(random, flows, payloads, packets)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        packet_bytes = _write(file, random, flows, rows, payloads)
    return Totals(len(rows), packets, len(flows), packet_bytes, int((rows["text"] >= ANSWER).sum()))


FLOW = np.dtype([("kind", "u1"), ("device", "i4"), ("remote", "i4"), ("device_port", "u2"), ("size", "i8"),
                 ("start_s", "f8"), ("span_s", "f8"), ("vlan", "u2"), ("ipv6", "?")])  # fmt: skip
PACKET = np.dtype([("flow", "i4"), ("time_us", "i8"), ("back", "?"), ("flags", "u1"), ("payload", "i8"),
                   ("text", "u1")])  # fmt: skip
"""``flow`` is -1 for a frame that is no IP; ``text`` says which of the `Payloads` it carries, 0 for filler."""


def _flows(random: np.random.Generator, packets: int, wanted: int) -> Columns:
    """Draw the flows: each has a 5-tuple of its own."""
    count = max(len(KINDS), wanted)
    flows = np.zeros(count, FLOW)
    flows["kind"] = random.choice(len(KINDS), count, p=[kind.share for kind in KINDS])
    devices, remotes = max(1, count // FLOWS_PER_DEVICE), max(16, count // FLOWS_PER_REMOTE)
    order = np.arange(count)
    flows["device"], rank = order % devices, order // devices
    # A device calls a few remotes, some more often. ICMP has no ports, so only its remote tells such a flow apart.
    friend = np.where(flows["kind"] == ICMP, rank, FRIENDS * random.random(count) ** 2).astype(np.int64)
    flows["remote"] = (flows["device"] * 1009 + friend * 31) % remotes
    flows["device_port"] = np.where(flows["kind"] == ICMP, 0, 1024 + rank % 60_000)
    flows["vlan"] = np.where(flows["device"] % VLAN_DEVICES == 3, 20, 0)
    flows["ipv6"] = flows["device"] % IPV6_DEVICES == 5
    flows["size"] = _sizes(random, flows["kind"], packets)
    longest = np.array([LONGEST_S[kind.protocol] for kind in KINDS])[flows["kind"]]
    flows["span_s"] = np.minimum(0.5 + flows["size"] * 0.02, longest)
    flows["start_s"] = random.random(count) * PERIOD_S
    return flows


def _give_habits(random: np.random.Generator, flows: Columns) -> None:
    """Give each device its own few remotes; all else about its flows stays as it is."""
    devices, remotes = int(flows["device"].max()) + 1, max(16, len(flows) // FLOWS_PER_REMOTE)
    first = random.integers(0, remotes, devices)
    step = random.integers(1, max(2, remotes // 32), devices)  # so that as many as any device has are different
    work = random.integers(FEWEST - 2, MOST - 1, devices)[flows["device"]]
    friend = 2 + (work * random.random(len(flows)) ** 2).astype(np.int64)
    friend[flows["kind"] == DNS], friend[flows["kind"] == NTP] = 0, 1
    # Echo requests have no ports, so a device sends them to one remote after the other.
    echo = np.flatnonzero(flows["kind"] == ICMP)
    echo = echo[np.argsort(flows["device"][echo], kind="stable")]
    begin = np.searchsorted(flows["device"][echo], flows["device"][echo])
    friend[echo] = np.arange(len(echo)) - begin
    flows["remote"] = (first[flows["device"]] + friend * step[flows["device"]]) % remotes


def _keep_home(random: np.random.Generator, flows: Columns, abroad: float) -> None:
    """Give all flows but a share of them remotes that no rule speaks of."""
    if abroad >= 1:
        return
    homes = quiet(max(16, len(flows) // FLOWS_PER_REMOTE))
    rank = np.arange(len(flows)) // max(1, len(flows) // FLOWS_PER_DEVICE)
    if min(map(len, homes)) <= rank[-1]:  # then two echo flows of a device would be one
        raise SystemExit("build: too few packets to keep flows at home; try: --packets 400000")
    stays = random.random(len(flows)) >= abroad
    for ipv6, home in enumerate(homes):
        rows = np.flatnonzero(stays & (flows["ipv6"] == ipv6))
        friend = np.where(flows["kind"][rows] == ICMP, rank[rows], flows["remote"][rows] % FRIENDS)
        flows["remote"][rows] = home[(flows["device"][rows] * 1009 + friend) % len(home)]


def _sizes(random: np.random.Generator, kind: Columns, packets: int) -> Columns:
    """Return the packets of each flow: the least of its kind, and a heavy-tailed share of what is left."""
    least = np.array([kind.least for kind in KINDS])[kind]
    weight = np.array([kind.weight for kind in KINDS])[kind] * random.pareto(1.3, len(kind))
    weight[np.argmax(kind == TLS)] += 1e-9  # never all zero
    if (left := packets - int(least.sum())) < 0:
        raise SystemExit("build: too few packets for one flow of each kind; try: --packets 1000")
    return least + random.multinomial(left, weight / weight.sum())


def _packets(random: np.random.Generator, flows: Columns, payloads: Payloads, packets: int) -> Columns:
    """Return all packets in the order of their time."""
    rows = np.zeros(packets + int(packets * ALIEN_SHARE), PACKET)
    rows["flow"] = -1
    rows["time_us"][packets:] = random.integers(0, PERIOD_S * 1_000_000, len(rows) - packets)
    rows["payload"][packets:] = 46
    body = rows[:packets]
    body["flow"] = np.repeat(np.arange(len(flows)), flows["size"])
    flow = flows[body["flow"]]
    body["time_us"] = _times_us(random, flow, body["flow"])
    at = np.arange(packets) - (np.cumsum(flows["size"]) - flows["size"])[body["flow"]]
    _converse(random, body, flow, at)
    _texts(body, flow, at, payloads)
    return rows[np.argsort(rows["time_us"], kind="stable")]


def _times_us(random: np.random.Generator, flow: Columns, number: Columns) -> Columns:
    """Spread the packets of each flow over its span, in their order."""
    part = random.random(len(flow))
    part = part[np.lexsort((part, number))]
    return ((flow["start_s"] + part * flow["span_s"]) * 1e6).astype(np.int64)


def _converse(random: np.random.Generator, body: Columns, flow: Columns, at: Columns) -> None:
    """Set who speaks, the TCP flags and the payload bytes; ``at`` counts the packets of each flow from 0."""
    tcp = (flow["kind"] == TLS) | (flow["kind"] == HTTP)
    left = flow["size"] - 1 - at
    middle = ~tcp | ((at > 3) & (left > 2))
    body["back"] = np.where(middle, random.random(len(body)) < 0.55, (at == 1) | (left == 1))
    body["back"][~tcp & (at < 2)] = at[~tcp & (at < 2)] == 1
    draw = random.random(len(body))
    data = np.where(draw < 0.55, random.integers(20, 260, len(body)), 0)
    data[body["back"] & (draw > 0.64)] = 1400
    data[~tcp] = np.maximum(data, 48)[~tcp]
    body["payload"] = np.where(middle, data, 0)
    body["payload"][np.isin(flow["kind"], (NTP, ICMP))] = 48
    flags = np.where(body["payload"] > 0, PUSH | ACK, ACK)
    for where, value in ((at == 0, SYN), (at == 1, SYN | ACK), ((left == 1) | (left == 2), FIN | ACK)):
        flags[where] = value
    body["flags"] = np.where(tcp, flags, 0)


def _texts(body: Columns, flow: Columns, at: Columns, payloads: Payloads) -> None:
    """Put queries, answers, hellos and requests where they belong."""
    for text, kind, where in ((QUERY, DNS, 0), (ANSWER, DNS, 1), (HELLO, TLS, 3), (REQUEST, HTTP, 3)):
        here = np.flatnonzero((flow["kind"] == kind) & (at == where))
        body["text"][here] = text
        body["payload"][here] = payloads.length[text][flow["remote"][here], flow["ipv6"][here].astype(np.intp)]
        body["flags"][here] |= PUSH if kind != DNS else 0


def _write(file: BinaryIO, random: np.random.Generator, flows: Columns, rows: Columns, payloads: Payloads) -> int:
    """Write the file; returns the IP bytes in it."""
    # A pcap file header (draft-ietf-opsawg-pcap): microseconds, version 2.4, LINKTYPE_ETHERNET
    file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
    filler = random.integers(128, 256, 1 << 16, np.uint8)  # no text and no TLS, so that no name is there by chance
    protocols, ports = np.array([kind.protocol for kind in KINDS]), np.array([kind.port for kind in KINDS])
    packet_bytes = 0
    for at in range(0, len(rows), CHUNK):
        data, more = packed(rows[at : at + CHUNK], flows, protocols, ports, payloads, filler)
        file.write(data)
        packet_bytes += more
    return packet_bytes


def add_calls(parser: argparse.ArgumentParser, abroad: float = 1) -> None:
    """Declare whom the devices call."""
    what = f"share of flows that go anywhere, where rules alert; 1 is all, a calm city has 0.05 (default: {abroad:g})"
    parser.add_argument("--abroad", type=float, default=abroad, metavar="SHARE", help=what)
    what = "the hard case: every device calls clouds of every kind, in place of a few remotes of its own"
    parser.add_argument("--hard", action="store_true", help=what)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", nargs="?", type=Path, default=SCRATCH / "mixed.pcap")
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    add_calls(parser)
    options = parser.parse_args()
    totals = build(options.path, options.packets, options.seed, options.abroad, hard=options.hard)
    print(json.dumps(asdict(totals)))


if __name__ == "__main__":
    main()
