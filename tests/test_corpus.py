"""Every capture of the shared corpus goes through the whole loop into a database: no exception, and the laws hold."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

import pytest
from corpus import captures, corpus

from egress_watch.config import Config
from egress_watch.library import atlas, rules, zone
from egress_watch.model import Tally
from egress_watch.sources import open_inputs
from egress_watch.store import Store
from egress_watch.watch import stages, watch


class Replayed(NamedTuple):
    """One capture: what the loop counted, and what the database holds of it."""

    path: Path
    tally: Tally
    flows: int
    packets: int
    flow_bytes: int


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> list[Replayed]:
    """Return every capture, replayed as a recording of its own; an exception in any of them fails all tests here."""
    paths = captures(corpus())
    config = Config()
    law, places, (good, _) = zone(config.zone), atlas(config), rules(config)
    database = tmp_path_factory.mktemp("corpus") / "all.db"
    store = Store(str(database))
    tallies = []
    for path in paths:
        recording = store.record(zone=law.id, as_of=law.as_of, data=[], rules=[], version="test", inputs={})
        tally = watch(open_inputs([str(path)]).frames(), stages(config, places, good), recording)
        recording.finish(tally, {})
        tallies.append((path, recording.id, tally))
    store.close()
    kept = _kept(database)
    return [Replayed(path, tally, *kept.get(number, (0, 0, 0))) for path, number, tally in tallies]


def _kept(database: Path) -> dict[int, tuple[int, int, int]]:
    query = """SELECT recording, count(*), sum(packets_out + packets_in), sum(bytes_out + bytes_in) FROM flow
      GROUP BY recording"""
    connection = sqlite3.connect(database)
    rows = {number: tuple(counts) for number, *counts in connection.execute(query)}
    connection.close()
    return rows


def _breaches(replayed: list[Replayed], one: str, other: str) -> list[tuple[str, int, int]]:
    """Return the captures in which two numbers that must be equal are not."""
    counted = [(str(row.path), _number(row, one), _number(row, other)) for row in replayed]
    return [row for row in counted if row[1] != row[2]]


def _number(row: Replayed, name: str) -> int:
    if name == "packets and skipped":
        return row.tally.packets + sum(row.tally.skipped.values())
    room, _, column = name.partition(".")
    return getattr(row.tally if room == "tally" else row, column)


def test_every_capture_is_replayed(replayed: list[Replayed]) -> None:
    """All captures of the manifest go through, and nearly all have packets for us."""
    assert len(replayed) == len(captures(corpus()))
    assert sum(row.tally.packets > 0 for row in replayed) > 0.9 * len(replayed)


def test_every_frame_is_a_packet_or_has_a_named_reason(replayed: list[Replayed]) -> None:
    """The frames law holds for each capture: frames = packets + skipped."""
    assert _breaches(replayed, "tally.frames", "packets and skipped") == []


def test_packets_are_conserved_into_the_database(replayed: list[Replayed]) -> None:
    """The packets of a capture are the packets of its flow rows."""
    assert _breaches(replayed, "tally.packets", "kept.packets") == []


def test_bytes_are_conserved_into_the_database(replayed: list[Replayed]) -> None:
    """The bytes law holds for each capture: layer-3 bytes of its packets = bytes of its flow rows."""
    assert _breaches(replayed, "tally.packet_bytes", "kept.flow_bytes") == []


def test_every_flow_is_stored(replayed: list[Replayed]) -> None:
    """The flows that ended are the rows in the database."""
    assert _breaches(replayed, "tally.flows", "kept.flows") == []
