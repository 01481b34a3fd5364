"""The one loop: frames in, judged flows and alerts stored. The only module that knows all stages.

In: a source of frames, the stages, a recording. Out: a `Tally`. Never: a rule of its own; each stage has its room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

from egress_watch.config import Config
from egress_watch.decode import decode
from egress_watch.decode.carriers import Policy, Tables
from egress_watch.decode.marks import mark_tables
from egress_watch.devices import WISHES, Devices
from egress_watch.evidence import Evidence
from egress_watch.flows import FlowTable
from egress_watch.flows.duplicates import Duplicates
from egress_watch.flows.records import together
from egress_watch.flows.sides import Sides
from egress_watch.inventory import Inventory
from egress_watch.model import DEVICES, NAMES, ONCE, Flows, Frames, Packets, Tally
from egress_watch.names import Names
from egress_watch.places import Atlas
from egress_watch.rules import Rule, RuleSet, told
from egress_watch.store import Recording

TOGETHER = 32_768
"""Flows that are settled at once: a transaction and a run of the rules cost as much for a hundred."""

SET_BACK_NS = 60_000_000_000
"""Live, a clock that is set back by more ends all flows: else none would time out until it is where it was."""


@dataclass(slots=True)
class Stages:
    """What the frames go through, each holding its own state."""

    tables: Tables
    """Which mirrors and tunnels `decode` opens."""
    duplicates: Duplicates
    names: Names
    devices: Devices
    table: FlowTable
    atlas: Atlas
    rules: RuleSet
    inventory: Inventory | None = None
    evidence: Evidence | None = None


def stages(
    config: Config, atlas: Atlas, rules: Sequence[Rule], seed: int = 0, inventory: Inventory | None = None
) -> Stages:
    """Return fresh stages as configured; ``seed`` mixes hashes and changes no result."""
    table = FlowTable(
        config.networks, active_s=config.flows.active_s, idle_s=config.flows.idle_s,
        tcp_idle_s=config.flows.tcp_idle_s, limit=config.flows.limit, seed=seed,
    )  # fmt: skip
    names = Names(config.names.limit, config.names.waiting, seed)
    policy = Policy(config.decode.unwrap, config.decode.collectors, prints=config.decode.copies == ONCE)
    tables = Tables(policy, mark_tables({NAMES: names.wishes(), DEVICES: WISHES}))
    devices = Devices(Sides(config.networks).ours, config.devices.limit)
    asked, times = config.evidence, config.flows
    evidence = Evidence(
        asked.folder, packets=asked.packets, flows=asked.flows, file_bytes=asked.file_bytes, files=asked.files,
        waiting_bytes=asked.waiting_bytes, active_s=times.active_s, idle_s=times.idle_s, tcp_idle_s=times.tcp_idle_s,
        seed=seed,
    ) if asked.folder else None  # fmt: skip
    return Stages(tables, Duplicates(), names, devices, table, atlas, RuleSet(rules), inventory, evidence)


class Pending:
    """Flows that ended and wait to be settled together.

    They are cut where their count reaches a multiple of `TOGETHER`, so alerts do not depend on how the input was cut
    into batches. Whoever watches live traffic gives ``wait_ns``: then no flow waits longer, and alerts may be numbered
    otherwise.
    """

    def __init__(self, wait_ns: int | None = None) -> None:
        self._wait_ns = wait_ns
        self._parts: list[Flows] = []
        self._count = self._since_ns = 0

    def add(self, flows: Flows, now_ns: int) -> None:
        """Take in flows that ended by ``now_ns``."""
        if len(flows):
            self._since_ns = self._since_ns if self._count else now_ns
            self._parts.append(flows)
            self._count += len(flows)

    def due(self, now_ns: int) -> Iterator[Flows]:
        """Yield what is to be settled by ``now_ns``, and wait for it no longer."""
        late = self._wait_ns is not None and not 0 <= now_ns - self._since_ns < self._wait_ns
        return self._cut(self._count if late else self._count - self._count % TOGETHER)

    def rest(self) -> Iterator[Flows]:
        """Yield all that waits: nothing more will come."""
        return self._cut(self._count)

    def _cut(self, count: int) -> Iterator[Flows]:
        if not count:
            return
        flows = self._parts[0] if len(self._parts) == 1 else together(self._parts)
        self._parts, self._count = [_rows(flows, slice(count, None))], self._count - count
        for at in range(0, count, TOGETHER):
            yield _rows(flows, slice(at, min(at + TOGETHER, count)))


def _go_on(_: Frames, __: Tally) -> bool:
    return True


def watch(
    source: Iterable[Frames], stages: Stages, recording: Recording, go_on: Callable[[Frames, Tally], bool] = _go_on,
    wait_ns: int | None = None, clock: Callable[[], int] | None = None,
    decoded: Callable[[Frames], Packets] | None = None,
) -> Tally:  # fmt: skip
    """Follow frames to alerts until the source ends or ``go_on`` says no. README: the life of a packet.

    ``wait_ns``: see `Pending`; by packet time, or by a ``clock``: then a loop that is behind settles more at once, and
    catches up. ``decoded`` returns the packets of the frames that came last, where another process has decoded them.
    """
    tally, pending, now_ns = Tally(), Pending(wait_ns), 0
    for frames in source:
        packets = stages.duplicates.once(decoded(frames) if decoded else decode(frames, stages.tables), frames.origin)
        if stages.evidence:
            stages.evidence.hear(frames, packets)
        stages.names.hear(packets)
        stages.devices.hear(packets)
        if 0 < frames.clock_ns < now_ns - SET_BACK_NS:
            pending.add(stages.table.set_back(), clock() if clock else now_ns)
        flows = stages.table.update(packets, frames.clock_ns)
        count(tally, frames, packets)
        now_ns = frames.clock_ns or (int(frames.time_ns[-1]) if len(frames) else now_ns)
        moment_ns = clock() if clock else now_ns
        pending.add(flows, moment_ns)
        for some in pending.due(moment_ns):
            settle(some, stages, recording, tally)
        if not go_on(frames, tally):
            break
    pending.add(stages.table.flush(), now_ns)
    for some in pending.rest():
        settle(some, stages, recording, tally)
    tally.heard = stages.names.told()
    recording.tell(stages.devices.take(), stages.devices.refused)
    return tally


def settle(flows: Flows, stages: Stages, recording: Recording, tally: Tally) -> None:
    """Name and judge flows that ended, commit them, and let the rules look at the committed batch."""
    tally.evicted, tally.late_fragments = stages.table.evicted, stages.table.late_fragments
    tally.heard = stages.names.told()
    if not len(flows):
        return
    named = stages.names.name(flows)
    listed = stages.inventory.of(named) if stages.inventory else None
    judged = stages.atlas.judge(named, listed.zones() if listed else ())
    tally.flows += len(flows)
    assets = recording.enlist(named, listed.rows, listed.listings) if listed else None
    batch = recording.write(judged, tally, assets)
    recording.tell(stages.devices.take(), stages.devices.refused)
    if batch is None:
        return
    found = stages.rules.hits(batch)
    recording.alert(found, batch)
    if broken := stages.rules.news():
        recording.broken(broken)
    if stages.evidence and found:
        links = recording.links(told(found), stages.evidence.flows)
        recording.keep(stages.evidence.keep(named, batch.ids, links))


def count(tally: Tally, frames: Frames, packets: Packets) -> None:
    """Add one batch to the counters: every frame is a packet or has a named reason."""
    if len(frames):
        first, last = int(frames.time_ns.min()), int(frames.time_ns.max())
        timed = tally.frames > tally.left_out  # 0 is a time like any other
        tally.first_ns = min(tally.first_ns, first) if timed else first
        tally.last_ns = max(tally.last_ns, last) if timed else last
    left_out = sum(frames.left_out.values())
    tally.left_out += left_out
    tally.frames += len(frames) + left_out
    tally.packets += len(packets)
    tally.packet_bytes += int(packets.size.sum())
    tally.lost += frames.lost
    tally.damage += frames.damage
    for reason, frames_skipped in (*packets.skipped.items(), *frames.left_out.items()):
        tally.skipped[reason] = tally.skipped.get(reason, 0) + frames_skipped
    for kind, opened in packets.unwrapped.items():
        tally.unwrapped[kind] = tally.unwrapped.get(kind, 0) + opened


def _rows(flows: Flows, which: slice) -> Flows:
    """Return some rows of flows that have no names yet."""
    return replace(flows, **{column.name: getattr(flows, column.name)[which] for column in fields(flows)})
