"""What a few seconds of a mirrored port look like, to tell whether it is a mirror, and a whole one.

In: an interface that is up. Out: `Finding` rows. Never: a frame sent, or stored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from egress_watch.cli.findings import BAD, GOOD, ODD, Finding
from egress_watch.config import Config
from egress_watch.decode import decode
from egress_watch.decode.carriers import Policy, Tables
from egress_watch.errors import EgressWatchError
from egress_watch.flows.duplicates import Duplicates
from egress_watch.flows.sides import Sides
from egress_watch.model import DUPLICATE, Frames, Packets
from egress_watch.sources.live import Live

ONE_WAY, MANY_TWICE, MOSTLY_OWN = 0.98, 0.02, 0.5
"""Shares of packets from which on something is odd."""


@dataclass(slots=True)
class Heard:
    """Counts of what came in."""

    frames: int = 0
    packets: int = 0
    out: int = 0
    """Packets from an address of ours to one that is not."""
    back: int = 0
    """Packets the other way."""
    twice: int = 0
    own: int = 0
    """Packets from or to the interface itself."""
    vlans: set[int] = field(default_factory=set)

    def add(self, frames: Frames, packets: Packets, sides: Sides, mac: int) -> None:
        """Count one batch."""
        ours, theirs = sides.ours(packets.src), sides.ours(packets.dst)
        self.frames += len(frames)
        self.packets += len(packets)
        self.out += int((ours & ~theirs).sum())
        self.back += int((theirs & ~ours).sum())
        self.twice += packets.skipped.get(DUPLICATE, 0)
        self.own += int(((packets.src_mac == mac) | (packets.dst_mac == mac)).sum()) if mac else 0
        self.vlans |= set(np.unique(packets.vlan).tolist())


def listened(name: str, seconds: float, config: Config) -> Iterator[Finding]:
    """Listen to an interface and yield what there is to say of it."""
    try:
        live = Live([name], ring_bytes=config.watch.ring_bytes, times=config.watch.times)
    except EgressWatchError as error:
        yield Finding("rights", BAD, f"{error.where}: {error.what}", error.remedy)
        return
    try:
        yield Finding("rights", GOOD, f"{name}: may be listened to")
        yield from judged(name, hear(live, name, seconds, config), seconds)
    finally:
        live.close()


def hear(live: Live, name: str, seconds: float, config: Config) -> Heard:
    """Count what comes in for so many seconds."""
    tables, duplicates = Tables(Policy(config.decode.unwrap, config.decode.collectors, prints=True)), Duplicates()
    sides, heard, until_s = Sides(config.networks), Heard(), time.monotonic() + seconds
    for frames in live.frames():
        packets = duplicates.once(decode(frames, tables), frames.origin)
        heard.add(frames, packets, sides, _mac(name))
        if time.monotonic() > until_s:
            break
    return heard


def judged(name: str, heard: Heard, seconds: float) -> Iterator[Finding]:
    """Yield what the counts say of a mirror."""
    vlans = f"{len(heard.vlans - {0})} VLANs"
    what = f"{name}: {heard.frames:,} frames in {seconds:g} s, {heard.packets:,} IP packets, {vlans}"
    if not heard.packets:
        yield Finding("mirror", BAD, what, "set up the mirror on the switch; is the cable in the port it leads to?")
        return
    yield Finding("mirror", GOOD, what)
    yield _ways(name, heard)
    yield _copies(name, heard)
    if heard.own > MOSTLY_OWN * heard.packets:
        yield Finding("mirror", BAD, f"{name}: most packets are from or to this machine",
                      "this is no mirrored port: name the interface that the mirror leads to")  # fmt: skip


def _copies(name: str, heard: Heard) -> Finding:
    share = heard.twice / (heard.packets + heard.twice)
    what = f"{name}: {share:.0%} of packets came twice; they count once"
    if share > MANY_TWICE:
        return Finding("mirror", ODD, what, "mirror one direction of each port, or one side of the router")
    return Finding("mirror", GOOD, what)


def _ways(name: str, heard: Heard) -> Finding:
    """Say whether both directions of what crosses our border are there."""
    crossing = heard.out + heard.back
    if not crossing:
        what = f"{name}: no packet between your networks and others"
        return Finding("mirror", ODD, what, "set `networks` to your own, and mirror the port towards the internet")
    part = heard.out / crossing
    what = f"{name}: {part:.0%} of {crossing:,} packets across your border go out"
    if part > ONE_WAY or part < 1 - ONE_WAY:
        return Finding("mirror", BAD, f"{what}: one direction is missing", "mirror both directions (rx and tx)")
    return Finding("mirror", GOOD, what)


def _mac(name: str) -> int:
    with suppress(OSError, ValueError):
        return int(Path(f"/sys/class/net/{name}/address").read_text(encoding="ascii").replace(":", ""), 16)
    return 0
