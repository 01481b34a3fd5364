"""`watch` over time: killed under load, it leaves a sound database; its database is looked at while it records."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from build import tcp
from build_capture import Frame, pcap
from namespaces import Pair, Watching, connected, end_all, needs_namespaces, started, until
from running import sound

pytestmark = needs_namespaces

SETTINGS = """
networks = ["10.0.0.0/8"]
[flows]
idle_s = 0.5
tcp_idle_s = 0.5
active_s = 1.0
[watch]
ring_bytes = 134217728
commit_s = 0.2
check_hours = 0.0003
"""
TWICE = """SELECT count(*) FROM (SELECT 1 FROM flow GROUP BY recording, device, device_port, remote, remote_port,
  first_ns HAVING count(*) > 1)"""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Give two spaces with a cable."""
    with connected() as found:
        yield found


@pytest.fixture(autouse=True)
def _all_end() -> Iterator[None]:
    """End whatever a test that failed left running."""
    yield
    end_all()


def loaded(pair: Pair, tmp_path: Path) -> Path:
    """Begin to send many short connections over and over; return settings."""
    wires = [tcp(f"10.0.{n % 200}.5:{4000 + n}", "52.1.2.3:443", "PA", b"x" * 60, t=n / 1000) for n in range(4000)]
    capture, settings = tmp_path / "load.pcap", tmp_path / "settings.toml"
    capture.write_bytes(pcap([Frame(one.time_ns, one.data) for one in wires]))
    settings.write_text(SETTINGS, encoding="utf-8")
    started(pair.inside("tcpreplay", "-q", "--pps=4000", "--loop=100000", "-i", "gen0", str(capture), far=True))
    return settings


def asked(db: Path, query: str) -> int:
    """Return one number."""
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute(query).fetchone()[0] or 0


def test_kills_under_load_cost_nothing_that_was_committed(pair: Pair, tmp_path: Path) -> None:
    """Three kills at random moments: what a reader saw is there, once, each flow in its hour, and the file is sound."""
    settings, db, draw = loaded(pair, tmp_path), tmp_path / "killed.db", random.Random(7)
    for _ in range(3):
        before = asked(db, "SELECT count(*) FROM flow") if db.exists() else 0
        watching = Watching(pair, db, "-i", "mon0", "--config", settings)
        until(lambda: (watching.sql("SELECT count(*) FROM flow") or [(0,)])[0][0] > before, "flows of this run")  # noqa: B023
        time.sleep(draw.uniform(0, 1.5))
        seen = watching.sql("SELECT count(*), max(id) FROM flow")[0]
        mark = watching.sql("SELECT writer FROM recording WHERE state = 'running' ORDER BY id DESC")[0][0]
        os.kill(int(mark.partition(":")[0]), signal.SIGKILL)
        watching.process.communicate(timeout=60)
        assert sound(db)
        assert asked(db, f"SELECT count(*) FROM flow WHERE id <= {seen[1]}") == seen[0]
        assert asked(db, TWICE) == 0
        assert asked(db, "SELECT sum(flows) FROM hour") == asked(db, "SELECT count(*) FROM flow")


def test_the_database_is_checked_while_it_is_recorded(pair: Pair, tmp_path: Path) -> None:
    """The check comes round by itself, says that all is sound, and is stored as a happening; no frame is lost by it."""
    watching = Watching(pair, tmp_path / "a.db", "-i", "mon0", "--config", loaded(pair, tmp_path))
    checks = "SELECT count(*) FROM happening WHERE interface = 'database' AND what = 'integrity check: sound'"
    until(lambda: watching.sql(checks)[0][0] >= 2, "two checks")
    code, _, err = watching.end(signal.SIGTERM)
    assert (code, "database: integrity check: sound" in err) == (0, True)
    assert asked(watching.db, "SELECT lost FROM recording") == 0
