"""`watch` with receivers: alerts go out while it records, and one that hangs costs it no frame."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from namespaces import Watching, connected, end_all, needs_namespaces, until
from rsyslogs import Rsyslog
from running import CITY

from egress_watch.config import Config, FlowSettings, SinkSettings, WatchSettings, render

pytestmark = needs_namespaces
HANGS = """
import socket, time
listener = socket.create_server(("127.0.0.1", 6514))
held = []
while True:
    held.append(listener.accept())
"""
"""A receiver that takes every connection and never says a word."""


def settings(folder: Path, siem: SinkSettings) -> Path:
    """Write settings with short time-outs and two sinks: one that takes all, one that never answers."""
    hangs = SinkSettings("hangs", "relp://127.0.0.1:6514", records=("alerts", "flows"), timeout_s=2)
    config = Config(
        networks=("10.20.0.0/16",), flows=FlowSettings(idle_s=0.6, tcp_idle_s=0.9, active_s=2.0),
        watch=WatchSettings(ring_bytes=67_108_864, commit_s=0.2),
        sink=(replace(siem, format="ndjson", heartbeat_s=1.0), hangs),
    )  # fmt: skip
    path = folder / "settings.toml"
    path.write_text(render(config), encoding="utf-8")
    return path


def test_alerts_arrive_while_it_records_and_a_sink_that_hangs_costs_nothing(tmp_path):
    """Every frame is counted, all news is at rsyslog under its own id, and the other sink says what is wrong."""
    with connected() as pair:
        pair.run("ip", "link", "set", "lo", "up")
        siem = Rsyslog(tmp_path, "relp", before=tuple(pair.inside()))
        hanging = subprocess.Popen(pair.inside(sys.executable, "-c", HANGS))
        try:
            watching = Watching(pair, tmp_path / "live.db", "-i", "mon0", "--config", settings(tmp_path, siem.settings))
            before = watching.sql("SELECT frames FROM recording")[0][0]
            pair.send(CITY, "--loop", "3")
            watching.saw(before + 3 * 4124)
            until(lambda: sent(watching, "siem") == news(watching) > 0, "all news to be sent")
            until(lambda: watching.sql("SELECT failures FROM sink WHERE name = 'hangs'")[0][0] > 0, "a sink to be down")
            assert watching.sql("SELECT lost FROM recording") == [(0,)]
            assert "no answer in time" in watching.sql("SELECT error FROM sink WHERE name = 'hangs'")[0][0]
            assert watching.end(signal.SIGTERM)[0] == 0
            held = [json.loads(body) for body in siem.bodies()]
        finally:
            end_all()
            siem.kill()
            hanging.kill()
            hanging.wait()
    alerts = [one["event_id"] for one in held if one["kind"] == "alert"]
    assert len(alerts) == len(set(alerts)) == sent(watching, "siem") > 0
    assert {one["state"] for one in held if one["kind"] == "heartbeat"} >= {"running"}


def sent(watching: Watching, name: str) -> int:
    """Return how many records a sink has, by its cursor's count."""
    return (watching.sql(f"SELECT sent FROM sink WHERE name = '{name}'") or [(0,)])[0][0]


def news(watching: Watching) -> int:
    """Return how much news of alerts there is."""
    return watching.sql("SELECT count(*) FROM alert_event")[0][0]
