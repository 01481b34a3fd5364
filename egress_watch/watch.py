"""The one loop: frames in, judged flows and alerts stored. The only module that knows all stages.

In: a source of frames, the stages, a recording. Out: a `Tally`. Never: a rule of its own; each stage has its room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from egress_watch.config import Config
from egress_watch.decode import decode
from egress_watch.devices import Devices
from egress_watch.flows import FlowTable
from egress_watch.flows.sides import Sides
from egress_watch.inventory import Inventory
from egress_watch.model import Flows, Frames, Packets, Tally
from egress_watch.names import Names
from egress_watch.places import Atlas
from egress_watch.rules import Rule, RuleSet
from egress_watch.store import Recording


@dataclass(slots=True)
class Stages:
    """What the frames go through, each holding its own state."""

    names: Names
    devices: Devices
    table: FlowTable
    atlas: Atlas
    rules: RuleSet
    inventory: Inventory | None = None


def stages(
    config: Config, atlas: Atlas, rules: Sequence[Rule], seed: int = 0, inventory: Inventory | None = None
) -> Stages:
    """Return fresh stages as configured; ``seed`` mixes the hash of the flow table and changes no result."""
    table = FlowTable(
        config.networks, active_s=config.flows.active_s, idle_s=config.flows.idle_s,
        tcp_idle_s=config.flows.tcp_idle_s, limit=config.flows.limit, seed=seed,
    )  # fmt: skip
    devices = Devices(Sides(config.networks).ours, config.devices.limit)
    return Stages(Names(config.names.limit), devices, table, atlas, RuleSet(rules), inventory)


def _go_on(_: Frames, __: Tally) -> bool:
    return True


def watch(
    source: Iterable[Frames], stages: Stages, recording: Recording, go_on: Callable[[Frames, Tally], bool] = _go_on
) -> Tally:
    """Follow frames to alerts until the source ends or ``go_on`` says no. README: the life of a packet."""
    tally = Tally()
    for frames in source:
        packets = decode(frames)
        stages.names.hear(packets)
        stages.devices.hear(packets)
        flows = stages.table.update(packets)
        count(tally, frames, packets)
        settle(flows, stages, recording, tally)
        if not go_on(frames, tally):
            break
    settle(stages.table.flush(), stages, recording, tally)
    recording.tell(stages.devices.take(), stages.devices.refused)
    recording.broken(stages.rules.broken)
    return tally


def settle(flows: Flows, stages: Stages, recording: Recording, tally: Tally) -> None:
    """Name and judge flows that ended, commit them, and let the rules look at the committed batch."""
    tally.evicted, tally.late_fragments = stages.table.evicted, stages.table.late_fragments
    if not len(flows):
        return
    named = stages.names.name(flows)
    listed = stages.inventory.of(named) if stages.inventory else None
    judged = stages.atlas.judge(named, listed.zones() if listed else ())
    tally.flows += len(flows)
    batch = recording.write(judged, tally)
    recording.tell(stages.devices.take(), stages.devices.refused)
    if listed:
        recording.enlist(named, listed.rows, listed.listings)
    recording.alert(stages.rules.evaluate(batch), batch)


def count(tally: Tally, frames: Frames, packets: Packets) -> None:
    """Add one batch to the counters: every frame is a packet or has a named reason."""
    if len(frames):
        first, last = int(frames.time_ns.min()), int(frames.time_ns.max())
        tally.first_ns = min(tally.first_ns, first) if tally.frames else first  # 0 is a time like any other
        tally.last_ns = max(tally.last_ns, last) if tally.frames else last
    tally.frames += len(frames)
    tally.packets += len(packets)
    tally.packet_bytes += int(packets.size.sum())
    tally.lost += frames.lost
    tally.damage += frames.damage
    for reason, frames_skipped in packets.skipped.items():
        tally.skipped[reason] = tally.skipped.get(reason, 0) + frames_skipped
