"""The benchmarks' capture is the same everywhere and holds what it says; nothing here is timed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from running import city_db, spawn

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PACKETS = 6_000


def build(path: Path, *options: str) -> dict[str, Any]:
    """Run the builder as a user does and return the totals it prints."""
    command = [sys.executable, str(BENCHMARKS / "build.py"), str(path), "--packets", str(PACKETS), *options]
    printed: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return printed


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return a built capture and the totals the builder printed."""
    path = tmp_path_factory.mktemp("bench") / "mixed.pcap"
    return path, build(path)


@pytest.fixture(scope="module")
def replayed(built: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return tally and names of the pipeline after the capture has gone through it."""
    from egress_watch import library
    from egress_watch.config import Config
    from egress_watch.sources import open_inputs
    from egress_watch.store import Store
    from egress_watch.watch import stages, watch

    config = Config()
    through = stages(config, library.atlas(config), [])
    store = Store(str(tmp_path_factory.mktemp("db") / "b.db"))
    recording = store.record(zone="eea", as_of="", data=[], rules=[], version="test", inputs={})
    tally = watch(open_inputs([str(built[0])]).frames(), through, recording)
    store.close()
    return tally, through.names


def test_same_seed_same_bytes(built: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Two runs of the builder write the same bytes."""
    again = tmp_path / "again.pcap"
    assert build(again) == built[1]
    assert sha256(again.read_bytes()).digest() == sha256(built[0].read_bytes()).digest()


def test_other_seed_other_bytes(built: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Another seed builds another capture with as many packets."""
    other = tmp_path / "other.pcap"
    assert build(other, "--seed", "2")["packets"] == PACKETS
    assert other.read_bytes() != built[0].read_bytes()


def test_a_calm_city_stays_at_home(tmp_path: Path) -> None:
    """With a share of flows that go abroad, that share of flows raises alerts, and as many flows are there.

    Two rules speak, by design, of flows that stay in the zone as well: they are left out here.
    """
    from egress_watch import library
    from egress_watch.config import Config, RuleSettings
    from egress_watch.sources import open_inputs
    from egress_watch.store import Store
    from egress_watch.watch import stages, watch

    path = tmp_path / "calm.pcap"
    totals = build(path, "--packets", "350000", "--abroad", "0.05")
    config = Config(rules=RuleSettings(disabled=("vpn-out-of-the-segment", "owner-tied-to-another-seat")))
    with Store(str(tmp_path / "a.db")) as store:
        recording = store.record(zone="eea", as_of="", data=[], rules=[], version="test", inputs={})
        through = stages(config, library.atlas(config), library.rules(config)[0])
        tally = watch(open_inputs([str(path)]).frames(), through, recording)
        (hits,) = store._db.execute("SELECT sum(hits) FROM alert").fetchone()
    assert tally.flows == totals["flows"]
    assert 0.03 < hits / tally.flows < 0.07


def test_totals_of_frames_and_packets(built: tuple[Path, dict[str, Any]], replayed: Any) -> None:
    """The pipeline counts the frames, packets and bytes that the builder says it wrote, and finds nothing damaged."""
    totals, tally = built[1], replayed[0]
    assert (tally.frames, tally.packets, tally.packet_bytes) == (
        totals["frames"], totals["packets"], totals["packet_bytes"],
    )  # fmt: skip
    assert sum(tally.skipped.values()) == totals["frames"] - totals["packets"] > 0
    assert set(tally.skipped) == {"arp", "profinet"}
    assert tally.damage == []


def test_totals_of_flows(built: tuple[Path, dict[str, Any]], replayed: Any) -> None:
    """Every built conversation becomes one flow record."""
    assert replayed[0].flows == built[1]["flows"]


def test_totals_of_names(built: tuple[Path, dict[str, Any]], replayed: Any) -> None:
    """Every name that was built in is heard, in all three ways, and none is refused."""
    names = replayed[1]
    assert sum(names.heard.values()) == built[1]["names"]
    assert set(names.heard) == {"tls", "http", "dns"}
    assert names.refused == {}


def test_too_few_packets_is_refused(tmp_path: Path) -> None:
    """A capture too small for its flows is refused with a remedy."""
    for options in (["--packets", "3"], ["--packets", "6000", "--abroad", "0.5"]):
        command = [sys.executable, str(BENCHMARKS / "build.py"), str(tmp_path / "x.pcap"), *options]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode != 0
        assert "try:" in done.stderr


def test_stages_measure_everything(tmp_path: Path) -> None:
    """The measuring pass does what the loop does: it finds as many packets and flows as were built."""
    script = (
        "import json, sys; from pathlib import Path; import stages; from build import build; "
        "folder = Path(sys.argv[1]); totals = build(folder / 'x.pcap', 4000); "
        "one = stages.stages_once(folder / 'x.pcap', folder); "
        "print(json.dumps([totals.packets, totals.flows, one.tally.packets, one.tally.flows, one.clock.spent_ns]))"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, cwd=BENCHMARKS)
    packets, flows, found_packets, found_flows, spent_ns = json.loads(done.stdout)
    assert (found_packets, found_flows) == (packets, flows)
    assert all(spent > 0 for spent in spent_ns.values())


def test_places_are_measured_on_other_addresses_each_time() -> None:
    """Addresses of a measurement are distinct and of the kind asked for, all are judged, and every command is tried."""
    script = (
        "import json, numpy as np, places; from egress_watch import library; from egress_watch.config import Config; "
        "know = library.knowledge(Config()); drawn = {kind: draw(500, np.random.default_rng(1)) "
        "for kind, draw in places.KINDS.items()}; print(json.dumps(["
        "{kind: [len(np.unique(some, axis=0)), int((some[:, 0] > 0).sum())] for kind, some in drawn.items()}, "
        "places.judged(know, 'mixed', 20, True, 1), places.memory(know, 1000), list(places.started(0))]))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, cwd=BENCHMARKS)
    drawn, rates, memory, started = json.loads(done.stdout)
    assert drawn == {"IPv4": [500, 0], "IPv6": [500, 500], "mixed": [500, 250]}
    assert all(rate > 0 for rate in rates.values())
    assert memory["mb"] > 0
    assert {row["command"]: row["big_files"] for row in started} == {
        "--version": 0, "config": 0, "who amazon": 0, "where 1.1.1.1": 4,
    }  # fmt: skip


def test_every_export_format_is_measured(tmp_path: Path) -> None:
    """The figures have a row for the record and for each format and kind, and each format has written something."""
    from egress_watch.exports.formats import FORMATS
    from egress_watch.exports.record import EXPORTED

    script = "import json, sys, formats; print(json.dumps(formats.measure(sys.argv[1], 50, 1)))"
    command = [sys.executable, "-c", script, str(city_db(tmp_path))]
    done = subprocess.run(command, check=True, capture_output=True, cwd=BENCHMARKS)
    rows = json.loads(done.stdout)
    expected = {(known.name, kind) for known in FORMATS for kind in known.kinds if kind in EXPORTED}
    assert {(row["format"], row["kind"]) for row in rows} == expected | {("record", "alert"), ("record", "flow")}
    assert all(row["bytes_a_record"] > 10 for row in rows if row["format"] != "record")


@pytest.mark.parametrize("transport", ["file", "relp"])
def test_kills_lose_nothing_where_receipt_is_promised(transport: str) -> None:
    """What is sent while receiver and exporter are killed comes all the same, whole, at least once, in its order."""
    command = [sys.executable, str(BENCHMARKS / "delivery.py"), transport, "--alerts", "600", "--kills", "2"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    row = dict(zip(*(re.split(" {2,}", line) for line in printed), strict=True))
    assert (row["sent"], row["lost"], row["out of order"], row["strange"]) == ("600", "0", "0", "0")


@pytest.mark.parametrize(("kind", "flows"), [("dns", 1), ("tls", 700)])
def test_a_flood_of_names_is_what_it_says(kind: str, flows: int, tmp_path: Path) -> None:
    """Each frame of the flood has a name of its own, and the program hears them all."""
    script = f"""
import sys
sys.path.insert(0, {str(BENCHMARKS)!r})
from names_flood import pieces
for piece in pieces({kind!r}, 700):
    sys.stdout.buffer.write(piece)
"""
    made = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout
    path = tmp_path / "flood.pcap"
    path.write_bytes(made)
    done = spawn("replay", path, "--db", tmp_path / "flood.db", "--json", "--quiet")
    told = json.loads(done.stdout)
    assert (told["packets"], told["flows"], told["heard"]) == (700, flows, {f"heard: {kind}": 700})
