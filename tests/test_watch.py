"""The loop as a whole: the same traffic through any door, in any pieces, once or twice, is the same story."""

from __future__ import annotations

import gzip
import json
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import judging
import numpy as np
import pytest
from build import Wire, ether, framed, frames, packets, pieces, tcp, udp
from build_capture import NANO, Frame, pcap
from hypothesis import given
from hypothesis import strategies as st

import egress_watch
from egress_watch.cli import main
from egress_watch.config import Config, FlowSettings
from egress_watch.library import atlas, rules, shipped
from egress_watch.model import Damage, Frames, Tally
from egress_watch.sources import open_inputs
from egress_watch.store import Store
from egress_watch.watch import Pending, Stages, count, settle, stages, watch

CITY = str(shipped("captures") / "city.pcapng")
EXPECT = tomllib.loads((shipped("captures") / "city.toml").read_text(encoding="utf-8"))
NETWORKS = tuple(EXPECT["config"]["networks"])
TOTALS = ("frames", "packets", "packet_bytes", "lost", "flows", "evicted", "late_fragments", "first_ns", "last_ns")
NS = 1_000_000_000
CAM, CLOUD = "10.0.0.5:4000", "52.1.2.3:443"


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> str:
    """Return a settings file for the city's own networks."""
    path = tmp_path_factory.mktemp("settings") / "city.toml"
    path.write_text(f"networks = {json.dumps(NETWORKS)}\n", encoding="utf-8")
    return str(path)


def replay(settings: str, db: Path, *paths: str) -> Path:
    """Replay captures into a database by the command itself."""
    assert main(["replay", *paths, "--db", str(db), "--config", settings, "--json"]) == 0
    return db


def pipe(settings: str, db: Path) -> None:
    """Replay the city through a real pipe, into a process of its own."""
    command = [sys.executable, "-m", "egress_watch", "replay", "-", "--db", str(db), "--config", settings]
    home, city_bytes = Path(egress_watch.__file__).parent.parent, Path(CITY).read_bytes()
    subprocess.run(command, input=city_bytes, cwd=home, check=True, capture_output=True, timeout=120)


def ask(db: Path, query: str) -> list[tuple]:
    """Return the rows of a query."""
    connection = sqlite3.connect(db)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def columns(db: Path, table: str, *but: str) -> str:
    """Return the columns of a table, but some."""
    return ", ".join(row[1] for row in ask(db, f"PRAGMA table_info({table})") if row[1] not in but)


def story(db: Path) -> dict[str, list[tuple]]:
    """Return what a recording says: totals, what was skipped, flows with names and verdicts, alerts."""
    return {
        "totals": ask(db, f"SELECT {', '.join(TOTALS)}, state FROM recording"),
        "skipped": ask(db, "SELECT reason, frames FROM skipped ORDER BY reason"),
        "damage": ask(db, "SELECT reason FROM damage"),
        "flows": ask(db, f"SELECT {columns(db, 'flows', 'recording', 'device')} FROM flows ORDER BY id"),
        "alerts": ask(db, f"SELECT {columns(db, 'alerts', 'recording')} FROM alerts ORDER BY id"),
    }


def everything(db: Path) -> dict[str, list[tuple]]:
    """Return all rows of all tables, but for the writing process's number and the times of storing, the clock's."""
    found = ask(db, "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'mark' ORDER BY name")
    tables = [row[0] for row in found]
    return {table: ask(db, f"SELECT {columns(db, table, 'writer_pid')} FROM {table}") for table in tables}


@pytest.fixture(scope="module")
def city(settings, tmp_path_factory) -> dict[str, list[tuple]]:
    """Return the story of the city capture as one file."""
    return story(replay(settings, tmp_path_factory.mktemp("city") / "one.db", CITY))


def captured() -> Iterator[Frame]:
    """Yield the city's frames."""
    for batch in open_inputs([CITY]).frames():
        rows = (batch.start, batch.caught, batch.wire, batch.time_ns)
        for start, caught, wire, time_ns in zip(*(column.tolist() for column in rows), strict=True):
            yield Frame(time_ns, batch.data[start : start + caught].tobytes(), wire)


def test_the_city_is_what_its_story_says(city):
    """The totals are those that the scenario was written for, so the doors below compare with something."""
    frame_count, packet_count, packet_bytes = city["totals"][0][:3]
    assert (frame_count, packet_count) == (EXPECT["expect"]["frames"], EXPECT["expect"]["packets"])
    assert packet_bytes == EXPECT["expect"]["bytes_out"] + EXPECT["expect"]["bytes_in"]
    assert dict(city["skipped"]) == EXPECT["expect"]["skipped"]
    assert city["alerts"]


def test_law_1_holds_in_the_database(settings, tmp_path):
    """Frames = packets + skipped, and packets and bytes are conserved into the flows."""
    db = replay(settings, tmp_path / "a.db", CITY)
    totals = ask(db, "SELECT frames, packets, packet_bytes, flows FROM recording")
    frame_count, packet_count, packet_bytes, flow_count = totals[0]
    assert ask(db, "SELECT sum(frames) FROM skipped") == [(frame_count - packet_count,)]
    sums = "count(*), sum(packets_out + packets_in), sum(bytes_out + bytes_in)"
    assert ask(db, f"SELECT {sums} FROM flow") == [(flow_count, packet_count, packet_bytes)]


@pytest.mark.parametrize("count", [2, 7])
def test_a_folder_of_pieces_tells_the_same_story(settings, tmp_path, city, count):
    """Law 3: the capture in pieces, named in no order, gives the same totals, flows, verdicts and alerts."""
    folder, every = tmp_path / "pieces", list(captured())
    folder.mkdir()
    for n in range(count):
        part = every[len(every) * n // count : len(every) * (n + 1) // count]
        (folder / f"{(n * 5) % count}.pcap").write_bytes(pcap(part, magic=NANO))
    assert story(replay(settings, tmp_path / "a.db", str(folder))) == city


def test_packed_with_gzip_it_tells_the_same_story(settings, tmp_path, city):
    """Law 3: packing changes nothing."""
    packed = tmp_path / "city.pcapng.gz"
    packed.write_bytes(gzip.compress(Path(CITY).read_bytes(), 1))
    assert story(replay(settings, tmp_path / "a.db", str(packed))) == city


def test_through_a_pipe_it_tells_the_same_story(settings, tmp_path, city):
    """Law 3: standard input is a file that cannot be looked at twice."""
    pipe(settings, tmp_path / "a.db")
    assert story(tmp_path / "a.db") == city


def test_the_same_input_gives_the_same_rows_in_every_table(settings, tmp_path):
    """Law 4: two new databases hold the same, though the flow tables were seeded differently."""
    one, other = (replay(settings, tmp_path / name, CITY) for name in ("a.db", "b.db"))
    assert everything(one) == everything(other)


def test_replaying_twice_is_replaying_once(settings, tmp_path):
    """Law 5: a capture that is in the database already is not recorded again, under whatever name it comes."""
    db = replay(settings, tmp_path / "a.db", CITY)
    before = everything(db)
    copy = tmp_path / "copy.pcapng"
    copy.write_bytes(Path(CITY).read_bytes())
    assert everything(replay(settings, db, CITY)) == before
    assert everything(replay(settings, db, str(copy))) == before


def test_a_pipe_that_brings_what_is_known_changes_nothing(settings, tmp_path):
    """Law 5 for standard input, whose fingerprint is known only at its end: no flow, alert or total is added."""
    db = replay(settings, tmp_path / "a.db", CITY)
    before = story(db)
    pipe(settings, db)
    assert story(db) == before


def through(db: Path, source: Any, config: Config, **settings: Any) -> Tally:
    """Watch a source into a new database with the shipped data and rules."""
    store = Store(str(db))
    good, _ = rules(config)
    rows = [(rule.id, rule.title, rule.level, rule.digest, rule.origin) for rule in good]
    recording = store.record(zone="eea", as_of="", data=[], rules=rows, version="0", inputs={"a": "b"})
    tally = watch(source, stages(config, atlas(config), good), recording, **settings)
    recording.finish(tally, {"a": "b"})
    store.close()
    return tally


def rebatched(size: int) -> Iterator[Frames]:
    """Yield the city's frames in batches of another size."""
    for batch in open_inputs([CITY]).frames():
        for at in range(0, len(batch), size):
            which = slice(at, at + size)
            names = ("start", "caught", "wire", "time_ns", "link", "interface")
            yield replace(batch, **{name: getattr(batch, name)[which] for name in names})


@pytest.mark.parametrize("together", [10_000, 64, 7])
@pytest.mark.parametrize("flow_settings", [FlowSettings(), FlowSettings(active_s=20, idle_s=2, tcp_idle_s=5)])
def test_any_size_of_batch_tells_the_same_story(tmp_path, monkeypatch, flow_settings, together):
    """Law 3 for the loop: batches of 100 frames or of all, also where flows end all the time in between.

    That holds for the numbers of the alerts too, however many flows are settled together.
    """
    monkeypatch.setattr("egress_watch.watch.TOGETHER", together)
    config = Config(networks=NETWORKS, flows=flow_settings)
    stories = []
    for size in (10_000, 997, 100):
        through(tmp_path / f"{size}.db", rebatched(size), config)
        stories.append(story(tmp_path / f"{size}.db"))
    assert stories[0] == stories[1] == stories[2]
    assert stories[0]["alerts"]


def test_the_tally_counts_every_batch(tmp_path):
    """Frames, packets, bytes, losses, damage, skipped frames and flows add up over the batches."""
    arp = Wire(ether(bytes(28), 0x0806))
    damage = Damage("a.pcap", 7, "cut", 3)
    source = [
        replace(frames(udp(CAM, CLOUD, b"abc", t=1), arp), lost=2),
        replace(frames(arp, udp(CLOUD, CAM, t=2)), lost=3, damage=(damage,)),
    ]
    tally = through(tmp_path / "a.db", source, Config())
    assert (tally.frames, tally.packets, tally.packet_bytes, tally.lost, tally.flows) == (4, 2, 59, 5, 1)
    assert (tally.skipped, tally.damage) == ({"arp": 2}, [damage])
    assert ask(tmp_path / "a.db", "SELECT packets_out, packets_in FROM flow") == [(1, 1)]


def test_no_frames_at_all_is_an_empty_recording(tmp_path):
    """A source without frames ends well."""
    assert through(tmp_path / "a.db", [], Config()) == Tally()
    assert ask(tmp_path / "a.db", "SELECT state, frames FROM recording") == [("finished", 0)]


def test_batches_without_packets_count_all_the_same(tmp_path):
    """An empty batch, or one with nothing but ARP, is counted, and nothing is written for it."""
    tally = through(tmp_path / "a.db", [frames(), frames(Wire(ether(bytes(28), 0x0806)))], Config())
    assert (tally.frames, tally.packets, tally.flows, tally.skipped) == (1, 0, 0, {"arp": 1})


def test_the_tally_knows_first_and_last_time(tmp_path):
    """A recording says from when to when it is, by packet times, whatever their order."""
    source = [frames(udp(CAM, CLOUD, t=5), udp(CAM, CLOUD, t=2)), frames(udp(CAM, CLOUD, t=9))]
    tally = through(tmp_path / "a.db", source, Config())
    assert (tally.first_ns, tally.last_ns) == (2_000_000_000, 9_000_000_000)


@pytest.mark.parametrize(("times", "span"), [((0, 5), (0, 5)), ((-9, -5), (-9, -5))])
def test_the_epoch_is_a_time_like_any_other(times, span):
    """A capture from a clock that was never set begins in 1970, or before, and the tally says so."""
    tally = Tally()
    for time_ns in times:
        one = udp(CAM, CLOUD)._replace(time_ns=time_ns)
        count(tally, frames(one), packets(one))
    assert (tally.first_ns, tally.last_ns) == span


def test_the_loop_stops_when_it_is_told_to_and_keeps_what_it_has(tmp_path):
    """After a stop the open flows are written: nothing that was read is lost."""
    asked = []

    def go_on(batch: Frames, tally: Tally) -> bool:
        asked.append((len(batch), tally.packets))
        return len(asked) < 2

    source = (frames(udp(f"10.0.0.{n}:1", CLOUD, t=n)) for n in range(1, 9))
    tally = through(tmp_path / "a.db", source, Config(), go_on=go_on)
    assert (asked, tally.packets, tally.flows) == ([(1, 1), (1, 2)], 2, 2)
    assert ask(tmp_path / "a.db", "SELECT count(*) FROM flow") == [(2,)]


def test_evictions_and_late_fragments_reach_the_recording(tmp_path, monkeypatch):
    """What the flow table could not keep is told, not hidden."""
    monkeypatch.setattr("egress_watch.flows.SWEEP_PACKETS", 4)
    config = Config(flows=FlowSettings(limit=1))
    wires = [*[udp(f"10.0.0.{n}:1", CLOUD, t=n) for n in range(1, 8)], framed(pieces(CAM, CLOUD, bytes(80), 7)[1], 8)]
    tally = through(tmp_path / "a.db", [frames(*wires)], config)
    assert tally.evicted > 0
    assert tally.late_fragments == 1
    totals = ask(tmp_path / "a.db", "SELECT evicted, late_fragments, flows FROM recording")
    assert totals == [(tally.evicted, 1, 8)]


def test_a_name_heard_in_the_same_batch_is_known_to_the_flow(tmp_path):
    """A batch is heard before its flows are named."""
    request = b"GET / HTTP/1.1\r\nHost: cam.example\r\n\r\n"
    source = [frames(tcp(CAM, "52.1.2.3:80", "PA", request, t=1), tcp("52.1.2.3:80", CAM, "R", t=2))]
    through(tmp_path / "a.db", source, Config())
    assert ask(tmp_path / "a.db", "SELECT name, name_source FROM flows") == [("cam.example", "http")]


class Writes:
    """A recording that only notes how many flows it was given at once, and when."""

    def __init__(self) -> None:
        self.flows: list[tuple[int, int]] = []

    def write(self, judged: Any, tally: Tally, _assets: Any = None) -> Any:
        """Note a batch."""
        self.flows.append((len(judged.flows), tally.packets))
        ids = np.arange(len(judged.flows))
        return SimpleNamespace(judged=judged, ids=ids, devices=ids, matching=lambda _: [])

    def tell(self, facts: Any, refused: int) -> None:
        """Take no facts of devices."""

    def alert(self, alerts: Any, batch: Any) -> None:
        """Take no alerts: there are no rules."""

    def broken(self, rules: Any) -> None:
        """Take no broken rules."""


def settled(source: Any, **settings: Any) -> list[tuple[int, int]]:
    """Return how many flows were settled at once, and after how many packets."""
    config, recording = Config(flows=FlowSettings(idle_s=1)), Writes()
    watch(source, stages(config, atlas(config), []), recording, **settings)
    return recording.flows


@pytest.mark.parametrize("size", [1, 3, 40])
def test_flows_wait_for_each_other_and_none_is_left(monkeypatch, size):
    """Flows are settled by fixed counts, the rest at the end or when the loop is stopped, in batches of any size."""
    monkeypatch.setattr("egress_watch.watch.TOGETHER", 4)
    monkeypatch.setattr("egress_watch.flows.SWEEP_PACKETS", 1)
    wires = [udp(f"10.0.0.{n}:1", CLOUD, t=10 * n) for n in range(1, 11)]
    source = [frames(*wires[at : at + size]) for at in range(0, len(wires), size)]
    assert [flows for flows, _ in settled(source)] == [4, 4, 2]
    stopped = settled(source, go_on=lambda _, tally: tally.packets < 6)
    assert sum(flows for flows, _ in stopped) == stopped[-1][1] >= 6


def test_a_live_recorder_need_not_wait_for_many_flows(monkeypatch):
    """With a longest wait, what ended is settled by the next batch of frames that is so much later."""
    monkeypatch.setattr("egress_watch.flows.SWEEP_PACKETS", 1)
    source = [frames(udp(f"10.0.0.{n}:1", CLOUD, t=2 * n)) for n in range(1, 7)]
    assert settled(source) == [(6, 6)]
    assert settled(source, wait_ns=0) == [(1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (1, 6)]
    assert settled(source, wait_ns=2 * NS) == [(2, 3), (2, 5), (2, 6)]


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 5))
def test_pending_flows_keep_their_order(parts, together):
    """Whatever pieces they come in, flows leave in their order, each once, in pieces of one size but the last."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("egress_watch.watch.TOGETHER", together)
        pending, left, begun = Pending(), [], 0
        for count_ in parts:
            pending.add(judging.flows(count_, judging.START_S + begun / 1000), 0)
            left += pending.due(0)
            begun += count_
        left += pending.rest()
    assert [time_ns for flows in left for time_ns in flows.first_ns.tolist()] == judging.flows(begun).first_ns.tolist()
    assert [len(flows) for flows in left] == [together] * (begun // together) + [begun % together] * (
        begun % together > 0
    )


def test_count_adds_reasons_up():
    """The same reason in two batches is one number."""
    tally, batch = Tally(), frames(Wire(b""), Wire(b""))
    for _ in range(2):
        count(tally, batch, packets(Wire(b""), Wire(b"")))
    assert tally.skipped == {"frame cut in link header": 4}


def test_settling_nothing_writes_nothing():
    """Without ended flows there is no transaction and no rule run: the recording is not even touched."""
    through_stages = stages(Config(), None, [])
    tally = Tally()
    settle(through_stages.table.flush(), through_stages, None, tally)
    assert tally == Tally()


def test_stages_are_as_configured():
    """Each setting reaches its stage."""
    config = Config(networks=("198.51.100.0/24",), flows=FlowSettings(active_s=1, idle_s=2, tcp_idle_s=3, limit=4))
    made = stages(config, None, [], seed=9)
    table = made.table
    assert isinstance(made, Stages)
    active_ns, idle_ns = table._way._rest
    assert (active_ns, idle_ns[17], idle_ns[6]) == (1_000_000_000, 2_000_000_000, 3_000_000_000)
    assert (table._limit, table._way._seed) == (4, 9)
    assert made.names.forgotten == 0


def test_a_rule_that_breaks_is_noted_and_the_others_run(tmp_path):
    """One broken rule costs its own alerts and is named in the database; nothing else is lost."""
    config = Config(networks=NETWORKS)
    good, _ = rules(config)
    broken = replace(good[0], predicate="no_such_column = 1")
    store = Store(str(tmp_path / "a.db"))
    rows = [(rule.id, rule.title, rule.level, rule.digest, rule.origin) for rule in good]
    recording = store.record(zone="eea", as_of="", data=[], rules=rows, version="0", inputs={})
    noted = []
    whole, recording.broken = recording.broken, lambda rules: (noted.append(dict(rules)), whole(rules))
    tally = watch(rebatched(100), stages(config, atlas(config), [broken, *good[1:]]), recording)
    assert list(noted[0]) == [broken.id]  # with the first batch, not when the recording ends
    recording.finish(tally, {})
    store.close()
    assert [row[0] for row in ask(tmp_path / "a.db", "SELECT id FROM rule WHERE broken IS NOT NULL")] == [broken.id]
    raised = {row[0] for row in ask(tmp_path / "a.db", "SELECT DISTINCT rule FROM alert")}
    assert raised
    assert broken.id not in raised
