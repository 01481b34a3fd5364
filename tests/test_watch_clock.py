"""Live traffic under a clock that steps: no packet is lost, flows stay few, and ids go on rising."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from build import frames, udp
from hypothesis import given, settings
from hypothesis import strategies as st
from running import sound
from test_store_retention import asked

from egress_watch.config import Config, FlowSettings
from egress_watch.flows import SWEEP_PACKETS
from egress_watch.library import atlas
from egress_watch.model import Frames
from egress_watch.store import Store
from egress_watch.store.retention import Limits
from egress_watch.watch import stages, watch

CAM, CLOUD = "10.0.0.5", "52.1.2.3:443"
HOUR_S, DAY_S, BEGIN_S = 3_600, 86_400, 1_790_000_000
EACH, OPEN = 400, 1_000


def ticking(steps_s: list[float]) -> Iterator[Frames]:
    """Yield a second of packets for each step of the clock, with the kernel's time and what the clock says."""
    now_s = float(BEGIN_S)
    for turn, step_s in enumerate(steps_s):
        now_s += 1 + step_s
        some = [udp(f"{CAM}:{4000 + turn * EACH + n}", CLOUD, b"x", t=now_s + n / EACH) for n in range(EACH)]
        yield replace(frames(*some), clock_ns=int((now_s + 1) * 1e9))


def recorded(path: Path, steps_s: list[float]) -> int:
    """Record such a stream as `watch` does; return the most flows that were open after a second."""
    config = Config(db=str(path), flows=FlowSettings(active_s=30, idle_s=5, tcp_idle_s=5, limit=OPEN))
    most = 0
    through = stages(config, atlas(config), [])
    with Store(str(path)) as store:
        recording = store.record(zone="eea", as_of="", data=[], rules=[], version="0", inputs={"a": "1"},
                                 limits=Limits(flow_days=1))  # fmt: skip

        def go_on(*_: object) -> bool:
            nonlocal most
            most = max(most, len(through.table))
            recording.tidy()
            return True

        tally = watch(ticking(steps_s), through, recording, go_on, wait_ns=10**9)
        recording.finish(tally, {"a": "1"})
    return most


STEPS = {
    "a leap second twice": [0, 0, -1, 0, 0, 1, 0],
    "an hour back and forth": [0, 0, HOUR_S, 0, -HOUR_S, 0] * 5,
    "days back and forth": [0, 10 * DAY_S, 0, -10 * DAY_S, -3 * DAY_S, 0, 3 * DAY_S] * 5,
    "from 1970 to today": [-BEGIN_S, 0, 0, BEGIN_S, 0, 0],
    "every second back": [-2.0] * 30,
}


@pytest.mark.parametrize("steps_s", STEPS.values(), ids=STEPS)
def test_no_step_of_the_clock_loses_a_packet(tmp_path: Path, steps_s: list[float]) -> None:
    """Every packet is in a stored flow, the flows open at once stay within their limit, and the file is sound."""
    path = tmp_path / "a.db"
    assert recorded(path, steps_s) <= OPEN + SWEEP_PACKETS
    packets = EACH * len(steps_s)
    assert asked(path, "SELECT packets, unstored, flows FROM recording")[0][:2] == (packets, 0)
    assert asked(path, "SELECT sum(packets_out + packets_in), count(*) = max(flows) FROM flow, recording") == [
        (packets, 1)
    ]
    assert asked(path, "SELECT sum(packets_out + packets_in) FROM hour") == [(packets,)]
    assert sound(path)


@given(st.lists(st.sampled_from([0, 0, 1, -1, HOUR_S, -HOUR_S, DAY_S, -DAY_S, 400 * DAY_S]), min_size=1, max_size=12))
@settings(max_examples=15, deadline=None)
def test_whatever_the_clock_does_packets_become_flows(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int]
) -> None:
    """Law 1 holds for any steps: packets in, packets in flows."""
    path = tmp_path_factory.mktemp("clock") / "a.db"
    assert recorded(path, [float(step) for step in steps]) <= OPEN + SWEEP_PACKETS
    assert asked(path, "SELECT sum(packets_out + packets_in) FROM flow") == [(EACH * len(steps),)]
